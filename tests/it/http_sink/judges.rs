//! Bodies before judges: the official protobuf definitions and a model of OpenSearch, which others
//! wrote, a strict reader of `_bulk`, and the rules of Loki.

use serde_json::{Value, json};

use crate::network::logged;
use crate::network::peer::{Peer, Port, python};
use crate::support::{Dir, Logweir, PATIENCE, within};

/// Lines that find the weak places of an encoder: the sample logs, and what no writer should write.
fn samples() -> Vec<u8> {
    let mut all = Vec::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/logs");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("lists the samples")
        .map(|entry| entry.expect("lists the samples").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|it| it == "log" || it == "bin")
        })
        .collect();
    paths.sort();
    for path in paths {
        all.extend(std::fs::read(path).expect("reads a sample"));
        if !all.ends_with(b"\n") {
            all.push(b'\n');
        }
    }
    all.extend_from_slice(b"\n \n\"\\\n{\"_id\":1,\"_source\":{}}\n{\"host\":\"x\",\"log\":1}\n");
    all.extend_from_slice(b"{\"@timestamp\":\"x\"}\n{}\n\xff\xfe\n\0\n{\"a\":\"\\ud800\"}\nend\n");
    all
}

/// What a line looks like as text.
fn texts(samples: &[u8]) -> Vec<String> {
    let lines = samples.strip_suffix(b"\n").expect("it ends with a newline");
    let text = |line: &[u8]| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        String::from_utf8_lossy(line).into_owned()
    };
    lines.split(|byte| *byte == b'\n').map(text).collect()
}

/// Sends the samples with `keys` to `path` of the judge, and returns what it says to each line;
/// `None` where there is no Python.
#[track_caller]
fn judged(test: &str, path: &str, keys: &str, word: &str) -> Option<Vec<Value>> {
    let python = python(test)?;
    let dir = Dir::new();
    let port = Port::new();
    let _judge = Peer::start(python, "collector.py", &port, &dir, &[]);
    let samples = samples();
    dir.write("app.log", &samples);
    let config = dir.config(&format!(
        r#"
        [source.app]
        path = "{{dir}}/app.log"
        labels = {{ team = "core" }}

        [sink.out]
        url = "http://127.0.0.1:{}{path}"
        batch = {{ lines = 100, linger = "5ms" }}
        {keys}
        "#,
        port.number()
    ));
    let n_lines = texts(&samples).len();

    let agent = Logweir::run(&dir, &config).start();
    within(&format!("{n_lines} × {word}"), 2 * PATIENCE, || {
        (logged(&dir, word).len() >= n_lines).then_some(())
    });
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(!ended.stderr.contains("WARN"), "{}", ended.stderr);
    assert_eq!(logged(&dir, "wrong"), Vec::<String>::new());
    let said = logged(&dir, word);
    assert_eq!(said.len(), n_lines);
    let parsed = said
        .iter()
        .map(|it| serde_json::from_str(it).expect("JSON"));
    Some(parsed.collect())
}

#[test]
fn otlp_is_what_the_official_definitions_decode() {
    for keys in ["", "encoding = \"json\"", "compression = \"gzip\""] {
        let keys =
            format!("format = \"otlp\"\nresource = {{ \"service.name\" = \"shop\" }}\n{keys}");
        let Some(records) = judged("otlp", "/v1/logs", &keys, "record") else {
            return;
        };
        let samples = samples();
        let mut offset = 0;
        for (record, text) in records.iter().zip(texts(&samples)) {
            let whole = format!("{record}");
            assert_eq!(record["body"], text, "{whole}");
            assert_eq!(record["resource"]["service.name"], "shop", "{whole}");
            assert_eq!(record["resource"]["team"], "core", "{whole}");
            assert_eq!(record["scope"], "logweir", "{whole}");
            assert_eq!(
                record["attributes"]["log.file.record_offset"], offset,
                "{whole}"
            );
            assert_eq!(record["time"], record["observed"], "{whole}");
            assert!(
                record["time"].as_u64() > Some(1_700_000_000_000_000_000),
                "{whole}"
            );
            assert_eq!(record["unknown"], 0, "{whole}");
            let line = samples[offset..].split(|byte| *byte == b'\n').next();
            offset += line.expect("a line").len() + 1;
        }
        let severities = |number: u64| {
            let found = records.iter().filter(|it| it["severity"][0] == number);
            found.count()
        };
        assert!(
            severities(17) > 50 && severities(9) > 50,
            "{} errors",
            severities(17)
        );
    }
}

/// Sends a bulk to `path` of the judge, whose documents must be the lines.
#[track_caller]
fn bulk_is_read(test: &str, path: &str) {
    let keys = "format = \"elasticsearch\"\nindex = \"logs-app-default\"";
    let Some(documents) = judged(test, path, keys, "document") else {
        return;
    };
    let mut ids: Vec<&Value> = Vec::new();
    for (it, text) in documents.iter().zip(texts(&samples())) {
        assert_eq!(it["meta"]["_index"], "logs-app-default");
        ids.push(&it["meta"]["_id"]);
        let document = &it["document"];
        if !serde_json::from_str::<Value>(&text).is_ok_and(|it| it.is_object()) {
            assert_eq!(document["message"], text);
            assert_eq!(document["event"], json!({"dataset": "app"}));
            assert_eq!(document["labels"], json!({"team": "core"}));
        }
    }
    let n_ids = ids.len();
    ids.sort_by_key(|id| id.as_str());
    ids.dedup();
    assert_eq!(ids.len(), n_ids, "ids are unique");
}

#[test]
fn a_bulk_is_read_by_a_strict_reader() {
    bulk_is_read("bulk", "");
}

// The model answers as to a resend: 409 for each of its documents, which is "delivered".
#[test]
fn a_bulk_is_read_and_answered_by_a_model_of_opensearch() {
    bulk_is_read("bulk, openmock", "/mock");
}

#[test]
fn loki_takes_every_line() {
    let keys = "format = \"loki\"\nlabels = [\"source\", \"team\"]";
    let Some(entries) = judged("loki", "/push", keys, "entry") else {
        return;
    };
    for (entry, text) in entries.iter().zip(texts(&samples())) {
        assert_eq!(entry["line"], text);
        assert_eq!(entry["labels"], json!({"source": "app", "team": "core"}));
        assert!(entry["metadata"]["file"].is_string(), "{entry}");
    }
}
