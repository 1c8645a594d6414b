//! What the records of a stream are.

use std::time::Duration;

use tokio::net::TcpStream;

use super::*;
use crate::checkpoint::Checkpoints;
use crate::filter::Filter;
use crate::framing::{GroupLimits, Multiline};
use crate::model::Pattern;
use crate::source::testing::{Seen, accept, beside, listen, source_with, write};
use crate::source::{RecordRules, SourceKind};

/// Connects a stream with these rules; the answer's head is sent.
async fn connected(
    records: RecordRules,
    kind: &str,
) -> (
    impl Future<Output = Result<(), SourceError>>,
    Seen,
    impl Future<Output = TcpStream>,
) {
    let (listener, address) = listen().await;
    let config = StreamConfig::of_url(format!("http://{address}/"));
    let kind_of = SourceKind::Stream(config);
    let (source, seen) = source_with(records, kind_of, 1 << 20, Checkpoints::none());
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n");
    let server = async move {
        let (mut stream, _) = accept(&listener).await;
        write(&mut stream, head).await;
        stream
    };
    (source, seen, server)
}

#[tokio::test]
async fn a_trace_is_one_record_and_waits_for_its_timeout_only() {
    let limits = GroupLimits {
        timeout: Duration::from_millis(200),
        ..GroupLimits::default()
    };
    let records = RecordRules {
        multiline: Multiline::Auto(limits),
        ..RecordRules::default()
    };
    let (source, mut seen, server) = connected(records, "text/plain").await;

    beside(source, async {
        let mut stream = server.await;
        write(&mut stream, "one\nx.Error: y\n\tat a").await;
        assert_eq!(seen.lines(1).await, ["one"]);
        write(&mut stream, ".b(C.java:1)\n").await;
        assert_eq!(seen.lines(1).await, ["x.Error: y\n\tat a.b(C.java:1)"]);
        write(&mut stream, "half").await;
        drop(stream);
        assert_eq!(seen.lines(1).await, ["half"]);
    })
    .await;
}

#[tokio::test]
async fn events_are_filtered_and_not_joined() {
    let records = RecordRules {
        multiline: Multiline::Auto(GroupLimits::default()),
        filter: Filter {
            include: Vec::new(),
            exclude: vec![Pattern::new("drop").unwrap()],
        },
        ..RecordRules::default()
    };
    let (source, mut seen, server) = connected(records, "text/event-stream").await;

    beside(source, async {
        let mut stream = server.await;
        write(
            &mut stream,
            "data: one\n\ndata: drop me\n\ndata: \tat x\n\n",
        )
        .await;
        assert_eq!(seen.lines(2).await, ["one", "\tat x"]);
    })
    .await;
    assert_eq!(seen.counters.filtered.get(), 1);
}
