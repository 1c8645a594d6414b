//! Properties of everything that makes records of bytes: reads do not matter, and every place that
//! is handed out is one from which a fresh reader goes on exactly.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::model::{Lines, Pattern, StdStream};

/// A record's text, offset, cut mark and stream.
type Seen = (String, u64, bool, Option<StdStream>);

const LIMITS: RecordLimits = RecordLimits {
    line_bytes_max: 40,
    records: 3,
    bytes: 1 << 20,
};

/// Lines that begin, continue or only perhaps continue a record.
const LINES: [&str; 22] = [
    "2026 INFO plain",
    "",
    "Traceback (most recent call last):",
    "  File \"a.py\", line 1",
    "KeyError: 'card'",
    "During handling of the above exception, another exception occurred:",
    "  + Exception Group Traceback (most recent call last):",
    "java.lang.Error: boom",
    "\tat a.B.c(B.java:1)",
    "Caused by: d.E",
    "\t... 1 more",
    "panic: x",
    "goroutine 1 [running]:",
    "main.main()",
    "\t./main.go:14",
    "  indented",
    "caf\u{e9} \u{20ac}\u{a00}\u{10a}",
    "carriage\r",
    "a line that is longer than what one line may have",
    "[22/Nov] x",
    "\u{10000}",
    "x",
];

/// Everything that came of a stream read in parts, and each place with the records before it.
#[derive(Debug)]
struct Read {
    seen: Vec<Seen>,
    places: Vec<(usize, Start)>,
}

fn read(rules: &Recording, start: Start, parts: &[&[u8]]) -> Read {
    let mut framer = Framer::new(Pool::default(), start, rules, LIMITS);
    let mut read = Read {
        seen: Vec::new(),
        places: Vec::new(),
    };
    for part in parts {
        framer.extend(part);
        while let Some(taken) = framer.take() {
            read.note(taken);
        }
    }
    while let Some(taken) = framer.finish() {
        read.note(taken);
    }
    assert_eq!(framer.open().count(), 0);
    read
}

impl Read {
    fn note(&mut self, taken: Taken) {
        for line in taken.lines.iter().flat_map(Lines::iter) {
            let text = String::from_utf8_lossy(line.text).into_owned();
            self.seen
                .push((text, line.offset, line.truncated, line.stream));
        }
        let place = Start {
            offset: taken.end,
            mid_line: taken.mid_line,
            ahead: taken.ahead,
        };
        self.places.push((self.seen.len(), place));
    }
}

/// Checks both properties.
fn check(rules: &Recording, text: &[u8], cuts: Vec<usize>) -> Result<(), TestCaseError> {
    let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (text.len() + 1)).collect();
    cuts.extend([0, text.len()]);
    cuts.sort_unstable();
    let parts: Vec<&[u8]> = cuts
        .windows(2)
        .map(|pair| &text[pair[0]..pair[1]])
        .collect();

    let whole = read(rules, Start::default(), &[text]);
    let split = read(rules, Start::default(), &parts);

    prop_assert_eq!(&split.seen, &whole.seen);
    for (n_before, place) in split.places.iter().chain(&whole.places) {
        let at = usize::try_from(place.offset).unwrap();
        if rules
            .charset
            .is_some_and(|it| it.unit().align(place.offset) != place.offset)
        {
            // Half of a unit at the very end, which was sent as it was.
            continue;
        }
        let rest = read(rules, *place, &[&text[at..]]);
        prop_assert_eq!(&rest.seen[..], &whole.seen[*n_before..], "from {:?}", place);
    }
    Ok(())
}

fn lines() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(select(LINES.to_vec()), 0..24)
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..4000usize, 0..12)
}

fn multiline() -> impl Strategy<Value = Multiline> {
    let limits = (
        prop_oneof![Just(500u32), 1..4u32],
        prop_oneof![Just(None), (10..80usize).prop_map(Some)],
    );
    let limits = limits.prop_map(|(lines_max, bytes_max)| GroupLimits {
        lines_max,
        bytes_max,
        ..GroupLimits::default()
    });
    let pattern = |text: &str| Some(Pattern::new(text).unwrap());
    let patterns = select(vec![
        (pattern(r"^\d"), None, false),
        (None, pattern(r"^\s"), false),
        (pattern(r"^\s"), None, true),
        (pattern(r"^\d"), pattern(r"^\s"), false),
    ]);
    let patterns = patterns.prop_map(|(start, continues, negate)| Patterns {
        start,
        continues,
        negate,
    });
    prop_oneof![
        Just(Multiline::Off),
        limits.clone().prop_map(Multiline::Auto),
        (patterns, limits).prop_map(|(patterns, limits)| Multiline::Patterns(patterns, limits)),
    ]
}

/// One line of a container's log: its stream, whether it is the last part, and its text. Without a
/// stream it is in no format.
fn pieces() -> impl Strategy<Value = Vec<(Option<StdStream>, bool, &'static str)>> {
    let stream = select(vec![
        Some(StdStream::Stdout),
        Some(StdStream::Stdout),
        Some(StdStream::Stderr),
        Some(StdStream::Stderr),
        Some(StdStream::Stderr),
        None,
    ]);
    prop::collection::vec(
        (stream, prop::bool::weighted(0.7), select(LINES.to_vec())),
        0..24,
    )
}

fn cri((stream, is_last, text): &(Option<StdStream>, bool, &str)) -> String {
    let Some(stream) = stream else {
        return format!("{text}\n");
    };
    let tag = if *is_last { "F" } else { "P" };
    let stream = stream.as_str();
    format!("2026-11-22T23:41:23.515351945Z {stream} {tag} {text}\n")
}

fn docker((stream, is_last, text): &(Option<StdStream>, bool, &str)) -> String {
    let Some(stream) = stream else {
        return format!("{text}\n");
    };
    let log = format!("{text}{}", if *is_last { "\n" } else { "" });
    let line = serde_json::json!({ "log": log, "stream": stream.as_str(), "time": "2026-11-22T23:41:23Z" });
    format!("{line}\n")
}

fn utf16(text: &str, big: bool) -> Vec<u8> {
    let units = text.encode_utf16();
    let bytes = units.map(|unit| {
        if big {
            unit.to_be_bytes()
        } else {
            unit.to_le_bytes()
        }
    });
    bytes.flatten().collect()
}

proptest! {
    #[test]
    fn joined_lines(lines in lines(), multiline in multiline(), cuts in cuts()) {
        let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        let rules = Recording { multiline, ..Recording::default() };

        check(&rules, text.as_bytes(), cuts)?;

        // Nothing but what is cut off is missing.
        let read = read(&rules, Start::default(), &[text.as_bytes()]);
        let joined = read.seen.iter().map(|seen| format!("{}\n", seen.0)).collect::<String>();
        let cut = |line: &str| if line.len() > LIMITS.line_bytes_max {
            line[..LIMITS.line_bytes_max].to_owned()
        } else {
            line.to_owned()
        };
        let expected = lines.iter().map(|line| cut(line) + "\n").collect::<String>();
        prop_assert_eq!(joined, expected);
    }

    #[test]
    fn container_lines(
        pieces in pieces(),
        is_cri: bool,
        multiline in multiline(),
        cuts in cuts(),
    ) {
        let line = if is_cri { cri } else { docker };
        let text = pieces.iter().map(line).collect::<String>();
        let container = Some(if is_cri { Container::Cri } else { Container::Docker });
        let rules = Recording { container, multiline, ..Recording::default() };

        check(&rules, text.as_bytes(), cuts)?;
    }

    #[test]
    fn charsets(
        lines in lines(),
        name in select(vec!["utf-16le", "utf-16be", "utf-8", "windows-1252", "shift_jis"]),
        has_mark: bool,
        odd: bool,
        multiline in multiline(),
        cuts in cuts(),
    ) {
        let mut text = if has_mark { "\u{feff}".to_owned() } else { String::new() };
        for line in &lines {
            text += line;
            text.push('\n');
        }
        let mut bytes = match name {
            "utf-16le" => utf16(&text, false),
            "utf-16be" => utf16(&text, true),
            _ => text.clone().into_bytes(),
        };
        if odd {
            bytes.push(b'\n');
        }
        let rules = Recording {
            charset: Some(Charset::named(name).unwrap()),
            multiline,
            ..Recording::default()
        };

        check(&rules, &bytes, cuts)?;

        let read = read(&rules, Start::default(), &[&bytes]);
        let has_mark_left = read.seen.first().is_some_and(|seen| seen.0.starts_with('\u{feff}'));
        prop_assert!(!has_mark_left || name.starts_with('w') || name.starts_with('s'));
    }
}
