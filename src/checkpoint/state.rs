//! What the journal's records add up to: streams, cursors and outstanding intents.
//!
//! Pure: no I/O, no clock.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use foldhash::HashMap;
use smallvec::SmallVec;

use super::journal::{CursorRecord, Intent, OutputId, Record, StreamRecord};
use super::stored::{from_record, in_file, to_record};
use crate::model::{CursorKey, Position, StreamKey};

/// Outputs that are remembered by their identity. Most are known by their names, too: this is for
/// those that somebody renamed.
const OUTPUTS_MAX: usize = 256;

/// Everything that is remembered. Written with 100,000 files in mind: names are shared, and what is
/// known of one stream is found without looking at the others.
#[derive(Debug, Default)]
pub(super) struct State {
    sources: HashMap<Arc<str>, HashMap<StreamKey, Known>>,
    sinks: HashMap<Arc<str>, ()>,
    /// The last intent of each sink: it may or may not have been carried out.
    pub(super) intents: HashMap<String, Intent>,
    /// Files that sinks wrote to, each with its sink: at most [`OUTPUTS_MAX`], the oldest first.
    pub(super) outputs: Vec<(String, OutputId)>,
    /// Intents that a power cut undid, and those behind them whose cursors stand before. They are
    /// written again; what is torn of them is still to be cut off. Not part of a snapshot.
    pub(super) unproved: Vec<Intent>,
}

/// What is remembered of one stream.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Absent for a stream that is no file.
    pub(super) record: Option<Arc<StreamRecord>>,
    /// Where each sink's cursor stands; few, and most often one.
    cursors: SmallVec<[(Arc<str>, Stand); 1]>,
}

/// A position, small where it is a plain one in a file, as nearly all are.
#[derive(Clone, Debug)]
enum Stand {
    /// In a file, with nothing begun or taken behind it.
    Plain { offset: u64, guard: u64 },
    /// Any other.
    Other(Box<Position>),
}

impl From<Position> for Stand {
    fn from(position: Position) -> Self {
        match position {
            Position::File {
                offset,
                guard,
                mid_line: false,
                ahead: None,
                begun: None,
            } => Self::Plain { offset, guard },
            other => Self::Other(Box::new(other)),
        }
    }
}

impl From<&Stand> for Position {
    fn from(stand: &Stand) -> Self {
        match stand {
            Stand::Plain { offset, guard } => Self::File {
                offset: *offset,
                guard: *guard,
                mid_line: false,
                ahead: None,
                begun: None,
            },
            Stand::Other(other) => (**other).clone(),
        }
    }
}

impl Known {
    /// Where each sink's cursor stands.
    pub(super) fn positions(&self) -> impl Iterator<Item = (&Arc<str>, Position)> {
        self.cursors.iter().map(|(sink, at)| (sink, at.into()))
    }
}

impl State {
    /// Takes one record in.
    pub(super) fn apply(&mut self, record: Record) {
        match record {
            Record::Begin(_) | Record::Synced { .. } => {}
            Record::Stream(stream) => self.note(stream),
            Record::At(cursors) => cursors.into_iter().for_each(|cursor| self.place(cursor)),
            Record::Intent(intent) => {
                // A sink makes one write after the other, so the next intent of the same process
                // says that the one before it was carried out.
                let follows = !intent.anew;
                self.note_output(&intent.sink, output_after(&intent));
                let before = self.intents.insert(intent.sink.clone(), intent);
                if let Some(before) = before.filter(|_| follows) {
                    self.carry_out(&before);
                }
            }
            Record::Output { sink, output } => self.note_output(&sink, output),
            Record::Forget { source, stream } => {
                if let Some(streams) = self.sources.get_mut(&*source) {
                    streams.remove(&StreamKey::new(stream));
                }
            }
        }
    }

    /// Remembers an output as it is known last. One whose first bytes are not known is none: any
    /// file could have its inode.
    fn note_output(&mut self, sink: &str, output: OutputId) {
        let same =
            |(_, known): &(String, OutputId)| (known.dev, known.ino) == (output.dev, output.ino);
        match self.outputs.iter().rposition(same) {
            Some(at) if self.outputs[at].1 == output => return,
            Some(at) => drop(self.outputs.remove(at)),
            None if self.outputs.len() == OUTPUTS_MAX => drop(self.outputs.remove(0)),
            None => {}
        }
        if output.head_len > 0 {
            self.outputs.push((sink.to_owned(), output));
        }
    }

    fn note(&mut self, mut stream: StreamRecord) {
        let source = shared(&mut self.sources, &stream.source);
        stream.source = Arc::clone(&source);
        let streams = self.sources.get_mut(&source).expect("shared adds it");
        let key = StreamKey::new(Arc::clone(&stream.id));
        match streams.entry(key) {
            Entry::Occupied(mut known) => {
                stream.id = known.key().name();
                known.get_mut().record = Some(Arc::new(stream));
            }
            Entry::Vacant(free) => {
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
            Some((_, at)) => *at = position.into(),
            None => {
                cursors.reserve_exact(1);
                cursors.push((sink, position.into()));
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

    /// The streams of a source that are no files.
    pub(super) fn unfiled(&self, source: &str) -> impl Iterator<Item = &StreamKey> {
        let streams = self.sources.get(source).into_iter().flatten();
        let unfiled = streams.filter(|(_, known)| known.record.is_none());
        unfiled.map(|(stream, _)| stream)
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
    pub(super) fn position(&self, key: &CursorKey) -> Option<Position> {
        let known = self.stream(&key.source, &key.stream)?;
        let own = known.cursors.iter().find(|(sink, _)| *sink == key.sink);
        own.map(|(_, at)| at.into())
    }

    /// True where every position of the intent is already reached: it was carried out and settled.
    pub(super) fn is_settled(&self, intent: &Intent) -> bool {
        intent.after.iter().all(|cursor| self.is_reached(cursor))
    }

    /// Takes over where an intent that was carried out brought its cursors. What was passed over
    /// behind its lines may have been noted before: that stays.
    pub(super) fn carry_out(&mut self, intent: &Intent) {
        for cursor in self.unreached(intent) {
            self.place(cursor);
        }
    }

    /// The cursors of an intent that do not stand where it brings them.
    pub(super) fn unreached(&self, intent: &Intent) -> Vec<CursorRecord> {
        let after = intent.after.iter();
        let behind = after.filter(|cursor| !self.is_reached(cursor));
        behind.cloned().collect()
    }

    /// True where a cursor stands at a position or behind it. In a file it only ever moves on.
    pub(super) fn is_reached(&self, cursor: &CursorRecord) -> bool {
        let (key, wanted) = from_record(cursor.clone());
        let Some(stands) = self.position(&key) else {
            return false;
        };
        match (in_file(&stands), in_file(&wanted)) {
            (Some(stands), Some(wanted)) => stands >= wanted,
            _ => stands == wanted,
        }
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
        let outputs = self.outputs.iter().cloned();
        let outputs = outputs.map(|(sink, output)| Record::Output { sink, output });
        let cursors = streams.map(Record::Stream).chain(parts);
        cursors.chain(outputs).chain(intents)
    }

    fn cursors(&self) -> impl Iterator<Item = CursorRecord> {
        let streams = self.sources.iter().flat_map(|(source, streams)| {
            streams
                .iter()
                .map(move |(stream, known)| (source, stream, known))
        });
        streams.flat_map(|(source, stream, known)| {
            known.positions().filter_map(move |(sink, position)| {
                let key = CursorKey {
                    source: Arc::clone(source),
                    stream: stream.clone(),
                    sink: Arc::clone(sink),
                };
                to_record(&key, &position)
            })
        })
    }
}

/// The output of an intent as it is once that is carried out.
fn output_after(intent: &Intent) -> OutputId {
    let mut output = intent.output.clone();
    if let Some(head) = intent.head_after {
        (output.head_len, output.head_hash) = (head.len, head.hash);
    }
    output
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

#[cfg(test)]
mod tests {
    use super::super::journal::{HeadAfter, Place};
    use super::*;
    use crate::model::{Ahead, StdStream};

    fn cursor(offset: u64) -> CursorRecord {
        CursorRecord {
            source: "app".into(),
            stream: "s".into(),
            sink: "out".into(),
            place: Place::File {
                offset,
                guard: 0,
                mid_line: false,
                ahead: None,
                begun: None,
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
            prefixes: Vec::new(),
            pages: None,
            pieces: Vec::new(),
            head_after: None,
            replayable: None,
            after: vec![cursor(end)],
            anew: false,
        }
    }

    fn offset(state: &State) -> Option<Position> {
        let known = state.streams("app").next()?;
        known.positions().next().map(|(_, position)| position)
    }

    #[test]
    fn an_intent_of_another_process_confirms_nothing() {
        let mut state = State::default();
        state.apply(Record::Intent(intent(20)));

        let mut anew = intent(10);
        anew.anew = true;
        state.apply(Record::Intent(anew.clone()));

        assert_eq!(offset(&state), None, "neither may have been carried out");
        assert_eq!(state.intents["out"], anew);
    }

    #[test]
    fn a_later_intent_confirms_the_one_before_it() {
        let mut state = State::default();

        state.apply(Record::Intent(intent(10)));
        assert_eq!(offset(&state), None, "it may not have been carried out");

        state.apply(Record::Intent(intent(20)));
        assert_eq!(
            offset(&state),
            Some(Position::File {
                offset: 10,
                guard: 0,
                mid_line: false,
                ahead: None,
                begun: None
            })
        );
        assert!(!state.is_settled(&intent(20)));

        state.apply(Record::At(vec![cursor(20)]));
        assert!(state.is_settled(&intent(20)));
    }

    // Scenario: behind the lines of a batch others are passed over (filtered, or the rest of a cut
    // one), and both are noted. Bug: at the next start, or with the next intent, the cursor was put
    // back to where the batch ended. Fix: it never moves back.
    #[test]
    fn what_was_passed_over_behind_a_batch_stays_passed_over() {
        let mut state = State::default();
        state.apply(Record::Intent(intent(10)));
        state.apply(Record::At(vec![cursor(15)]));

        assert!(state.is_settled(&intent(10)));
        assert!(!state.is_settled(&intent(16)));
        assert_eq!(state.unreached(&intent(16)), [cursor(16)]);

        let mut other = intent(7);
        other.after[0].stream = "t".into();
        state.apply(Record::Intent(other));
        state.apply(Record::Intent(intent(20)));
        let stands = state.position(&from_record(cursor(0)).0);
        assert_eq!(stands, Some(from_record(cursor(15)).1));
    }

    #[test]
    fn outputs_are_remembered_by_their_first_bytes() {
        let mut state = State::default();
        let mut write = |ino, head_len, after: Option<u32>| {
            let mut intent = intent(10);
            intent.output.ino = ino;
            intent.output.head_len = head_len;
            intent.head_after = after.map(|len| HeadAfter { len, hash: 1 });
            state.apply(Record::Intent(intent));
            let known = state.outputs.iter();
            known
                .map(|(_, it)| (it.ino, it.head_len))
                .collect::<Vec<_>>()
        };

        assert_eq!(write(7, 0, None), []);
        assert_eq!(write(7, 0, Some(5)), [(7, 5)]);
        assert_eq!(write(8, 1024, None), [(7, 5), (8, 1024)]);
        assert_eq!(write(7, 5, Some(9)), [(8, 1024), (7, 9)]);
        for ino in 100..1_000 {
            write(ino, 9, None);
        }
        assert_eq!(state.outputs.len(), OUTPUTS_MAX);

        let mut copy = State::default();
        state.snapshot().for_each(|record| copy.apply(record));
        assert_eq!(copy.outputs, state.outputs);
    }

    #[test]
    fn what_was_taken_ahead_survives() {
        let key = from_record(cursor(0)).0;
        let ahead = Ahead {
            stream: StdStream::Stderr,
            offset: 99,
        };
        let position = Position::File {
            offset: 7,
            guard: 3,
            mid_line: false,
            ahead: Some(ahead),
            begun: None,
        };

        let record = to_record(&key, &position).unwrap();

        assert_eq!(from_record(record), (key, position));
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
