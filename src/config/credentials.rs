//! Reads how a request says who it is from: `headers`, `basic`, `bearer`, `oauth2`.

use std::ops::Range;

use reqwest::header::{HeaderName, HeaderValue};

use super::cx::Cx;
use super::endpoint::{HTTP, InTheClear, checked};
use super::references::{From, Text};
use super::table::Table;
use super::value::{Pair, Value};
use crate::http::{Credentials, OAuth2};
use crate::secret::Secret;

/// Headers that describe the body; another value would make the request wrong.
const OWN_HEADERS: [&str; 4] = [
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "connection",
];

/// Where credentials go.
#[derive(Clone, Copy, Default)]
pub(super) struct Place<'a> {
    /// The host, where it is reached without encryption.
    pub(super) in_the_clear: Option<&'a InTheClear>,
    /// What a `token` becomes; `None`: there is no such key.
    pub(super) token: Option<TokenHeader>,
}

/// What a `token` becomes.
#[derive(Clone, Copy)]
pub(super) struct TokenHeader {
    header: &'static str,
    /// What stands before the token.
    scheme: &'static str,
}

impl TokenHeader {
    pub(super) const SPLUNK: Self = Self {
        header: "Authorization",
        scheme: "Splunk ",
    };
    pub(super) const DATADOG: Self = Self {
        header: "DD-API-KEY",
        scheme: "",
    };
}

/// `headers`, `basic`, `bearer`, `oauth2` and `token`: at most one of them authenticates.
pub(super) fn read(table: &mut Table, credentials: &mut Credentials, place: Place, cx: &mut Cx) {
    let in_the_clear = place.in_the_clear;
    let mut seen: Option<Range<usize>> = None;
    let mut authenticates = |value: &Value, cx: &mut Cx| {
        if let Some(clear) = in_the_clear {
            unencrypted(value, clear, cx);
        }
        if let Some(first) = &seen {
            let place = cx.place(first.clone()).labelled("the other is here");
            let message = format!("{}: two ways to authenticate", value.subject);
            cx.error(value.key_span.clone(), message)
                .label("only one can be sent")
                .related(place);
        }
        seen = Some(value.key_span.clone());
    };
    if let Some(value) = table.take("headers") {
        hide_unless_table(&value, cx);
        for pair in value.pairs(cx).unwrap_or_default() {
            if pair.key.eq_ignore_ascii_case("authorization") {
                authenticates(&pair.value, cx);
            }
            credentials.headers.extend(header(&pair, cx));
        }
    }
    if let Some(value) = table.take("basic") {
        hide_unless_table(&value, cx);
        authenticates(&value, cx);
        credentials.basic = basic(&value, cx);
    }
    if let Some(value) = table.take("bearer") {
        authenticates(&value, cx);
        credentials.bearer = secret(&value, cx)
            .filter(|text| sendable(&value, text, cx))
            .map(sealed);
    }
    if let Some(value) = table.take("oauth2") {
        hide_unless_table(&value, cx);
        authenticates(&value, cx);
        credentials.oauth2 = oauth2(&value, cx);
    }
    if let Some(TokenHeader { header, scheme }) = place.token
        && let Some(value) = table.take("token")
    {
        authenticates(&value, cx);
        let token = secret(&value, cx).filter(|text| sendable(&value, text, cx));
        let token = token.map(|text| sealed(text).after(scheme));
        credentials
            .headers
            .extend(token.map(|token| (header.to_owned(), token)));
    }
}

/// Whatever else stands where a table of secrets should, it is not shown.
fn hide_unless_table(value: &Value, cx: &mut Cx) {
    if !value.de.get_ref().is_table() {
        cx.diagnostics.mask(cx.file, value.span());
    }
}

fn header(pair: &Pair, cx: &mut Cx) -> Option<(String, Secret)> {
    let value = &pair.value;
    if HeaderName::from_bytes(pair.key.as_bytes()).is_err() {
        let message = format!("{}: `{}` is not a header's name", value.subject, pair.key);
        cx.error(value.key_span.clone(), message);
    }
    if OWN_HEADERS
        .iter()
        .any(|own| pair.key.eq_ignore_ascii_case(own))
    {
        let message = format!("{}: header `{}` cannot be set", value.subject, pair.key);
        cx.error(value.key_span.clone(), message)
            .label("it follows from the body");
    }
    // Any header may carry a secret: none is shown. Some always do.
    cx.diagnostics.mask(cx.file, value.span());
    let name = pair.key.to_ascii_lowercase();
    let secret_name = [
        "authorization",
        "cookie",
        "token",
        "api-key",
        "secret",
        "password",
    ]
    .iter()
    .any(|word| name.ends_with(word));
    let text = if secret_name {
        secret(value, cx)?
    } else {
        value.text(cx)?
    };
    sendable(value, &text, cx).then(|| (pair.key.to_owned(), sealed(text)))
}

fn basic(value: &Value, cx: &mut Cx) -> Option<(String, Secret)> {
    let mut table = value.table(cx)?;
    let user = table.require("user", cx).and_then(|value| value.text(cx));
    let password = table
        .require("password", cx)
        .and_then(|value| secret(&value, cx));
    table.finish(cx);
    Some((user?.value, sealed(password?)))
}

/// `oauth2 = { token_url, client_id, client_secret, scope }`
fn oauth2(value: &Value, cx: &mut Cx) -> Option<OAuth2> {
    let mut table = value.table(cx)?;
    let url = table.require("token_url", cx);
    let url = url.and_then(|value| {
        let text = value.filled_text(cx)?;
        checked(&value, text, &HTTP, cx)
    });
    let id = table
        .require("client_id", cx)
        .and_then(|value| value.filled_text(cx));
    let given = table.require("client_secret", cx);
    if let (Some(value), Some(clear)) =
        (&given, url.as_ref().and_then(|it| it.in_the_clear.as_ref()))
    {
        unencrypted(value, clear, cx);
    }
    let proof = given.and_then(|value| secret(&value, cx));
    let scope = table.take("scope").and_then(|value| value.filled_text(cx));
    table.finish(cx);
    Some(OAuth2 {
        token_url: url?.text.value,
        client_id: id?.value,
        client_secret: sealed(proof?),
        scope: scope.map(|text| text.value),
    })
}

/// A secret; warns if it stands in the file itself or in a file that everybody may read.
fn secret(value: &Value, cx: &mut Cx) -> Option<Text> {
    cx.diagnostics.mask(cx.file, value.span());
    let text = value.filled_text(cx)?;
    if text.from == From::Literal {
        plain_text(value, cx);
    }
    for (span, path) in &text.world_readable {
        let message = format!(
            "{}: every user of this machine may read `{path}`",
            value.name()
        );
        cx.warning(span.clone(), message)
            .label(format!("chmod o-r {path}"));
    }
    Some(text)
}

pub(super) fn sealed(text: Text) -> Secret {
    let place = text.reference;
    Secret::from_parts(text.value, text.parts).given_by(place.as_deref())
}

/// True if a value can stand in a header; it is never quoted as resolved.
fn sendable(value: &Value, text: &Text, cx: &mut Cx) -> bool {
    let sendable = HeaderValue::from_str(&text.value).is_ok();
    if !sendable {
        let message = format!("{}: holds a character that no header may", value.name());
        cx.error(value.span(), message)
            .label("a line break or another control character");
    }
    sendable
}

pub(super) fn plain_text(value: &Value, cx: &mut Cx) {
    let message = format!("{}: a secret in plain text", value.name());
    cx.warning(value.span(), message)
        .label("write ${env:NAME}, ${file:/path} or ${cred:name} instead");
}

pub(super) fn unencrypted(value: &Value, clear: &InTheClear, cx: &mut Cx) {
    let message = format!("{}: sent unencrypted to {}", value.name(), clear.host);
    cx.warning(value.key_span.clone(), message)
        .label(clear.label);
}
