//! Errors and warnings with their places in the configuration, and how they are shown.
//!
//! Must not know the tables. Pure: no I/O, no clock.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::mask;

/// One file among those that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId(pub(super) usize);

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can, but probably should not.
    Warning,
}

/// Whether a rendering uses terminal colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// ANSI escape sequences.
    Always,
    /// Plain text.
    Never,
}

/// A stretch of a file, with the words that stand under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which file.
    pub file: FileId,
    /// Which of its bytes; `None`: the file as a whole.
    pub span: Option<Range<usize>>,
    /// The words beside the carets.
    pub label: Option<String>,
}

impl Place {
    /// A stretch of a file, without words.
    pub fn new(file: FileId, span: Range<usize>) -> Self {
        Self {
            file,
            span: Some(span),
            label: None,
        }
    }

    /// A file as a whole.
    pub fn whole(file: FileId) -> Self {
        Self {
            file,
            span: None,
            label: None,
        }
    }

    /// The same place with words.
    pub fn labelled(mut self, label: &str) -> Self {
        self.label = Some(label.to_owned());
        self
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub message: String,
    /// Where; `None`: nowhere in particular.
    pub place: Option<Place>,
    /// A second place that has to do with it.
    pub related: Option<Place>,
    /// Further lines below.
    pub notes: Vec<String>,
}

impl Diagnostic {
    /// Sets the words under the carets.
    pub fn label(&mut self, label: impl Into<String>) -> &mut Self {
        if let Some(place) = &mut self.place {
            place.label = Some(label.into());
        }
        self
    }

    /// Adds a line below.
    pub fn note(&mut self, note: impl Into<String>) -> &mut Self {
        self.notes.push(note.into());
        self
    }

    /// Sets the second place.
    pub fn related(&mut self, place: Place) -> &mut Self {
        self.related = Some(place);
        self
    }
}

/// What is shown of a file: its text with the secrets blotted out.
#[derive(Clone, Debug)]
struct Shown {
    name: String,
    text: String,
}

/// All findings of one load, with the texts they point into.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    files: Vec<Shown>,
    found: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Takes note of a file, so that findings can point into it.
    pub fn add_file(&mut self, name: &str, text: &str) -> FileId {
        self.files.push(Shown {
            name: name.to_owned(),
            text: mask::masked(text),
        });
        FileId(self.files.len() - 1)
    }

    /// Adds an error; the reference is for its label and notes.
    pub fn error(&mut self, place: Option<Place>, message: impl Into<String>) -> &mut Diagnostic {
        self.add(Severity::Error, place, message.into())
    }

    /// Adds a warning; the reference is for its label and notes.
    pub fn warning(&mut self, place: Option<Place>, message: impl Into<String>) -> &mut Diagnostic {
        self.add(Severity::Warning, place, message.into())
    }

    /// The file, if there is just one.
    pub(super) fn only_file(&self) -> Option<FileId> {
        (self.files.len() == 1).then_some(FileId(0))
    }

    /// Blots out a secret in everything that is shown from now on.
    pub(super) fn mask(&mut self, file: FileId, span: Range<usize>) {
        mask::mask_value(&mut self.files[file.0].text, span);
    }

    /// Blots out what looks like a header in a file that cannot be read.
    pub(super) fn mask_headers(&mut self, file: FileId) {
        mask::mask_headers(&mut self.files[file.0].text);
    }

    /// What may be shown of a stretch of a file.
    pub(super) fn shown(&self, file: FileId, span: Range<usize>) -> &str {
        self.files[file.0].text.get(span).unwrap_or_default()
    }

    /// True if the configuration cannot be used.
    pub fn has_errors(&self) -> bool {
        self.found.iter().any(|one| one.severity == Severity::Error)
    }

    /// Errors and warnings by their places in the files; those without a place come last.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.found.iter()
    }

    /// How many findings there are.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// True if there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All findings as an operator reads them, apart by empty lines.
    pub fn render(&self, color: Color) -> String {
        let renderer = match color {
            Color::Always => Renderer::styled(),
            Color::Never => Renderer::plain(),
        };
        let all: Vec<String> = self
            .iter()
            .map(|one| self.render_one(one, &renderer))
            .collect();
        all.join("\n")
    }

    /// Sorts by place; files in the order in which they were read.
    pub(super) fn sort(&mut self) {
        self.found.sort_by_key(|one| match &one.place {
            Some(Place {
                file,
                span: Some(span),
                ..
            }) => (0, *file, span.start),
            Some(Place {
                file, span: None, ..
            }) => (0, *file, usize::MAX),
            None => (1, FileId(0), 0),
        });
    }

    fn add(
        &mut self,
        severity: Severity,
        place: Option<Place>,
        message: String,
    ) -> &mut Diagnostic {
        self.found.push(Diagnostic {
            severity,
            message,
            place,
            related: None,
            notes: Vec::new(),
        });
        self.found.last_mut().expect("one was just pushed")
    }

    fn render_one(&self, one: &Diagnostic, renderer: &Renderer) -> String {
        let level = match one.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(one.message.as_str()));
        if let Some(place) = &one.place {
            group = self.point(group, place, AnnotationKind::Primary);
        }
        if let Some(place) = &one.related {
            group = self.point(group, place, AnnotationKind::Context);
        }
        let notes = one
            .notes
            .iter()
            .map(|note| Level::NOTE.message(note.as_str()));
        spaced(&renderer.render(&[group.elements(notes)]))
    }

    fn point<'a>(&'a self, group: Group<'a>, place: &'a Place, kind: AnnotationKind) -> Group<'a> {
        let file = &self.files[place.file.0];
        let Some(span) = &place.span else {
            return group.element(Origin::path(file.name.as_str()));
        };
        let annotation = kind.span(span.clone()).label(place.label.as_deref());
        group.element(
            Snippet::source(file.text.as_str())
                .path(file.name.as_str())
                .annotation(annotation),
        )
    }
}

/// Line numbers of one digit stand as if they had two, and the notes follow the carets at once.
fn spaced(rendered: &str) -> String {
    let plain = |line: &str| anstream::adapter::strip_str(line).to_string();
    let lines: Vec<&str> = rendered.lines().collect();
    let narrow = lines.iter().skip(1).any(|line| {
        let line = plain(line);
        line.starts_with(" --> ") || line.starts_with("--> ") || line.starts_with(" = ")
    });
    let mut out = String::with_capacity(rendered.len() + lines.len());
    for (index, line) in lines.iter().enumerate() {
        let next_is_note = lines
            .get(index + 1)
            .is_some_and(|next| plain(next).trim_start().starts_with("= "));
        if plain(line).trim() == "|" && next_is_note {
            continue;
        }
        if index > 0 && narrow && !line.is_empty() {
            out.push(' ');
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}
