//! Delivery against a scripted sink, in paused time.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::Bytes;
use tokio::time::Instant;

use super::*;
use crate::framing::SHARED_ABOVE_BYTES;
use crate::model::{CursorKey, Ledger, Lines, Origin, Position, StreamKey};
use crate::queue::{Queue, bounded};

/// What the scripted sink answers to one attempt.
enum Answer {
    Ok,
    Busy,
    TooLarge,
    /// Refuses bodies that hold this text, for ever.
    Poison(&'static str),
    /// Stores all but these of its lines, by their numbers in the body; those named second for good.
    Items(Vec<u64>, Vec<u64>),
    /// Has stored some, and does not say which.
    Partly(u64),
    Panics,
    /// Wants no more.
    Enough,
    Never,
}

#[derive(Default)]
struct Log {
    /// Every attempt: seconds since the start, and its lines.
    attempts: Vec<(u64, String)>,
}

struct Script {
    answers: Mutex<VecDeque<Answer>>,
    log: Arc<Mutex<Log>>,
    started: Instant,
}

impl Sink for Script {
    type Payload = (String, String);

    fn encode(&self, batch: &Batch<Chunk>, part: &Part) -> (String, String) {
        let runs = part
            .which
            .runs(batch.items.iter().map(|it| it.lines.count()));
        let text = runs.into_iter().flat_map(|run| {
            let lines = batch.items[run.item].lines.slice(run.lines);
            lines
                .iter()
                .map(|line| String::from_utf8_lossy(line.text).into_owned())
                .collect::<Vec<_>>()
        });
        (text.collect::<Vec<_>>().join(" "), part.suffix.clone())
    }

    async fn deliver(&self, (text, suffix): &(String, String)) -> Result<(), SinkError> {
        let at = self.started.elapsed().as_secs();
        let attempt = (at, format!("{text}{suffix}"));
        self.log.lock().unwrap().attempts.push(attempt);
        let answer = self.answers.lock().unwrap().pop_front();
        let answer = answer.unwrap_or(Answer::Ok);
        let cause = "scripted".to_owned();
        match answer {
            Answer::Ok => Ok(()),
            Answer::Busy => {
                let after = Some(Duration::from_secs(7));
                Err(SinkError::Retryable { cause, after })
            }
            Answer::TooLarge => Err(SinkError::TooLarge { cause }),
            Answer::Poison(poison) => {
                let again = Answer::Poison(poison);
                self.answers.lock().unwrap().push_front(again);
                if text.contains(poison) {
                    return Err(SinkError::Unacceptable { status: 400, cause });
                }
                Ok(())
            }
            Answer::Items(failed, rejected) => Err(SinkError::Items(Box::new(Items {
                failed,
                retry: SinkError::Retryable { cause, after: None },
                rejected: rejected
                    .into_iter()
                    .map(|line| Refused {
                        line,
                        status: 400,
                        reason: format!("line {line}"),
                    })
                    .collect(),
            }))),
            Answer::Partly(lines) => Err(SinkError::PartlyRejected {
                status: 200,
                lines: Some(lines),
                cause,
            }),
            Answer::Enough => Err(SinkError::Ended { owned: 0 }),
            Answer::Panics => panic!("scripted"),
            Answer::Never => std::future::pending().await,
        }
    }
}

/// One sink's queue and delivery, and one stream that feeds it.
struct Bench {
    queue: Option<Queue>,
    receiver: Option<Receiver>,
    ledger: Ledger,
    offset: u64,
    log: Arc<Mutex<Log>>,
    counters: Arc<SinkCounters>,
    draining: CancellationToken,
    dir: tempfile::TempDir,
    limits: BatchLimits,
}

impl Bench {
    fn new() -> Self {
        let key = CursorKey {
            source: "app".into(),
            stream: StreamKey::new("s"),
            sink: "out".into(),
        };
        let (queue, receiver) = bounded(1 << 20);
        Self {
            queue: Some(queue),
            receiver: Some(receiver),
            ledger: Ledger::new(Arc::new(key), position(0)),
            offset: 0,
            log: Arc::default(),
            counters: Arc::default(),
            draining: CancellationToken::new(),
            dir: tempfile::tempdir().unwrap(),
            limits: BatchLimits {
                bytes: 1000,
                lines: 4,
                linger: Duration::from_secs(1),
            },
        }
    }

    /// Sends one chunk of lines.
    async fn send(&mut self, text: &str) {
        let lines = text
            .split(' ')
            .map(|line| format!("{line}\n"))
            .collect::<String>();
        self.send_bytes(Bytes::from(lines)).await;
    }

    async fn send_bytes(&mut self, lines: Bytes) {
        let sender = self.queue.as_ref().unwrap().sender();
        let count = u32::try_from(memchr::memchr_iter(b'\n', &lines).count()).unwrap();
        let base = self.offset;
        self.offset += lines.len() as u64;
        let origin = Origin {
            source: "app".into(),
            stream: StreamKey::new("s"),
            path: None,
            labels: Arc::new([]),
        };
        let chunk = Chunk {
            origin: Arc::new(origin),
            lines: Lines::untouched(lines, count, base),
            time_ns: 0,
            ack: self.ledger.open(position(self.offset)),
            charge: Some(sender.charge(10).await.unwrap()),
        };
        sender.send(chunk).await.unwrap();
    }

    /// Starts delivery.
    fn start(&mut self, answers: Vec<Answer>) -> impl Future<Output = Result<(), Failure>> + use<> {
        let sink = Script {
            answers: Mutex::new(answers.into()),
            log: Arc::clone(&self.log),
            started: Instant::now(),
        };
        let flow = Flow {
            limits: self.limits,
            part_lines_max: self.limits.lines,
            concurrency: 1,
            encoders: 1,
        };
        let dead_letter = DeadLetter::new(self.dir.path().join("dead.ndjson"));
        let settings = Settings {
            name: "out".into(),
            flow,
            backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(30), 1),
            dead_letter: Some(dead_letter),
            counters: Arc::clone(&self.counters),
            checkpoints: Checkpoints::none(),
            crew: Crew::default(),
            draining: self.draining.clone(),
        };
        run(sink, self.receiver.take().unwrap(), settings)
    }

    fn attempts(&self) -> Vec<String> {
        let log = self.log.lock().unwrap();
        log.attempts.iter().map(|(_, text)| text.clone()).collect()
    }

    fn dead_letters(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("dead.ndjson")).unwrap_or_default()
    }
}

fn position(offset: u64) -> Position {
    Position::File {
        offset,
        guard: 0,
        mid_line: false,
        ahead: None,
        begun: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_peer_gets_the_same_body_after_the_time_it_asked_for() {
    let mut bench = Bench::new();
    bench.send("a b").await;
    let delivery = bench.start(vec![Answer::Busy, Answer::Busy]);
    bench.queue = None;

    delivery.await.unwrap();

    assert_eq!(bench.attempts(), ["a b", "a b", "a b"]);
    let log = bench.log.lock().unwrap();
    assert!(log.attempts[1].0 >= 7 && log.attempts[2].0 >= 14);
    assert_eq!(bench.ledger.committed(), position(4));
    assert_eq!(bench.counters.retries.get(), 2);
    assert_eq!(bench.counters.lines.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_halved_in_order_with_a_suffix_each() {
    let mut bench = Bench::new();
    bench.send("a b c").await;
    let delivery = bench.start(vec![Answer::TooLarge, Answer::TooLarge]);
    bench.queue = None;

    delivery.await.unwrap();

    assert_eq!(
        bench.attempts(),
        ["a b c", "a b.0", "a.0.0", "b.0.1", "c.1"]
    );
    assert_eq!(bench.ledger.committed(), position(6));
}

#[tokio::test(start_paused = true)]
async fn a_poison_line_is_set_aside_and_costs_one_line() {
    let mut bench = Bench::new();
    bench.send("a bad c d").await;
    let delivery = bench.start(vec![Answer::Poison("bad")]);
    bench.queue = None;

    delivery.await.unwrap();

    assert_eq!(
        bench.attempts(),
        ["a bad c d", "a bad.0", "a.0.0", "bad.0.1", "c d.1"]
    );
    let dead = bench.dead_letters();
    assert!(
        dead.contains("\"line\":\"bad\"") && dead.contains("\"status\":400"),
        "{dead}"
    );
    assert_eq!(dead.lines().count(), 1);
    assert_eq!(bench.counters.rejected.get(), 1);
    assert_eq!(bench.ledger.committed(), position(10));
}

#[tokio::test(start_paused = true)]
async fn more_lines_than_a_batch_may_hold_are_delivered_in_parts_and_settled_together() {
    let mut bench = Bench::new();
    bench.send("a b c d e f").await;
    let delivery = bench.start(vec![Answer::Ok, Answer::Busy]);
    bench.queue = None;

    delivery.await.unwrap();

    assert_eq!(bench.attempts(), ["a b c d.0", "e f.1", "e f.1"]);
    assert_eq!(bench.ledger.committed(), position(12));
}

#[tokio::test(start_paused = true)]
async fn draining_cuts_the_back_off_short_and_makes_one_last_attempt() {
    let mut bench = Bench::new();
    bench.send("a").await;
    let busy = std::iter::repeat_with(|| Answer::Busy).take(100);
    let delivery = bench.start(busy.collect());
    bench.queue = None;
    let draining = bench.draining.clone();
    let started = Instant::now();

    let (ended, ()) = tokio::join!(delivery, async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        draining.cancel();
    });

    assert!(matches!(ended, Err(Failure::GaveUp(_))));
    assert_eq!(bench.attempts(), ["a", "a"]);
    assert_eq!(started.elapsed().as_secs(), 3);
    assert_eq!(bench.ledger.committed(), position(0));
}

#[tokio::test(start_paused = true)]
async fn a_panic_settles_nothing_breaks_the_cursor_and_does_not_end_the_sink() {
    let mut bench = Bench::new();
    bench.send("a").await;
    let delivery = bench.start(vec![Answer::Panics]);
    let feed = async {
        let broken = async {
            while !bench.ledger.is_broken() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), broken)
            .await
            .unwrap();
        // What the source does: a new ledger from what is committed, and the lines again.
        bench.ledger = Ledger::new(Arc::clone(bench.ledger.key()), bench.ledger.committed());
        bench.offset = 0;
        bench.send("a").await;
        bench.queue = None;
    };

    let (ended, ()) = tokio::join!(delivery, feed);

    ended.unwrap();
    assert_eq!(bench.attempts(), ["a", "a"]);
    assert_eq!(bench.ledger.committed(), position(2));
}

/// Bytes that note, when they are dropped, whether their sink still takes lines.
struct Noted(crate::queue::Sender, Arc<Mutex<Option<bool>>>);

impl AsRef<[u8]> for Noted {
    fn as_ref(&self) -> &[u8] {
        b"a\n"
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        *self.1.lock().unwrap() = Some(self.0.is_closed());
    }
}

// Scenario: `tail | head -1`: the reader goes, and delivery ends with lines in flight. Bug: their acks
// were dropped before the queue was closed, so on a busy machine the source saw a broken cursor of a
// sink that still took lines, and said that delivery was interrupted. Fix: first the queue is closed.
#[tokio::test(start_paused = true)]
async fn a_sink_that_wants_no_more_is_closed_before_its_lines_are_given_up() {
    let mut bench = Bench::new();
    let seen = Arc::default();
    let sender = bench.queue.as_ref().unwrap().sender();
    let lines = Bytes::from_owner(Noted(sender, Arc::clone(&seen)));
    bench.send_bytes(lines).await;

    let ended = bench.start(vec![Answer::Enough]).await;

    assert_eq!(ended, Err(Failure::Ended));
    assert_eq!(*seen.lock().unwrap(), Some(true));
}

#[tokio::test(start_paused = true)]
async fn while_one_body_is_in_flight_only_two_more_batches_are_taken_from_the_queue() {
    let mut bench = Bench::new();
    let delivery = bench.start(vec![Answer::Never]);
    let feed = async {
        for text in ["a b c d", "e f g h", "i j k l", "m n o p", "q r s t"] {
            bench.send(text).await;
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
    };

    tokio::select! {
        _ = delivery => panic!("the first body is never answered"),
        () = feed => {}
    }

    assert_eq!(bench.attempts(), ["a b c d"]);
    assert_eq!(bench.ledger.unsettled(), 5);
}

// Scenario: a stream floods a sink that waits for nothing. Bug: a due batch waited for the next tick of the
// runtime's clock, which counts milliseconds: 64 KiB each, 54 MB/s. Fix: what is large enough is delivered at
// once; a few lines may gather until that tick.
#[tokio::test(start_paused = true)]
async fn a_flood_is_not_held_to_the_ticks_of_the_clock() {
    let large = Bytes::from("x\n".repeat(SHARED_ABOVE_BYTES / 2));
    for (lines, n_left) in [(large, 0), (Bytes::from_static(b"x\n"), 1)] {
        let mut bench = Bench::new();
        (bench.limits.bytes, bench.limits.lines) = (1 << 20, 1 << 20);
        bench.limits.linger = Duration::ZERO;
        let delivery = bench.start(Vec::new());
        let feed = async {
            bench.send_bytes(lines).await;
            // As long as somebody has something to do, no time passes.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        };

        tokio::select! {
            _ = delivery => panic!("the queue is open"),
            () = feed => {}
        }

        assert_eq!(bench.ledger.unsettled(), n_left);
    }
}

#[tokio::test(start_paused = true)]
async fn only_failed_items_are_sent_again_in_order_and_refused_ones_are_set_aside() {
    let mut bench = Bench::new();
    bench.send("a b").await;
    bench.send("c d").await;
    bench.send("e").await;
    let delivery = bench.start(vec![
        Answer::Items(vec![1, 3], vec![2]),
        Answer::Items(vec![1], vec![]),
        Answer::Busy,
    ]);
    bench.queue = None;

    delivery.await.unwrap();

    // Nothing of the next batch passes what is left of this one.
    assert_eq!(bench.attempts(), ["a b c d", "b d.r1", "d.r2", "d.r2", "e"]);
    let dead = bench.dead_letters();
    assert_eq!(dead.lines().count(), 1, "{dead}");
    assert!(
        dead.contains("\"line\":\"c\"") && dead.contains("line 2"),
        "{dead}"
    );
    assert_eq!(bench.counters.rejected.get(), 1);
    assert_eq!(bench.counters.retries.get(), 3);
    assert_eq!(bench.ledger.committed(), position(10));
}

#[tokio::test(start_paused = true)]
async fn a_failed_rest_that_is_too_large_is_halved() {
    let mut bench = Bench::new();
    bench.send("a b c d").await;
    let delivery = bench.start(vec![Answer::Items(vec![0, 2, 3], vec![]), Answer::TooLarge]);
    bench.queue = None;

    delivery.await.unwrap();

    assert_eq!(
        bench.attempts(),
        ["a b c d", "a c d.r1", "a c.r1.0", "d.r1.1"]
    );
    assert_eq!(bench.ledger.committed(), position(8));
}

#[tokio::test(start_paused = true)]
async fn what_was_stored_in_part_is_set_aside_whole_and_never_sent_again() {
    let mut bench = Bench::new();
    bench.send("a b c").await;
    let delivery = bench.start(vec![Answer::Partly(2)]);
    bench.queue = None;

    delivery.await.unwrap();

    assert_eq!(bench.attempts(), ["a b c"]);
    assert_eq!(bench.dead_letters().lines().count(), 3);
    assert_eq!(bench.counters.rejected.get(), 2);
    assert_eq!(bench.ledger.committed(), position(6));
}

#[tokio::test(start_paused = true)]
async fn failed_items_that_are_left_at_the_end_settle_nothing() {
    let mut bench = Bench::new();
    bench.send("a b").await;
    let delivery = bench.start(vec![
        Answer::Items(vec![1], vec![]),
        Answer::Items(vec![0], vec![]),
    ]);
    bench.queue = None;
    bench.draining.cancel();

    let ended = delivery.await;

    assert!(matches!(ended, Err(Failure::GaveUp(_))), "{ended:?}");
    assert_eq!(bench.attempts(), ["a b"]);
    assert_eq!(bench.ledger.committed(), position(0));
}
