//! Reads the keys of an HTTP sink.

use std::time::Duration;

use reqwest::Url;

use super::super::credentials::{self, TokenHeader};
use super::super::cx::Cx;
use super::super::endpoint::{CheckedUrl, HTTP, checked, proxy, tls};
use super::super::references::From;
use super::super::table::Table;
use super::super::value::Value;
use super::collector::{self, Options};
use super::format::FormatName;
use super::{SinkEntry, plain_output};
use crate::encoding::Compression;
use crate::http::{Credentials, Proxy, Tls};
use crate::sink::http::{HttpConfig, Protocol, Retry};

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// An HTTP sink with every default.
pub(super) fn of_url(url: String) -> HttpConfig {
    HttpConfig {
        url,
        protocol: Protocol::Lines,
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
        proxy: Proxy::Environment,
    }
}

/// What a collector takes, where it takes less than sources give: Loki refuses longer lines, and
/// VictoriaLogs skips them with 200 (`-insert.maxLineSizeBytes`).
pub(super) fn line_bytes_max(config: &HttpConfig) -> Option<usize> {
    const LINE_BYTES_MAX: usize = 256 << 10;
    let path = Url::parse(&config.url).ok()?.path().to_owned();
    let is_short = config.protocol == Protocol::Loki || path.ends_with("/insert/jsonline");
    is_short.then_some(LINE_BYTES_MAX)
}

/// `None` if its URL has errors. `options` becomes what only some formats have.
pub(super) fn read(
    table: &mut Table,
    name: Option<FormatName>,
    options: &mut Options,
    entry: &mut SinkEntry,
    cx: &mut Cx,
) -> Option<HttpConfig> {
    let place = table.require("url", cx);
    let url = place.as_ref().and_then(|value| url(value, cx));
    let mut config = of_url(String::new());
    let in_the_clear = url.as_ref().and_then(|url| url.in_the_clear.clone());
    let token = match name {
        Some(FormatName::Splunk) => Some(TokenHeader::SPLUNK),
        Some(FormatName::Datadog) => Some(TokenHeader::DATADOG),
        _ => None,
    };
    if token.is_none()
        && let Some(value) = table.take("token")
    {
        cx.diagnostics.mask(cx.file, value.span());
        collector::foreign(&value, &[FormatName::Splunk, FormatName::Datadog], cx);
    }
    let at = credentials::Place {
        in_the_clear: in_the_clear.as_ref(),
        token,
    };
    credentials::read(table, &mut config.credentials, at, cx);
    *options = collector::read(table, name, &mut config.credentials, cx);
    config.protocol = collector::protocol(name, options);
    limits(table, &mut config, cx);
    if let Some(value) = table.take("dead_letter") {
        config.dead_letter = plain_output(&value, entry, cx);
    }
    if let Some(it) = table.take("tls").and_then(|value| tls(&value, cx)) {
        config.tls = it;
    }
    if let Some(it) = table.take("proxy").and_then(|value| proxy(&value, cx)) {
        config.proxy = it;
    }
    let text = url?.text;
    if text.from == From::Placeholder {
        config.url = text.value;
        return Some(config);
    }
    let parsed = Url::parse(&text.value).ok()?;
    let adapted = collector::adapt_url(place.as_ref()?, name, parsed.clone(), options, cx)?;
    // Used as written, unless something had to be put into it.
    config.url = if adapted == parsed {
        text.value
    } else {
        adapted.into()
    };
    Some(config)
}

/// How much, how long and how often.
fn limits(table: &mut Table, config: &mut HttpConfig, cx: &mut Cx) {
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
        ("zstd", None) => Some(Compression::Zstd(1)),
        ("zstd", Some(level)) => {
            let level = level.parse().ok().filter(|level| (1..=19).contains(level));
            if level.is_none() {
                value
                    .fail(cx, "must have a level from 1 to 19")
                    .label("for example \"zstd:3\"");
            }
            level.map(Compression::Zstd)
        }
        _ => {
            let why = "must be `none`, `gzip`, `gzip:LEVEL`, `zstd` or `zstd:LEVEL`";
            value.fail(cx, why);
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
