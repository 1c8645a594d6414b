//! Reads the keys that only some formats of an HTTP sink have, and what they ask of its URL.

use reqwest::Url;

use super::super::cx::Cx;
use super::super::table::Table;
use super::super::value::Value;
use super::format::FormatName;
use crate::encoding::OtlpEncoding;
use crate::http::Credentials;
use crate::secret::Secret;
use crate::sink::http::Protocol;

/// What only some formats have.
#[derive(Debug, Default)]
pub(super) struct Options {
    /// True where lines go to Splunk as they are.
    pub(super) is_raw: bool,
    /// True where `index` is given, be it good or not.
    has_index: bool,
    pub(super) index: Option<String>,
    pub(super) sourcetype: Option<String>,
    pub(super) labels: Option<Vec<String>>,
    pub(super) resource: Vec<(String, String)>,
    pub(super) encoding: OtlpEncoding,
}

/// Which formats have which keys. `token` is read with the credentials.
const KEYS: [(&str, &[FormatName]); 6] = [
    ("index", &[FormatName::Elasticsearch, FormatName::Splunk]),
    ("sourcetype", &[FormatName::Splunk]),
    ("labels", &[FormatName::Loki]),
    ("tenant", &[FormatName::Loki]),
    ("resource", &[FormatName::Otlp]),
    ("encoding", &[FormatName::Otlp]),
];

/// Reads the keys; those of other formats are errors. A tenant goes to the credentials' headers.
pub(super) fn read(
    table: &mut Table,
    name: Option<FormatName>,
    credentials: &mut Credentials,
    cx: &mut Cx,
) -> Options {
    let mut options = Options {
        has_index: table.has("index"),
        ..Options::default()
    };
    for (key, formats) in KEYS {
        let Some(value) = table.take(key) else {
            continue;
        };
        if !name.is_some_and(|name| formats.contains(&name)) {
            foreign(&value, formats, cx);
            continue;
        }
        match key {
            "index" if name == Some(FormatName::Elasticsearch) => options.index = index(&value, cx),
            "index" => options.index = value.filled_text(cx).map(|text| text.value),
            "sourcetype" => options.sourcetype = value.filled_text(cx).map(|text| text.value),
            "labels" => options.labels = labels(&value, cx),
            "tenant" => {
                if let Some(text) = value.filled_text(cx) {
                    let tenant = ("X-Scope-OrgID".to_owned(), Secret::new(text.value));
                    credentials.headers.push(tenant);
                }
            }
            "resource" => options.resource = resource(&value, cx).unwrap_or_default(),
            _ => {
                let words = [
                    ("protobuf", OtlpEncoding::Protobuf),
                    ("json", OtlpEncoding::Json),
                ];
                options.encoding = value.choice(&words, &[], cx).unwrap_or_default();
            }
        }
    }
    options
}

/// A key that the format has no use for.
pub(super) fn foreign(value: &Value, formats: &[FormatName], cx: &mut Cx) {
    let words: Vec<String> = formats
        .iter()
        .map(|name| format!("format = \"{}\"", name.word()))
        .collect();
    let message = format!(
        "{}: `{}` needs {}",
        value.subject,
        value.path,
        words.join(" or ")
    );
    cx.error(value.key_span.clone(), message)
        .label("this format has no use for it");
}

/// What the collector speaks.
pub(super) fn protocol(name: Option<FormatName>, options: &Options) -> Protocol {
    match name {
        None | Some(FormatName::Raw | FormatName::Json | FormatName::Text) => Protocol::Lines,
        Some(FormatName::JsonArray) => Protocol::Array,
        Some(FormatName::Elasticsearch) => Protocol::Elasticsearch,
        Some(FormatName::Loki) => Protocol::Loki,
        Some(FormatName::Otlp) => match options.encoding {
            OtlpEncoding::Protobuf => Protocol::OtlpProtobuf,
            OtlpEncoding::Json => Protocol::OtlpJson,
        },
        Some(FormatName::Splunk) => Protocol::Splunk,
        Some(FormatName::Datadog) => Protocol::Datadog,
        Some(FormatName::Kafka) => Protocol::Kafka,
    }
}

/// Checks what a format asks of a URL, and puts into it what the format keeps there.
pub(super) fn adapt_url(
    value: &Value,
    name: Option<FormatName>,
    mut url: Url,
    options: &mut Options,
    cx: &mut Cx,
) -> Option<Url> {
    let path = url.path().trim_end_matches('/').to_owned();
    match name {
        Some(FormatName::Kafka) => {
            let topic = path.rsplit_once("/topics/").map(|(_, topic)| topic);
            if topic.is_none_or(|topic| topic.is_empty() || topic.contains('/')) {
                value
                    .fail(cx, "must end in the topic for format = \"kafka\"")
                    .label("for example https://proxy:8082/topics/logs");
                return None;
            }
        }
        Some(FormatName::Elasticsearch) if !options.has_index => {
            let index = path.strip_suffix("/_bulk").unwrap_or(&path);
            if index.is_empty() {
                let message = format!(
                    "{}: format = \"elasticsearch\" needs `index`",
                    value.subject
                );
                cx.error(value.key_span.clone(), message)
                    .label("an index or data stream, for example index = \"logs-app-default\"");
            }
        }
        // The raw endpoint takes what stands in events from the query.
        Some(FormatName::Splunk) if path.ends_with("/collector/raw") => {
            options.is_raw = true;
            let given = [
                ("index", &options.index),
                ("sourcetype", &options.sourcetype),
            ];
            for (key, text) in given {
                if let Some(text) = text {
                    url.query_pairs_mut().append_pair(key, text);
                }
            }
        }
        _ => {}
    }
    Some(url)
}

/// A name as Elasticsearch takes it.
fn index(value: &Value, cx: &mut Cx) -> Option<String> {
    let text = value.known_text(cx)?.value;
    let is_allowed =
        |c: char| !c.is_uppercase() && !c.is_control() && !" \\/*?\"<>|,#:".contains(c);
    let is_good = !text.is_empty()
        && text.len() <= 255
        && !text.starts_with(['-', '_', '+', '.'])
        && text.chars().all(is_allowed);
    if !is_good {
        value
            .fail(cx, "is not the name of an index or data stream")
            .label("lower case, without spaces and \\ / * ? \" < > | , # :, not beginning with - _ + .");
        return None;
    }
    Some(text)
}

/// Which of `source`, `host` and the sources' labels make a stream of Loki.
fn labels(value: &Value, cx: &mut Cx) -> Option<Vec<String>> {
    /// Loki takes 15 by default.
    const MOST: usize = 15;
    let values = value.list(cx)?;
    let mut labels = Vec::new();
    for value in &values {
        let Some(text) = value.known_text(cx) else {
            continue;
        };
        match text.value.as_str() {
            "" => drop(value.fail(cx, "must not be empty")),
            "file" | "offset" => {
                value
                    .fail(
                        cx,
                        "must not be a label: each value would be a stream of its own",
                    )
                    .label("it is sent as structured metadata");
            }
            name if labels.iter().any(|it| it == name) => {
                value.fail(cx, "is there twice");
            }
            name => labels.push(name.to_owned()),
        }
    }
    if values.is_empty() || values.len() > MOST {
        value.fail(cx, &format!("must name 1 to {MOST} labels"));
        return None;
    }
    Some(labels)
}

/// `resource = { "service.name" = "…" }`
fn resource(value: &Value, cx: &mut Cx) -> Option<Vec<(String, String)>> {
    let mut attributes = Vec::new();
    for pair in value.pairs(cx)? {
        if pair.key.is_empty() {
            let message = format!("{}: an attribute without a name", value.subject);
            cx.error(pair.value.key_span.clone(), message);
        }
        if let Some(text) = pair.value.text(cx) {
            attributes.push((pair.key.to_owned(), text.value));
        }
    }
    Some(attributes)
}
