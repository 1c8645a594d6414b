//! What streams are made of, and where they go on.

use std::io::Write as _;
use std::time::Duration;

use super::*;
use crate::checkpoint::Checkpoints;
use crate::framing::{GroupLimits, Multiline, Pointer, TimeFrom};
use crate::model::{Position, StdStream};
use crate::source::testing::{
    Seen, accept, beside, listen, source, source_with, standing_at, within, write,
};
use crate::source::{RecordRules, SourceKind};

const BUDGET_BYTES: usize = 1 << 20;

fn head(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n")
}

fn stream(config: StreamConfig) -> (impl Future<Output = Result<(), SourceError>>, Seen) {
    let kind = SourceKind::Stream(config);
    source(kind, BUDGET_BYTES, Checkpoints::none())
}

/// The next records, each with the output that wrote it.
async fn written(seen: &mut Seen, count: usize) -> Vec<(Option<StdStream>, String)> {
    let mut all = Vec::new();
    while all.len() < count {
        let chunk = within(seen.receiver.recv()).await.expect("the source runs");
        let text = |it: &[u8]| String::from_utf8_lossy(it).into_owned();
        all.extend(chunk.lines.iter().map(|it| (it.stream, text(it.text))));
        let _ = chunk.ack.settle();
    }
    all
}

fn frame(kind: u8, text: &str) -> Vec<u8> {
    let len = u32::try_from(text.len()).unwrap().to_be_bytes();
    [&[kind, 0, 0, 0], &len[..], text.as_bytes()].concat()
}

#[tokio::test]
async fn compressed_bodies_are_decoded_as_they_arrive() {
    for coding in ["gzip", "zstd"] {
        let (listener, address) = listen().await;
        let (source, mut seen) = stream(StreamConfig::of_url(format!("http://{address}/")));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        let mut packed = |text: &str| {
            if coding == "gzip" {
                gzip.write_all(text.as_bytes()).unwrap();
                gzip.flush().unwrap();
                return std::mem::take(gzip.get_mut());
            }
            zstd.write_all(text.as_bytes()).unwrap();
            zstd.flush().unwrap();
            std::mem::take(zstd.get_mut())
        };

        beside(source, async {
            let (mut server, _) = accept(&listener).await;
            write(&mut server, head(&format!("Content-Encoding: {coding}"))).await;
            for text in ["one\nha", "lf\n", &"x".repeat(900)] {
                write(&mut server, packed(text)).await;
            }
            assert_eq!(seen.lines(2).await, ["one", "half"]);
            write(&mut server, packed("\n")).await;
            assert_eq!(seen.lines(1).await, ["x".repeat(900)]);
        })
        .await;
    }
}

#[tokio::test]
async fn a_decompression_bomb_is_one_long_line_and_bounded() {
    let (listener, address) = listen().await;
    let (source, mut seen) = stream(StreamConfig::of_url(format!("http://{address}/")));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..64 {
        gzip.write_all(&[b'x'; 1 << 20]).unwrap();
    }
    gzip.write_all(b"\nlast\n").unwrap();
    let bomb = gzip.finish().unwrap();

    beside(source, async {
        let (mut server, _) = accept(&listener).await;
        write(&mut server, head("Content-Encoding: gzip")).await;
        write(&mut server, &bomb).await;
        let lines = seen.lines(2).await;
        assert_eq!((lines[0].len(), lines[1].as_str()), (1024, "last"));
    })
    .await;
    assert_eq!(seen.counters.truncated.get(), 1);
}

#[tokio::test]
async fn a_body_that_only_claims_to_be_compressed_is_said() {
    let (listener, address) = listen().await;
    let (source, mut seen) = stream(StreamConfig::of_url(format!("http://{address}/")));

    beside(source, async {
        let (mut server, _) = accept(&listener).await;
        write(&mut server, head("Content-Encoding: gzip")).await;
        write(&mut server, "plain text\n").await;
        let (mut server, _) = accept(&listener).await;
        write(&mut server, [&head("X: y"), "good\n"].concat()).await;
        assert_eq!(seen.lines(1).await, ["good"]);
    })
    .await;
}

#[tokio::test]
async fn the_outputs_of_a_container_are_told_apart() {
    use StdStream::{Stderr, Stdout};
    let (listener, address) = listen().await;
    let records = RecordRules {
        multiline: Multiline::Auto(GroupLimits {
            timeout: Duration::from_millis(100),
            ..GroupLimits::default()
        }),
        ..RecordRules::default()
    };
    let config = StreamConfig::of_url(format!("http://{address}/"));
    let kind = SourceKind::Stream(config);
    let (source, mut seen) = source_with(records, kind, BUDGET_BYTES, Checkpoints::none());
    let bytes = [
        frame(1, "one\nha"),
        frame(2, "x.Error: y\n"),
        frame(1, "lf\n"),
        frame(2, "\tat a.b(C.java:1)\n"),
        frame(1, "torn"),
    ]
    .concat();

    beside(source, async {
        let (mut server, _) = accept(&listener).await;
        let kind = "Content-Type: application/vnd.docker.multiplexed-stream";
        write(&mut server, head(kind)).await;
        for part in bytes.chunks(7) {
            write(&mut server, part).await;
        }
        let mut all = written(&mut seen, 3).await;
        all.sort_by(|a, b| a.1.cmp(&b.1));
        let expected = [
            (Some(Stdout), "half".to_owned()),
            (Some(Stdout), "one".to_owned()),
            (Some(Stderr), "x.Error: y\n\tat a.b(C.java:1)".to_owned()),
        ];
        assert_eq!(all, expected);
        drop(server);
        assert_eq!(
            written(&mut seen, 1).await,
            [(Some(Stdout), "torn".to_owned())]
        );
    })
    .await;
}

#[tokio::test]
async fn json_texts_are_lines() {
    let (listener, address) = listen().await;
    let (source, mut seen) = stream(StreamConfig::of_url(format!("http://{address}/")));

    beside(source, async {
        let (mut server, _) = accept(&listener).await;
        write(&mut server, head("Content-Type: application/json-seq")).await;
        write(&mut server, "\u{1e}{\"a\":\n1}\n").await;
        assert_eq!(seen.lines(1).await, ["{\"a\": 1}"]);
        write(&mut server, "\u{1e}{\"torn\"").await;
        drop(server);
        assert_eq!(seen.lines(1).await, ["{\"torn\""]);
    })
    .await;
    assert_eq!(seen.counters.unparsed.get(), 1);
}

#[tokio::test]
async fn comments_of_events_are_signs_of_life() {
    let (listener, address) = listen().await;
    let (source, mut seen) = stream(StreamConfig {
        idle: Some(Duration::from_secs(1)),
        ..StreamConfig::of_url(format!("http://{address}/"))
    });

    beside(source, async {
        let (mut server, _) = accept(&listener).await;
        write(&mut server, head("Content-Type: text/event-stream")).await;
        // Longer than the limit in all, and each time far from it.
        for _ in 0..8 {
            tokio::time::sleep(Duration::from_millis(150)).await;
            write(&mut server, ":\n").await;
        }
        write(&mut server, "data: still here\n\n").await;
        assert_eq!(seen.lines(1).await, ["still here"]);
    })
    .await;
    assert_eq!(seen.counters.reconnects.get(), 0);
}

fn by_time(address: &str) -> StreamConfig {
    StreamConfig {
        resume: Some(ResumeRule {
            param: "since".to_owned(),
            from: TimeFrom::Pointer(Pointer::new("/ts").unwrap()),
        }),
        ..StreamConfig::of_url(format!("http://{address}/logs?follow=1"))
    }
}

fn record(second: u32, n: u32) -> String {
    format!("{{\"ts\":\"2026-11-25T18:00:{second:02}.5Z\",\"n\":{n}}}\n")
}

#[tokio::test]
async fn a_server_that_replays_by_time_repeats_nothing_and_loses_nothing() {
    let (listener, address) = listen().await;
    let (source, mut seen) = stream(by_time(&address));
    let all = [(1, 0), (2, 1), (2, 2), (2, 3), (3, 4)].map(|(second, n)| record(second, n));
    let line = |index: usize| all[index].trim_end().to_owned();

    beside(source, async {
        let (mut server, request) = accept(&listener).await;
        assert!(request.starts_with("get /logs?follow=1 "), "{request}");
        // The last of them is torn.
        let torn = &all[3][..10];
        write(
            &mut server,
            [&head("X: y"), &*all[..3].concat(), torn].concat(),
        )
        .await;
        assert_eq!(seen.lines(3).await, [line(0), line(1), line(2)]);
        drop(server);

        let (mut server, request) = accept(&listener).await;
        let asked = "get /logs?follow=1&since=2026-11-25t18:00:02z ";
        assert!(request.starts_with(asked), "{request}");
        write(&mut server, [&head("X: y"), &*all[1..].concat()].concat()).await;
        assert_eq!(seen.lines(2).await, [line(3), line(4)]);
    })
    .await;
    assert_eq!(seen.counters.duplicates.get(), 2);
}

#[tokio::test]
async fn a_replay_goes_on_where_the_checkpoint_stands() {
    let (listener, address) = listen().await;
    let position = |second: u32, skip| Position::Token {
        cursor: format!("2026-11-25T18:00:{second:02}Z").into(),
        skip,
    };
    let (_folder, checkpoints, _) = standing_at(&address, &position(2, 2));
    let kind = SourceKind::Stream(by_time(&address));
    let (source, mut seen) = source(kind, BUDGET_BYTES, checkpoints);

    beside(source, async {
        let (mut server, request) = accept(&listener).await;
        assert!(request.contains("since=2026-11-25t18:00:02z "), "{request}");
        let replayed = [(2, 1), (2, 2), (2, 3)].map(|(second, n)| record(second, n));
        write(&mut server, [&head("X: y"), &*replayed.concat()].concat()).await;

        let chunk = within(seen.receiver.recv()).await.unwrap();
        assert_eq!(chunk.lines.bytes().as_ref(), replayed[2].as_bytes());
        assert_eq!(chunk.ack.end(), &position(2, 3));
    })
    .await;
}

#[tokio::test]
async fn connections_have_tcp_keepalive() {
    let (listener, address) = listen().await;
    let (source, mut seen) = stream(StreamConfig::of_url(format!("http://{address}/")));

    beside(source, async {
        let (mut server, _) = accept(&listener).await;
        write(&mut server, [&head("X: y"), "one\n"].concat()).await;
        assert_eq!(seen.lines(1).await, ["one"]);

        let local = server.peer_addr().unwrap().port();
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let line = table
            .lines()
            .find(|it| it.contains(&format!(":{local:04X} 0100007F:")))
            .expect("our end of the connection");
        // proc(5): timer 2 is the one of keep-alive; it fires within 15 s, in ticks of 10 ms.
        let timer = line.split_whitespace().nth(5).expect("a timer");
        let (kind, left) = timer.split_once(':').unwrap();
        let left = u64::from_str_radix(left, 16).unwrap();
        assert_eq!(kind, "02", "{line}");
        assert!(left <= 1500, "{line}");
    })
    .await;
}
