//! Reads the keys of an HTTP sink.

use std::time::Duration;

use super::super::credentials;
use super::super::cx::Cx;
use super::super::endpoint::{CheckedUrl, HTTP, checked, tls};
use super::super::table::Table;
use super::super::value::Value;
use super::{SinkEntry, output};
use crate::http::{Credentials, Tls};
use crate::sink::http::{Compression, HttpConfig, Retry};

/// Keys that are described and do not exist yet.
const LATER_KEYS: [&str; 8] = [
    "proxy",
    "index",
    "labels",
    "tenant",
    "resource",
    "encoding",
    "token",
    "sourcetype",
];

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// An HTTP sink with every default.
pub(super) fn of_url(url: String) -> HttpConfig {
    HttpConfig {
        url,
        credentials: Credentials::default(),
        compression: Compression::None,
        concurrency: 1,
        timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(10),
        retry: Retry {
            base: Duration::from_millis(500),
            max: Duration::from_secs(30),
        },
        dead_letter: None,
        tls: Tls::default(),
    }
}

/// `None` if its URL has errors.
pub(super) fn read(table: &mut Table, entry: &mut SinkEntry, cx: &mut Cx) -> Option<HttpConfig> {
    let url = table.require("url", cx).and_then(|value| url(&value, cx));
    let mut config = of_url(String::new());
    let in_the_clear = url.as_ref().and_then(|url| url.in_the_clear.clone());
    credentials::read(table, &mut config.credentials, in_the_clear.as_ref(), cx);
    if let Some(it) = table
        .take("compression")
        .and_then(|value| compression(&value, cx))
    {
        config.compression = it;
    }
    if let Some(count) = table
        .take("concurrency")
        .and_then(|value| value.count(1..=256, cx))
    {
        config.concurrency = usize::try_from(count).unwrap_or(usize::MAX);
    }
    if let Some(it) = table
        .take("timeout")
        .and_then(|value| value.duration(MS..=HOUR, cx))
    {
        config.timeout = it;
    }
    if let Some(it) = table
        .take("connect_timeout")
        .and_then(|it| it.duration(MS..=HOUR, cx))
    {
        config.connect_timeout = it;
    }
    if let Some(it) = table.take("retry").and_then(|value| retry(&value, cx)) {
        config.retry = it;
    }
    if let Some(value) = table.take("dead_letter") {
        config.dead_letter = output(&value, entry, cx);
    }
    if let Some(it) = table.take("tls").and_then(|value| tls(&value, cx)) {
        config.tls = it;
    }
    table.later(&LATER_KEYS, cx);
    config.url = url?.text.value;
    Some(config)
}

/// A URL with a host, over http or https.
pub(super) fn url(value: &Value, cx: &mut Cx) -> Option<CheckedUrl> {
    let text = value.filled_text(cx)?;
    checked(value, text, &HTTP, cx)
}

fn compression(value: &Value, cx: &mut Cx) -> Option<Compression> {
    let text = value.known_text(cx)?;
    let (name, level) = text
        .value
        .split_once(':')
        .map_or((text.value.as_str(), None), |(a, b)| (a, Some(b)));
    match (name, level) {
        // Level 2 is the fastest that zlib-rs compresses well with.
        ("gzip", None) => Some(Compression::Gzip(2)),
        ("gzip", Some(level)) => {
            let level = level.parse().ok().filter(|level| (1..=9).contains(level));
            if level.is_none() {
                value
                    .fail(cx, "must have a level from 1 to 9")
                    .label("for example \"gzip:6\"");
            }
            level.map(Compression::Gzip)
        }
        ("none", None) => Some(Compression::None),
        ("zstd", _) => {
            value.later(cx);
            None
        }
        _ => {
            value.fail(cx, "must be `none`, `gzip` or `gzip:LEVEL`");
            None
        }
    }
}

fn retry(value: &Value, cx: &mut Cx) -> Option<Retry> {
    let mut table = value.table(cx)?;
    let mut retry = of_url(String::new()).retry;
    if let Some(base) = table
        .take("base")
        .and_then(|value| value.duration(MS..=HOUR, cx))
    {
        retry.base = base;
    }
    if let Some(max) = table
        .take("max")
        .and_then(|value| value.duration(MS..=24 * HOUR, cx))
    {
        retry.max = max;
    }
    table.finish(cx);
    if retry.base > retry.max {
        let message = format!("{}: retry.base is longer than retry.max", value.subject);
        cx.error(value.key_span.clone(), message);
    }
    Some(retry)
}
