//! Streams over real sockets.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::*;
use crate::checkpoint::Checkpoints;
use crate::model::Position;
use crate::secret::Secret;
use crate::source::SourceKind;
use crate::source::testing::{Seen, accept, beside, listen, source, standing_at, within, write};

const BUDGET_BYTES: usize = 1 << 20;
const LINES: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n";
const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";

fn stream(config: StreamConfig) -> (impl Future<Output = Result<(), SourceError>>, Seen) {
    source(
        SourceKind::Stream(config),
        BUDGET_BYTES,
        Checkpoints::none(),
    )
}

fn at(address: &str) -> StreamConfig {
    StreamConfig::of_url(format!("http://{address}/logs?key=s3cret"))
}

#[tokio::test]
async fn a_cut_stream_is_asked_for_again_and_nothing_that_came_is_lost() {
    let (listener, address) = listen().await;
    let (source, mut seen) = stream(at(&address));

    beside(source, async {
        let (mut first, head) = accept(&listener).await;
        write(&mut first, [LINES, "one\ntwo\nhalf"].concat()).await;
        assert_eq!(seen.lines(2).await, ["one", "two"]);
        drop(first);
        assert_eq!(seen.lines(1).await, ["half"]);
        let (mut second, _) = accept(&listener).await;
        write(&mut second, [LINES, "three\n"].concat()).await;

        assert_eq!(seen.lines(1).await, ["three"]);
        assert!(
            head.starts_with("get /logs?key=s3cret http/1.1\r\n"),
            "{head}"
        );
        assert!(head.contains("accept: text/event-stream, application/x-ndjson, */*\r\n"));
        assert!(!head.contains("accept-encoding"), "{head}");
    })
    .await;
    assert_eq!(seen.counters.reconnects.get(), 1);
    assert_eq!(seen.first_attempt.await, Ok(Ok(())));
}

#[tokio::test]
async fn a_line_is_forwarded_at_once_and_lines_that_are_there_together() {
    let (listener, address) = listen().await;
    let (source, mut seen) = stream(at(&address));

    beside(source, async {
        let (mut server, _) = accept(&listener).await;
        write(&mut server, [LINES, "one\nha"].concat()).await;
        assert_eq!(seen.chunk().await, ["one"]);
        write(&mut server, "lf\nx\ny\n").await;

        assert_eq!(seen.lines(3).await, ["half", "x", "y"]);
    })
    .await;
}

#[tokio::test]
async fn events_resume_after_the_last_one_that_was_read() {
    let (listener, address) = listen().await;
    let (source, mut seen) = stream(at(&address));

    beside(source, async {
        let (mut first, head) = accept(&listener).await;
        assert!(!head.contains("last-event-id"), "{head}");
        let events = "retry: 1\nid: 7\ndata: a\ndata: b\n\nid: 8\ndata: torn\n";
        write(&mut first, [EVENTS, events].concat()).await;
        assert_eq!(seen.chunk().await, ["a\nb"]);
        drop(first);
        let (_second, head) = accept(&listener).await;

        assert!(head.contains("last-event-id: 7\r\n"), "{head}");
    })
    .await;
}

#[tokio::test]
async fn events_resume_where_the_checkpoint_stands() {
    let (listener, address) = listen().await;
    let position = Position::Token {
        cursor: "41".into(),
        skip: 0,
    };
    let (_folder, checkpoints, key) = standing_at(&address, &position);
    let kind = SourceKind::Stream(at(&address));
    let (source, mut seen) = source(kind, BUDGET_BYTES, checkpoints);

    beside(source, async {
        let (mut server, head) = accept(&listener).await;
        assert!(head.contains("last-event-id: 41\r\n"), "{head}");
        write(&mut server, [EVENTS, "id: 42\ndata: a\n\n"].concat()).await;

        let chunk = within(seen.receiver.recv()).await.unwrap();
        let expected = Position::Token {
            cursor: "42".into(),
            skip: 1,
        };
        assert_eq!((chunk.ack.end(), &**chunk.ack.key()), (&expected, &key));
    })
    .await;
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_where_idle_says_so() {
    let (listener, address) = listen().await;
    let idle = Some(Duration::from_millis(20));
    let (source, mut seen) = stream(StreamConfig {
        idle,
        ..at(&address)
    });

    beside(source, async {
        let (mut first, _) = accept(&listener).await;
        write(&mut first, [LINES, "one\n"].concat()).await;
        assert_eq!(seen.lines(1).await, ["one"]);
        let (_second, _) = accept(&listener).await;
        let (_third, _) = accept(&listener).await;
    })
    .await;
}

#[tokio::test]
async fn any_bytes_at_all_are_lines() {
    let (listener, address) = listen().await;
    let (source, mut seen) = stream(at(&address));

    beside(source, async {
        let (mut server, _) = accept(&listener).await;
        write(&mut server, LINES).await;
        write(&mut server, b"\xff\xfe\0\n\n\x1b[2J\r\n").await;
        write(&mut server, [b'x'; 3000]).await;
        write(&mut server, "\nlast\n").await;

        let lines = seen.lines(5).await;
        assert_eq!(lines[..3], ["\u{fffd}\u{fffd}\0", "", "\u{1b}[2J\r"]);
        assert_eq!((lines[3].len(), lines[4].as_str()), (1024, "last"));
    })
    .await;
    assert_eq!(seen.counters.truncated.get(), 1);
}

#[tokio::test]
async fn a_flood_into_a_dead_sink_is_not_read_and_not_lost() {
    let (listener, address) = listen().await;
    let (source, mut seen) = stream(at(&address));
    let block = "0123456789abcde\n".repeat(4096);
    // More than sockets ever hold.
    const N_BLOCKS: usize = 1024;

    beside(source, async {
        let (mut server, _) = accept(&listener).await;
        write(&mut server, LINES).await;
        let mut written = 0;
        let mut rest = &block.as_bytes()[..0];
        while written < N_BLOCKS {
            if rest.is_empty() {
                rest = block.as_bytes();
            }
            match timeout(Duration::from_millis(500), server.write(rest)).await {
                Ok(sent) => rest = &rest[sent.unwrap()..],
                Err(_) => break,
            }
            written += usize::from(rest.is_empty());
        }
        assert!(written < N_BLOCKS / 2, "all of {written} blocks were read");
        let charged = seen.counters.bytes.get();
        assert!(
            charged < 2 * BUDGET_BYTES as u64,
            "{charged} bytes in flight"
        );

        let expected = (written + 1) * 4096;
        let send_rest = async {
            write(&mut server, rest).await;
            drop(server);
        };
        let (lines, ()) = tokio::join!(seen.lines(expected), send_rest);
        assert_eq!(lines.len(), expected);
        assert!(lines.iter().all(|line| line == "0123456789abcde"));
    })
    .await;
}

#[tokio::test]
async fn a_refused_port_is_told_once_and_tried_until_stopped() {
    let (listener, address) = listen().await;
    drop(listener);
    let (source, seen) = stream(at(&address));

    let (ended, told) = tokio::join!(within(source), async {
        let told = within(seen.first_attempt).await.unwrap();
        seen.shutdown.cancel();
        told
    });

    assert!(ended.is_ok());
    let told = told.unwrap_err().trouble;
    assert!(told.ends_with(": Connection refused"), "{told}");
}

#[tokio::test]
async fn a_refusal_says_what_is_wrong_with_the_set_up() {
    let cases = [
        (
            "401 Unauthorized",
            "cannot read app: 401 Unauthorized (no credentials were sent)",
        ),
        ("404 Not Found", "cannot read app: HTTP 404 Not Found"),
        ("204 No Content", "cannot read app: HTTP 204 No Content"),
        (
            "503 Service Unavailable",
            "cannot read app: HTTP 503 Service Unavailable",
        ),
        (
            "200 OK\r\nContent-Encoding: br",
            "cannot read app: content-encoding \"br\" cannot be read",
        ),
        (
            "200 OK\r\nContent-Length: 5",
            "cannot read app: the answer has an end (Content-Length: 5)",
        ),
    ];
    for (status, expected) in cases {
        let (listener, address) = listen().await;
        let (source, seen) = stream(at(&address));

        let told = beside(source, async {
            let (mut server, _) = accept(&listener).await;
            write(&mut server, format!("HTTP/1.1 {status}\r\n\r\n")).await;
            within(seen.first_attempt).await.unwrap()
        })
        .await;

        let told = told.unwrap_err().trouble;
        assert!(
            told.starts_with(expected) && !told.contains("s3cret"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn a_finite_answer_ends_a_source_that_may_end() {
    let (listener, address) = listen().await;
    let ends = Ends::WithFiniteResponse;
    let (source, mut seen) = stream(StreamConfig {
        ends,
        ..at(&address)
    });

    let (ended, ()) = tokio::join!(within(source), async {
        let (mut server, _) = accept(&listener).await;
        write(
            &mut server,
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\na\nb\nc",
        )
        .await;
        assert_eq!(seen.lines(3).await, ["a", "b", "c"]);
    });

    assert!(ended.is_ok());
    assert_eq!(seen.first_attempt.await, Ok(Ok(())));
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_origin() {
    let (listener, address) = listen().await;
    let (other, other_address) = listen().await;
    let mut config = at(&address);
    config.network.credentials.bearer = Some(Secret::new("t0ken"));
    let (source, mut seen) = stream(config);

    beside(source, async {
        for (target, host) in [
            ("/moved", &listener),
            (&*format!("http://{other_address}/"), &other),
        ] {
            let (mut server, head) = accept(&listener).await;
            assert!(head.contains("authorization: bearer t0ken"), "{head}");
            let answer =
                format!("HTTP/1.1 302 Found\r\nLocation: {target}\r\nConnection: close\r\n\r\n");
            write(&mut server, answer).await;
            drop(server);
            let (mut server, head) = accept(host).await;
            let same = std::ptr::eq(host, &listener);
            assert_eq!(head.contains("t0ken"), same, "{head}");
            write(&mut server, [LINES, "here\n"].concat()).await;
            assert_eq!(seen.lines(1).await, ["here"]);
        }
    })
    .await;
}
