//! For people: label, local time and line.
//!
//! Pure: no I/O, no clock. What it remembers between calls is how the screen looks so far.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::tz::TimeZone;

use super::content::without_byte_order_mark;
use super::stamp::TimeOfDay;
use super::{Lines, Origin, Text};

/// Longest label in characters; what is longer ends in `…`.
const LABEL_CHARS_MAX: usize = 16;

/// Given to sources in turn. No red, which people read as trouble, and nothing that is hard to read
/// on black or on white.
const COLORS: [&str; 10] = ["36", "33", "32", "35", "34", "96", "93", "92", "95", "94"];

const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";
/// Between the time and the line.
const BAR: &str = "│";

/// The encoder of `format = "text"`: one screen that several sources share.
#[derive(Debug)]
pub(super) struct Screen {
    color: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    time: TimeOfDay,
    labels: BTreeMap<Arc<str>, Label>,
    /// The longest label so far, in characters.
    width: usize,
    /// What the last line began with; kept for its capacity.
    prefix: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Label {
    shown: Arc<str>,
    chars: usize,
    color: &'static str,
}

impl Screen {
    pub(super) fn new(text: &Text, zone: TimeZone) -> Self {
        let time = TimeOfDay::new(zone);
        let mut state = State {
            time,
            labels: BTreeMap::new(),
            width: 0,
            prefix: Vec::new(),
        };
        for source in &text.labels {
            state.label(source);
        }
        Self {
            color: text.color,
            state: Mutex::new(state),
        }
    }

    pub(super) fn append(&self, out: &mut Vec<u8>, origin: &Origin, time_ns: i64, lines: &Lines) {
        // A panic elsewhere leaves the looks as they were; they are still good.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let label = state.label(&origin.source);
        let mut shown = None;
        let mut time_ns = time_ns;
        for line in lines.iter() {
            let time = *state.time.at(line.time_ns.unwrap_or(time_ns));
            if shown != Some(time) {
                self.render_prefix(&mut state, &label, &time);
                shown = Some(time);
            }
            let mut text = line.text;
            if line.offset == 0 {
                text = without_byte_order_mark(text);
            }
            for (index, row) in text.split(|byte| *byte == b'\n').enumerate() {
                if index == 0 {
                    out.extend_from_slice(&state.prefix);
                } else {
                    self.append_continuation(out, state.width + 2 + time.len());
                }
                append_neutral(out, row.strip_suffix(b"\r").unwrap_or(row));
                out.push(b'\n');
            }
            time_ns = time_ns.wrapping_add(1);
        }
    }

    fn render_prefix(&self, state: &mut State, label: &Label, time: &[u8]) {
        let out = &mut state.prefix;
        out.clear();
        if self.color {
            for part in ["\x1b[", label.color, "m"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        out.extend_from_slice(label.shown.as_bytes());
        out.resize(out.len() + state.width - label.chars, b' ');
        self.append_sgr(out, RESET);
        out.extend_from_slice(b"  ");
        self.append_sgr(out, DIM);
        out.extend_from_slice(time);
        out.push(b' ');
        self.append_bar(out);
    }

    /// Begins a further row of the same record, so that no row can pass for another source's.
    fn append_continuation(&self, out: &mut Vec<u8>, columns: usize) {
        out.resize(out.len() + columns + 1, b' ');
        self.append_sgr(out, DIM);
        self.append_bar(out);
    }

    fn append_bar(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(BAR.as_bytes());
        self.append_sgr(out, RESET);
        out.push(b' ');
    }

    fn append_sgr(&self, out: &mut Vec<u8>, sequence: &str) {
        if self.color {
            out.extend_from_slice(sequence.as_bytes());
        }
    }
}

impl State {
    fn label(&mut self, source: &Arc<str>) -> Label {
        if let Some(label) = self.labels.get(source) {
            return label.clone();
        }
        let label = Label::new(source, COLORS[self.labels.len() % COLORS.len()]);
        self.width = self.width.max(label.chars);
        self.labels.insert(source.clone(), label.clone());
        label
    }
}

impl Label {
    fn new(source: &str, color: &'static str) -> Self {
        let mut shown = String::new();
        let is_cut = source.chars().count() > LABEL_CHARS_MAX;
        shown.extend(
            source
                .chars()
                .map(neutral)
                .take(LABEL_CHARS_MAX - usize::from(is_cut)),
        );
        if is_cut {
            shown.push('…');
        }
        Self {
            chars: shown.chars().count(),
            shown: shown.into(),
            color,
        }
    }
}

/// Appends `row` so that a terminal shows it and does not obey it: control characters as pictures
/// (tabs stay), U+FFFD for what is not UTF-8.
pub(super) fn append_neutral(out: &mut Vec<u8>, row: &[u8]) {
    if is_harmless(row) {
        out.extend_from_slice(row);
        return;
    }
    for chunk in row.utf8_chunks() {
        for char in chunk.valid().chars() {
            let char = if char == '\t' { char } else { neutral(char) };
            out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{FFFD}".as_bytes());
        }
    }
}

/// True where `row` is printable ASCII and tabs.
fn is_harmless(row: &[u8]) -> bool {
    // Without a short cut, so that it becomes vector code.
    row.iter().fold(true, |good, byte| {
        good & (matches!(byte, b' '..=b'~') | (*byte == b'\t'))
    })
}

/// What is shown for a character: C0 controls and delete as their Unicode pictures; C1 controls,
/// which terminals obey too, as U+FFFD.
fn neutral(char: char) -> char {
    match u32::from(char) {
        code @ 0..0x20 => char::from_u32(0x2400 + code).unwrap_or('\u{FFFD}'),
        0x7f => '\u{2421}',
        0x80..0xa0 => '\u{FFFD}',
        _ => char,
    }
}
