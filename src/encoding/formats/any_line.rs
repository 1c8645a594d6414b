//! What holds for every format whatever the lines are: a body is JSON, and holds each of them.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// The text of each line as a body shows it, and what else a line is in it.
fn shown(format: &Format, body: &[u8]) -> Vec<String> {
    let each_line = || {
        let values = body
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        let values = values.map(|line| serde_json::from_slice(line).unwrap());
        values.collect::<Vec<Value>>()
    };
    let whole = || serde_json::from_slice::<Value>(body).unwrap();
    let members = |value: &Value| value.as_array().unwrap().clone();
    let message = |record: &Value| match record.get("_msg") {
        Some(text) => text.as_str().unwrap().to_owned(),
        None => record.to_string(),
    };
    match format {
        Format::Json(_) => each_line().iter().map(message).collect(),
        Format::JsonArray(_) => members(&whole()).iter().map(message).collect(),
        Format::Kafka(_) => {
            let records = members(&whole()["records"]);
            records.iter().map(|it| message(&it["value"])).collect()
        }
        Format::Elasticsearch(_) => {
            let lines = each_line();
            assert!(
                lines
                    .iter()
                    .step_by(2)
                    .all(|it| it["create"]["_id"].is_string())
            );
            let documents = lines.iter().skip(1).step_by(2);
            documents
                .map(|it| match it.get("message") {
                    Some(Value::String(text)) => text.clone(),
                    _ => it.to_string(),
                })
                .collect()
        }
        Format::Loki(_) => {
            let streams = members(&whole()["streams"]);
            let values = streams.iter().flat_map(|it| members(&it["values"]));
            values
                .map(|it| it[1].as_str().unwrap().to_owned())
                .collect()
        }
        Format::Otlp(_) => {
            let resources = members(&whole()["resourceLogs"]);
            let scopes = resources.iter().flat_map(|it| members(&it["scopeLogs"]));
            let records = scopes.flat_map(|it| members(&it["logRecords"]));
            let body = |it: Value| it["body"]["stringValue"].as_str().unwrap().to_owned();
            records.map(body).collect()
        }
        Format::Splunk(_) => {
            let event = |it: &Value| match &it["event"] {
                Value::String(text) => text.clone(),
                event => message(event),
            };
            each_line().iter().map(event).collect()
        }
        Format::Datadog => {
            let entries = members(&whole());
            let text = |it: &Value| it["message"].as_str().unwrap().to_owned();
            entries.iter().map(text).collect()
        }
        Format::Raw | Format::Text(_) | Format::Template(_) => unreachable!("these are not JSON"),
    }
}

fn any_line() -> impl Strategy<Value = Vec<u8>> {
    let object = r#"\{("[a-z_@\\"]{0,6}":("[ -~]{0,8}"|[0-9]{1,4}|\{\}|\[1\]|null),?){0,4}\}"#;
    prop_oneof![
        any::<Vec<u8>>(),
        "[ -~\t\r\"\\\\]{0,60}".prop_map(String::into_bytes),
        "\\PC{0,30}".prop_map(String::into_bytes),
        object.prop_map(String::into_bytes),
    ]
}

fn records(texts: &[(Vec<u8>, bool)]) -> Lines {
    let mut bytes = Vec::new();
    let mut records = Vec::new();
    for (text, truncated) in texts {
        bytes.extend_from_slice(text);
        bytes.push(b'\n');
        records.push(Record {
            end: u32::try_from(bytes.len()).unwrap(),
            offset: 5,
            truncated: *truncated,
            binary: false,
            ..Record::default()
        });
    }
    Lines::from_records(bytes.into(), records.into())
}

proptest! {
    #[test]
    fn whatever_the_lines_are_a_body_is_json_and_holds_each_of_them_in_order(
        texts in vec((any_line(), any::<bool>()), 1..12),
        split in any::<prop::sample::Index>(),
    ) {
        let origin = origin("the \"source\"\n", Some("/var/log/\\a.log"));
        let split = split.index(texts.len() + 1);
        let parts = [records(&texts[..split]), records(&texts[split..])];
        let pieces: Vec<_> = parts
            .into_iter()
            .filter(|part| !part.is_empty())
            .map(|part| piece(&origin, part))
            .collect();
        for format in json_formats() {
            let body = body(&format, &pieces);

            prop_assert!(std::str::from_utf8(&body).is_ok());
            let shown = shown(&format, &body);
            prop_assert_eq!(shown.len(), texts.len(), "{:?}", format);
            for (shown, (text, _)) in shown.iter().zip(&texts) {
                let plain = String::from_utf8_lossy(text.strip_suffix(b"\r").unwrap_or(text));
                let is_object = serde_json::from_slice::<serde_json::Map<_, _>>(text).is_ok();
                prop_assert!(is_object || *shown == plain, "{:?}: {:?} {:?}", format, shown, plain);
            }
        }
    }
}
