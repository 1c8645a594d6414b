//! Lines cut, sliced, filtered and named.

use super::*;

fn texts(lines: &Lines) -> Vec<(&[u8], u64)> {
    lines.iter().map(|line| (line.text, line.offset)).collect()
}

#[test]
fn untouched_lines_know_their_offsets() {
    let lines = Lines::untouched(Bytes::from_static(b"one\n\nthree\n"), 3, 100);

    assert_eq!(
        texts(&lines),
        [(&b"one"[..], 100), (b"", 104), (b"three", 105)]
    );
}

#[test]
fn names_stay_with_their_records() {
    let record = |end| Record {
        end,
        ..Record::default()
    };
    let records = [record(2), record(4), record(6)].into();
    let lines = Lines::from_records(Bytes::from_static(b"a\nb\nc\n"), records)
        .with_events([None, Some("x".into()), Some("y".into())].into());

    let names = |lines: &Lines| -> Vec<Option<String>> {
        lines
            .iter()
            .map(|line| line.event.map(str::to_owned))
            .collect()
    };

    assert_eq!(names(&lines), [None, Some("x".into()), Some("y".into())]);
    assert_eq!(names(&lines.slice(2..3)), [Some("y".into())]);
}

#[test]
fn filtering_keeps_offsets_names_and_times() {
    let lines = Lines::untouched(Bytes::from_static(b"a\nbb\nc\n"), 3, 10)
        .with_times(|line| (line.text == b"c").then_some(7));

    let same = lines.filtered(|_| true).unwrap();
    let some = lines.filtered(|line| line.text != b"bb").unwrap();

    assert_eq!(same.bytes().as_ptr(), lines.bytes().as_ptr());
    assert_eq!(some.bytes().as_ref(), b"a\nc\n");
    let kept: Vec<_> = some.iter().map(|it| (it.offset, it.time_ns)).collect();
    assert_eq!(kept, [(10, None), (15, Some(7))]);
    assert!(lines.filtered(|_| false).is_none());
    let named = lines.with_events([None, Some("x".into()), Some("y".into())].into());
    let named = named
        .slice(1..3)
        .filtered(|line| line.text == b"c")
        .unwrap();
    assert_eq!(named.iter().next().unwrap().event, Some("y"));
}

#[test]
fn slice_shares_bytes_and_keeps_offsets() {
    let lines = Lines::untouched(Bytes::from_static(b"one\n\nthree\nfour\n"), 4, 100);

    let middle = lines.slice(1..3);

    assert_eq!(texts(&middle), [(&b""[..], 104), (b"three", 105)]);
    assert_eq!(texts(&middle.slice(1..2)), [(&b"three"[..], 105)]);
    assert!(lines.slice(4..4).is_empty());
}

#[test]
fn records_carry_their_own_offsets_through_slices() {
    let records: Arc<[Record]> = Arc::new([
        Record {
            end: 4,
            offset: 7,
            truncated: false,
            ..Record::default()
        },
        Record {
            end: 12,
            offset: 50,
            truncated: true,
            ..Record::default()
        },
        Record {
            end: 14,
            offset: 90,
            truncated: false,
            ..Record::default()
        },
    ]);
    let lines = Lines::from_records(Bytes::from_static(b"abc\nde\nfghi\nj\n"), records);

    assert_eq!(
        texts(&lines.slice(1..3)),
        [(&b"de\nfghi"[..], 50), (b"j", 90)]
    );
    assert_eq!(texts(&lines.slice(1..3).slice(1..2)), [(&b"j"[..], 90)]);
    assert_eq!(lines.slice(1..2).truncated(), 1);
    assert_eq!(lines.slice(2..3).truncated(), 0);
}

#[test]
fn long_lines_are_cut_between_characters_and_marked() {
    let lines = Lines::untouched(Bytes::from("short\nabcdefg\nabcż\n"), 3, 100);

    let (cut, n_cut) = lines.cut(4);
    let (same, none) = lines.cut(7);

    assert_eq!(n_cut, 3);
    assert_eq!(
        texts(&cut),
        [(&b"shor"[..], 100), (b"abcd", 106), (b"abc", 114)]
    );
    assert!(cut.iter().all(|line| line.truncated));
    assert_eq!((texts(&same), none), (texts(&lines), 0));
}

#[test]
fn a_cut_keeps_names_and_the_rest_of_a_slice() {
    let record = |end| Record {
        end,
        offset: 7,
        ..Record::default()
    };
    let lines = Lines::from_records(
        Bytes::from_static(b"a\nlong\nc\n"),
        [record(2), record(7), record(9)].into(),
    )
    .with_events([None, Some("x".into()), Some("y".into())].into());

    let (cut, n_cut) = lines.slice(1..3).cut(2);

    let shown: Vec<_> = cut
        .iter()
        .map(|it| (it.text, it.truncated, it.event))
        .collect();
    assert_eq!(n_cut, 1);
    assert_eq!(
        shown,
        [(&b"lo"[..], true, Some("x")), (b"c", false, Some("y"))]
    );
}
