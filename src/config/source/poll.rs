//! Reads the keys of a poll source.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderName;

use super::super::credentials::sealed;
use super::super::cx::Cx;
use super::super::references::Text;
use super::super::table::Table;
use super::super::value::Value;
use super::network::{self, DAY, MS};
use super::targets;
use crate::framing::Pointer;
use crate::secret::Secret;
use crate::source::poll::{CursorRule, NextRule, PollConfig, SentAs};

/// One request, and all of its answer.
const TIMEOUT_MAX: Duration = Duration::from_secs(3_600);

/// A poll source with every default but what its URL says.
pub(super) fn of_url(value: &Value, text: Text, cx: &mut Cx) -> Option<PollConfig> {
    targets::of_url(value, text, cx).map(PollConfig::of_urls)
}

/// `None` if its URLs have errors. `url` is that key where it was taken already.
pub(super) fn read(
    url: Option<(Value, Text)>,
    table: &mut Table,
    cx: &mut Cx,
) -> Option<PollConfig> {
    let targets = targets::read(url, table, cx);
    let clear = targets.as_ref().and_then(|it| it.in_the_clear.as_ref());
    let network = network::read(table, clear, cx);
    let mut config = PollConfig::of_urls(Vec::new());
    if let Some(it) = table
        .take("interval")
        .and_then(|it| it.duration(MS..=DAY, cx))
    {
        config.interval = it;
    }
    if let Some(it) = table
        .take("timeout")
        .and_then(|it| it.duration(MS..=TIMEOUT_MAX, cx))
    {
        config.timeout = it;
    }
    if let Some(it) = table
        .take("concurrency")
        .and_then(|it| it.count(1..=10_000, cx))
    {
        config.concurrency = usize::try_from(it).unwrap_or(usize::MAX);
    }
    if let Some(it) = table.take("method").and_then(|it| method(&it, cx)) {
        config.method = it;
    }
    if let Some(value) = table.take("body") {
        config.body = body(&value, cx);
        if config.method == Method::GET {
            let message = format!("{}: is not sent with GET", value.name());
            cx.error(value.key_span.clone(), message)
                .label("method = \"POST\" sends it");
        }
    }
    config.records = table
        .take("records")
        .and_then(|it| root_or_pointer(&it, cx))
        .unwrap_or_default();
    config.cursor = table.take("cursor").and_then(|it| cursor(&it, cx));
    config.next = table.take("next").and_then(|it| next(&it, cx));
    if let Some(it) = table
        .take("max_pages")
        .and_then(|it| it.count(1..=1_000_000, cx))
    {
        config.pages_max = u32::try_from(it).unwrap_or(u32::MAX);
    }
    config.dedupe = table.take("dedupe").and_then(|it| pointer(&it, cx));
    if let Some(it) = table
        .take("max_body")
        .and_then(|it| it.size(1..=1 << 30, cx))
    {
        config.body_bytes_max = usize::try_from(it).unwrap_or(usize::MAX);
    }
    config.urls = targets?.urls;
    config.network = network;
    Some(config)
}

fn method(value: &Value, cx: &mut Cx) -> Option<Method> {
    let words = [("GET", 0), ("POST", 1), ("PUT", 2)];
    let index: usize = value.choice(&words, &[], cx)?;
    Some([Method::GET, Method::POST, Method::PUT][index].clone())
}

/// It may hold a secret: it is never shown.
fn body(value: &Value, cx: &mut Cx) -> Option<Secret> {
    Some(sealed(value.text(cx)?))
}

/// `""` is the whole document.
fn root_or_pointer(value: &Value, cx: &mut Cx) -> Option<Pointer> {
    if value.raw_text() == Some("") {
        return Some(Pointer::default());
    }
    pointer(value, cx)
}

fn pointer(value: &Value, cx: &mut Cx) -> Option<Pointer> {
    let text = value.known_text(cx)?.value;
    let pointer = Pointer::new(&text);
    if pointer.is_none() {
        value
            .fail(cx, "must be a JSON pointer")
            .label("for example \"/items/-1/id\", which is the last element's");
    }
    pointer
}

/// `cursor = { from, param or header, start }`
fn cursor(value: &Value, cx: &mut Cx) -> Option<CursorRule> {
    let mut table = value.table(cx)?;
    let from = table.require("from", cx).and_then(|it| pointer(&it, cx));
    let param = table.take("param").map(|it| it.filled_text(cx));
    let header = table.take("header").map(|it| header(&it, cx));
    let start = table.take("start").and_then(|it| it.text(cx));
    let sent_as = match (param, header) {
        (Some(param), None) => param.map(|it| SentAs::Param(it.value)),
        (None, Some(header)) => header.map(SentAs::Header),
        (None, None) => {
            table.missing_one_of("`param` or `header`", cx);
            None
        }
        (Some(_), Some(_)) => {
            value
                .fail(cx, "has both `param` and `header`")
                .label("a cursor is sent in one of them");
            None
        }
    };
    table.finish(cx);
    Some(CursorRule {
        from: from?,
        sent_as: sent_as?,
        start: start.map(|it| it.value),
    })
}

fn header(value: &Value, cx: &mut Cx) -> Option<HeaderName> {
    let text = value.known_text(cx)?.value;
    let name = HeaderName::from_bytes(text.as_bytes()).ok();
    if name.is_none() {
        value.fail(cx, "is not a header's name");
    }
    name
}

/// `"link"`, a pointer, or one of the tables that say more.
fn next(value: &Value, cx: &mut Cx) -> Option<NextRule> {
    if let Some(text) = value.raw_text() {
        if text == "link" {
            return Some(NextRule::Link);
        }
        let from = Pointer::new(text);
        if from.is_none() {
            value
                .fail(cx, "must be `link` or a JSON pointer")
                .label("or { from, param }, { page } or { offset }");
        }
        return from.map(|from| NextRule::At { from, param: None });
    }
    let mut table = value.table(cx)?;
    let from = table.take("from").map(|it| pointer(&it, cx));
    let param = table.take("param").and_then(|it| it.filled_text(cx));
    let page = table.take("page").map(|it| it.filled_text(cx));
    let offset = table.take("offset").map(|it| it.filled_text(cx));
    let start = table
        .take("start")
        .and_then(|it| it.count(0..=u64::from(u32::MAX), cx));
    table.finish(cx);
    match (from, page, offset) {
        (Some(from), None, None) => Some(NextRule::At {
            from: from?,
            param: param.map(|it| it.value),
        }),
        (None, Some(page), None) => Some(NextRule::Page {
            param: page?.value,
            start: start.unwrap_or(1),
        }),
        (None, None, Some(offset)) => Some(NextRule::Offset {
            param: offset?.value,
            start: start.unwrap_or(0),
        }),
        _ => {
            value
                .fail(cx, "needs one of `from`, `page` and `offset`")
                .label("for example { page = \"page\", start = 1 }");
            None
        }
    }
}
