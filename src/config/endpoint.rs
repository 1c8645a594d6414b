//! Reads what every place in the network has: a URL, and TLS.

use std::net::IpAddr;
use std::ops::Range;
use std::path::PathBuf;

use reqwest::Url;

use super::credentials::{plain_text, sealed, unencrypted};
use super::cx::{Cx, References};
use super::references::{From, Text};
use super::table::Table;
use super::value::Value;
use crate::http::{ClientError, Proxy, Tls, Verify};

/// The two schemes of a protocol.
pub(super) struct Schemes {
    plain: &'static str,
    encrypted: &'static str,
    /// Why another one is refused.
    wanted: &'static str,
    /// What stands beside a secret that goes over the plain one.
    is_plain: &'static str,
}

pub(super) const HTTP: Schemes = Schemes {
    plain: "http",
    encrypted: "https",
    wanted: "must be an http:// or https:// URL",
    is_plain: "the URL is http://, not https://",
};

pub(super) const WEBSOCKET: Schemes = Schemes {
    plain: "ws",
    encrypted: "wss",
    wanted: "must be a ws:// or wss:// URL",
    is_plain: "the URL is ws://, not wss://",
};

/// A URL that was looked at.
pub(super) struct CheckedUrl {
    pub(super) text: Text,
    pub(super) in_the_clear: Option<InTheClear>,
}

/// A host that is reached without encryption over a network.
#[derive(Clone)]
pub(super) struct InTheClear {
    pub(super) host: String,
    pub(super) label: &'static str,
}

/// A URL with a host, over one of two schemes.
pub(super) fn checked(
    value: &Value,
    text: Text,
    schemes: &Schemes,
    cx: &mut Cx,
) -> Option<CheckedUrl> {
    if text.from == From::Placeholder {
        return Some(CheckedUrl {
            text,
            in_the_clear: None,
        });
    }
    let url = match Url::parse(&text.value) {
        Ok(url) => url,
        Err(error) => {
            value.fail(cx, &format!("is not a URL: {error}"));
            return None;
        }
    };
    if ![schemes.plain, schemes.encrypted].contains(&url.scheme()) {
        value.fail(cx, schemes.wanted);
        return None;
    }
    let host = url.host_str().unwrap_or_default();
    if url.password().is_some() && text.from == From::Literal {
        plain_text(value, cx);
    }
    let in_the_clear = (url.scheme() == schemes.plain && !is_loopback(host)).then(|| InTheClear {
        host: host.to_owned(),
        label: schemes.is_plain,
    });
    if let (Some(clear), true) = (&in_the_clear, url.password().is_some()) {
        unencrypted(value, clear, cx);
    }
    Some(CheckedUrl { text, in_the_clear })
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// `off`, or the URL of a proxy.
pub(super) fn proxy(value: &Value, cx: &mut Cx) -> Option<Proxy> {
    let text = value.filled_text(cx)?;
    if text.value == "off" {
        return Some(Proxy::Off);
    }
    checked(value, text, &HTTP, cx).map(|url| Proxy::Url(sealed(url.text)))
}

fn verify(value: &Value, cx: &mut Cx) -> Verify {
    if value.flag(cx) != Some(false) {
        return Verify::Certificate;
    }
    let message = format!(
        "{} = false: nobody's certificate is looked at",
        value.name()
    );
    cx.warning(value.span(), message)
        .label("a certificate of one's own is trusted by `ca`");
    Verify::Nothing
}

/// `tls = { ca, cert, key, verify }`
pub(super) fn tls(value: &Value, cx: &mut Cx) -> Option<Tls> {
    let mut table = value.table(cx)?;
    let mut places: Vec<(String, Range<usize>)> = Vec::new();
    let mut path = |table: &mut Table, key, cx: &mut Cx| -> Option<PathBuf> {
        let value = table.take(key)?;
        places.push((format!("tls.{key}"), value.span()));
        Some(PathBuf::from(value.filled_text(cx)?.value))
    };
    let given = (table.has("cert"), table.has("key"));
    let tls = Tls {
        ca: path(&mut table, "ca", cx),
        cert: path(&mut table, "cert", cx),
        key: path(&mut table, "key", cx),
        verify: table
            .take("verify")
            .map_or(Verify::Certificate, |it| verify(&it, cx)),
    };
    match given {
        (true, false) => table.missing("key", cx),
        (false, true) => table.missing("cert", cx),
        _ => {}
    }
    table.finish(cx);
    let has_files = tls.ca.is_some() || tls.cert.is_some();
    // A client cannot be made without them, and the one that the agent makes comes too late to say so.
    if has_files
        && cx.references == References::Resolve
        && let Err(error) = cx.environment.tls(&tls)
    {
        let place = match &error {
            ClientError::Pem { what, .. } => places.iter().find(|(key, _)| key == what),
            ClientError::Tls(_) | ClientError::Client(_) => None,
        };
        let span = place.map_or_else(|| value.span(), |(_, span)| span.clone());
        cx.error(span, format!("{}: {error}", value.subject))
            .label("is it there, in PEM, and may logweir read it?");
    }
    Some(tls)
}
