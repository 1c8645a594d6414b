//! Reads the keys of a health source.

use std::ops::RangeInclusive;
use std::time::Duration;

use reqwest::Method;

use super::super::cx::Cx;
use super::super::references::Text;
use super::super::table::Table;
use super::super::value::Value;
use super::network::{self, DAY, MS};
use super::records::pattern;
use super::targets;
use crate::source::health::{Emit, HealthConfig};

/// `None` if its URLs have errors. `url` is that key where it was taken already.
pub(super) fn read(
    url: Option<(Value, Text)>,
    table: &mut Table,
    cx: &mut Cx,
) -> Option<HealthConfig> {
    let targets = targets::read(url, table, cx);
    let clear = targets.as_ref().and_then(|it| it.in_the_clear.as_ref());
    let network = network::read(table, clear, cx);
    let mut config = HealthConfig::of_urls(Vec::new());
    // More often, a check of many services would be an attack.
    if let Some(it) = table
        .take("interval")
        .and_then(|it| it.duration(100 * MS..=DAY, cx))
    {
        config.interval = it;
    }
    if let Some(it) = table
        .take("timeout")
        .and_then(|it| it.duration(MS..=Duration::from_secs(3_600), cx))
    {
        config.timeout = it;
    }
    if let Some(it) = table
        .take("concurrency")
        .and_then(|it| it.count(1..=10_000, cx))
    {
        config.concurrency = usize::try_from(it).unwrap_or(usize::MAX);
    }
    if let Some(value) = table.take("method") {
        let words = [("GET", 0), ("HEAD", 1), ("OPTIONS", 2), ("POST", 3)];
        if let Some(index) = value.choice(&words, &[], cx) {
            let methods = [Method::GET, Method::HEAD, Method::OPTIONS, Method::POST];
            config.method = methods[index].clone();
        }
    }
    if let Some(value) = table.take("expect") {
        config.expect = expect(&value, cx).unwrap_or(config.expect);
    }
    config.body_match = table
        .take("body_match")
        .and_then(|value| pattern(&value, cx));
    if let Some(value) = table.take("emit") {
        let words = [("changes", Emit::Changes), ("all", Emit::All)];
        config.emit = value.choice(&words, &[], cx).unwrap_or(config.emit);
    }
    config.urls = targets?.urls;
    config.network = network;
    Some(config)
}

/// `"200-399"`, `"200,204"` or `["200-299", "401"]`.
fn expect(value: &Value, cx: &mut Cx) -> Option<Vec<RangeInclusive<u16>>> {
    let mut ranges = Vec::new();
    for one in value.one_or_many() {
        let text = one.known_text(cx)?.value;
        for part in text.split(',') {
            let range = range(part.trim());
            if range.is_none() {
                one.fail(cx, "is no list of statuses")
                    .label("for example \"200-399\" or \"200, 204, 401\"");
            }
            ranges.push(range?);
        }
    }
    if ranges.is_empty() {
        value.fail(cx, "must name at least one status");
        return None;
    }
    Some(ranges)
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let status = |text: &str| {
        let status = text.trim().parse().ok()?;
        (100..=599).contains(&status).then_some(status)
    };
    let range = status(first)?..=status(last)?;
    (!range.is_empty()).then_some(range)
}
