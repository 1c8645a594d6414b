//! What a sink gets out of a spool whose delivery breaks off, and who loses what when a segment is given up.

use std::collections::VecDeque;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::state::{Cursor, Segment, State, Tokens, Work, place_of, position_of};
use super::*;
use crate::model::{Begun, CursorKey, Ledger, Watcher};
use crate::queue::Chunk;
use crate::segment::Place;
use crate::source::stdin::{Input, StdinConfig};
use crate::source::testing::{Seen, beside, source_of, within};
use crate::source::{RecordRules, SourceConfig, SourceError, SourceKind};

fn piped(
    folder: &Path,
    checkpoints: Checkpoints,
) -> (impl Future<Output = Result<(), SourceError>>, Seen, PathBuf) {
    let path = folder.join("fifo");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
    let config = SourceConfig {
        name: "app".into(),
        labels: Arc::from([("team".into(), "core".into())]),
        line_bytes_max: 1024,
        records: RecordRules::default(),
        spool: Some(SpoolConfig {
            max_bytes: 1 << 20,
            full: Full::Block,
        }),
        kind: SourceKind::Stdin(StdinConfig {
            input: Input::Pipe(path.clone()),
        }),
    };
    let (source, seen) = source_of(config, (1 << 20, 2), checkpoints);
    (source, seen, path)
}

fn texts(chunk: &Chunk) -> Vec<String> {
    let lines = chunk.lines.iter();
    lines
        .map(|line| String::from_utf8_lossy(line.text).into_owned())
        .collect()
}

#[tokio::test]
async fn a_delivery_that_breaks_off_gets_what_was_not_settled_again() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::open(&folder.path().join("state")).unwrap();
    let (source, mut seen, path) = piped(folder.path(), checkpoints.clone());
    // Opening waits for a reader, so it has a thread of its own.
    let writer = std::thread::spawn(move || {
        let mut file = std::fs::File::options().write(true).open(path).unwrap();
        file.write_all(b"one\ntwo\nthree\nfour\nfive\n").unwrap();
        file
    });
    let mut source = std::pin::pin!(source);

    // One record, of which a chunk holds two lines.
    let (first, second) = beside(&mut source, async {
        let first = within(seen.receiver.recv()).await.unwrap();
        (first, within(seen.receiver.recv()).await.unwrap())
    })
    .await;
    assert_eq!(
        (texts(&first), texts(&second)),
        (
            vec!["one".into(), "two".into()],
            vec!["three".into(), "four".into()]
        )
    );
    assert_eq!(&*first.origin.labels[0].1, "core");
    let _ = first.ack.settle();
    drop(second);

    let again = beside(&mut source, async {
        let mut all = Vec::new();
        while all.len() < 3 {
            let chunk = within(seen.receiver.recv()).await.unwrap();
            // What was on its way when the other broke is passed over, as deliveries do.
            if !chunk.ack.is_stale() {
                all.extend(texts(&chunk));
                checkpoints.advance(chunk.ack.settle().into_iter().collect());
            }
        }
        all
    })
    .await;
    assert_eq!(again, ["three", "four", "five"]);
    drop(writer.join().unwrap());
    assert!(within(source).await.is_ok());
    assert_eq!(seen.counters.dropped.get(), 0);
}

fn at(offset: u64, line: u64) -> Place {
    Place { offset, line }
}

fn cursor(sink: &str, place: Place) -> Cursor {
    let key = CursorKey {
        source: "app".into(),
        stream: StreamKey::new("spool:x"),
        sink: sink.into(),
    };
    Cursor {
        sink: sink.into(),
        ledger: Ledger::new(Arc::new(key), position_of(place)),
        at: place,
        is_aligned: true,
        is_closed: false,
    }
}

/// Three segments of ten lines each.
fn state(cursors: Vec<Cursor>) -> State {
    let segment = |n: u64| Segment {
        start: at(n * 1_000, n * 10),
        end: at((n + 1) * 1_000, (n + 1) * 10),
        file: None,
    };
    State {
        segments: VecDeque::from([segment(0), segment(1), segment(2)]),
        cursors,
        tokens: Tokens::new(),
        has_ended: false,
    }
}

#[test]
fn who_has_read_a_segment_loses_nothing_when_it_is_given_up() {
    let mut state = state(vec![
        cursor("far", at(1_500, 15)),
        cursor("slow", at(300, 3)),
        cursor("new", at(0, 0)),
    ]);
    // In flight, and so not lost.
    let in_flight = state.hand_on(1, at(300, 3), at(500, 5)).unwrap();

    let (start, lost, moved) = state.give_up_first().unwrap();

    let lost: Vec<_> = lost.iter().map(|it| (&*it.sink, it.n_lines)).collect();
    assert_eq!((start, lost), (at(0, 0), vec![("slow", 5), ("new", 10)]));
    // Only where nothing is in flight before it.
    assert_eq!(moved.len(), 1);
    assert!(
        state.hand_on(1, at(500, 5), at(600, 6)).is_none(),
        "it was moved on"
    );
    let (_, position) = in_flight.settle().unwrap();
    assert_eq!(place_of(&position), Some(at(1_000, 10)));

    assert!(state.give_up_first().is_some());
    assert!(state.give_up_first().is_none(), "it is written to");
}

#[test]
fn a_ledger_that_breaks_behind_a_segment_that_is_gone_loses_what_was_in_it() {
    let mut state = state(vec![cursor("out", at(0, 0))]);
    let settled = state.hand_on(0, at(0, 0), at(300, 3)).unwrap();
    let broken = state.hand_on(0, at(300, 3), at(1_200, 12)).unwrap();
    let _ = settled.settle();
    assert!(state.give_up_first().is_some());
    drop(broken);

    let watcher = Watcher::new(|| {});
    let (work, n_lost) = state.work(0, &watcher);

    // It is read from where the second segment begins.
    let Work::Read(span) = work else {
        panic!("{work:?}")
    };
    assert_eq!((span.from, n_lost), (at(1_000, 10), 7));
    assert_eq!(state.work(0, &watcher).1, 0);
}

#[test]
fn a_segment_goes_when_the_last_sink_has_settled_it() {
    let mut state = state(vec![cursor("a", at(1_000, 10)), cursor("b", at(0, 0))]);
    assert_eq!(state.first_settled(), None);

    let ack = state.hand_on(1, at(0, 0), at(1_000, 10)).unwrap();
    assert_eq!(state.first_settled(), None);
    let _ = ack.settle();

    assert_eq!(state.first_settled(), Some(at(0, 0)));
    state.forget_first(at(0, 0));
    assert_eq!(state.first_settled(), None);
}

// A sink that merges by time takes chunks in parts, and each has its place.
#[test]
fn a_part_of_a_chunk_that_is_settled_is_not_read_again() {
    let mut state = state(vec![cursor("out", at(40, 4))]);
    let mut ack = state.hand_on(0, at(40, 4), at(100, 9)).expect("an ack");
    let begun = Begun {
        stdout: 61,
        stderr: 0,
        lines: 2,
    };

    let front = ack.fork(begun).settle();
    drop(ack);
    let (work, n_lost) = state.work(0, &Watcher::new(|| {}));

    let (_, moved) = front.expect("it moved");
    assert_eq!(place_of(&moved), Some(at(61, 6)));
    let Work::Read(span) = work else {
        panic!("{work:?}");
    };
    assert_eq!((span.from, n_lost), (at(61, 6), 0));
}
