//! What a journal's records add up to, after a restart and after a power cut.
//!
//! While the machine stays up nothing that was written is lost, and every record counts. After it
//! went down, records that no fsync covered may speak of output that is not there: what they say of
//! file sinks counts only as far as the output proves it.
//!
//! Pure: looking at outputs is an argument.

use std::collections::HashSet;
use std::sync::Arc;

use super::journal::{CursorRecord, Intent, Record};
use super::state::State;

/// Adds records up, each with where it ends in the journal. `boot` is the present boot's id and
/// `is_carried_out` says whether an output holds what an intent was about to write. Returns also
/// the sinks whose last batches are in doubt: their cursors stand where the proof ends.
pub(super) fn replay(
    records: Vec<(u64, Record)>,
    boot: &str,
    is_carried_out: impl Fn(&Intent) -> bool,
) -> (State, HashSet<String>) {
    let durable = durable_len(&records, boot);
    let writers: HashSet<String> = records.iter().filter_map(writer).collect();
    let mut proof = Proof {
        state: State::default(),
        doubtful: HashSet::new(),
        is_carried_out,
    };
    for (end, record) in records {
        match record {
            record if end <= durable => proof.state.apply(record),
            Record::At(cursors) => {
                // A collector answered before this was written; only outputs can have lost it.
                let others = cursors
                    .into_iter()
                    .filter(|it| !writers.contains(&*it.sink));
                others.for_each(|cursor| proof.state.place(cursor));
            }
            Record::Intent(intent) => {
                proof.confirm_before(&intent);
                proof.judge(&intent);
                proof.state.intents.insert(intent.sink.clone(), intent);
            }
            record => proof.state.apply(record),
        }
    }
    let unproved = proof.state.unproved.iter();
    let sinks = unproved.map(|intent| intent.sink.clone()).collect();
    (proof.state, sinks)
}

/// What a cursor is called.
type Key = (Arc<str>, Arc<str>, Arc<str>);

fn key(cursor: &CursorRecord) -> Key {
    let CursorRecord {
        source,
        stream,
        sink,
        ..
    } = cursor;
    (Arc::clone(source), Arc::clone(stream), Arc::clone(sink))
}

/// What the outputs prove of the writes that no fsync covered. The system may have kept the last
/// write to one output and lost the first one to another.
struct Proof<F> {
    state: State,
    /// Cursors of which a write is lost: they stand before it, whatever came afterwards.
    doubtful: HashSet<Key>,
    is_carried_out: F,
}

impl<F: Fn(&Intent) -> bool> Proof<F> {
    /// The first intent that no fsync covered says that the covered one before it was carried out,
    /// which is as doubtful as the rest.
    fn confirm_before(&mut self, intent: &Intent) {
        let before = self.state.intents.get(&intent.sink).cloned();
        let is_open = |before: &Intent| {
            !intent.anew && !self.state.is_settled(before) && !self.state.unproved.contains(before)
        };
        if let Some(before) = before.filter(is_open) {
            self.judge(&before);
        }
    }

    /// Takes a write in where its output holds it and everything in front of it, too.
    fn judge(&mut self, intent: &Intent) {
        let in_doubt = |cursor| self.doubtful.contains(&key(cursor));
        if !intent.after.iter().any(in_doubt) && (self.is_carried_out)(intent) {
            self.state.carry_out(intent);
        } else {
            self.doubtful.extend(intent.after.iter().map(key));
            self.state.unproved.push(intent.clone());
        }
    }
}

/// Up to where every record counts.
fn durable_len(records: &[(u64, Record)], boot: &str) -> u64 {
    let last_boot = records.iter().rev().find_map(|(_, record)| match record {
        Record::Begin(begin) => Some(begin.boot.as_str()),
        _ => None,
    });
    if last_boot.is_none_or(|last| last == boot || last.is_empty() || boot.is_empty()) {
        return u64::MAX;
    }
    let synced = records.iter().rev().find_map(|(_, record)| match record {
        Record::Synced { len } => Some(*len),
        _ => None,
    });
    synced.unwrap_or(0)
}

fn writer((_, record): &(u64, Record)) -> Option<String> {
    match record {
        Record::Intent(intent) => Some(intent.sink.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::journal::{Begin, OutputId, Place};
    use super::*;
    use crate::model::{CursorKey, Position, StreamKey};

    fn cursor(sink: &str, offset: u64) -> CursorRecord {
        CursorRecord {
            source: "app".into(),
            stream: "s".into(),
            sink: sink.into(),
            place: Place::File {
                offset,
                guard: 0,
                mid_line: false,
                ahead: None,
                begun: None,
            },
        }
    }

    fn at(sink: &str, offset: u64) -> Record {
        Record::At(vec![cursor(sink, offset)])
    }

    fn intent(end: u64) -> Record {
        let output = OutputId {
            path: "/o".into(),
            dev: 0,
            ino: 0,
            head_len: 0,
            head_hash: 0,
        };
        let after = vec![cursor("file", end)];
        Record::Intent(Intent {
            sink: "file".into(),
            output,
            start: end - 10,
            end,
            crc: 0,
            prefixes: Vec::new(),
            pages: None,
            pieces: Vec::new(),
            head_after: None,
            replayable: None,
            after,
            anew: false,
        })
    }

    /// Records that end at 1, 2, 3 …: the first two are covered by an fsync.
    fn journal() -> Vec<(u64, Record)> {
        let records = [
            Record::Begin(Begin {
                boot: "old".into(),
                pid: 1,
                version: String::new(),
            }),
            intent(10),
            Record::Synced { len: 2 },
            at("file", 10),
            at("http", 10),
            intent(20),
            at("file", 20),
            at("http", 20),
            intent(30),
            at("file", 30),
        ];
        (1..).zip(records).collect()
    }

    fn offset(state: &State, sink: &str) -> u64 {
        let key = CursorKey {
            source: "app".into(),
            stream: StreamKey::new("s"),
            sink: sink.into(),
        };
        match state.position(&key) {
            Some(Position::File { offset, .. }) => offset,
            _ => 0,
        }
    }

    #[test]
    fn on_the_same_boot_every_record_counts() {
        let (state, doubtful) = replay(journal(), "old", |_| panic!("nothing to prove"));

        assert_eq!(offset(&state, "file"), 30);
        assert_eq!(offset(&state, "http"), 20);
        assert!(doubtful.is_empty());
    }

    #[test]
    fn a_lost_write_puts_only_its_own_cursors_in_doubt() {
        let of_stream = |stream: &str, end| {
            let Record::Intent(mut intent) = intent(end) else {
                panic!("it is one")
            };
            intent.after[0].stream = stream.into();
            intent.output.path = format!("/{stream}");
            Record::Intent(intent)
        };
        let records = vec![
            journal().remove(0).1,
            Record::Synced { len: 1 },
            of_stream("a", 10),
            of_stream("b", 10),
            of_stream("a", 20),
            of_stream("b", 20),
        ];

        // The first write to /a is not there, and what came behind it is.
        let is_there = |it: &Intent| (&*it.output.path, it.end) != ("/a", 10);
        let (state, doubtful) = replay((1..).zip(records).collect(), "new", is_there);

        let stands = |stream: &str| {
            let known = state.stream("app", &StreamKey::new(stream));
            known.map(|known| known.positions().map(|(_, at)| at).collect::<Vec<_>>())
        };
        assert_eq!(stands("a"), None, "what came behind it is written again");
        let at_20 = |it: &Vec<Position>| matches!(it[0], Position::File { offset: 20, .. });
        assert!(stands("b").is_some_and(|it| at_20(&it)));
        let unproved = state.unproved.iter();
        let unproved: Vec<_> = unproved.map(|it| (&*it.output.path, it.end)).collect();
        assert_eq!(
            (unproved, doubtful.len()),
            (vec![("/a", 10), ("/a", 20)], 1)
        );
    }

    #[test]
    fn after_a_power_cut_an_intent_of_another_process_stands_for_itself() {
        let mut records = journal();
        records.truncate(5);
        let Record::Intent(mut anew) = intent(15) else {
            panic!("it is one")
        };
        anew.anew = true;
        // The last intent that an fsync covered was undone: what is there is the one behind it.
        records[3] = (4, at("http", 3));
        records.push((6, Record::Intent(anew)));

        let (state, doubtful) = replay(records, "new", |intent| intent.end == 15);

        assert_eq!((offset(&state, "file"), doubtful.len()), (15, 0));
    }

    #[test]
    fn after_a_power_cut_a_file_sink_stands_where_its_output_proves_it() {
        for (written, proved) in [(0, 0), (10, 10), (15, 10), (20, 20), (30, 30), (99, 30)] {
            let (state, doubtful) = replay(journal(), "new", |intent| intent.end <= written);

            assert_eq!(offset(&state, "file"), proved, "{written} bytes are there");
            assert_eq!(offset(&state, "http"), 20);
            assert_eq!(doubtful.is_empty(), proved == 30);
            let unproved: Vec<u64> = state.unproved.iter().map(|it| it.end).collect();
            let behind = [10, 20, 30].into_iter().filter(|end| *end > proved);
            assert_eq!(unproved, behind.collect::<Vec<_>>());
        }
    }
}
