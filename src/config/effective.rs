//! The effective configuration as TOML: what stands in the files and, where nothing does, the
//! defaults; secrets as the references that they are, or blotted out.

use std::fmt::Write as _;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostics::{Diagnostics, FileId};
use super::keys::{AGENT, DATADOG_BATCH, Key, Kind, SINKS, SOURCES, Shape};
use super::load::{ConfigInput, LoadOptions, files, load_files};
use super::{AgentConfig, Config};
use crate::encoding::Format;
use crate::sink::{SinkConfig, SinkKind};
use crate::source::{SourceConfig, SourceKind};

/// Whether each line says where its value is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Values alone.
    Nobody,
    /// A comment names the file and line, or says that it is the default.
    Everyone,
}

/// Loads the inputs and renders what they add up to.
///
/// # Errors
/// Those of [`super::load`].
pub fn effective(
    inputs: &[ConfigInput],
    options: LoadOptions,
    blame: Blame,
) -> Result<(String, Diagnostics), Diagnostics> {
    let mut found = Diagnostics::default();
    let texts = files(inputs, &mut found);
    let (config, found) = load_files(&texts, options, found)?;
    let documents: Vec<Document> = texts
        .iter()
        .enumerate()
        .map(|(index, (name, text))| Document {
            name,
            text,
            file: FileId(index),
            // It was parsed without errors a moment ago.
            root: DeTable::parse(text)
                .map(Spanned::into_inner)
                .unwrap_or_default(),
        })
        .collect();
    let writer = Writer {
        documents: &documents,
        found: &found,
        blame,
    };
    let text = writer.all(&config);
    Ok((text, found))
}

/// The defaults of every kind of source and sink, as TOML.
pub fn defaults() -> String {
    let mut out = String::from("# Every key with its default. A key without one is a comment.\n");
    for (table, kinds) in [("source", SOURCES), ("sink", SINKS)] {
        for kind in kinds {
            let _ = write!(out, "\n# {}\n[{table}.{}]\n", kind.about, kind.name);
            let _ = writeln!(out, "type = \"{}\"", kind.name);
            kind.keys().for_each(|key| default_line(&mut out, key));
        }
    }
    out.push_str("\n[agent]\n");
    AGENT.iter().for_each(|key| default_line(&mut out, key));
    out
}

fn default_line(out: &mut String, key: &Key) {
    let _ = match key.default {
        Some(default) => writeln!(out, "{} = {default}", key.name),
        None => writeln!(out, "# {}: {}", key.name, key.about),
    };
}

/// One file, parsed.
struct Document<'t> {
    name: &'t str,
    text: &'t str,
    file: FileId,
    root: DeTable<'t>,
}

/// A value where it stands.
#[derive(Clone, Copy)]
struct Given<'a> {
    document: &'a Document<'a>,
    value: &'a Spanned<DeValue<'a>>,
}

struct Writer<'a> {
    documents: &'a [Document<'a>],
    found: &'a Diagnostics,
    blame: Blame,
}

impl Writer<'_> {
    fn all(&self, config: &Config) -> String {
        let mut out = String::new();
        for source in &config.sources {
            let kind = kind_of(SOURCES, source_kind(source));
            let keys: Vec<&Key> = kind.keys().collect();
            self.table(&mut out, ("source", &source.name), kind, &keys);
        }
        for sink in &config.sinks {
            let kind = kind_of(SINKS, sink_kind(sink));
            let format = format_word(sink);
            let is_of_format = |key: &&Key| key.formats.is_empty() || key.formats.contains(&format);
            // Only records have places for these.
            let has_records = matches!(format, "json" | "json_array" | "kafka");
            let fits = |key: &&Key| has_records || !["meta", "fields"].contains(&key.name);
            let keys = kind.keys().filter(is_of_format).filter(fits);
            // Datadog takes fewer entries in one request.
            let is_datadog = format == "datadog";
            let keys: Vec<&Key> = keys
                .map(|key| match key.name {
                    "batch" if is_datadog => &DATADOG_BATCH,
                    _ => key,
                })
                .collect();
            self.table(&mut out, ("sink", &sink.name), kind, &keys);
        }
        self.agent(&mut out, &config.agent);
        out.trim_start().to_owned()
    }

    fn table(&self, out: &mut String, (table, name): (&str, &str), kind: &Kind, keys: &[&Key]) {
        let Some(given) = self.entry(table, name) else {
            return;
        };
        let _ = write!(out, "\n[{table}.{}]\n", bare_or_quoted(name));
        let DeValue::Table(entry) = given.value.get_ref() else {
            // The short form: its one value says what it is and where.
            self.line(out, "type", &format!("\"{}\"", kind.name), Some(given));
            if !kind.place.is_empty() {
                self.line(out, kind.place, &self.shown(given), Some(given));
            }
            for key in keys.iter().filter(|key| key.name != kind.place) {
                self.default(out, key);
            }
            return;
        };
        let of_type = entry.get("type").map(|value| Given { value, ..given });
        self.line(out, "type", &format!("\"{}\"", kind.name), of_type);
        for key in keys {
            match entry.get(key.name) {
                Some(value) => self.given(out, key, Given { value, ..given }),
                None => self.default(out, key),
            }
        }
    }

    fn agent(&self, out: &mut String, agent: &AgentConfig) {
        let given = self.documents.iter().find_map(|document| {
            let value = document.root.get("agent")?;
            Some(Given { document, value })
        });
        out.push_str("\n[agent]\n");
        for key in AGENT {
            let value = given.and_then(|given| {
                let DeValue::Table(table) = given.value.get_ref() else {
                    return None;
                };
                Some(Given {
                    value: table.get(key.name)?,
                    ..given
                })
            });
            match value {
                Some(given) => self.given(out, key, given),
                None if key.name == "state" => {
                    let state = agent.state.display().to_string().replace("${", "$${");
                    self.line(out, "state", &super::keys::basic_string(&state), None);
                }
                None => self.default(out, key),
            }
        }
    }

    /// A value as it was written, with the defaults of what is missing inside it.
    fn given(&self, out: &mut String, key: &Key, given: Given) {
        let inner = match key.shape {
            Shape::Table(keys) | Shape::TextOrTable(keys) | Shape::ChoiceOrTable(_, keys) => keys,
            _ => &[],
        };
        let DeValue::Table(table) = given.value.get_ref() else {
            return self.line(out, key.name, &self.shown(given), Some(given));
        };
        let mut parts = Vec::new();
        if inner.is_empty() {
            let mut pairs: Vec<_> = table.iter().collect();
            pairs.sort_by_key(|(name, _)| name.span().start);
            for (name, value) in pairs {
                let value = self.shown(Given { value, ..given });
                parts.push(format!("{} = {value}", bare_or_quoted(name.get_ref())));
            }
        }
        for key in inner {
            match table.get(key.name) {
                Some(value) => parts.push(format!(
                    "{} = {}",
                    key.name,
                    self.shown(Given { value, ..given })
                )),
                None => parts.extend(key.default.map(|it| format!("{} = {it}", key.name))),
            }
        }
        self.line(
            out,
            key.name,
            &format!("{{ {} }}", parts.join(", ")),
            Some(given),
        );
    }

    fn default(&self, out: &mut String, key: &Key) {
        if let Some(default) = key.default {
            self.line(out, key.name, default, None);
        }
    }

    fn line(&self, out: &mut String, key: &str, value: &str, from: Option<Given>) {
        let _ = write!(out, "{key} = {value}");
        if self.blame == Blame::Everyone {
            let width = key.len() + value.len() + 3;
            let last_row = value.lines().last().map_or(width, str::len);
            let width = if value.contains('\n') {
                last_row
            } else {
                width
            };
            let pad = " ".repeat(40_usize.saturating_sub(width));
            let _ = match from {
                Some(given) => write!(out, "{pad}  # {}:{}", given.document.name, given.row()),
                None => write!(out, "{pad}  # default"),
            };
        }
        out.push('\n');
    }

    /// What may be shown of a value: as it was written.
    fn shown(&self, given: Given) -> String {
        let shown = self.found.shown(given.document.file, given.value.span());
        shown.to_owned()
    }

    fn entry(&self, table: &str, name: &str) -> Option<Given<'_>> {
        self.documents.iter().find_map(|document| {
            let DeValue::Table(entries) = document.root.get(table)?.get_ref() else {
                return None;
            };
            let value = entries.get(name)?;
            Some(Given { document, value })
        })
    }
}

impl Given<'_> {
    /// The line in which the value begins.
    fn row(&self) -> usize {
        let Range { start, .. } = self.value.span();
        let before = self.document.text.get(..start).unwrap_or_default();
        before.matches('\n').count() + 1
    }
}

fn kind_of(kinds: &'static [Kind], name: &str) -> &'static Kind {
    let mut kinds = kinds.iter();
    kinds
        .find(|kind| kind.name == name)
        .expect("every kind has its keys, which a test holds")
}

pub(super) fn source_kind(source: &SourceConfig) -> &'static str {
    match &source.kind {
        SourceKind::File(_) => "file",
        SourceKind::Stream(_) => "stream",
        SourceKind::WebSocket(_) => "websocket",
        SourceKind::Poll(_) => "poll",
        SourceKind::Range(_) => "range",
        SourceKind::Health(_) => "health",
        SourceKind::Stdin(_) => "stdin",
    }
}

fn sink_kind(sink: &SinkConfig) -> &'static str {
    match &sink.kind {
        SinkKind::Stdout => "stdout",
        SinkKind::File(_) => "file",
        SinkKind::Http(_) => "http",
    }
}

/// Empty: it depends on what standard output is.
fn format_word(sink: &SinkConfig) -> &'static str {
    match &sink.format {
        None => "",
        Some(Format::Raw) => "raw",
        Some(Format::Json(_)) => "json",
        Some(Format::JsonArray(_)) => "json_array",
        Some(Format::Text(_) | Format::Template(_)) => "text",
        Some(Format::Elasticsearch(_)) => "elasticsearch",
        Some(Format::Loki(_)) => "loki",
        Some(Format::Otlp(_)) => "otlp",
        Some(Format::Splunk(_)) => "splunk",
        Some(Format::Datadog) => "datadog",
        Some(Format::Kafka(_)) => "kafka",
    }
}

fn bare_or_quoted(name: &str) -> String {
    let is_bare = !name.is_empty()
        && name
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || b"_-".contains(&it));
    if is_bare {
        name.to_owned()
    } else {
        super::keys::basic_string(name)
    }
}
