//! Merging by time, from the senders to the receiver.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use proptest::prelude::*;
use tokio::time::{Instant, sleep, sleep_until};

use super::*;
use crate::model::{Begun, CursorKey, Ledger, Position, StreamKey};

const WINDOW: Duration = Duration::from_millis(200);
const LIVE: Order = Order {
    window: WINDOW,
    is_finite: false,
};
const FINITE: Order = Order {
    window: WINDOW,
    is_finite: true,
};

/// One stream of one source, as a source sees it.
struct Stream {
    sender: Sender,
    ledger: Ledger,
    origin: Arc<Origin>,
    n_lines: u64,
}

impl Stream {
    fn new(queue: &Queue, name: &str) -> Self {
        let stream = StreamKey::new(name);
        let key = CursorKey {
            source: name.into(),
            stream: stream.clone(),
            sink: "out".into(),
        };
        Self {
            sender: queue.sender(),
            ledger: Ledger::new(Arc::new(key), at(0)),
            origin: Arc::new(Origin {
                source: name.into(),
                stream,
                path: None,
                labels: Arc::from([]),
            }),
            n_lines: 0,
        }
    }

    async fn send(&mut self, text: &str) {
        let count = u32::try_from(text.lines().count()).unwrap();
        self.n_lines += u64::from(count);
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let chunk = Chunk {
            origin: Arc::clone(&self.origin),
            lines: Lines::untouched(bytes, count, 0),
            time_ns: 0,
            ack: self.ledger.open(at(self.n_lines)),
            charge: None,
        };
        self.sender.send(chunk).await.unwrap();
    }
}

fn at(offset: u64) -> Position {
    Position::File {
        offset,
        guard: 0,
        mid_line: false,
        ahead: None,
        begun: None,
    }
}

/// A line that carries the time `ms`.
fn line(ms: u64, text: &str) -> String {
    let time = jiff::Timestamp::from_millisecond(1_795_371_900_000 + i64::try_from(ms).unwrap());
    format!("{:.3} {text}\n", time.unwrap())
}

/// What stands behind the time of each line, or the whole line where it has none.
fn shown(chunk: &Chunk) -> Vec<String> {
    let lines = chunk.lines.iter().map(|line| {
        let text = String::from_utf8(line.text.to_vec()).unwrap();
        match text.split_once("Z ") {
            Some((_, text)) => text.to_owned(),
            None => text,
        }
    });
    lines.collect()
}

/// Everything to the end; each chunk is settled.
async fn all(mut receiver: Receiver) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(chunk) = receiver.recv().await {
        all.extend(shown(&chunk));
        let _ = chunk.ack.settle();
    }
    all
}

#[tokio::test(start_paused = true)]
async fn continuation_lines_stay_with_their_record() {
    let (queue, receiver) = ordered(1 << 20, FINITE);
    let (mut a, mut b) = (Stream::new(&queue, "a"), Stream::new(&queue, "b"));
    drop(queue);

    b.send(&line(2, "b2")).await;
    a.send(&[line(1, "a1"), " of a1\n".to_owned(), line(3, "a3")].concat())
        .await;
    a.send(" of a3\n").await;
    b.send(&line(3, "b3")).await;
    drop((a, b));

    assert_eq!(
        all(receiver).await,
        ["a1", " of a1", "b2", "a3", " of a3", "b3"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_source_that_ends_is_waited_for_however_long_it_takes() {
    let (queue, mut receiver) = ordered(1 << 20, FINITE);
    let (mut a, mut b) = (Stream::new(&queue, "a"), Stream::new(&queue, "b"));
    drop(queue);
    b.send(&line(2, "b2")).await;

    let early = tokio::time::timeout(10 * WINDOW, receiver.recv()).await;
    a.send(&line(1, "a1")).await;
    drop((a, b));

    assert!(early.is_err());
    assert_eq!(all(receiver).await, ["a1", "b2"]);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_costs_the_window_and_one_that_passed_costs_nothing() {
    let (queue, mut receiver) = ordered(1 << 20, LIVE);
    let (mut a, mut b) = (Stream::new(&queue, "a"), Stream::new(&queue, "b"));
    drop(queue);
    let begun = Instant::now();
    a.send(&line(10, "a10")).await;

    let first = receiver.recv().await.unwrap();
    let waited = begun.elapsed();
    b.send(&line(30, "b30")).await;
    a.send(&line(20, "a20")).await;
    let second = receiver.recv().now_or_never().flatten().unwrap();

    assert_eq!(shown(&first), ["a10"]);
    assert_eq!(waited, WINDOW);
    assert_eq!(shown(&second), ["a20"]);
    let _ = (first.ack.settle(), second.ack.settle());
}

#[tokio::test(start_paused = true)]
async fn a_late_line_goes_at_once() {
    let (queue, mut receiver) = ordered(1 << 20, LIVE);
    let (mut a, mut b) = (Stream::new(&queue, "a"), Stream::new(&queue, "b"));
    drop(queue);
    a.send(&line(10, "a10")).await;
    let first = receiver.recv().await.unwrap();

    b.send(&line(5, "b5")).await;
    let late = receiver.recv().now_or_never().flatten().unwrap();

    assert_eq!(
        (shown(&first), shown(&late)),
        (vec!["a10".to_owned()], vec!["b5".to_owned()])
    );
    let _ = (first.ack.settle(), late.ack.settle());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_read_to_its_end_is_waited_for_without_a_window() {
    let (queue, mut receiver) = ordered(1 << 20, LIVE);
    let (mut a, mut b) = (Stream::new(&queue, "a"), Stream::new(&queue, "b"));
    drop(queue);
    let behind = a.sender.behind(Some(a.origin.stream.clone()), Room::Shared);
    b.send(&line(20, "b20")).await;

    let early = tokio::time::timeout(10 * WINDOW, receiver.recv()).await;
    a.send(&line(10, "a10")).await;
    let first = receiver.recv().now_or_never().flatten().unwrap();
    drop(behind);
    let second = receiver.recv().await.unwrap();

    assert!(early.is_err());
    assert_eq!(
        (shown(&first), shown(&second)),
        (vec!["a10".to_owned()], vec!["b20".to_owned()])
    );
    let _ = (first.ack.settle(), second.ack.settle());
}

/// Another stream of the same source.
fn sibling(of: &Stream, name: &str) -> Stream {
    let origin = Origin {
        stream: StreamKey::new(name),
        ..Origin::clone(&of.origin)
    };
    let key = CursorKey {
        stream: origin.stream.clone(),
        ..CursorKey::clone(of.ledger.key())
    };
    Stream {
        sender: of.sender.clone(),
        ledger: Ledger::new(Arc::new(key), at(0)),
        origin: Arc::new(origin),
        n_lines: 0,
    }
}

// Scenario: a source is behind with three streams, and lines of two of them wait. Bug: it was known how
// many were behind and how many had lines waiting, not which; as soon as others had as many, lines
// went that the third had earlier ones of. Fix: each is waited for by name.
#[tokio::test(start_paused = true)]
async fn each_stream_that_is_behind_is_waited_for_by_name() {
    let (queue, mut receiver) = ordered(1 << 20, LIVE);
    let mut a = Stream::new(&queue, "a");
    let (mut b, mut c) = (sibling(&a, "b"), sibling(&a, "c"));
    drop(queue);
    let behind = |it: &Stream, room| it.sender.behind(Some(it.origin.stream.clone()), room);
    let guard = behind(&a, Room::Own);
    b.send(&line(20, "b20")).await;
    c.send(&line(30, "c30")).await;

    let early = tokio::time::timeout(10 * WINDOW, receiver.recv()).await;
    a.send(&line(10, "a10")).await;
    drop(guard);
    drop((a, b, c));

    assert!(early.is_err());
    assert_eq!(all(receiver).await, ["a10", "b20", "c30"]);
}

// A stream that shares its room with those that wait for it would be waited for in vain.
#[tokio::test(start_paused = true)]
async fn what_waits_goes_where_it_takes_up_the_room_that_is_waited_for() {
    let (queue, mut receiver) = ordered(10, LIVE);
    let a = Stream::new(&queue, "a");
    let mut b = sibling(&a, "b");
    drop(queue);
    let _behind = a.sender.behind(Some(a.origin.stream.clone()), Room::Shared);
    let _all = (
        a.sender.charge(10).await.unwrap(),
        a.sender.charge(10).await.unwrap(),
    );
    b.send(&line(20, "b20")).await;

    let early = tokio::time::timeout(10 * WINDOW, receiver.recv()).await;
    let starving = a.sender.charge(10);
    let (chunk, _) = tokio::join!(receiver.recv(), tokio::time::timeout(WINDOW, starving));
    let of_its_own = a.sender.with_own_room().charge(10).now_or_never();

    assert!(early.is_err());
    let chunk = chunk.unwrap();
    assert_eq!(shown(&chunk), ["b20"]);
    assert!(of_its_own.is_some());
    let _ = chunk.ack.settle();
}

// Scenario: lines of one second, as many logs have them. Bug: a line went as soon as nothing earlier
// could come, so it depended on how far the other files were read which of the lines of a second came
// first. Fix: a source that stands before another one is waited for, too, as long as it may have lines
// of that time.
#[tokio::test(start_paused = true)]
async fn lines_of_one_time_come_in_the_order_of_the_sources_however_they_are_cut() {
    let (queue, mut receiver) = ordered(1 << 20, FINITE);
    let (mut a, mut b) = (Stream::new(&queue, "a"), Stream::new(&queue, "b"));
    drop(queue);
    a.send(&line(5, "a1")).await;
    b.send(&line(5, "b1")).await;

    let first = receiver.recv().await.unwrap();
    let early = tokio::time::timeout(10 * WINDOW, receiver.recv()).await;
    a.send(&line(5, "a2")).await;
    drop((a, b));

    assert_eq!(shown(&first), ["a1"]);
    assert!(early.is_err());
    let _ = first.ack.settle();
    assert_eq!(all(receiver).await, ["a2", "b1"]);
}

// The same of lines that have no time at all.
#[tokio::test(start_paused = true)]
async fn lines_without_a_time_come_source_by_source() {
    let (queue, receiver) = ordered(1 << 20, FINITE);
    let (mut a, mut b) = (Stream::new(&queue, "a"), Stream::new(&queue, "b"));
    drop(queue);

    b.send("b1\n").await;
    a.send("a1\n").await;
    b.send("b2\n").await;
    a.send("a2\n").await;
    drop((a, b));

    assert_eq!(all(receiver).await, ["a1", "a2", "b1", "b2"]);
}

#[tokio::test(start_paused = true)]
async fn each_part_of_a_chunk_moves_the_position() {
    let (queue, mut receiver) = ordered(1 << 20, FINITE);
    let (mut a, mut b) = (Stream::new(&queue, "a"), Stream::new(&queue, "b"));
    drop(queue);
    let front = line(1, "a1");
    a.send(&[front.as_str(), &line(3, "a3")].concat()).await;
    b.send(&line(2, "b2")).await;
    let ledger = a.ledger.clone();
    drop((a, b));
    let mut chunks = Vec::new();
    while let Some(chunk) = receiver.recv().await {
        chunks.push(chunk);
    }
    let [a1, b2, a3] = chunks.try_into().unwrap();
    let begun = Begun {
        stdout: front.len() as u64,
        stderr: 0,
        lines: 1,
    };
    let middle = at(0).with_begun(begun).unwrap();

    assert_eq!((a1.ack.end(), a3.ack.end()), (&middle, &at(2)));
    assert!(a1.ack.settle().is_some());
    assert_eq!(ledger.committed(), middle);
    assert!(a3.ack.settle().is_some());
    assert_eq!(ledger.committed(), at(2));
    assert!(b2.ack.settle().is_some() && !ledger.is_broken());
}

/// Streams of sorted lines; each line has a time of its own.
fn streams() -> impl Strategy<Value = Vec<Vec<u64>>> {
    let stream = proptest::collection::btree_set(0_u64..1000, 0..30);
    proptest::collection::vec(stream, 1..5).prop_map(|streams| {
        let n = streams.len() as u64;
        let own = |(index, times): (usize, std::collections::BTreeSet<u64>)| {
            times.into_iter().map(|it| it * n + index as u64).collect()
        };
        streams.into_iter().enumerate().map(own).collect()
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

fn sorted(streams: &[Vec<u64>]) -> Vec<String> {
    let mut times = streams.concat();
    times.sort_unstable();
    times.iter().map(u64::to_string).collect()
}

proptest! {
    #[test]
    fn finite_streams_come_out_sorted_however_they_are_cut_and_interleaved(
        streams in streams(),
        cuts in proptest::collection::vec((0_usize..5, 1_usize..6), 0..200),
    ) {
        let (queue, receiver) = ordered(1 << 20, FINITE);
        let mut senders: Vec<Stream> =
            (0..streams.len()).map(|n| Stream::new(&queue, &n.to_string())).collect();
        drop(queue);

        let came = runtime().block_on(async {
            let receiving = tokio::task::LocalSet::new();
            let all = receiving.run_until(async {
                let send = async {
                    let mut left: Vec<&[u64]> = streams.iter().map(Vec::as_slice).collect();
                    let rest = (0..streams.len()).map(|n| (n, usize::MAX));
                    for (stream, n) in cuts.into_iter().chain(rest) {
                        let Some(lines) = left.get_mut(stream) else { continue };
                        let (now, later) = lines.split_at(n.min(lines.len()));
                        *lines = later;
                        if !now.is_empty() {
                            let text: String =
                                now.iter().map(|it| line(*it, &it.to_string())).collect();
                            senders[stream].send(&text).await;
                        }
                        tokio::task::yield_now().await;
                    }
                    drop(senders);
                };
                tokio::join!(send, all(receiver)).1
            });
            all.await
        });

        prop_assert_eq!(came, sorted(&streams));
    }

    #[test]
    fn live_streams_that_are_late_by_less_than_the_window_come_out_sorted(
        streams in streams(),
        late in proptest::collection::vec(0_u64..190, 150),
    ) {
        let (queue, receiver) = ordered(1 << 20, LIVE);
        let senders: Vec<Stream> =
            (0..streams.len()).map(|n| Stream::new(&queue, &n.to_string())).collect();
        drop(queue);

        let came = runtime().block_on(async {
            let begun = Instant::now();
            let late = &late;
            let sends = senders.into_iter().zip(&streams).map(|(mut stream, times)| async move {
                for (index, time) in times.iter().enumerate() {
                    // Within a stream lines keep their order: one that is late delays the next.
                    let due = begun + Duration::from_millis(*time + late[index]);
                    sleep_until(due).await;
                    stream.send(&line(*time, &time.to_string())).await;
                }
                // It stays, quiet, until all is over.
                sleep(Duration::from_secs(3600)).await;
            });
            tokio::join!(futures::future::join_all(sends), all(receiver)).1
        });

        prop_assert_eq!(came, sorted(&streams));
    }
}
