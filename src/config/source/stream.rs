//! Reads the keys of a stream source.

use super::super::cx::Cx;
use super::super::endpoint::{HTTP, InTheClear, checked};
use super::super::location::{Location, without_framing};
use super::super::references::Text;
use super::super::table::Table;
use super::super::value::Value;
use super::network::{self, DAY, MS};
use super::records::time_from;
use crate::source::stream::{Framing, ResumeRule, StreamConfig};

/// A stream with every default but what its URL says.
pub(super) fn of_url(
    value: &Value,
    text: Text,
    cx: &mut Cx,
) -> Option<(StreamConfig, Option<InTheClear>)> {
    let framing = match Location::of(&text.value) {
        Location::Framed(framing) => framing,
        _ => Framing::Auto,
    };
    let bare = without_framing(&text.value).to_owned();
    let url = checked(
        value,
        Text {
            value: bare,
            ..text
        },
        &HTTP,
        cx,
    )?;
    let config = StreamConfig {
        framing,
        ..StreamConfig::of_url(url.text.value)
    };
    Some((config, url.in_the_clear))
}

/// `None` if its URL has errors.
pub(super) fn read(
    (value, text): (Value, Text),
    table: &mut Table,
    cx: &mut Cx,
) -> Option<StreamConfig> {
    let (config, clear) = of_url(&value, text, cx).unzip();
    let network = network::read(table, clear.flatten().as_ref(), cx);
    let framing = table.take("framing").and_then(|value| {
        let words = [
            ("auto", Framing::Auto),
            ("lines", Framing::Lines),
            ("sse", Framing::Sse),
            ("json_seq", Framing::JsonSeq),
            ("docker", Framing::Docker),
        ];
        value.choice(&words, &[], cx)
    });
    let idle = table.take("idle").map(|value| {
        let is_off = value.raw_text() == Some("off");
        (!is_off).then(|| value.duration(MS..=DAY, cx)).flatten()
    });
    let resume = table.take("resume").map(|value| resume(&value, cx));
    let mut config = config?;
    config.network = network;
    config.framing = framing.unwrap_or(config.framing);
    config.idle = idle.unwrap_or(config.idle);
    config.resume = resume.flatten();
    Some(config)
}

/// `resume = { param, from }`
fn resume(value: &Value, cx: &mut Cx) -> Option<ResumeRule> {
    let mut table = value.table(cx)?;
    let param = table
        .require("param", cx)
        .and_then(|value| value.filled_text(cx));
    let from = table
        .require("from", cx)
        .and_then(|value| time_from(&value, cx));
    table.finish(cx);
    Some(ResumeRule {
        param: param?.value,
        from: from?,
    })
}
