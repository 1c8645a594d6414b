//! What every reader of a table carries along.

use std::ops::Range;

use super::diagnostics::{Diagnostic, Diagnostics, FileId, Place};
use super::environment::Environment;

/// What becomes of `${…}` in string values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum References {
    /// They are looked up, and a missing one is an error.
    Resolve,
    /// They are replaced by placeholders; nothing is looked up (`check --no-env`).
    Placeholders,
}

/// The file being read, where findings go, and where references are looked up.
pub(super) struct Cx<'a> {
    pub(super) file: FileId,
    /// The file as written.
    pub(super) text: &'a str,
    pub(super) diagnostics: &'a mut Diagnostics,
    pub(super) environment: &'a dyn Environment,
    pub(super) references: References,
}

impl Cx<'_> {
    pub(super) fn place(&self, span: Range<usize>) -> Place {
        Place::new(self.file, span)
    }

    pub(super) fn error(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        let place = self.place(span);
        self.diagnostics.error(Some(place), message)
    }

    pub(super) fn warning(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        let place = self.place(span);
        self.diagnostics.warning(Some(place), message)
    }

    /// A value as written, short and without secrets.
    pub(super) fn quote(&self, span: Range<usize>) -> String {
        const CHARS_MAX: usize = 60;
        let shown = self.diagnostics.shown(self.file, span);
        let line = shown.lines().next().unwrap_or_default();
        if line.len() == shown.len() && shown.chars().count() <= CHARS_MAX {
            return shown.to_owned();
        }
        let start: String = line.chars().take(CHARS_MAX).collect();
        format!("{start}…")
    }
}
