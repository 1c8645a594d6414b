//! Reads one file: its top level, and what its tables hold.

use toml::de::DeTable;

use super::agent::{self, AgentEntry};
use super::cx::Cx;
use super::diagnostics::Place;
use super::sink::{self, SinkEntry};
use super::source::{self, SourceEntry};
use super::table::{Kind, Table};
use super::value::{Pair, Value};

/// What stands in the files so far.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) agent: Option<(AgentEntry, Place)>,
    pub(super) sources: Vec<SourceEntry>,
    pub(super) sinks: Vec<SinkEntry>,
    /// True if something could not be read: what seems to be missing may stand there.
    pub(super) incomplete: bool,
}

/// Adds what stands in one file.
pub(super) fn read(entries: &mut Entries, cx: &mut Cx) {
    let (document, mut errors) = DeTable::parse_recoverable(cx.text);
    if !errors.is_empty() {
        entries.incomplete = true;
        cx.diagnostics.mask_headers(cx.file);
        errors.sort_by_key(|error| error.span().map_or(0, |span| span.start));
        for error in &errors {
            syntax_error(error, cx);
        }
        return;
    }
    let subject = "the configuration".to_owned();
    let mut root = Table::new(
        document.get_ref(),
        subject,
        Kind::Named("the configuration"),
        0..0,
    );
    let (sources, sinks, agent) = (root.take("source"), root.take("sink"), root.take("agent"));
    let known_only = root.is_empty();
    root.finish(cx);
    let (sources, sinks) = (entries_of(sources, cx), entries_of(sinks, cx));
    entries.incomplete |= !known_only || sources.is_none() || sinks.is_none();
    for pair in sources.unwrap_or_default() {
        let entry = source::read(pair, cx);
        match entries
            .sources
            .iter()
            .find(|other| other.name == entry.name)
        {
            Some(first) => duplicate(
                &format!("source `{}`", entry.name),
                entry.place,
                &first.place,
                cx,
            ),
            None => entries.sources.push(entry),
        }
    }
    for pair in sinks.unwrap_or_default() {
        let entry = sink::read(pair, cx);
        match entries.sinks.iter().find(|other| other.name == entry.name) {
            Some(first) => duplicate(
                &format!("sink `{}`", entry.name),
                entry.place,
                &first.place,
                cx,
            ),
            None => entries.sinks.push(entry),
        }
    }
    if let Some(mut value) = agent {
        "[agent]".clone_into(&mut value.subject);
        value.path.clear();
        let place = cx.place(value.key_span.clone());
        let entry = agent::read(&value, cx);
        match &entries.agent {
            Some((_, first)) => duplicate("[agent]", place, first, cx),
            None => entries.agent = Some((entry, place)),
        }
    }
}

/// The entries of `[source]` or `[sink]`; `None` if it is no table.
fn entries_of<'t>(value: Option<Value<'t>>, cx: &mut Cx) -> Option<Vec<Pair<'t>>> {
    match value {
        Some(value) => value.pairs(cx),
        None => Some(Vec::new()),
    }
}

/// Within one file TOML itself refuses this; here are two files.
fn duplicate(what: &str, second: Place, first: &Place, cx: &mut Cx) {
    cx.diagnostics
        .error(
            Some(second.labelled("a second time")),
            format!("{what} is configured twice"),
        )
        .related(first.clone().labelled("the first is here"));
}

/// The parser's message, with the name of a key that stands twice.
fn syntax_error(error: &toml::de::Error, cx: &mut Cx) {
    let span = error.span().unwrap_or(0..0);
    let name = cx.quote(span.clone());
    let message = match error.message() {
        "duplicate key" if !name.is_empty() => format!("duplicate key `{name}`"),
        other => format!("not valid TOML: {other}"),
    };
    cx.error(span, message);
}
