//! Reads the keys of a range source.

use super::super::cx::Cx;
use super::super::endpoint::{HTTP, InTheClear, checked};
use super::super::location::without_framing;
use super::super::references::Text;
use super::super::table::Table;
use super::super::value::Value;
use super::network::{self, DAY, MS};
use crate::source::range::RangeConfig;

/// A range source with every default.
pub(super) fn of_url(
    value: &Value,
    text: Text,
    cx: &mut Cx,
) -> Option<(RangeConfig, Option<InTheClear>)> {
    let bare = without_framing(&text.value).to_owned();
    let text = Text {
        value: bare,
        ..text
    };
    let url = checked(value, text, &HTTP, cx)?;
    Some((RangeConfig::of_url(url.text.value), url.in_the_clear))
}

/// `None` if its URL has errors.
pub(super) fn read(
    (value, text): (Value, Text),
    table: &mut Table,
    cx: &mut Cx,
) -> Option<RangeConfig> {
    let (config, clear) = of_url(&value, text, cx).unzip();
    let network = network::read(table, clear.flatten().as_ref(), cx);
    let interval = table
        .take("interval")
        .and_then(|it| it.duration(MS..=DAY, cx));
    let mut config = config?;
    config.network = network;
    config.interval = interval.unwrap_or(config.interval);
    Some(config)
}
