//! A manual page being written, in the macros of man(7).

use std::fmt::Write as _;

/// A manual page.
#[derive(Debug)]
pub struct Page(String);

impl Page {
    /// Begins a page.
    pub fn new(name: &str, section: &str, version: &str) -> Self {
        Self(format!(
            ".TH {name} {section} \"\" \"logweir {version}\"\n.nh\n.ad l\n"
        ))
    }

    /// Begins a section.
    pub fn section(&mut self, heading: &str) {
        let _ = writeln!(self.0, ".SH \"{}\"", escaped(heading).to_uppercase());
    }

    /// Adds a paragraph; empty lines in it begin further ones.
    pub fn text(&mut self, text: &str) {
        for paragraph in text.split("\n\n") {
            let _ = writeln!(self.0, ".PP\n{}", escaped(paragraph.trim()));
        }
    }

    /// Adds one line of its own.
    pub fn line(&mut self, text: &str) {
        let _ = writeln!(self.0, "{}\n.br", escaped(text));
    }

    /// Adds a term and what it means.
    pub fn item(&mut self, term: &str, text: &str) {
        let _ = writeln!(self.0, ".TP\n.B {}", escaped(term));
        let mut paragraphs = text.split("\n\n");
        let first = paragraphs.next().unwrap_or_default();
        let _ = writeln!(self.0, "{}", escaped(first.trim()));
        for more in paragraphs {
            let _ = writeln!(self.0, ".IP\n{}", escaped(more.trim()));
        }
    }

    /// Adds lines as they are.
    pub fn verbatim(&mut self, text: &str) {
        let _ = writeln!(self.0, ".PP\n.nf\n{}\n.fi", escaped(text.trim_end()));
    }

    /// The page.
    pub fn finish(self) -> String {
        self.0
    }
}

/// A text in which nothing is a request, an escape or a hyphenation.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (index, line) in text.lines().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        if line.starts_with(['.', '\'']) {
            out.push_str("\\&");
        }
        for char in line.chars() {
            match char {
                '\\' => out.push_str("\\e"),
                '-' => out.push_str("\\-"),
                '"' => out.push_str("\\(dq"),
                '\'' => out.push_str("\\(aq"),
                '`' => out.push_str("\\(ga"),
                '~' => out.push_str("\\(ti"),
                '^' => out.push_str("\\(ha"),
                '…' => out.push_str("..."),
                other => out.push(other),
            }
        }
    }
    out
}
