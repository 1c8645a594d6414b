//! Takes one answer apart: its records, and what it says about the next one.
//!
//! No I/O, no clock.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use crate::framing::{MessageBuffer, Pointer, elements, scalar};

/// The records of one answer, in order.
#[derive(Debug, PartialEq)]
pub(super) enum Records<'a> {
    /// Of a JSON document, as they are written.
    Json(Vec<&'a str>),
    /// Of anything else: its lines.
    Lines(Vec<&'a [u8]>),
    /// There is no such place in the document.
    Missing,
}

/// Finds the records of an answer.
///
/// # Errors
/// It is no JSON, and so has no such place.
pub(super) fn records<'a>(body: &'a [u8], at: &Pointer) -> Result<Records<'a>, &'static str> {
    if body.trim_ascii().is_empty() {
        return Ok(Records::Json(Vec::new()));
    }
    let is_root = *at == Pointer::default();
    let text = std::str::from_utf8(body).ok();
    let text = text.filter(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    let Some(text) = text else {
        if !is_root {
            return Err("the answer is no JSON");
        }
        let body = body.strip_suffix(b"\n").unwrap_or(body);
        return Ok(Records::Lines(body.split(|byte| *byte == b'\n').collect()));
    };
    let Some(found) = at.find_raw(text) else {
        return Ok(Records::Missing);
    };
    Ok(Records::Json(match elements(found) {
        Some(elements) => elements,
        None if found == "null" => Vec::new(),
        None => vec![found],
    }))
}

impl Records<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Json(all) => all.len(),
            Self::Lines(all) => all.len(),
            Self::Missing => 0,
        }
    }

    /// What tells one record from others.
    pub(super) fn id(&self, index: usize, at: &Pointer) -> Option<Cow<'_, str>> {
        match self {
            Self::Json(all) => at.find(all[index]),
            Self::Lines(all) => at.find(std::str::from_utf8(all[index]).ok()?),
            Self::Missing => None,
        }
    }

    /// Puts one record into lines. A string is its text, every other value is JSON.
    pub(super) fn put(&self, index: usize, messages: &mut MessageBuffer) {
        match self {
            Self::Json(all) => {
                let raw = all[index];
                match scalar(raw).filter(|_| raw.starts_with('"')) {
                    Some(text) => messages.text(&text),
                    None => messages.text(raw),
                }
            }
            Self::Lines(all) => messages.binary(all[index]),
            Self::Missing => {}
        }
    }
}

/// Where the `Link` headers of an answer lead on (RFC 8288): the target of `rel="next"`.
pub(super) fn next_link<'a>(headers: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    headers.flat_map(links).find_map(|(target, params)| {
        let rel = unquoted(params, ';').find_map(|param| {
            let (name, value) = param.split_once('=')?;
            name.trim().eq_ignore_ascii_case("rel").then_some(value)
        })?;
        let mut words = rel.trim().trim_matches('"').split_ascii_whitespace();
        words
            .any(|word| word.eq_ignore_ascii_case("next"))
            .then_some(target)
    })
}

/// The parts of a text between separators; inside quotes they part nothing.
fn unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |it| {
        quoted ^= it == '"';
        it == separator && !quoted
    })
}

/// Every `<target>; params` of a header. Commas part them, and may stand inside targets.
fn links(header: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = header;
    std::iter::from_fn(move || {
        let (target, after) = rest.split_once('<')?.1.split_once('>')?;
        let end = unquoted(after, ',').next().map_or(0, str::len);
        rest = &after[end..];
        Some((target, &after[..end]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(pointer: &str) -> Pointer {
        Pointer::new(pointer).unwrap_or_default()
    }

    #[track_caller]
    fn check(body: &str, pointer: &str, expected: &[&str]) {
        let found = records(body.as_bytes(), &at(pointer)).unwrap();
        let mut messages = MessageBuffer::new(99);
        (0..found.len()).for_each(|index| found.put(index, &mut messages));
        let lines = messages.take();
        let lines = lines.iter().flat_map(|lines| lines.iter());
        let lines: Vec<_> = lines
            .map(|line| std::str::from_utf8(line.text).unwrap())
            .collect();
        assert_eq!(lines, expected, "{body}");
    }

    #[test]
    fn records_are_elements_or_the_document_or_lines() {
        check(
            "[{\"a\": 1},\n {\"a\":\n2}]",
            "",
            &["{\"a\": 1}", "{\"a\": 2}"],
        );
        check("{\n\"a\": 1}\n", "", &["{ \"a\": 1}"]);
        check(
            "{\"items\": [1, \"two\\nlines\"]}",
            "/items",
            &["1", "two", "lines"],
        );
        check("{\"items\": {\"a\": []}}", "/items", &["{\"a\": []}"]);
        check("{\"items\": null}", "/items", &[]);
        check(" \n", "/items", &[]);
        check("{\"a\":1}\n{\"a\":2}\n", "", &["{\"a\":1}", "{\"a\":2}"]);
        check("plain\n\ntext", "", &["plain", "", "text"]);
    }

    #[test]
    fn what_is_not_there_is_told_from_what_is_empty() {
        assert_eq!(records(b"{}", &at("/items")), Ok(Records::Missing));
        assert_eq!(
            records(b"<html>", &at("/items")),
            Err("the answer is no JSON")
        );
    }

    #[test]
    fn the_next_link_is_found_among_others() {
        let check = |headers: &[&str], expected: Option<&str>| {
            assert_eq!(next_link(headers.iter().copied()), expected, "{headers:?}");
        };
        let github = "<https://h/a?page=1>; rel=\"prev\", <https://h/a?page=3,4>; rel=\"next\"";
        check(&[github], Some("https://h/a?page=3,4"));
        check(
            &[
                "</x>; title=\"a, <b>; rel=next\"; rel=last",
                "</y>; REL=Next",
            ],
            Some("/y"),
        );
        check(&["</x>; rel=\"next last\""], Some("/x"));
        check(&["</x>", "<broken"], None);
        check(&[], None);
    }
}
