//! One value of a table, read as the type that its key asks for.
//!
//! Every reader reports what is wrong and then gives `None`, so that reading goes on.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::cx::Cx;
use super::diagnostics::Diagnostic;
use super::references::{self, From, Text};
use super::suggest::nearest;
use super::table::{Kind, Table};
use super::units;

/// A value, its key, and whose it is.
#[derive(Clone)]
pub(super) struct Value<'t> {
    /// For example "source `nginx`".
    pub(super) subject: String,
    /// For example `batch.bytes`; empty: the value is all there is of its subject.
    pub(super) path: String,
    pub(super) key_span: Range<usize>,
    pub(super) de: &'t Spanned<DeValue<'t>>,
}

/// A key of a table whose keys are free, with its value.
pub(super) struct Pair<'t> {
    pub(super) key: &'t str,
    pub(super) value: Value<'t>,
}

impl<'t> Value<'t> {
    /// Where the value stands.
    pub(super) fn span(&self) -> Range<usize> {
        self.de.span()
    }

    /// Whose value it is and which: "source `nginx`: max_line".
    pub(super) fn name(&self) -> String {
        if self.path.is_empty() {
            return self.subject.clone();
        }
        format!("{}: {}", self.subject, self.path)
    }

    /// Reports that the value cannot be: "source `nginx`: max_line = "0B": must be …".
    pub(super) fn fail<'c>(&self, cx: &'c mut Cx, why: &str) -> &'c mut Diagnostic {
        let quote = cx.quote(self.span());
        let message = format!("{} = {quote}: {why}", self.name());
        cx.error(self.span(), message)
    }

    /// Reports a value that is described and does not exist yet.
    pub(super) fn later(&self, cx: &mut Cx) {
        let quote = cx.quote(self.span());
        let message = format!("{} = {quote} is not supported by this version", self.name());
        cx.error(self.span(), message);
    }

    /// A string as written.
    pub(super) fn raw_text(&self) -> Option<&str> {
        self.de.get_ref().as_str()
    }

    /// A string, its references resolved.
    pub(super) fn text(&self, cx: &mut Cx) -> Option<Text> {
        let DeValue::String(raw) = self.de.get_ref() else {
            self.fail(cx, "must be a string");
            return None;
        };

        Some(references::resolve(raw, self.span(), &self.name(), cx))
    }

    /// A string that can be judged: `None` also for a placeholder.
    pub(super) fn known_text(&self, cx: &mut Cx) -> Option<Text> {
        self.text(cx).filter(|text| text.from != From::Placeholder)
    }

    /// A string with something in it.
    pub(super) fn filled_text(&self, cx: &mut Cx) -> Option<Text> {
        let text = self.text(cx)?;
        if text.value.is_empty() && text.from != From::Placeholder {
            self.fail(cx, "must not be empty");
            return None;
        }
        Some(text)
    }

    /// The elements of a list, or the value itself where it is not one.
    pub(super) fn one_or_many(&self) -> Vec<Value<'t>> {
        self.elements().unwrap_or_else(|| vec![self.clone()])
    }

    /// The elements of a list.
    pub(super) fn list(&self, cx: &mut Cx) -> Option<Vec<Value<'t>>> {
        let elements = self.elements();
        if elements.is_none() {
            self.fail(cx, "must be a list of strings");
        }
        elements
    }

    /// The elements of a list; `None`: it is none.
    pub(super) fn elements(&self) -> Option<Vec<Value<'t>>> {
        let DeValue::Array(array) = self.de.get_ref() else {
            return None;
        };
        Some(
            array
                .iter()
                .map(|de| Value { de, ..self.clone() })
                .collect(),
        )
    }

    /// A table with known keys.
    pub(super) fn table(&self, cx: &mut Cx) -> Option<Table<'t>> {
        Some(Table::nested(self.raw_table(cx)?, self))
    }

    /// A table with free keys, in the order of the file.
    pub(super) fn pairs(&self, cx: &mut Cx) -> Option<Vec<Pair<'t>>> {
        let kind = Kind::Nested(self.path.clone());
        let table = Table::new(
            self.raw_table(cx)?,
            self.subject.clone(),
            kind,
            self.header(),
        );
        Some(table.pairs())
    }

    /// True or false.
    pub(super) fn flag(&self, cx: &mut Cx) -> Option<bool> {
        if let DeValue::Boolean(flag) = self.de.get_ref() {
            return Some(*flag);
        }
        self.fail(cx, "must be `true` or `false`, without quotes");
        None
    }

    /// A number without unit.
    pub(super) fn count(&self, range: RangeInclusive<u64>, cx: &mut Cx) -> Option<u64> {
        let DeValue::Integer(number) = self.de.get_ref() else {
            self.fail(cx, "must be a whole number");
            return None;
        };
        let digits = number.as_str().replace('_', "");
        let parsed = i128::from_str_radix(&digits, number.radix()).ok();
        let count = parsed.and_then(|number| u64::try_from(number).ok());
        let count = count.filter(|count| range.contains(count));
        if count.is_none() {
            let why = format!("must be between {} and {}", range.start(), range.end());
            self.fail(cx, &why);
        }
        count
    }

    /// A size in bytes, written with a unit.
    pub(super) fn size(&self, range: RangeInclusive<u64>, cx: &mut Cx) -> Option<u64> {
        let size = self.with_unit(units::size, units::size_hint, cx)?;
        if !range.contains(&size) {
            let (min, max) = (
                units::show_size(*range.start()),
                units::show_size(*range.end()),
            );
            self.fail(cx, &format!("must be between {min} and {max}"));
            return None;
        }
        Some(size)
    }

    /// A duration, written with a unit.
    pub(super) fn duration(
        &self,
        range: RangeInclusive<Duration>,
        cx: &mut Cx,
    ) -> Option<Duration> {
        let duration = self.with_unit(units::duration, units::duration_hint, cx)?;
        if !range.contains(&duration) {
            let (min, max) = (range.start(), range.end());
            let (min, max) = (units::show_duration(*min), units::show_duration(*max));
            self.fail(cx, &format!("must be between {min} and {max}"));
            return None;
        }
        Some(duration)
    }

    fn with_unit<T>(
        &self,
        parse: fn(&str) -> Result<T, units::NotAUnit>,
        hint: fn(&str) -> String,
        cx: &mut Cx,
    ) -> Option<T> {
        if let DeValue::Integer(_) | DeValue::Float(_) = self.de.get_ref() {
            let hint = hint(&cx.quote(self.span()));
            self.fail(cx, "needs a unit and quotes").label(hint);
            return None;
        }
        let text = self.known_text(cx)?;
        match parse(&text.value) {
            Ok(parsed) => Some(parsed),
            Err(not) => {
                self.fail(cx, not.why).label(not.hint);
                None
            }
        }
    }

    /// One of several words. `later` are words that are described and do not exist yet.
    pub(super) fn choice<T: Copy>(
        &self,
        words: &[(&str, T)],
        later: &[&str],
        cx: &mut Cx,
    ) -> Option<T> {
        let text = self.known_text(cx)?;
        if let Some((_, choice)) = words.iter().find(|(word, _)| *word == text.value) {
            return Some(*choice);
        }
        if later.contains(&text.value.as_str()) {
            self.later(cx);
            return None;
        }
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let near = nearest(&text.value, words.iter().copied());
        let found = self.fail(cx, &format!("must be {}", listed(&words)));
        if let Some(near) = near {
            found.label(format!("did you mean `{near}`?"));
        }
        None
    }

    /// What a missing key inside points at.
    pub(super) fn header(&self) -> Range<usize> {
        match self.de.get_ref() {
            DeValue::Table(_) => self.de.span(),
            _ => self.key_span.clone(),
        }
    }

    fn raw_table(&self, cx: &mut Cx) -> Option<&'t DeTable<'t>> {
        if let DeValue::Table(table) = self.de.get_ref() {
            return Some(table);
        }
        self.fail(cx, "must be a table")
            .label("for example { key = \"value\" }");
        None
    }
}

/// "`a`, `b` or `c`".
pub(super) fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}
