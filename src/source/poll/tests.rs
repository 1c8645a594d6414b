//! Polling over real sockets.

use std::time::{Duration, Instant};

use reqwest::header::HeaderName;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::checkpoint::Checkpoints;
use crate::framing::Pointer;
use crate::model::Position;
use crate::secret::Secret;
use crate::source::testing::{Seen, accept, beside, listen, source, standing_at, within, write};
use crate::source::{Ends, SourceKind};

const BUDGET_BYTES: usize = 1 << 20;

fn polled(config: PollConfig) -> (impl Future<Output = Result<(), SourceError>>, Seen) {
    let kind = SourceKind::Poll(Box::new(config));
    source(kind, BUDGET_BYTES, Checkpoints::none())
}

/// `path` at that address, often.
fn at(address: &str, path: &str) -> PollConfig {
    PollConfig {
        interval: Duration::from_millis(10),
        timeout: Duration::from_secs(5),
        ..PollConfig::of_urls(vec![Secret::new(format!("http://{address}{path}"))])
    }
}

fn pointer(text: &str) -> Pointer {
    Pointer::new(text).unwrap()
}

fn since(from: &str) -> Option<CursorRule> {
    Some(CursorRule {
        from: pointer(from),
        sent_as: SentAs::Param("since".to_owned()),
        start: None,
    })
}

/// Takes the next request, which must ask for `target`.
#[track_caller]
fn asks<'a>(
    listener: &'a TcpListener,
    target: &'a str,
) -> impl Future<Output = (TcpStream, String)> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        let (server, head) = accept(listener).await;
        let asked = head.split(' ').nth(1).unwrap();
        // Heads are read in lower case.
        assert_eq!(asked, target.to_lowercase(), "at {caller}");
        (server, head)
    }
}

/// Answers with a status line's rest, headers, and a body.
async fn answer((mut server, _): (TcpStream, String), status: &str, body: &str) {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    write(&mut server, [&head, body].concat()).await;
}

#[tokio::test]
async fn a_cursor_is_followed_until_it_stands_still() {
    let (listener, address) = listen().await;
    let (source, mut seen) = polled(PollConfig {
        records: pointer("/items"),
        cursor: since("/items/-1/id"),
        ..at(&address, "/logs?key=s3cret")
    });

    beside(source, async {
        let body = r#"{"items": [{"id": 1}, {"id": 2}]}"#;
        answer(asks(&listener, "/logs?key=s3cret").await, "200 OK", body).await;
        let body = r#"{"items": [{"id": 3}]}"#;
        answer(
            asks(&listener, "/logs?key=s3cret&since=2").await,
            "200 OK",
            body,
        )
        .await;
        assert_eq!(
            seen.lines(3).await,
            ["{\"id\": 1}", "{\"id\": 2}", "{\"id\": 3}"]
        );
        // Nothing new: the cursor is kept, and the round is over.
        for _ in 0..2 {
            let asked = asks(&listener, "/logs?key=s3cret&since=3").await;
            answer(asked, "200 OK", r#"{"items": []}"#).await;
        }
        let body = r#"{"items": [{"id": 3}, {"id": 4}]}"#;
        answer(
            asks(&listener, "/logs?key=s3cret&since=3").await,
            "200 OK",
            body,
        )
        .await;
        assert_eq!(seen.lines(2).await, ["{\"id\": 3}", "{\"id\": 4}"]);
    })
    .await;
    assert_eq!(seen.first_attempt.await, Ok(Ok(())));
}

#[tokio::test]
async fn the_cursor_goes_on_where_the_checkpoint_stands_and_with_the_last_part() {
    let (listener, address) = listen().await;
    let token = |cursor: &str| Position::Token {
        cursor: cursor.into(),
        skip: 0,
    };
    let before = token(r#"{"cursor":"41"}"#);
    let after = token(r#"{"cursor":"241","n_records":200}"#);
    let (_folder, checkpoints, _) = standing_at(&address, &before);
    let config = PollConfig {
        cursor: since("/-1/id"),
        ..at(&address, "/logs")
    };
    let kind = SourceKind::Poll(Box::new(config));
    let (source, mut seen) = source(kind, 4 * BUDGET_BYTES, checkpoints);
    let long = "x".repeat(900);
    let records: Vec<String> = (0..200)
        .map(|n| format!("{{\"id\":{},\"text\":\"{long}\"}}", n + 42))
        .collect();

    beside(source, async {
        let body = format!("[{}]", records.join(","));
        answer(asks(&listener, "/logs?since=41").await, "200 OK", &body).await;
        let mut count = 0;
        while count < 200 {
            let chunk = within(seen.receiver.recv()).await.unwrap();
            count += chunk.lines.count();
            let expected = if count == 200 { &after } else { &before };
            assert_eq!(chunk.ack.end(), expected, "after {count} records");
            let _ = chunk.ack.settle();
        }
        answer(asks(&listener, "/logs?since=241").await, "200 OK", "[]").await;
    })
    .await;
}

#[tokio::test]
async fn a_page_that_has_not_changed_is_not_sent_again() {
    let (listener, address) = listen().await;
    let (source, mut seen) = polled(at(&address, "/logs"));

    beside(source, async {
        let (server, head) = asks(&listener, "/logs").await;
        assert!(!head.contains("if-none-match"), "{head}");
        assert!(head.contains("accept-encoding: gzip, zstd\r\n"), "{head}");
        let headers = "200 OK\r\nETag: \"v1\"\r\nLast-Modified: Sun, 22 Nov 2026 18:00:00 GMT";
        answer((server, head), headers, "[1]").await;
        assert_eq!(seen.lines(1).await, ["1"]);
        for _ in 0..3 {
            let (server, head) = asks(&listener, "/logs").await;
            assert!(head.contains("if-none-match: \"v1\"\r\n"), "{head}");
            assert!(head.contains("if-modified-since: sun, 22 nov"), "{head}");
            answer((server, head), "304 Not Modified", "").await;
        }
        answer(asks(&listener, "/logs").await, "200 OK", "[1,2]").await;
        assert_eq!(seen.lines(2).await, ["1", "2"]);
        let (_server, head) = asks(&listener, "/logs").await;
        assert!(!head.contains("if-none-match"), "{head}");
    })
    .await;
}

#[tokio::test]
async fn links_lead_through_the_pages_and_never_in_a_circle() {
    let (listener, address) = listen().await;
    let (source, mut seen) = polled(PollConfig {
        next: Some(NextRule::Link),
        interval: Duration::from_secs(60),
        ..at(&address, "/logs")
    });

    beside(source, async {
        let to = |target: &str| format!("200 OK\r\nLink: <{target}>; rel=\"next\"");
        answer(asks(&listener, "/logs").await, &to("/logs?page=2"), "[1]").await;
        answer(asks(&listener, "/logs?page=2").await, &to("?page=3"), "[]").await;
        answer(asks(&listener, "/logs?page=3").await, &to("/logs"), "[3]").await;
        assert_eq!(seen.lines(2).await, ["1", "3"]);
        let again = tokio::time::timeout(Duration::from_millis(200), listener.accept()).await;
        assert!(again.is_err(), "it goes round in circles");
    })
    .await;
}

#[tokio::test]
async fn pages_are_tokens_numbers_or_offsets() {
    let token = NextRule::At {
        from: pointer("/next"),
        param: Some("page_token".to_owned()),
    };
    let url = NextRule::At {
        from: pointer("/next"),
        param: None,
    };
    let page = NextRule::Page {
        param: "page".to_owned(),
        start: 1,
    };
    let offset = NextRule::Offset {
        param: "skip".to_owned(),
        start: 0,
    };
    let cases = [
        (token, ["/l", "/l?page_token=a%2Fb", ""], ["a/b", ""]),
        (url, ["/l", "/more?x=1", ""], ["/more?x=1", ""]),
        (page, ["/l?page=1", "/l?page=2", "/l?page=3"], ["", ""]),
        (offset, ["/l?skip=0", "/l?skip=2", "/l?skip=3"], ["", ""]),
    ];
    for (next, targets, nexts) in cases {
        let (listener, address) = listen().await;
        let (source, mut seen) = polled(PollConfig {
            next: Some(next),
            records: pointer("/items"),
            interval: Duration::from_secs(60),
            ends: Ends::WithFirstConnection,
            ..at(&address, "/l")
        });

        let (ended, ()) = tokio::join!(within(source), async {
            let body = format!(r#"{{"items":[1,2],"next":"{}"}}"#, nexts[0]);
            answer(asks(&listener, targets[0]).await, "200 OK", &body).await;
            let body = format!(r#"{{"items":[3],"next":"{}"}}"#, nexts[1]);
            answer(asks(&listener, targets[1]).await, "200 OK", &body).await;
            if !targets[2].is_empty() {
                answer(
                    asks(&listener, targets[2]).await,
                    "200 OK",
                    r#"{"items":[]}"#,
                )
                .await;
            }
            assert_eq!(seen.lines(3).await, ["1", "2", "3"]);
        });
        assert!(ended.is_ok());
    }
}

#[tokio::test]
async fn where_the_newest_comes_first_the_cursor_moves_at_the_end_of_a_round() {
    let (listener, address) = listen().await;
    let (source, mut seen) = polled(PollConfig {
        next: Some(NextRule::Link),
        cursor: since("/0/id"),
        ..at(&address, "/l")
    });

    beside(source, async {
        let link = "200 OK\r\nLink: </l?page=2>; rel=next";
        answer(asks(&listener, "/l").await, link, r#"[{"id":9},{"id":8}]"#).await;
        let chunk = within(seen.receiver.recv()).await.unwrap();
        assert_eq!(
            chunk.ack.end(),
            &Position::Token {
                cursor: r#"{"n_records":2}"#.into(),
                skip: 0
            }
        );
        let _ = chunk.ack.settle();
        answer(
            asks(&listener, "/l?page=2").await,
            "200 OK",
            r#"[{"id":7}]"#,
        )
        .await;
        let chunk = within(seen.receiver.recv()).await.unwrap();
        let place = Position::Token {
            cursor: r#"{"cursor":"9","n_records":3}"#.into(),
            skip: 0,
        };
        assert_eq!(chunk.ack.end(), &place);
        let _ = chunk.ack.settle();
        let _ = asks(&listener, "/l?since=9").await;
    })
    .await;
}

#[tokio::test]
async fn records_that_came_before_are_told_by_their_ids() {
    let (listener, address) = listen().await;
    let (source, mut seen) = polled(PollConfig {
        dedupe: Some(pointer("/id")),
        ..at(&address, "/l")
    });

    beside(source, async {
        let body = r#"[{"id":1},{"id":"two"},{"no":"id"}]"#;
        answer(asks(&listener, "/l").await, "200 OK", body).await;
        assert_eq!(seen.lines(3).await.len(), 3);
        let body = r#"[{"id":"two"},{"id":3},{"no":"id"}]"#;
        answer(asks(&listener, "/l").await, "200 OK", body).await;
        assert_eq!(seen.lines(2).await, ["{\"id\":3}", "{\"no\":\"id\"}"]);
    })
    .await;
    assert_eq!(seen.counters.duplicates.get(), 1);
}

// Scenario: a cursor goes in a header, a round ends at max_pages, and the server's ETag is that of all
// records. Bug: the next page, which has the same URL, was asked for with that ETag: 304, and its records
// never came. Fix: an ETag counts for the cursor that was sent with it only.
#[tokio::test]
async fn an_etag_of_one_cursor_does_not_count_for_the_next() {
    let (listener, address) = listen().await;
    let (source, mut seen) = polled(PollConfig {
        cursor: Some(CursorRule {
            from: pointer("/-1/id"),
            sent_as: SentAs::Header(HeaderName::from_static("x-after")),
            start: None,
        }),
        pages_max: 1,
        ..at(&address, "/l")
    });

    beside(source, async {
        let tagged = "200 OK\r\nETag: \"all\"";
        answer(asks(&listener, "/l").await, tagged, r#"[{"id":1}]"#).await;
        assert_eq!(seen.lines(1).await, [r#"{"id":1}"#]);
        let (server, head) = asks(&listener, "/l").await;
        assert!(head.contains("x-after: 1\r\n"), "{head}");
        assert!(!head.contains("if-none-match"), "{head}");
        answer((server, head), tagged, r#"[{"id":2}]"#).await;
        assert_eq!(seen.lines(1).await, [r#"{"id":2}"#]);
    })
    .await;
}

#[tokio::test]
async fn a_server_that_asks_for_patience_gets_it() {
    let (listener, address) = listen().await;
    let (source, mut seen) = polled(at(&address, "/l"));

    beside(source, async {
        let limited = "429 Too Many Requests\r\nRetry-After: 1";
        answer(asks(&listener, "/l").await, limited, "").await;
        let begun = Instant::now();
        let none_left = "200 OK\r\nRateLimit-Remaining: 0\r\nRateLimit-Reset: 1";
        answer(asks(&listener, "/l").await, none_left, "[1]").await;
        assert_eq!(seen.lines(1).await, ["1"]);
        assert!(
            begun.elapsed() >= Duration::from_millis(990),
            "{:?}",
            begun.elapsed()
        );
        answer(asks(&listener, "/l").await, "200 OK", "[2]").await;
        assert!(
            begun.elapsed() >= Duration::from_millis(1980),
            "{:?}",
            begun.elapsed()
        );
    })
    .await;
}

#[tokio::test]
async fn what_is_posted_and_sent_in_headers() {
    let (listener, address) = listen().await;
    let (source, _seen) = polled(PollConfig {
        method: reqwest::Method::POST,
        body: Some(Secret::new("{\"query\":\"s3cret\"}")),
        cursor: Some(CursorRule {
            from: pointer("/0"),
            sent_as: SentAs::Header("x-since".parse().unwrap()),
            start: Some("none".to_owned()),
        }),
        ..at(&address, "/l")
    });

    beside(source, async {
        let (mut server, head) = asks(&listener, "/l").await;
        assert!(head.starts_with("post /l "), "{head}");
        assert!(
            head.contains("content-type: application/json\r\n"),
            "{head}"
        );
        assert!(head.contains("x-since: none\r\n"), "{head}");
        let mut body = [0; 18];
        tokio::io::AsyncReadExt::read_exact(&mut server, &mut body)
            .await
            .unwrap();
        assert_eq!(&body, b"{\"query\":\"s3cret\"}");
        answer((server, head), "200 OK", "[7]").await;
        let (_server, head) = asks(&listener, "/l").await;
        assert!(head.contains("x-since: 7\r\n"), "{head}");
    })
    .await;
}

#[tokio::test]
async fn answers_that_are_too_long_too_slow_or_no_json_are_told_and_cost_nothing_else() {
    let cases = [
        (
            "200 OK",
            "[1,2,3,4,5,6,7,8]",
            "cannot read app: the answer is longer than max_body = 8 bytes",
        ),
        ("404 Not Found", "", "cannot read app: HTTP 404 Not Found"),
        (
            "503 Service Unavailable",
            "",
            "cannot read app: HTTP 503 Service Unavailable",
        ),
    ];
    for (status, body, expected) in cases {
        let (listener, address) = listen().await;
        let (source, seen) = polled(PollConfig {
            body_bytes_max: 8,
            ..at(&address, "/l?key=s3cret")
        });
        let told = beside(source, async {
            answer(asks(&listener, "/l?key=s3cret").await, status, body).await;
            within(seen.first_attempt).await.unwrap()
        })
        .await;
        let told = told.unwrap_err().trouble;
        assert!(
            told.starts_with(expected) && !told.contains("s3cret"),
            "{told}"
        );
    }
    let (listener, address) = listen().await;
    let (source, seen) = polled(PollConfig {
        timeout: Duration::from_millis(100),
        ..at(&address, "/l")
    });
    let told = beside(source, async {
        let (mut server, _) = asks(&listener, "/l").await;
        write(
            &mut server,
            "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n[1,",
        )
        .await;
        within(seen.first_attempt).await.unwrap()
    })
    .await;
    let told = told.unwrap_err().trouble;
    assert_eq!(told, "cannot read app: no answer within 100ms");
}

#[tokio::test]
async fn many_urls_are_asked_at_once_and_one_in_trouble_harms_no_other() {
    const N_URLS: usize = 20;
    let (listener, address) = listen().await;
    let urls = (0..N_URLS).map(|n| Secret::new(format!("http://{address}/l?n={n}")));
    let refused = Secret::new("http://127.0.0.1:1/l");
    let (source, mut seen) = polled(PollConfig {
        urls: urls.chain([refused]).collect(),
        concurrency: N_URLS + 1,
        interval: Duration::from_secs(60),
        ..at(&address, "/")
    });

    beside(source, async {
        let mut waiting = Vec::new();
        while waiting.len() < N_URLS {
            waiting.push(accept(&listener).await);
        }
        for (server, head) in waiting {
            let n = head.split("n=").nth(1).unwrap();
            let n = n.split(' ').next().unwrap().to_owned();
            answer((server, head), "200 OK", &format!("[{n}]")).await;
        }
        let mut lines = seen.lines(N_URLS).await;
        lines.sort_by_key(|line| line.parse::<usize>().unwrap());
        let expected: Vec<String> = (0..N_URLS).map(|n| n.to_string()).collect();
        assert_eq!(lines, expected);
    })
    .await;
    assert_eq!(seen.first_attempt.await, Ok(Ok(())));
}
