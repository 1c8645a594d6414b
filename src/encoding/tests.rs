//! Whole encoders against tables and fixtures.

use std::sync::Arc;

use bytes::Bytes;
use jiff::tz::{TimeZone, offset};

use super::*;
use crate::model::{Record, StdStream, StreamKey};

const TIME_NS: i64 = 1_795_371_948_123_456_788;
const ALL: Meta = Meta {
    host: true,
    file: true,
    offset: true,
    labels: true,
};
const HEAD: &str = r#"{"_time":"2026-11-22T18:25:48.123456788Z","_source":"app""#;

fn origin(source: &str) -> Origin {
    Origin {
        source: source.into(),
        stream: StreamKey::new("1"),
        path: Some("/var/log/\"a\".log".into()),
        labels: Arc::new([("env".into(), "prod".into()), ("a\"b".into(), "\\".into())]),
    }
}

fn untouched(text: &[u8]) -> Lines {
    let count = text.iter().filter(|byte| **byte == b'\n').count();
    Lines::untouched(
        Bytes::copy_from_slice(text),
        u32::try_from(count).unwrap(),
        1000,
    )
}

pub(super) fn piece(origin: &Origin, lines: Lines) -> Piece<'_> {
    Piece {
        origin,
        time_ns: TIME_NS,
        lines,
        is_replayable: true,
    }
}

fn record(text: &[u8], truncated: bool) -> Lines {
    let bytes = [text, b"\n"].concat();
    let end = u32::try_from(bytes.len()).unwrap();
    Lines::from_records(
        bytes.into(),
        Arc::new([Record {
            end,
            offset: 7,
            truncated,
            ..Record::default()
        }]),
    )
}

#[test]
fn binary_records_are_base64_and_named_ones_carry_their_event() {
    let bytes = b"\xff\n{}\n";
    let record = Record {
        end: 5,
        offset: 0,
        truncated: false,
        binary: true,
        ..Record::default()
    };
    let binary = Lines::from_records(bytes[..5].to_vec().into(), Arc::new([record]));
    let named =
        super::tests::record(b"{\"_event\":1}", false).with_events([Some("a\"".into())].into());

    let json = |lines| encode(Format::json(Meta::default()), lines);

    assert!(json(&binary).ends_with(",\"_b64\":\"/wp7fQ==\"}\n"));
    let expected = ",\"_event\":\"a\\\"\",\"_event_orig\":1}\n";
    assert!(json(&named).ends_with(expected), "{}", json(&named));
}

#[test]
fn a_record_can_have_a_time_and_a_stream_of_its_own() {
    let own = Record {
        end: 2,
        time_ns: Some(1_000_000_001),
        stream: Some(StdStream::Stderr),
        ..Record::default()
    };
    let read = Record {
        end: 5,
        ..Record::default()
    };
    let lines = Lines::from_records(b"a\n{}\n".to_vec().into(), Arc::new([own, read]));

    let out = encode(Format::json(Meta::default()), &lines);

    let first = r#"{"_time":"1970-01-01T00:00:01.000000001Z","_source":"app","_stream":"stderr","_msg":"a"}"#;
    let second = HEAD.replace("788Z", "789Z");
    assert_eq!(out, format!("{first}\n{second}}}\n"));
    let text = encode(Format::Text(Text::default()), &lines);
    assert!(text.starts_with("app  02:00:01.000"), "{text}");
}

#[test]
fn every_collector_is_told_a_record_s_own_time_and_stream() {
    let seconds = "1.000000001";
    let nanos = "1000000001";
    let rfc3339 = "1970-01-01T00:00:01.000000001Z";
    let otlp = Otlp {
        resource: Vec::new(),
        encoding: OtlpEncoding::Json,
    };
    let formats = [
        (Format::JsonArray(JsonOptions::default()), rfc3339),
        (Format::Kafka(JsonOptions::default()), rfc3339),
        (
            Format::Elasticsearch(Elasticsearch { index: None }),
            rfc3339,
        ),
        (Format::Loki(Loki::default()), nanos),
        (Format::Otlp(otlp), nanos),
        (Format::Splunk(Splunk::default()), seconds),
        (Format::Datadog, rfc3339),
    ];
    for (format, time) in formats {
        let own = Record {
            end: 2,
            time_ns: Some(1_000_000_001),
            stream: Some(StdStream::Stderr),
            ..Record::default()
        };
        let lines = Lines::from_records(b"a\n".to_vec().into(), Arc::new([own]));

        let out = encode(format.clone(), &lines);

        assert!(out.contains(time), "{format:?}: {out}");
        assert!(out.contains("\"stderr\""), "{format:?}: {out}");
    }
}

#[test]
fn a_byte_order_mark_at_the_start_of_a_stream_is_no_text() {
    let mark = |offset| {
        let record = Record {
            end: 11,
            offset,
            ..Record::default()
        };
        let bytes = b"\xef\xbb\xbf{\"n\":1}\n".to_vec();
        Lines::from_records(bytes.into(), Arc::new([record]))
    };

    let json = |offset| encode(Format::json(Meta::default()), &mark(offset));

    assert!(json(0).ends_with(",\"n\":1}\n"), "{}", json(0));
    assert!(json(1).contains("_msg"), "{}", json(1));
    let raw = encode(Format::Raw, &mark(0));
    assert_eq!(raw.as_bytes(), b"\xef\xbb\xbf{\"n\":1}\n");
}

fn encode(format: Format, lines: &Lines) -> String {
    let encoder = Encoder::new(&format, "h\"1", TimeZone::fixed(offset(2)));
    let mut out = Vec::new();
    encoder.append(&mut out, &[piece(&origin("app"), lines.clone())]);
    String::from_utf8(out).unwrap()
}

fn json(text: &[u8]) -> String {
    encode(Format::json(Meta::default()), &record(text, false))
}

#[test]
fn json_fixtures() {
    let cases = include_str!("../../fixtures/encoding/json.txt");
    let mut input = None;
    for row in cases.lines() {
        if let Some(text) = row.strip_prefix('<') {
            let text = text.strip_prefix(' ').unwrap_or(text);
            input = Some(text.replace(r"\x0a", "\n").replace(r"\x0d", "\r"));
        } else if let Some(expected) = row.strip_prefix("> ") {
            let input = input.take().expect("`<` before `>`");

            let out = json(input.as_bytes());

            assert_eq!(out, format!("{HEAD}{expected}\n"), "for {input:?}");
        }
    }
}

#[test]
fn json_carries_all_meta_in_order() {
    let out = encode(Format::json(ALL), &untouched(b"one\n{\"n\":1}\n{}\n"));

    let head = |ns, offset| {
        format!(
            r#"{{"_time":"2026-11-22T18:25:48.12345678{ns}Z","_source":"app","_host":"h\"1","_file":"/var/log/\"a\".log","_offset":{offset},"_labels":{{"env":"prod","a\"b":"\\"}}"#
        )
    };
    let expected = [
        head(8, 1000) + ",\"_msg\":\"one\"}\n",
        head(9, 1004) + ",\"n\":1}\n",
        head(8, 1012)
            .replace("12345678", "12345679")
            .replace("98Z", "90Z")
            + "}\n",
    ];
    assert_eq!(out, expected.concat());
}

#[test]
fn json_without_path_and_labels_has_no_such_keys() {
    let encoder = Encoder::new(&Format::json(ALL), "h", TimeZone::UTC);
    let origin = Origin {
        path: None,
        labels: Arc::new([]),
        ..origin("app")
    };
    let mut out = Vec::new();

    encoder.append(&mut out, &[piece(&origin, untouched(b"x\n"))]);

    let expected = format!("{HEAD},\"_host\":\"h\",\"_offset\":1000,\"_msg\":\"x\"}}\n");
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn json_marks_cut_lines() {
    let check = |text: &[u8], rest: &str| {
        let out = encode(Format::json(Meta::default()), &record(text, true));
        assert_eq!(out, format!("{HEAD},\"_truncated\":true{rest}\n"));
    };

    check(b"x", ",\"_msg\":\"x\"}");
    check(b"{\"a\":1}", ",\"a\":1}");
    check(b"{}", "}");
    check(b"caf\xc3", ",\"_msg\":\"caf\u{FFFD}\"}");
}

#[test]
fn json_replaces_what_is_not_utf8_in_its_own_line_only() {
    let lines = untouched(b"{\"a\":\"\xff\"}\n{\"a\":1}\n\xc3\xb3\n");

    let out = encode(Format::json(Meta::default()), &lines);

    let rest: Vec<_> = out.lines().map(|line| &line[HEAD.len()..]).collect();
    let first = ",\"_msg\":\"{\\\"a\\\":\\\"\u{FFFD}\\\"}\"}";
    assert_eq!(rest, [first, ",\"a\":1}", ",\"_msg\":\"ó\"}"]);
}

#[test]
fn json_nesting_is_bounded() {
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth - 1), "]".repeat(depth - 1));
        json(format!("{{\"a\":{open}{close}}}").as_bytes())
    };

    assert!(nested(100).contains(",\"a\":[["));
    assert!(nested(101).contains("\"_msg\":"));
    assert!(nested(10_000).contains("\"_msg\":"));
}

#[test]
fn json_without_a_free_name_becomes_text() {
    let keys: Vec<_> = (0..9)
        .map(|count| format!("\"_time{}\":1", "_orig".repeat(count)))
        .collect();

    assert!(json(format!("{{{}}}", keys[..8].join(",")).as_bytes()).contains("_orig\":1,"));
    assert!(json(format!("{{{}}}", keys.join(",")).as_bytes()).contains("\"_msg\":"));
}

#[test]
fn raw_is_the_bytes() {
    let encoder = Encoder::new(&Format::Raw, "h", TimeZone::UTC);
    let mut out = b"before\n".to_vec();

    encoder.append(&mut out, &[piece(&origin("app"), untouched(b"\xff\r\n\n"))]);

    assert_eq!(out, b"before\n\xff\r\n\n");
    assert!(encoder.is_raw());
    assert!(!Encoder::new(&Format::json(ALL), "h", TimeZone::UTC).is_raw());
}

#[test]
fn text_aligns_labels_to_the_longest_so_far() {
    let encoder = Encoder::new(
        &Format::Text(Text::default()),
        "h",
        TimeZone::fixed(offset(2)),
    );
    let mut out = Vec::new();

    for source in ["db", "orders", "db", "a-very-long-source-name", "db"] {
        encoder.append(&mut out, &[piece(&origin(source), untouched(b"line\n"))]);
    }

    let expected = "db  20:25:48.123 │ line\n\
        orders  20:25:48.123 │ line\n\
        db      20:25:48.123 │ line\n\
        a-very-long-sou…  20:25:48.123 │ line\n\
        db                20:25:48.123 │ line\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn text_gives_colors_in_turn() {
    let encoder = Encoder::new(
        &Format::Text(Text {
            color: true,
            ..Text::default()
        }),
        "h",
        TimeZone::UTC,
    );
    let row = |source: &str| {
        let mut out = Vec::new();
        encoder.append(&mut out, &[piece(&origin(source), untouched(b"x\n"))]);
        String::from_utf8(out).unwrap()
    };

    let expected = "\x1b[36ma\x1b[0m  \x1b[2m18:25:48.123 │\x1b[0m x\n";
    assert_eq!(row("a"), expected);
    assert!(row("b").starts_with("\x1b[33mb\x1b[0m"));
    assert_eq!(row("a"), expected);
    assert!(row("c").starts_with("\x1b[32mc\x1b[0m"));
}

#[test]
fn text_shows_control_sequences_and_does_not_obey_them() {
    let check = |line: &[u8], expected: &str| {
        let out = encode(Format::Text(Text::default()), &record(line, false));
        assert_eq!(out, format!("app  20:25:48.123 │ {expected}\n"));
    };

    check(b"tab\tstays\r", "tab\tstays");
    check(b"\x1b[31mred\x1b]0;title\x07", "␛[31mred␛]0;title␇");
    check(b"a\rb\x00\x7f", "a␍b␀␡");
    check("c1 \u{9b}31m, żółć".as_bytes(), "c1 \u{FFFD}31m, żółć");
    check(b"bad \xff\x9b31m", "bad \u{FFFD}\u{FFFD}31m");
    check(b"", "");
}

#[test]
fn text_puts_joined_lines_below_each_other() {
    let out = encode(
        Format::Text(Text::default()),
        &record(b"panic\r\n\tat x\n", false),
    );

    let expected = "app  20:25:48.123 │ panic\n                  │ \tat x\n                  │ \n";
    assert_eq!(out, expected);
}

#[test]
fn text_neutralises_labels() {
    let encoder = Encoder::new(&Format::Text(Text::default()), "h", TimeZone::UTC);
    let mut out = Vec::new();

    encoder.append(
        &mut out,
        &[piece(&origin("a\x1b[31m\n"), untouched(b"x\n"))],
    );

    assert_eq!(
        String::from_utf8(out).unwrap(),
        "a␛[31m␊  18:25:48.123 │ x\n"
    );
}
