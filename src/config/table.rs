//! A table that knows which of its keys were asked for, and reports the others.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::cx::Cx;
use super::suggest::nearest;
use super::value::{Pair, Value};

/// What a table is, for messages.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// A top-level one: "a file source".
    Named(&'static str),
    /// One inside another: its path.
    Nested(String),
}

/// A table being read: keys are taken out of it, and what is left is unknown.
pub(super) struct Table<'t> {
    /// For example "source `nginx`".
    pub(super) subject: String,
    kind: Kind,
    /// Where a missing key is reported.
    header: Range<usize>,
    /// In the order of the file.
    entries: Vec<Entry<'t>>,
    /// The keys that were asked for.
    known: Vec<&'static str>,
}

struct Entry<'t> {
    key: &'t str,
    key_span: Range<usize>,
    de: &'t Spanned<DeValue<'t>>,
}

impl<'t> Table<'t> {
    pub(super) fn new(
        table: &'t DeTable<'t>,
        subject: String,
        kind: Kind,
        header: Range<usize>,
    ) -> Self {
        let mut entries: Vec<Entry> = table
            .iter()
            .map(|(key, de)| Entry {
                key: key.get_ref(),
                key_span: key.span(),
                de,
            })
            .collect();
        entries.sort_by_key(|entry| entry.key_span.start);
        Self {
            subject,
            kind,
            header,
            entries,
            known: Vec::new(),
        }
    }

    /// The table that is `value`.
    pub(super) fn nested(table: &'t DeTable<'t>, value: &Value<'t>) -> Self {
        let kind = Kind::Nested(value.path.clone());
        Self::new(table, value.subject.clone(), kind, value.header())
    }

    /// Says what kind of table it turned out to be.
    pub(super) fn set_kind(&mut self, kind: &'static str) {
        self.kind = Kind::Named(kind);
    }

    /// True if no key is left.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// True if the key is there; it stays.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// Takes a key out; `None` if it is not there.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value<'t>> {
        self.known.push(key);
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        let entry = self.entries.remove(at);
        Some(self.value(&entry))
    }

    /// Takes a key out that must be there.
    pub(super) fn require(&mut self, key: &'static str, cx: &mut Cx) -> Option<Value<'t>> {
        let value = self.take(key);
        if value.is_none() {
            self.missing(key, cx);
        }
        value
    }

    /// Reports that a key is missing.
    pub(super) fn missing(&self, key: &str, cx: &mut Cx) {
        let message = format!("missing key `{key}` in {}", self.place_name());
        cx.error(self.header.clone(), message);
    }

    /// Reports that none of several keys is there.
    pub(super) fn missing_one_of(&self, keys: &str, cx: &mut Cx) {
        cx.error(
            self.header.clone(),
            format!("missing {keys} in {}", self.place_name()),
        );
    }

    /// Reports those of `keys` that are there: they are described and do not exist yet.
    pub(super) fn later(&mut self, keys: &[&str], cx: &mut Cx) {
        let place_name = self.place_name();
        self.entries.retain(|entry| {
            let later = keys.contains(&entry.key);
            if later {
                let message = format!(
                    "key `{}` in {place_name} is not supported by this version",
                    entry.key
                );
                cx.error(entry.key_span.clone(), message);
            }
            !later
        });
    }

    /// Reports a key that makes no sense here, and why.
    pub(super) fn refuse(&mut self, key: &str, why: &str, cx: &mut Cx) {
        let place_name = self.place_name();
        self.entries.retain(|entry| {
            let is_it = entry.key == key;
            if is_it {
                let message = format!("key `{key}` in {place_name}: {why}");
                cx.error(entry.key_span.clone(), message);
            }
            !is_it
        });
    }

    /// All keys that are left, of a table whose keys are free.
    pub(super) fn pairs(mut self) -> Vec<Pair<'t>> {
        let entries = std::mem::take(&mut self.entries);
        entries
            .iter()
            .map(|entry| Pair {
                key: entry.key,
                value: self.value(entry),
            })
            .collect()
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(mut self, cx: &mut Cx) {
        // `type` is read first and matters least, for the location mostly decides.
        self.known.sort_by_key(|key| *key == "type");
        let keys = match &self.kind {
            Kind::Named(kind) => format!("keys of {kind}: {}", self.known.join(", ")),
            Kind::Nested(path) => format!("keys of `{path}`: {}", self.known.join(", ")),
        };
        for entry in &self.entries {
            let near = nearest(entry.key, self.known.iter().copied());
            // Whatever it is called, what may be a secret is not shown.
            let secrets = ["bearer", "basic", "password", "headers", "token", "secret"];
            if nearest(entry.key, secrets).is_some() {
                cx.diagnostics.mask(cx.file, entry.de.span());
            }
            let message = format!("unknown key `{}` in {}", entry.key, self.place_name());
            let found = cx.error(entry.key_span.clone(), message).note(keys.clone());
            if let Some(near) = near {
                found.label(format!("did you mean `{near}`?"));
            }
        }
    }

    fn place_name(&self) -> String {
        match &self.kind {
            Kind::Named(_) => self.subject.clone(),
            Kind::Nested(path) => format!("`{path}` of {}", self.subject),
        }
    }

    fn value(&self, entry: &Entry<'t>) -> Value<'t> {
        let path = match &self.kind {
            Kind::Named(_) => entry.key.to_owned(),
            Kind::Nested(path) => format!("{path}.{}", entry.key),
        };
        Value {
            subject: self.subject.clone(),
            path,
            key_span: entry.key_span.clone(),
            de: entry.de,
        }
    }
}
