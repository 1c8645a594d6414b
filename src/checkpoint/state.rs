//! What the journal's records add up to: streams, cursors and outstanding intents.
//!
//! Pure: no I/O, no clock.

use std::collections::HashMap;
use std::sync::Arc;

use super::journal::{CursorRecord, Intent, Place, Record, StreamRecord};
use crate::model::{CursorKey, Position, StreamKey};

/// Everything that is remembered.
#[derive(Debug, Default)]
pub(super) struct State {
    /// By (source, stream id).
    pub(super) streams: HashMap<(String, String), StreamRecord>,
    /// Where each cursor stands.
    pub(super) cursors: HashMap<CursorKey, Position>,
    /// The last intent of each sink and output path: it may or may not have been carried out.
    pub(super) intents: HashMap<(String, String), Intent>,
}

impl State {
    /// Takes one record in.
    pub(super) fn apply(&mut self, record: Record) {
        match record {
            Record::Begin(_) | Record::Synced { .. } => {}
            Record::Stream(stream) => {
                self.streams
                    .insert((stream.source.clone(), stream.id.clone()), stream);
            }
            Record::At(cursors) => cursors.into_iter().for_each(|cursor| self.place(cursor)),
            Record::Intent(intent) => {
                // A sink writes one batch after the other, so a new intent says that the one
                // before it was carried out.
                let key = (intent.sink.clone(), intent.output.path.clone());
                if let Some(before) = self.intents.insert(key, intent) {
                    before
                        .after
                        .into_iter()
                        .for_each(|cursor| self.place(cursor));
                }
            }
            Record::Forget { source, stream } => {
                let key = StreamKey::new(stream.as_str());
                self.cursors
                    .retain(|cursor, _| cursor.stream != key || *cursor.source != *source);
                self.streams.remove(&(source, stream));
            }
        }
    }

    pub(super) fn place(&mut self, cursor: CursorRecord) {
        let (key, position) = from_record(cursor);
        self.cursors.insert(key, position);
    }

    /// True where every position of the intent is already reached: it was carried out and settled.
    pub(super) fn is_settled(&self, intent: &Intent) -> bool {
        intent.after.iter().all(|cursor| {
            let (key, position) = from_record(cursor.clone());
            self.cursors.get(&key) == Some(&position)
        })
    }

    /// The records of a snapshot that adds up to this state.
    pub(super) fn snapshot(&self) -> impl Iterator<Item = Record> {
        /// Cursors per record: a damaged line costs few of them.
        const CURSORS_PER_RECORD: usize = 64;
        let streams = self.streams.values().cloned().map(Record::Stream);
        let cursors: Vec<CursorRecord> = self
            .cursors
            .iter()
            .filter_map(|(key, position)| to_record(key, position))
            .collect();
        let cursors: Vec<Record> = cursors
            .chunks(CURSORS_PER_RECORD)
            .map(|part| Record::At(part.to_vec()))
            .collect();
        let intents = self.intents.values().cloned().map(Record::Intent);
        streams.chain(cursors).chain(intents)
    }
}

/// The stored form of a cursor; `None` for a live stream, which has nothing to store.
pub fn to_record(key: &CursorKey, position: &Position) -> Option<CursorRecord> {
    let place = match position {
        Position::File {
            offset,
            guard,
            mid_line,
        } => Place::File {
            offset: *offset,
            guard: *guard,
            mid_line: *mid_line,
        },
        Position::Token { cursor, skip } => Place::Token {
            cursor: cursor.to_string(),
            skip: *skip,
        },
        Position::Live => return None,
    };
    Some(CursorRecord {
        source: key.source.to_string(),
        stream: key.stream.as_str().to_owned(),
        sink: key.sink.to_string(),
        place,
    })
}

fn from_record(record: CursorRecord) -> (CursorKey, Position) {
    let key = CursorKey {
        source: record.source.into(),
        stream: StreamKey::new(record.stream),
        sink: record.sink.into(),
    };
    let position = match record.place {
        Place::File {
            offset,
            guard,
            mid_line,
        } => Position::File {
            offset,
            guard,
            mid_line,
        },
        Place::Token { cursor, skip } => Position::Token {
            cursor: Arc::from(cursor),
            skip,
        },
    };
    (key, position)
}

#[cfg(test)]
mod tests {
    use super::super::journal::OutputId;
    use super::*;

    fn cursor(offset: u64) -> CursorRecord {
        CursorRecord {
            source: "app".into(),
            stream: "s".into(),
            sink: "out".into(),
            place: Place::File {
                offset,
                guard: 0,
                mid_line: false,
            },
        }
    }

    fn intent(end: u64) -> Intent {
        Intent {
            sink: "out".into(),
            output: OutputId {
                path: "/o".into(),
                dev: 0,
                ino: 0,
                head_len: 0,
                head_hash: 0,
            },
            start: 0,
            end,
            crc: 0,
            after: vec![cursor(end)],
        }
    }

    fn offset(state: &State) -> Option<&Position> {
        state.cursors.values().next()
    }

    #[test]
    fn a_later_intent_confirms_the_one_before_it() {
        let mut state = State::default();

        state.apply(Record::Intent(intent(10)));
        assert_eq!(offset(&state), None, "it may not have been carried out");

        state.apply(Record::Intent(intent(20)));
        assert_eq!(
            offset(&state),
            Some(&Position::File {
                offset: 10,
                guard: 0,
                mid_line: false
            })
        );
        assert!(!state.is_settled(&intent(20)));

        state.apply(Record::At(vec![cursor(20)]));
        assert!(state.is_settled(&intent(20)));
    }

    #[test]
    fn a_snapshot_adds_up_to_the_same_state() {
        let mut state = State::default();
        for n in 0..200 {
            let mut cursor = cursor(n);
            cursor.stream = format!("s{n}");
            state.apply(Record::At(vec![cursor]));
        }
        state.apply(Record::Intent(intent(10)));

        let mut copy = State::default();
        state.snapshot().for_each(|record| copy.apply(record));

        assert_eq!(copy.cursors, state.cursors);
        assert_eq!(copy.intents, state.intents);
    }

    #[test]
    fn a_forgotten_stream_takes_its_cursors_along() {
        let mut state = State::default();
        state.apply(Record::At(vec![cursor(1)]));

        state.apply(Record::Forget {
            source: "app".into(),
            stream: "s".into(),
        });

        assert!(state.cursors.is_empty());
    }
}
