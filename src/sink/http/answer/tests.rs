//! Every status for every protocol, and every body that an answer can have.

use super::*;

const PROTOCOLS: [Protocol; 9] = [
    Protocol::Lines,
    Protocol::Array,
    Protocol::Elasticsearch,
    Protocol::Loki,
    Protocol::OtlpProtobuf,
    Protocol::OtlpJson,
    Protocol::Splunk,
    Protocol::Datadog,
    Protocol::Kafka,
];

fn answer(status: u16, body: impl AsRef<[u8]>) -> Answer {
    Answer {
        status,
        after: Some(Duration::from_secs(7)),
        body: body.as_ref().to_vec(),
        torn: None,
    }
}

/// What an answer means, in a word.
fn meaning(result: &Result<Stored, SinkError>) -> &'static str {
    match result {
        Ok(None) => "ok",
        Ok(Some(_)) => "warned",
        Err(SinkError::Paused { .. }) => "pause",
        Err(SinkError::TooLarge { .. }) => "halve",
        Err(SinkError::Retryable { .. }) => "retry",
        Err(SinkError::Unacceptable { .. }) => "bisect",
        Err(SinkError::Rejected { .. }) => "set aside",
        Err(SinkError::PartlyRejected { .. }) => "set aside, perhaps stored",
        Err(SinkError::Items(_)) => "items",
        Err(SinkError::Fatal { .. } | SinkError::Ended { .. }) => "never",
    }
}

fn all(protocol: Protocol, status: u16) -> &'static str {
    meaning(&read(protocol, &answer(status, ""), 3))
}

#[test]
fn every_status_has_one_meaning_that_most_protocols_share() {
    let table = [
        (301, "pause"),
        (308, "pause"),
        (401, "pause"),
        (402, "set aside"),
        (403, "pause"),
        (404, "pause"),
        (405, "set aside"),
        (406, "set aside"),
        (407, "pause"),
        (408, "retry"),
        (409, "set aside"),
        (410, "set aside"),
        (413, "halve"),
        (415, "set aside"),
        (429, "retry"),
        (431, "set aside"),
        (451, "set aside"),
        (502, "retry"),
        (503, "retry"),
        (504, "retry"),
        (600, "set aside"),
    ];
    for protocol in PROTOCOLS {
        for (status, expected) in table {
            assert_eq!(all(protocol, status), expected, "{protocol:?} {status}");
        }
    }
}

#[test]
fn statuses_that_protocols_read_differently() {
    let (otlp, others) = ("bisect", "retry");
    let table = [
        // status: lines, array, elasticsearch, loki, otlp, splunk, datadog, kafka
        (
            400,
            [
                "bisect",
                "bisect",
                "bisect",
                "set aside, perhaps stored",
                "set aside",
                "set aside",
                "bisect",
                "bisect",
            ],
        ),
        (
            422,
            [
                "bisect",
                "bisect",
                "bisect",
                "set aside",
                "set aside",
                "set aside",
                "bisect",
                "bisect",
            ],
        ),
        (
            425,
            [
                others,
                others,
                others,
                others,
                "set aside",
                others,
                others,
                others,
            ],
        ),
        (
            500,
            [others, others, others, others, otlp, others, others, others],
        ),
        (
            507,
            [others, others, others, others, otlp, others, others, others],
        ),
        (
            260,
            ["ok", "ok", "pause", "set aside", "ok", "ok", "ok", "pause"],
        ),
        (202, ["ok", "ok", "pause", "ok", "ok", "ok", "ok", "pause"]),
        (204, ["ok", "ok", "pause", "ok", "ok", "ok", "ok", "pause"]),
    ];
    for (status, expected) in table {
        let [lines, array, bulk, loki, otlp, splunk, datadog, kafka] = expected;
        let by_protocol = [lines, array, bulk, loki, otlp, otlp, splunk, datadog, kafka];
        for (protocol, expected) in PROTOCOLS.into_iter().zip(by_protocol) {
            assert_eq!(all(protocol, status), expected, "{protocol:?} {status}");
        }
    }
}

#[test]
fn a_400_about_tls_is_a_mistake_of_the_set_up() {
    for protocol in PROTOCOLS {
        let page = "<html><body>No required SSL certificate was sent</body></html>";

        assert_eq!(meaning(&read(protocol, &answer(400, page), 3)), "pause");
    }
}

#[test]
fn retry_after_goes_with_what_is_retried() {
    let after = |result| match result {
        Err(SinkError::Retryable { after, .. }) => after,
        _ => None,
    };

    let asked = after(read(Protocol::Lines, &answer(503, ""), 1));

    assert_eq!(asked, Some(Duration::from_secs(7)));
}

/// The items of an answer: lines that failed, lines that are refused, and how the rest is retried.
fn items(result: Result<Stored, SinkError>) -> (Vec<u64>, Vec<u64>, &'static str) {
    let Err(SinkError::Items(items)) = result else {
        panic!("{result:?}")
    };
    let rejected = items.rejected.iter().map(|it| it.line).collect();
    (items.failed, rejected, meaning(&Err(items.retry)))
}

fn bulk(statuses: &[u16]) -> String {
    let item = |status: &u16| {
        format!(
            r#"{{"create":{{"_id":"x","status":{status},"error":{{"type":"t","reason":"r"}}}}}}"#
        )
    };
    let items: Vec<String> = statuses.iter().map(item).collect();
    format!(
        r#"{{"took":1,"errors":true,"items":[{}]}}"#,
        items.join(",")
    )
}

#[test]
fn a_bulk_is_judged_document_by_document() {
    let read = |statuses: &[u16]| {
        let lines = statuses.len() as u64;
        super::read(Protocol::Elasticsearch, &answer(200, bulk(statuses)), lines)
    };

    assert_eq!(
        items(read(&[201, 409, 429, 400, 503])),
        (vec![2, 4], vec![3], "retry")
    );
    assert_eq!(meaning(&read(&[409, 409])), "ok");
    assert_eq!(items(read(&[403, 429])), (vec![0, 1], vec![], "pause"));
    assert_eq!(items(read(&[400, 413])), (vec![], vec![0, 1], "retry"));
    let Err(SinkError::Items(refused)) = read(&[400]) else {
        panic!("one is refused")
    };
    assert_eq!(refused.rejected[0].status, 400);
    assert_eq!(refused.rejected[0].reason, "item status 400: t: r");
}

#[test]
fn a_bulk_that_is_answered_by_somebody_else_is_not_delivered() {
    let read = |body: &str| meaning(&read(Protocol::Elasticsearch, &answer(200, body), 5));

    assert_eq!(read(r#"{"took":1,"errors":false}"#), "ok");
    assert_eq!(read(r#"{"errors":false,"items":[]}"#), "ok");
    assert_eq!(read("<html>log in</html>"), "pause");
    assert_eq!(read(r#"{"ok":true}"#), "pause");
    assert_eq!(read(""), "pause");
    // Of which line the one item speaks is not known.
    assert_eq!(read(&bulk(&[201])), "retry");
    // Some servers know only `index`, and tell errors as text.
    let other = r#"{"errors":true,"items":[{"index":{"status":400,"error":"bad"}}]}"#;
    let result = super::read(Protocol::Elasticsearch, &answer(200, other), 1);
    assert_eq!(items(result), (vec![], vec![0], "retry"));
}

#[test]
fn an_answer_that_breaks_off_counts_only_where_the_status_says_it_all() {
    for protocol in PROTOCOLS {
        let torn = Answer {
            torn: Some("the answer broke off".to_owned()),
            ..answer(200, r#"{"errors":false,"it"#)
        };

        let expected = match protocol {
            Protocol::Lines | Protocol::Array | Protocol::Loki | Protocol::Datadog => "ok",
            _ => "retry",
        };
        assert_eq!(meaning(&read(protocol, &torn, 5)), expected, "{protocol:?}");
    }
}

#[test]
fn a_partial_success_of_otlp_is_never_sent_again() {
    let json = |body: &str| read(Protocol::OtlpJson, &answer(200, body), 5);
    // partial_success { rejected_log_records: 2, error_message: "too old" }
    let protobuf = b"\x0a\x0b\x08\x02\x12\x07too old";

    for result in [
        json(r#"{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"too old"}}"#),
        json(r#"{"partialSuccess":{"rejectedLogRecords":2,"errorMessage":"too old"}}"#),
        read(Protocol::OtlpProtobuf, &answer(200, protobuf), 5),
    ] {
        let Err(SinkError::PartlyRejected { lines, cause, .. }) = result else {
            panic!("{result:?}")
        };
        assert_eq!(lines, Some(2));
        assert!(
            cause.contains("2 of 5") && cause.contains("too old"),
            "{cause}"
        );
    }
    let warned = json(r#"{"partialSuccess":{"errorMessage":"slow down"}}"#);
    assert_eq!(warned, Ok(Some("slow down".to_owned())));
    for all in [
        "",
        "{}",
        r#"{"partialSuccess":null}"#,
        r#"{"partialSuccess":{}}"#,
    ] {
        assert_eq!(json(all), Ok(None), "{all}");
    }
    assert_eq!(meaning(&json("<html>")), "pause");
    assert_eq!(meaning(&json("{\"partialSuccess\":5}")), "pause");
}

#[test]
fn splunk_codes() {
    let read = |status, body: &str| read(Protocol::Splunk, &answer(status, body), 5);
    let code =
        |status, code: i64| meaning(&read(status, &format!(r#"{{"text":"t","code":{code}}}"#)));

    assert_eq!(code(200, 0), "ok");
    assert_eq!(code(200, 9), "retry");
    assert_eq!(code(200, 4), "pause");
    assert_eq!(code(401, 2), "pause");
    assert_eq!(code(403, 4), "pause");
    assert_eq!(code(400, 5), "set aside");
    assert_eq!(code(400, 6), "set aside");
    assert_eq!(code(400, 7), "pause");
    assert_eq!(code(400, 10), "pause");
    assert_eq!(code(400, 14), "pause");
    assert_eq!(code(503, 9), "retry");
    assert_eq!(meaning(&read(200, "<html>")), "pause");
    assert_eq!(meaning(&read(200, "OK")), "ok");
    let invalid = r#"{"text":"Invalid data format","code":6,"invalid-event-number":2}"#;
    assert_eq!(
        items(read(400, invalid)),
        (vec![3, 4], vec![0, 1, 2], "retry")
    );
    let beyond = r#"{"text":"Invalid data format","code":6,"invalid-event-number":5}"#;
    assert_eq!(meaning(&read(400, beyond)), "set aside");
}

#[test]
fn kafka_offsets_are_judged_record_by_record() {
    let read = |body: &str, lines| read(Protocol::Kafka, &answer(200, body), lines);
    let offsets = r#"{"offsets":[
        {"partition":0,"offset":1,"error_code":null,"error":null},
        {"partition":0,"offset":2},
        {"error_code":2,"error":"retry"},
        {"error_code":1,"error":"never"},
        {"partition":-1,"error_code":10,"offset":-1}]}"#;

    assert_eq!(items(read(offsets, 5)), (vec![2], vec![3, 4], "retry"));
    assert_eq!(meaning(&read(offsets, 4)), "retry");
    assert_eq!(meaning(&read(r#"{"offsets":[{"offset":1}]}"#, 1)), "ok");
    assert_eq!(meaning(&read("<html>", 1)), "pause");
}

proptest::proptest! {
    #[test]
    fn no_answer_is_too_strange(status in 200_u16..600, body: Vec<u8>, lines in 0..5_u64) {
        for protocol in PROTOCOLS {
            // Nothing that is not JSON or protobuf may pass for what it is not, and nothing panics.
            let _ = read(protocol, &answer(status, &body), lines);
        }
    }
}
