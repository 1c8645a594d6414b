//! Reads `format` and `meta` of a sink.

use super::super::cx::Cx;
use super::super::table::Table;
use super::super::value::Value;
use super::KindName;
use crate::encoding::{Format, Meta, Text};

/// Formats that are described and do not exist yet.
const LATER_FORMATS: [&str; 7] = [
    "json_array",
    "elasticsearch",
    "loki",
    "otlp",
    "splunk",
    "datadog",
    "kafka",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum FormatName {
    Raw,
    Json,
    Text,
}

/// Files and collectors get JSON; standard output what suits whoever reads it.
pub(super) fn default(kind: KindName) -> Option<Format> {
    match kind {
        KindName::Stdout => None,
        KindName::File => Some(Format::Json(Meta::default())),
        KindName::Http => Some(Format::Json(Meta {
            host: true,
            file: true,
            offset: true,
            labels: true,
        })),
    }
}

/// `format` and `meta` together. Keys about the origin are JSON's, so that asking for them on
/// standard output asks for JSON.
pub(super) fn read(table: &mut Table, kind: KindName, cx: &mut Cx) -> Option<Format> {
    const WORDS: [(&str, FormatName); 3] = [
        ("raw", FormatName::Raw),
        ("json", FormatName::Json),
        ("text", FormatName::Text),
    ];
    let words = if kind == KindName::Stdout {
        &WORDS[..]
    } else {
        &WORDS[..2]
    };
    let name = table
        .take("format")
        .and_then(|value| value.choice(words, &LATER_FORMATS, cx));
    let meta_value = table.take("meta");
    let meta = meta_value.as_ref().and_then(|value| meta(value, cx));
    if let (Some(FormatName::Raw | FormatName::Text), Some(value)) = (name, &meta_value) {
        let message = format!("{}: `meta` needs format = \"json\"", value.subject);
        cx.error(value.key_span.clone(), message)
            .label("other formats have no place for it");
    }
    match (name, meta) {
        (Some(FormatName::Raw), _) => Some(Format::Raw),
        (Some(FormatName::Text), _) => Some(Format::Text(Text::default())),
        (_, Some(meta)) => Some(Format::Json(meta)),
        (Some(FormatName::Json), None) => default(kind).or(Some(Format::Json(Meta::default()))),
        (None, None) => default(kind),
    }
}

fn meta(value: &Value, cx: &mut Cx) -> Option<Meta> {
    let words = [("host", 0), ("file", 1), ("offset", 2), ("labels", 3)];
    let chosen: Vec<i32> = value
        .list(cx)?
        .iter()
        .filter_map(|value| value.choice(&words, &[], cx))
        .collect();
    Some(Meta {
        host: chosen.contains(&0),
        file: chosen.contains(&1),
        offset: chosen.contains(&2),
        labels: chosen.contains(&3),
    })
}
