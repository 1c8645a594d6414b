//! Reads `format`, `meta` and `fields` of a sink.

use super::super::cx::Cx;
use super::super::table::Table;
use super::super::value::{Pair, Value};
use super::KindName;
use super::collector::Options;
use crate::encoding::{
    Elasticsearch, Fields, Format, JsonOptions, Loki, Meta, NotAField, Otlp, Splunk, Text,
};

/// What a format is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FormatName {
    Raw,
    Json,
    JsonArray,
    Elasticsearch,
    Loki,
    Otlp,
    Splunk,
    Datadog,
    Kafka,
    Text,
}

impl FormatName {
    /// Those that an HTTP sink takes, then those of files and of standard output alone.
    const WORDS: [(&'static str, Self); 10] = [
        ("raw", Self::Raw),
        ("json", Self::Json),
        ("json_array", Self::JsonArray),
        ("elasticsearch", Self::Elasticsearch),
        ("loki", Self::Loki),
        ("otlp", Self::Otlp),
        ("splunk", Self::Splunk),
        ("datadog", Self::Datadog),
        ("kafka", Self::Kafka),
        ("text", Self::Text),
    ];

    fn is_for(self, kind: KindName) -> bool {
        match self {
            Self::Raw | Self::Json => true,
            Self::Text => kind == KindName::Stdout,
            _ => kind == KindName::Http,
        }
    }

    /// The word in the configuration.
    pub(super) fn word(self) -> &'static str {
        let mut words = Self::WORDS.iter();
        words
            .find(|(_, name)| *name == self)
            .map_or("", |(word, _)| word)
    }

    /// True where lines become the objects of `format = "json"`.
    fn has_records(self) -> bool {
        matches!(self, Self::Json | Self::JsonArray | Self::Kafka)
    }
}

/// `format`; `None`: it is not given, or is none of this kind of sink.
pub(super) fn name(table: &mut Table, kind: KindName, cx: &mut Cx) -> Option<FormatName> {
    let words: Vec<(&str, FormatName)> = FormatName::WORDS
        .into_iter()
        .filter(|(_, name)| name.is_for(kind))
        .collect();
    table.take("format")?.choice(&words, &[], cx)
}

/// Files and collectors get JSON; standard output what suits whoever reads it.
pub(super) fn default(kind: KindName) -> Option<Format> {
    match kind {
        KindName::Stdout => None,
        KindName::File | KindName::Http => Some(Format::json(default_meta(kind))),
    }
}

fn default_meta(kind: KindName) -> Meta {
    let all = kind == KindName::Http;
    Meta {
        host: all,
        file: all,
        offset: all,
        labels: all,
    }
}

/// The format with `meta`, `fields` and what was read of `options`. Keys about the origin are JSON's,
/// so that asking for them on standard output asks for JSON.
pub(super) fn read(
    table: &mut Table,
    (kind, name): (KindName, Option<FormatName>),
    options: Options,
    cx: &mut Cx,
) -> Option<Format> {
    let meta_value = table.take("meta");
    let fields_value = table.take("fields");
    for value in [&meta_value, &fields_value].into_iter().flatten() {
        if name.is_some_and(|name| !name.has_records()) {
            let message = format!(
                "{}: `{}` needs format = \"json\"{}",
                value.subject,
                value.path,
                if kind == KindName::Http {
                    ", \"json_array\" or \"kafka\""
                } else {
                    ""
                }
            );
            cx.error(value.key_span.clone(), message)
                .label("other formats have no place for it");
        }
    }
    let is_asked = meta_value.is_some() || fields_value.is_some();
    let meta = meta_value.and_then(|value| meta(&value, cx));
    let fields = fields_value.and_then(|value| fields(&value, cx));
    let json = JsonOptions {
        meta: meta.unwrap_or_else(|| default_meta(kind)),
        fields: fields.unwrap_or_default(),
    };
    Some(match name {
        None if !is_asked => return default(kind),
        None | Some(FormatName::Json) => Format::Json(json),
        Some(FormatName::JsonArray) => Format::JsonArray(json),
        Some(FormatName::Kafka) => Format::Kafka(json),
        Some(FormatName::Raw) => Format::Raw,
        Some(FormatName::Text) => Format::Text(Text::default()),
        Some(FormatName::Elasticsearch) => Format::Elasticsearch(Elasticsearch {
            index: options.index,
        }),
        Some(FormatName::Loki) => Format::Loki(match options.labels {
            Some(labels) => Loki { labels },
            None => Loki::default(),
        }),
        Some(FormatName::Otlp) => Format::Otlp(Otlp {
            resource: options.resource,
            encoding: options.encoding,
        }),
        Some(FormatName::Splunk) if options.is_raw => Format::Raw,
        Some(FormatName::Splunk) => Format::Splunk(Splunk {
            index: options.index,
            sourcetype: options.sourcetype,
        }),
        Some(FormatName::Datadog) => Format::Datadog,
    })
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

/// `fields = { time = "@timestamp" }`
fn fields(value: &Value, cx: &mut Cx) -> Option<Fields> {
    let mut fields = Fields::default();
    for Pair { key, value } in value.pairs(cx)? {
        let Some(name) = value.known_text(cx) else {
            continue;
        };
        match fields.rename(key, &name.value) {
            Ok(()) => {}
            Err(NotAField::Unknown) => {
                let known: Vec<&str> = Fields::keys().collect();
                let message = format!("{}: fields has no key `{key}`", value.subject);
                cx.error(value.key_span.clone(), message)
                    .note(format!("keys of `fields`: {}", known.join(", ")));
            }
            Err(NotAField::Name) => {
                value.fail(cx, "must be 1 to 64 of A-Z a-z 0-9 _ . @ -");
            }
        }
    }
    if let Some(key) = fields.clash() {
        let message = format!("{}: fields gives two keys one name", value.subject);
        cx.error(value.key_span.clone(), message)
            .label(format!("`{key}` is called as another one, `_orig` aside"));
    }
    Some(fields)
}
