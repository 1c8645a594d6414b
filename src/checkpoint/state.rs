//! What the journal's records add up to: streams, cursors and outstanding intents.
//!
//! Pure: no I/O, no clock.

use std::collections::HashMap;
use std::sync::Arc;

use super::journal::{CursorRecord, Intent, Place, Record, StreamRecord};
use crate::model::{CursorKey, Position, StreamKey};

/// Everything that is remembered. Written with 100,000 files in mind: names are shared, and what is
/// known of one stream is found without looking at the others.
#[derive(Debug, Default)]
pub(super) struct State {
    sources: HashMap<Arc<str>, HashMap<StreamKey, Known>>,
    sinks: HashMap<Arc<str>, ()>,
    /// The last intent of each sink and output path: it may or may not have been carried out.
    pub(super) intents: HashMap<(String, String), Intent>,
}

/// What is remembered of one stream.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Absent for a stream that is no file.
    pub(super) record: Option<Arc<StreamRecord>>,
    /// Where each sink's cursor stands; few.
    pub(super) cursors: Vec<(Arc<str>, Position)>,
}

impl State {
    /// Takes one record in.
    pub(super) fn apply(&mut self, record: Record) {
        match record {
            Record::Begin(_) | Record::Synced { .. } => {}
            Record::Stream(stream) => self.note(stream),
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
                if let Some(streams) = self.sources.get_mut(&*source) {
                    streams.remove(&StreamKey::new(stream));
                }
            }
        }
    }

    fn note(&mut self, mut stream: StreamRecord) {
        let source = shared(&mut self.sources, &stream.source);
        stream.source = Arc::clone(&source);
        let streams = self.sources.get_mut(&source).expect("shared adds it");
        let key = StreamKey::new(Arc::clone(&stream.id));
        match streams.entry(key) {
            std::collections::hash_map::Entry::Occupied(mut known) => {
                stream.id = known.key().name();
                known.get_mut().record = Some(Arc::new(stream));
            }
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert(Known::default()).record = Some(Arc::new(stream));
            }
        }
    }

    pub(super) fn place(&mut self, cursor: CursorRecord) {
        let (key, position) = from_record(cursor);
        let source = shared(&mut self.sources, &key.source);
        let sink = shared(&mut self.sinks, &key.sink);
        let streams = self.sources.get_mut(&source).expect("shared adds it");
        let cursors = &mut streams.entry(key.stream).or_default().cursors;
        match cursors.iter_mut().find(|(known, _)| *known == sink) {
            Some((_, at)) => *at = position,
            None => {
                cursors.reserve_exact(1);
                cursors.push((sink, position));
            }
        }
    }

    /// What is known of the streams of a source.
    pub(super) fn streams(&self, source: &str) -> impl Iterator<Item = &Known> {
        self.sources
            .get(source)
            .into_iter()
            .flat_map(HashMap::values)
    }

    /// How many streams are known.
    pub(super) fn len(&self) -> usize {
        self.sources.values().map(HashMap::len).sum()
    }

    /// What is known of one stream.
    pub(super) fn stream(&self, source: &str, stream: &StreamKey) -> Option<&Known> {
        self.sources.get(source)?.get(stream)
    }

    /// Where a cursor stands.
    pub(super) fn position(&self, key: &CursorKey) -> Option<&Position> {
        let known = self.stream(&key.source, &key.stream)?;
        let own = known.cursors.iter().find(|(sink, _)| *sink == key.sink);
        own.map(|(_, position)| position)
    }

    /// True where every position of the intent is already reached: it was carried out and settled.
    pub(super) fn is_settled(&self, intent: &Intent) -> bool {
        intent.after.iter().all(|cursor| {
            let (key, position) = from_record(cursor.clone());
            self.position(&key) == Some(&position)
        })
    }

    /// The records of a snapshot that adds up to this state.
    pub(super) fn snapshot(&self) -> impl Iterator<Item = Record> {
        /// Cursors per record: a damaged line costs few of them.
        const CURSORS_PER_RECORD: usize = 64;
        let known = self.sources.values().flat_map(HashMap::values);
        let streams = known.filter_map(|known| known.record.as_deref().cloned());
        let mut cursors = self.cursors().peekable();
        let parts = std::iter::from_fn(move || {
            cursors.peek()?;
            Some(Record::At(
                cursors.by_ref().take(CURSORS_PER_RECORD).collect(),
            ))
        });
        let intents = self.intents.values().cloned().map(Record::Intent);
        streams.map(Record::Stream).chain(parts).chain(intents)
    }

    fn cursors(&self) -> impl Iterator<Item = CursorRecord> {
        let streams = self.sources.iter().flat_map(|(source, streams)| {
            streams
                .iter()
                .map(move |(stream, known)| (source, stream, known))
        });
        streams.flat_map(|(source, stream, known)| {
            known.cursors.iter().filter_map(move |(sink, position)| {
                let key = CursorKey {
                    source: Arc::clone(source),
                    stream: stream.clone(),
                    sink: Arc::clone(sink),
                };
                to_record(&key, position)
            })
        })
    }
}

/// The one copy of a name, which everything that speaks of it shares.
fn shared<T: Default>(names: &mut HashMap<Arc<str>, T>, name: &Arc<str>) -> Arc<str> {
    match names.get_key_value(name) {
        Some((known, _)) => Arc::clone(known),
        None => {
            names.insert(Arc::clone(name), T::default());
            Arc::clone(name)
        }
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
        source: Arc::clone(&key.source),
        stream: key.stream.name(),
        sink: Arc::clone(&key.sink),
        place,
    })
}

fn from_record(record: CursorRecord) -> (CursorKey, Position) {
    let key = CursorKey {
        source: record.source,
        stream: StreamKey::new(record.stream),
        sink: record.sink,
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
        let mut known = state.streams("app");
        known.next()?.cursors.first().map(|(_, position)| position)
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
            cursor.stream = format!("s{n}").into();
            state.apply(Record::At(vec![cursor]));
        }
        state.apply(Record::Intent(intent(10)));

        let mut copy = State::default();
        state.snapshot().for_each(|record| copy.apply(record));

        let sorted = |state: &State| {
            let mut cursors: Vec<_> = state.cursors().collect();
            cursors.sort_by(|a, b| a.stream.cmp(&b.stream));
            cursors
        };
        assert_eq!(sorted(&copy).len(), 200);
        assert_eq!(sorted(&copy), sorted(&state));
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

        assert_eq!(state.cursors().count(), 0);
    }
}
