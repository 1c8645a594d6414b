//! Whatever happens to a segment's bytes, what is read back is some of what was written, in order, and
//! nothing else.

use std::sync::Arc;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::model::{Lines, Record as LineRecord, StdStream};

const ID: SpoolId = SpoolId(0x0123_4567_89ab_cdef_0011_2233_4455_6677);

/// Where the first record stands.
const START: Place = Place {
    offset: 1_000_048,
    line: 77,
};

/// A line: its text, marks, own time and event.
type Given = (Vec<u8>, u8, Option<i64>, Option<String>);

fn lines_of(given: &[Given], is_plain: bool) -> Option<Lines> {
    if given.is_empty() {
        return None;
    }
    let (mut bytes, mut records, mut events) = (Vec::new(), Vec::new(), Vec::new());
    for (text, marks, time_ns, event) in given {
        let text = text.iter().filter(|byte| !is_plain || **byte != b'\n');
        bytes.extend(text);
        bytes.push(b'\n');
        records.push(LineRecord {
            end: u32::try_from(bytes.len()).unwrap(),
            offset: 5,
            truncated: marks & 1 != 0,
            binary: marks & 2 != 0,
            time_ns: *time_ns,
            stream: [None, Some(StdStream::Stdout), Some(StdStream::Stderr)]
                [usize::from(*marks >> 2) % 3],
        });
        events.push(event.as_deref().map(Arc::from));
    }
    let count = u32::try_from(given.len()).unwrap();
    Some(if is_plain {
        Lines::untouched(bytes.into(), count, 3)
    } else if events.iter().any(Option::is_some) {
        Lines::from_records(bytes.into(), records.into()).with_events(events.into())
    } else {
        Lines::from_records(bytes.into(), records.into())
    })
}

fn record() -> impl Strategy<Value = Record> {
    let line = (
        vec(any::<u8>(), 0..40),
        0_u8..16,
        any::<Option<i64>>(),
        proptest::option::of("[a-z]{0,5}"),
    );
    let token = proptest::option::of(("\\PC{0,9}", any::<u32>()));
    let labels = vec(("[a-z]{1,4}", "\\PC{0,5}"), 0..3);
    (vec(line, 0..6), any::<bool>(), token, labels, any::<i64>()).prop_map(
        |(given, is_plain, token, labels, time_ns)| Record {
            stream: "http://h/a".into(),
            labels: labels
                .iter()
                .map(|(name, value)| (Arc::from(&**name), Arc::from(&**value)))
                .collect(),
            token: token.map(|(token, skip)| (Arc::from(token), skip)),
            time_ns,
            lines: lines_of(&given, is_plain),
        },
    )
}

/// Everything that is promised of a record but where its lines stand.
fn shown(record: &Record) -> String {
    let Record {
        stream,
        labels,
        token,
        time_ns,
        lines,
    } = record;
    let lines = lines.iter().flat_map(Lines::iter).map(|line| {
        let mut line = line;
        line.offset = 0;
        format!("{line:?}")
    });
    let lines: Vec<String> = lines.collect();
    format!("{stream} {labels:?} {token:?} {time_ns} {lines:?}")
}

/// The records as they are written, and where each begins and ends.
fn written(records: &[Record]) -> (Vec<u8>, Vec<(Place, Place)>) {
    let (mut bytes, mut at) = (Vec::new(), START);
    let mut places = Vec::new();
    for record in records {
        let end = append_record(&mut bytes, ID, at, record);
        places.push((at, end));
        at = end;
    }
    (bytes, places)
}

fn read(bytes: Vec<u8>) -> Vec<(RecordHead, Record)> {
    Walk::new(ID, bytes.into(), START.offset).collect()
}

/// Reads in windows, as files are read.
fn read_in_windows(bytes: &[u8], window: usize) -> Vec<(RecordHead, Record)> {
    let (mut at, mut len) = (0, window);
    let mut all = Vec::new();
    loop {
        let end = (at + len).min(bytes.len());
        let part = Bytes::copy_from_slice(&bytes[at..end]);
        let mut walk = Walk::new(ID, part, START.offset + at as u64);
        all.extend(walk.by_ref());
        let next = usize::try_from(walk.offset() - START.offset).unwrap();
        if next == at && end == bytes.len() {
            return all;
        }
        len = walk.wanted().max(window);
        at = next;
    }
}

/// Fails unless all of what was read was written, in that order.
#[track_caller]
fn expect_some_of(read: &[(RecordHead, Record)], records: &[Record], places: &[(Place, Place)]) {
    let mut left = records.iter().zip(places);
    for (head, found) in read {
        let (record, _) = left
            .find(|(_, (start, end))| (*start, *end) == (head.start, head.end))
            .expect("it was written, and is read once");
        assert_eq!(shown(found), shown(record));
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(records in vec(record(), 0..8), window in 1_usize..200) {
        let (bytes, places) = written(&records);

        for all in [read(bytes.clone()), read_in_windows(&bytes, window)] {
            prop_assert_eq!(all.len(), records.len());
            expect_some_of(&all, &records, &places);
            for (_, record) in &all {
                let start = START.offset;
                for line in record.lines.iter().flat_map(Lines::iter) {
                    let at = usize::try_from(line.offset - start).unwrap();
                    prop_assert_eq!(&bytes[at..at + line.text.len()], line.text);
                }
            }
        }
    }

    #[test]
    fn a_cut_costs_what_is_behind_it(records in vec(record(), 1..8), cut in any::<prop::sample::Index>()) {
        let (mut bytes, places) = written(&records);
        let len = cut.index(bytes.len());
        bytes.truncate(len);

        let all = read(bytes);

        let whole = places.iter().filter(|(_, end)| end.offset <= START.offset + len as u64);
        prop_assert_eq!(all.len(), whole.count());
        expect_some_of(&all, &records, &places);
    }

    #[test]
    fn a_damaged_byte_costs_one_record(
        records in vec(record(), 1..8),
        (at, bit) in (any::<prop::sample::Index>(), 0_u32..8),
        window in 1_usize..200,
    ) {
        let (mut bytes, places) = written(&records);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;

        for all in [read(bytes.clone()), read_in_windows(&bytes, window)] {
            prop_assert_eq!(all.len(), records.len() - 1);
            expect_some_of(&all, &records, &places);
        }
    }

    #[test]
    fn no_damage_makes_something_up(
        records in vec(record(), 1..8),
        damage in vec((any::<prop::sample::Index>(), vec(any::<u8>(), 0..30), 0_usize..60), 1..5),
        window in 1_usize..200,
    ) {
        let (mut bytes, places) = written(&records);
        for (at, with, n_removed) in damage {
            let at = at.index(bytes.len() + 1);
            let to = (at + n_removed).min(bytes.len());
            bytes.splice(at..to, with);
        }

        expect_some_of(&read(bytes.clone()), &records, &places);
        expect_some_of(&read_in_windows(&bytes, window), &records, &places);
    }

    #[test]
    fn a_head_is_read_whole_or_not_at_all(offset in any::<u64>(), line in any::<u64>(), at in 0..SEGMENT_HEAD_BYTES, bit in 0_u32..8) {
        let head = SegmentHead { id: ID, start: Place { offset, line } };
        let mut bytes = head.encode();
        prop_assert_eq!(SegmentHead::decode(&bytes), Ok(head));
        prop_assert!(SegmentHead::decode(&bytes[..at]).is_err());

        bytes[at] ^= 1 << bit;

        prop_assert!(SegmentHead::decode(&bytes).is_err());
    }
}

// Whoever sends a copy of a segment as a line must not have it read as records, also where the record
// that holds it is damaged.
#[test]
fn a_segment_inside_a_line_is_no_record() {
    let inner = Record {
        stream: "s".into(),
        labels: Arc::from([]),
        token: None,
        time_ns: 1,
        lines: Some(Lines::untouched(Bytes::from_static(b"forged\n"), 1, 0)),
    };
    let (copy, _) = written(std::slice::from_ref(&inner));
    let line = [copy, b"\n".to_vec()].concat();
    let end = u32::try_from(line.len()).unwrap();
    let outer = Record {
        lines: Some(Lines::from_records(
            line.into(),
            Arc::from([LineRecord {
                end,
                ..LineRecord::default()
            }]),
        )),
        ..inner
    };
    let (mut bytes, _) = written(&[outer]);
    bytes[5] ^= 1;

    assert!(read(bytes).is_empty());
}

#[test]
fn a_newer_version_is_told_from_damage() {
    let mut bytes = SegmentHead {
        id: ID,
        start: START,
    }
    .encode();
    bytes[8] = 2;

    assert_eq!(SegmentHead::decode(&bytes), Err(HeadError::Version(2)));
    assert_eq!(SegmentHead::decode(b"lwspo"), Err(HeadError::NotASegment));
    assert_eq!(SegmentHead::decode(&bytes[..9]), Err(HeadError::Damaged));
}
