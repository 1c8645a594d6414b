//! The formats in which container runtimes keep logs: CRI lines and Docker's JSON files.
//!
//! Pure: no I/O, no clock.

use std::borrow::Cow;

use jiff::fmt::temporal::DateTimeParser;
use serde::Deserialize;

use crate::model::StdStream;

/// What one line of a container's log says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) stream: StdStream,
    /// In nanoseconds since 1970.
    pub(super) time_ns: Option<i64>,
    /// False where the line that the program wrote goes on in the next piece of its stream.
    pub(super) is_last: bool,
    /// What the program wrote, without the newline.
    pub(super) text: Cow<'a, [u8]>,
}

/// Reads `2026-11-22T23:41:23.515351945+00:00 stdout F text` (Kubernetes' CRI); `None` for anything
/// else. `P` instead of `F` is a part; tags behind a colon mean nothing.
pub(super) fn cri(line: &[u8]) -> Option<Piece<'_>> {
    let (time, rest) = split_at_space(line)?;
    let (stream, rest) = split_at_space(rest)?;
    // A runtime may leave the space out where nothing follows.
    let (tags, text) = split_at_space(rest).unwrap_or((rest, b""));
    let is_last = match tags.split(|byte| *byte == b':').next() {
        Some(b"F") => true,
        Some(b"P") => false,
        _ => return None,
    };
    Some(Piece {
        stream: StdStream::from_name(stream)?,
        time_ns: Some(rfc3339_ns(time)?),
        is_last,
        text: Cow::Borrowed(text),
    })
}

/// One line of Docker's `json-file` driver. Its other keys are attributes of the container.
#[derive(Deserialize)]
struct DockerLine<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow, default)]
    stream: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    time: Option<Cow<'a, str>>,
}

/// Reads `{"log":"text\n","stream":"stdout","time":"…"}`; `None` for anything else. A text without
/// a newline at its end is a part.
pub(super) fn docker(line: &[u8]) -> Option<Piece<'_>> {
    let parsed: DockerLine = serde_json::from_slice(line).ok()?;
    let stream = parsed.stream.as_deref().unwrap_or("stdout");
    let is_last = parsed.log.ends_with('\n');
    let text = match parsed.log {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => {
            let mut text = text.into_bytes();
            text.truncate(text.len() - usize::from(is_last));
            Cow::Owned(text)
        }
    };
    Some(Piece {
        stream: StdStream::from_name(stream.as_bytes())?,
        time_ns: parsed.time.and_then(|time| rfc3339_ns(time.as_bytes())),
        is_last,
        text,
    })
}

/// A time with its zone, in nanoseconds since 1970.
pub(super) fn rfc3339_ns(text: &[u8]) -> Option<i64> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    let time = PARSER.parse_timestamp(text).ok()?;
    i64::try_from(time.as_nanosecond()).ok()
}

fn split_at_space(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = memchr::memchr(b' ', text)?;
    Some((&text[..space], &text[space + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME_NS: i64 = 1_795_390_883_515_351_945;

    fn piece(stream: StdStream, is_last: bool, text: &str) -> Option<Piece<'_>> {
        Some(Piece {
            stream,
            time_ns: Some(TIME_NS),
            is_last,
            text: Cow::Borrowed(text.as_bytes()),
        })
    }

    #[test]
    fn cri_lines() {
        use StdStream::{Stderr, Stdout};
        let time = "2026-11-22T23:41:23.515351945";
        let cases = [
            ("Z stdout F a b ", piece(Stdout, true, "a b ")),
            ("+00:00 stderr P x", piece(Stderr, false, "x")),
            ("+00:00 stderr P:tag x", piece(Stderr, false, "x")),
            ("+00:00 stdout F ", piece(Stdout, true, "")),
            ("+00:00 stdout F", piece(Stdout, true, "")),
            ("+00:00 stdin F x", None),
            ("+00:00 stdout X x", None),
            ("+00:00 stdout", None),
            (" stdout F x", None),
            ("", None),
        ];
        for (rest, expected) in cases {
            assert_eq!(cri(format!("{time}{rest}").as_bytes()), expected, "{rest}");
        }
        assert_eq!(cri(b"nonsense stdout F x"), None);
    }

    #[test]
    fn docker_lines() {
        use StdStream::{Stderr, Stdout};
        let check = |line: &str, expected| assert_eq!(docker(line.as_bytes()), expected, "{line}");
        let time = r#""time":"2026-11-22T23:41:23.515351945Z""#;

        check(
            &format!(r#"{{"log":"a\u0009\"\r\n","stream":"stderr","attrs":{{"a":"b"}},{time}}}"#),
            piece(Stderr, true, "a\t\"\r"),
        );
        check(
            &format!(r#"{{{time},"stream":"stdout","log":"part"}}"#),
            piece(Stdout, false, "part"),
        );
        check(
            &format!(r#"{{"log":"\n",{time}}}"#),
            piece(Stdout, true, ""),
        );
        check(r#"{"stream":"stdout"}"#, None);
        check(r#"{"log":"a\n","stream":"x"}"#, None);
        check("plain", None);
    }
}
