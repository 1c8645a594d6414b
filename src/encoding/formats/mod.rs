//! The formats of collectors: whole bodies, and what holds for all of them whatever the lines are.

mod any_line;

use std::sync::Arc;

use bytes::Bytes;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::*;
use crate::model::{Record, StreamKey};

const TIME_NS: i64 = 1_795_371_948_123_456_788;

fn origin(source: &str, path: Option<&str>) -> Origin {
    Origin {
        source: source.into(),
        stream: StreamKey::new("0123456789abcdef"),
        path: path.map(Arc::from),
        labels: Arc::new([("env".into(), "prod".into())]),
    }
}

fn lines(text: &[u8]) -> Lines {
    let count = text.iter().filter(|byte| **byte == b'\n').count();
    let count = u32::try_from(count).unwrap();
    Lines::untouched(Bytes::copy_from_slice(text), count, 1000)
}

fn piece(origin: &Origin, lines: Lines) -> Piece<'_> {
    Piece {
        origin,
        time_ns: TIME_NS,
        lines,
        is_replayable: true,
    }
}

fn body(format: &Format, pieces: &[Piece]) -> Vec<u8> {
    let encoder = Encoder::new(format, "h\"1", TimeZone::UTC);
    let mut out = Vec::new();
    encoder.append(&mut out, pieces);
    out
}

fn text(format: &Format, pieces: &[Piece]) -> String {
    String::from_utf8(body(format, pieces)).unwrap()
}

fn parsed(format: &Format, pieces: &[Piece]) -> Value {
    serde_json::from_slice(&body(format, pieces)).unwrap()
}

fn bulk(index: Option<&str>) -> Format {
    let index = index.map(str::to_owned);
    Format::Elasticsearch(Elasticsearch { index })
}

fn otlp(encoding: OtlpEncoding) -> Format {
    Format::Otlp(Otlp {
        resource: vec![("service.name".to_owned(), "shop".to_owned())],
        encoding,
    })
}

/// Every format that is JSON, with the number of values in a body of so many lines.
fn json_formats() -> [Format; 8] {
    [
        Format::json(Meta::default()),
        Format::JsonArray(JsonOptions::default()),
        Format::Kafka(JsonOptions::default()),
        bulk(Some("logs")),
        Format::Loki(Loki::default()),
        otlp(OtlpEncoding::Json),
        Format::Splunk(Splunk::default()),
        Format::Datadog,
    ]
}

#[test]
fn renamed_keys_are_the_ones_that_a_record_cannot_set() {
    let mut fields = Fields::default();
    fields.rename("time", "@timestamp").unwrap();
    fields.rename("msg", "message").unwrap();
    let format = Format::Json(JsonOptions {
        meta: Meta::default(),
        fields,
    });
    let origin = origin("app", None);

    let out = text(
        &format,
        &[piece(&origin, lines(b"one\n{\"message\":1,\"_msg\":2}\n"))],
    );

    let head =
        |ns| format!(r#"{{"@timestamp":"2026-11-22T18:25:48.12345678{ns}Z","_source":"app","#);
    let expected = [
        head(8) + "\"message\":\"one\"}\n",
        head(9) + "\"message_orig\":1,\"_msg\":2}\n",
    ];
    assert_eq!(out, expected.concat());
}

#[test]
fn an_array_is_one_value() {
    let (a, b) = (origin("a", None), origin("b", None));
    let format = Format::JsonArray(JsonOptions::default());

    let out = parsed(
        &format,
        &[piece(&a, lines(b"1\n2\n")), piece(&b, lines(b"{}\n"))],
    );

    let sources: Vec<_> = out
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["_source"])
        .collect();
    assert_eq!(sources, ["a", "a", "b"]);
}

#[test]
fn kafka_records_have_the_file_as_their_key() {
    let (a, b) = (origin("a", Some("/a.log")), origin("b", None));
    let format = Format::Kafka(JsonOptions::default());

    let out = parsed(
        &format,
        &[piece(&a, lines(b"1\n2\n")), piece(&b, lines(b"3\n"))],
    );

    let records = out["records"].as_array().unwrap();
    let shown: Vec<_> = records
        .iter()
        .map(|it| {
            (
                it["key"].as_str().unwrap(),
                it["value"]["_msg"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(shown, [("/a.log", "1"), ("/a.log", "2"), ("b", "3")]);
}

#[test]
fn a_bulk_has_an_action_and_a_document_per_line() {
    let origin = origin("app", Some("/var/log/a.log"));

    let out = text(
        &bulk(Some("logs-app-default")),
        &[piece(&origin, lines(b"one\n"))],
    );

    let (action, document) = out.split_once('\n').unwrap();
    let action: Value = serde_json::from_str(action).unwrap();
    assert_eq!(action["create"]["_index"], "logs-app-default");
    // What `xxh3_128` of another implementation says of the stream's id, 1000 and "one".
    assert_eq!(action["create"]["_id"], "eH0t605ZnCsQzKZtnuaelQ");
    let expected = concat!(
        r#"{ "@timestamp":"2026-11-22T18:25:48.123456788Z","host":{"name":"h\"1"},"#,
        r#""event":{"dataset":"app"},"labels":{"env":"prod"},"#,
        r#""log":{"file":{"path":"/var/log/a.log"},"offset":1000},"message":"one"}"#,
        "\n"
    );
    assert_eq!(document, expected);
}

#[test]
fn ids_depend_on_stream_offset_and_bytes_and_on_nothing_else() {
    let id = |origin: &Origin, lines: Lines, time_ns| {
        let piece = Piece {
            time_ns,
            ..piece(origin, lines)
        };
        let out = text(&bulk(None), &[piece]);
        let action: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
        action["create"]["_id"].as_str().unwrap().to_owned()
    };
    let (here, renamed) = (origin("app", Some("/a")), origin("other", Some("/b")));
    let elsewhere = Origin {
        stream: StreamKey::new("fedcba9876543210"),
        ..here.clone()
    };

    let first = id(&here, lines(b"one\n"), TIME_NS);

    assert_eq!(first, id(&renamed, lines(b"one\n"), 0));
    assert_ne!(first, id(&here, lines(b"two\n"), TIME_NS));
    assert_ne!(first, id(&elsewhere, lines(b"one\n"), TIME_NS));
    let moved = Lines::untouched(Bytes::from_static(b"one\n"), 1, 1001);
    assert_ne!(first, id(&here, moved, TIME_NS));
}

#[test]
fn what_cannot_be_read_again_has_no_id() {
    let origin = origin("app", None);
    let live = Piece {
        is_replayable: false,
        ..piece(&origin, lines(b"one\n"))
    };

    let out = text(&bulk(None), &[live]);

    assert!(out.starts_with("{\"create\":{}}\n"), "{out}");
}

#[test]
fn a_document_keeps_its_own_keys_and_loses_no_metadata_key() {
    let origin = origin("app", Some("/a"));
    let document = |line: &str| {
        let out = text(
            &bulk(None),
            &[piece(&origin, lines(format!("{line}\n").as_bytes()))],
        );
        serde_json::from_str::<Value>(out.lines().nth(1).unwrap()).unwrap()
    };

    let own = document(
        r#"{"@timestamp":1,"host":"x","event":"y","labels":[],"log":"z","message":"m","_id":5}"#,
    );
    let renamed = document(r#"{"_source":1,"source_orig":2,"\u005findex":3,"_":4,"__a":5}"#);
    let dotted = document(r#"{"log.level":"info","host.ip":"::1"}"#);

    let expected = json!({
        "@timestamp": 1, "host": "x", "event": "y", "labels": [], "log": "z", "message": "m",
        "id_orig": 5
    });
    assert_eq!(own, expected);
    let shown = |key: &str| renamed[key].as_u64();
    assert_eq!(shown("source_orig"), Some(2));
    assert_eq!(shown("source_orig_orig"), Some(1));
    assert_eq!(
        (shown("index_orig"), shown("underscore_orig")),
        (Some(3), Some(4))
    );
    assert_eq!(shown("a_orig"), Some(5));
    assert_eq!(dotted["log"]["file"]["path"], "/a");
    assert_eq!(dotted["host"]["name"], "h\"1");
}

#[test]
fn loki_streams_are_grouped_sorted_and_strictly_increasing() {
    let (one, two) = (origin("app", Some("/1")), origin("app", Some("/2")));
    let other = origin("web", None);
    let at = |origin, text: &'static [u8], time_ns| Piece {
        time_ns,
        ..piece(origin, lines(text))
    };

    let out = parsed(
        &Format::Loki(Loki::default()),
        &[
            at(&two, b"c\nd\n", 1_001),
            at(&other, b"x\n", 5),
            at(&one, b"a\nb\ne\n", 1_000),
        ],
    );

    let expected = json!({"streams": [
        {"stream": {"source": "app", "host": "h\"1"}, "values": [
            ["1000", "a", {"env": "prod", "file": "/1", "offset": "1000"}],
            ["1001", "b", {"env": "prod", "file": "/1", "offset": "1002"}],
            ["1002", "e", {"env": "prod", "file": "/1", "offset": "1004"}],
            ["1003", "c", {"env": "prod", "file": "/2", "offset": "1000"}],
            ["1004", "d", {"env": "prod", "file": "/2", "offset": "1002"}],
        ]},
        {"stream": {"source": "web", "host": "h\"1"}, "values": [["5", "x", {"env": "prod"}]]},
    ]});
    assert_eq!(out, expected);
}

#[test]
fn loki_lines_with_times_of_their_own_are_sorted_and_none_shares_its_time() {
    let (one, two) = (origin("app", Some("/1")), origin("app", Some("/2")));
    let own = |origin, times: [i64; 2]| {
        let record = |(index, time_ns): (usize, i64)| Record {
            end: 2 * (u32::try_from(index).unwrap() + 1),
            time_ns: Some(time_ns),
            ..Record::default()
        };
        let records: Vec<Record> = times.into_iter().enumerate().map(record).collect();
        piece(
            origin,
            Lines::from_records(Bytes::from_static(b"x\nx\n"), records.into()),
        )
    };

    let out = parsed(
        &Format::Loki(Loki::default()),
        &[own(&one, [900, 500]), own(&two, [500, 700])],
    );

    let values = out["streams"][0]["values"].as_array().unwrap();
    let times: Vec<_> = values.iter().map(|it| it[0].as_str().unwrap()).collect();
    // Two lines of two files say "x" at 500: Loki would drop the second.
    assert_eq!(times, ["500", "501", "700", "900"]);
}

#[test]
fn loki_labels_are_chosen_and_never_empty() {
    let mut origin = origin("app", None);
    origin.labels = Arc::new([("my-team".into(), "core".into())]);
    let labels = |names: &[&str]| {
        let labels = names.iter().map(|it| (*it).to_owned()).collect();
        let out = parsed(
            &Format::Loki(Loki { labels }),
            &[piece(&origin, lines(b"x\n"))],
        );
        (
            out["streams"][0]["stream"].clone(),
            out["streams"][0]["values"][0][2].clone(),
        )
    };

    assert_eq!(
        labels(&["my-team"]),
        (json!({"my_team": "core"}), json!({}))
    );
    assert_eq!(
        labels(&["zone"]),
        (json!({"source": "app"}), json!({"my_team": "core"}))
    );
}

#[test]
fn otlp_json_keeps_to_the_mapping() {
    let origin = origin("app", Some("/a"));

    let out = parsed(
        &otlp(OtlpEncoding::Json),
        &[piece(&origin, lines(b"WARN: x\n"))],
    );

    let string = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let expected = json!({"resourceLogs": [{
        "resource": {"attributes": [
            string("service.name", "shop"), string("env", "prod"),
            string("host.name", "h\"1"), string("log.source", "app"),
        ]},
        "scopeLogs": [{
            "scope": {"name": "logweir", "version": env!("CARGO_PKG_VERSION")},
            "logRecords": [{
                "timeUnixNano": TIME_NS.to_string(), "observedTimeUnixNano": TIME_NS.to_string(),
                "severityNumber": 13, "severityText": "WARN",
                "body": {"stringValue": "WARN: x"},
                "attributes": [
                    string("log.file.path", "/a"),
                    {"key": "log.file.record_offset", "value": {"intValue": "1000"}},
                ],
            }],
        }],
    }]});
    assert_eq!(out, expected);
}

#[test]
fn splunk_events_are_records_or_texts_and_never_blank() {
    let origin = origin("app", Some("/a"));
    let format = Format::Splunk(Splunk {
        index: Some("main".to_owned()),
        sourcetype: Some("x".to_owned()),
    });

    let out = text(&format, &[piece(&origin, lines(b"one\n { \"a\": 1 }\n\n"))]);

    let events: Vec<Value> = out
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    assert_eq!(
        events[0],
        json!({
            "time": 1_795_371_948.123_456_7, "host": "h\"1", "sourcetype": "x", "index": "main",
            "source": "/a", "event": "one",
            "fields": {"log_source": "app", "env": "prod", "log_offset": "1000"},
        })
    );
    assert!(out.starts_with("{\"time\":1795371948.123456788,"), "{out}");
    assert_eq!(events[1]["event"], json!({"a": 1}));
    assert_eq!(events[2]["event"], json!({"_msg": ""}));
}

#[test]
fn datadog_entries_carry_tags() {
    let mut origin = origin("app", Some("/a"));
    origin.labels = Arc::new([
        ("service".into(), "shop".into()),
        ("env".into(), "a,b".into()),
    ]);

    let out = parsed(&Format::Datadog, &[piece(&origin, lines(b"one\n"))]);

    let expected = json!([{
        "timestamp": "2026-11-22T18:25:48.123456788Z", "ddsource": "app", "service": "shop",
        "hostname": "h\"1", "ddtags": "env:a_b", "file": "/a", "offset": 1000, "message": "one",
    }]);
    assert_eq!(out, expected);
}
