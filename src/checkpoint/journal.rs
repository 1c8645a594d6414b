//! The checkpoint journal's format: one checksummed JSON record per line.
//!
//! ```text
//! logweir-journal 1
//! 5f1c20aa {"stream":{"source":"nginx","id":"…","path":"/var/log/nginx/access.log",…}}
//! 09ab1277 {"at":[{"source":"nginx","stream":"…","sink":"collector","offset":8192,…}]}
//! ```
//!
//! The number in front is the CRC-32 (IEEE) of the JSON text, in hexadecimal. A record says where
//! something stands, never by how much it moved, so a damaged record costs only itself. These types
//! are the format's own: what is stored is a promise, and the model may change freely.
//!
//! Pure: no I/O, no clock.

use std::num::NonZeroU64;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use super::cursor::CursorRecord;
#[cfg(test)]
pub(super) use super::cursor::{Ahead, Begun, Place};
use super::names;

/// First line of the file; the number is the version.
pub(super) const HEADER: &str = "logweir-journal 1\n";

/// What [`HEADER`] starts with in every version.
pub(super) const HEADER_NAME: &str = "logweir-journal ";

/// One thing to remember.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Record {
    /// A process opened the journal.
    Begin(Begin),
    /// A stream was seen, moved or changed.
    Stream(StreamRecord),
    /// Cursors moved: one record per settled batch.
    At(Vec<CursorRecord>),
    /// A file sink is about to write.
    Intent(Intent),
    /// An output of a sink, of which there may be a later intent or not: sources must not read it,
    /// whatever it is called by now.
    Output {
        /// Name of the sink.
        sink: String,
        /// Which file.
        output: OutputId,
    },
    /// A stream will never be read again.
    Forget {
        /// Its source.
        source: String,
        /// Its id.
        stream: String,
    },
    /// The first `len` bytes of this journal are on disk, and the outputs that they speak of.
    Synced {
        /// In bytes.
        len: u64,
    },
}

/// Who opened the journal, on which boot of the machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Begin {
    /// Kernel's boot id: with the same one, nothing that was written can have been lost.
    pub boot: String,
    /// Process id.
    pub pid: u32,
    /// Version of the program.
    pub version: String,
}

/// One file generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamRecord {
    /// Name of the source.
    #[serde(deserialize_with = "names::repeated")]
    pub source: Arc<str>,
    /// Random 128-bit id, in hexadecimal.
    #[serde(deserialize_with = "names::unique")]
    pub id: Arc<str>,
    /// Where it was last seen.
    #[serde(deserialize_with = "names::unique")]
    pub path: Arc<str>,
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// When the inode was made, in nanoseconds since 1970; `None` where the file system does not
    /// tell. Inodes are used again, and many files begin alike: this tells two of them apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub born: Option<NonZeroU64>,
    /// How many of the first bytes the fingerprint covers.
    pub head_len: u32,
    /// XXH3-64 of those bytes.
    pub head_hash: u64,
    /// Its length when it was last noted, in bytes; of a compressed file, what it holds.
    #[serde(default)]
    pub len: u64,
    /// When it was last seen, in seconds since 1970.
    pub seen: u64,
    /// True when it was replaced at its path: it gets no new lines.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
}

/// What a file sink is about to write, so that after a crash it can be told whether it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Name of the sink.
    pub sink: String,
    /// Which file.
    pub output: OutputId,
    /// Length before the write.
    pub start: u64,
    /// Length after it.
    pub end: u64,
    /// CRC-32 (IEEE) of the bytes.
    pub crc: u32,
    /// Checksums of their first 1, 2, 4, 8 … bytes, as far as that is less than all of them. They
    /// prove that what stands behind `start` after a torn write is ours.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<u32>,
    /// The same at places where a write can be torn: see [`Pages`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pages: Option<Pages>,
    /// Where the pieces of the bytes end that are written by a system call each, but for the last,
    /// with the checksum of what is before: a process can be killed between two.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pieces: Vec<(u64, u32)>,
    /// The first bytes of the output once it is written, as long as they grow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_after: Option<HeadAfter>,
    /// What of the bytes can be read again, in order; `None`: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replayable: Option<Vec<Span>>,
    /// Where the cursors stand once it is written.
    pub after: Vec<CursorRecord>,
    /// True where the sink's intent before this one was not carried out by the process that made
    /// this one: this one says nothing of it. Else it says that it was.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anew: bool,
}

/// Checksums of an intent's bytes up to each multiple of a number of bytes in the output: a process
/// that is killed leaves whole pages of the file written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pages {
    /// How far they are apart, in bytes.
    pub every: u64,
    /// CRC-32 of the bytes from the intent's start to there; none at its end.
    pub crcs: Vec<u32>,
}

/// The first bytes of an output, as its identity has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadAfter {
    /// How many.
    pub len: u32,
    /// XXH3-64 of them.
    pub hash: u64,
}

/// A part of an intent's bytes that can be read again from its input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Where it begins, counted from the intent's start.
    pub from: u64,
    /// Where it ends.
    pub to: u64,
    /// Where its cursor stands behind it.
    pub cursor: CursorRecord,
}

/// Which output file: by identity, not by path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputId {
    /// Where it was opened.
    pub path: String,
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// How many of the first bytes the fingerprint covers.
    pub head_len: u32,
    /// XXH3-64 of those bytes.
    pub head_hash: u64,
}

/// Appends a record's line to `out`.
pub(super) fn encode(record: &Record, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(b"00000000 ");
    let json = start + 9;
    serde_json::to_writer(&mut *out, record)
        .expect("a record has string keys and no fallible part");
    let crc = crc32fast::hash(&out[json..]);
    out[start..start + 8].copy_from_slice(format!("{crc:08x}").as_bytes());
    out.push(b'\n');
}

/// One line of a journal.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    /// An intact record.
    Intact(Box<Record>),
    /// A whole line that is damaged.
    Damaged,
    /// The last line, without its end: a crash in the middle of a write.
    Torn,
}

/// Reads one line behind the header, its newline included.
pub(super) fn decode(line: &[u8]) -> Line {
    match intact(line) {
        Some(record) => Line::Intact(Box::new(record)),
        None if line.ends_with(b"\n") => Line::Damaged,
        None => Line::Torn,
    }
}

/// The boot id that a line notes, if it is an intact [`Record::Begin`].
pub(super) fn boot_of(line: &[u8]) -> Option<String> {
    if !line.get(9..)?.starts_with(b"{\"begin\"") {
        return None;
    }
    match intact(line)? {
        Record::Begin(begin) => Some(begin.boot),
        _ => None,
    }
}

fn intact(line: &[u8]) -> Option<Record> {
    let line = line.strip_suffix(b"\n")?;
    let (crc, json) = (line.get(..8)?, line.get(9..)?);
    let crc = u32::from_str_radix(std::str::from_utf8(crc).ok()?, 16).ok()?;
    if crc != crc32fast::hash(json) {
        return None;
    }
    serde_json::from_slice(json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(sink: &str, place: Place) -> CursorRecord {
        CursorRecord {
            source: "app".into(),
            stream: "0123".into(),
            sink: sink.into(),
            place,
        }
    }

    fn intent() -> Intent {
        let at = |offset| {
            cursor(
                "a",
                Place::File {
                    offset,
                    guard: 2,
                    mid_line: false,
                    ahead: None,
                    begun: None,
                },
            )
        };
        Intent {
            sink: "a".into(),
            output: OutputId {
                path: "/out".into(),
                dev: 1,
                ino: 2,
                head_len: 0,
                head_hash: 9,
            },
            start: 0,
            end: 5,
            crc: 1,
            prefixes: vec![0, u32::MAX],
            pages: Some(Pages {
                every: 4,
                crcs: vec![7],
            }),
            pieces: vec![(3, 8)],
            head_after: Some(HeadAfter { len: 5, hash: 6 }),
            replayable: Some(vec![Span {
                from: 0,
                to: 3,
                cursor: at(1),
            }]),
            after: vec![at(1)],
            anew: true,
        }
    }

    fn records() -> Vec<Record> {
        vec![
            Record::Begin(Begin {
                boot: "b".into(),
                pid: 7,
                version: "0.1.0".into(),
            }),
            Record::Stream(StreamRecord {
                source: "app".into(),
                id: "0123".into(),
                path: "/var/log/a \"b\"\n.log".into(),
                dev: 1,
                ino: u64::MAX,
                born: NonZeroU64::new(u64::MAX),
                head_len: 1024,
                head_hash: u64::MAX,
                len: 5000,
                seen: 3,
                ended: true,
            }),
            Record::At(vec![
                cursor(
                    "a",
                    Place::File {
                        offset: 1,
                        guard: u64::MAX,
                        mid_line: true,
                        ahead: Some(Ahead::Stderr(99)),
                        begun: Some(Begun(7, 0, 3)),
                    },
                ),
                cursor(
                    "b",
                    Place::Token {
                        cursor: "x\ny".into(),
                        skip: 2,
                    },
                ),
            ]),
            Record::Intent(intent()),
            Record::Forget {
                source: "app".into(),
                stream: "0123".into(),
            },
            Record::Synced { len: 7 },
            Record::Output {
                sink: "a".into(),
                output: intent().output,
            },
        ]
    }

    fn lines(journal: &[u8]) -> impl Iterator<Item = &[u8]> {
        journal.split_inclusive(|byte| *byte == b'\n')
    }

    fn intact(journal: &[u8]) -> Vec<Record> {
        let intact = lines(journal).filter_map(|line| match decode(line) {
            Line::Intact(record) => Some(*record),
            Line::Damaged | Line::Torn => None,
        });
        intact.collect()
    }

    fn journal() -> Vec<u8> {
        let mut out = Vec::new();
        records().iter().for_each(|record| encode(record, &mut out));
        out
    }

    #[test]
    fn every_record_survives_the_round_trip_on_one_line() {
        let journal = journal();

        assert_eq!(intact(&journal), records());
        assert_eq!(
            journal.split(|byte| *byte == b'\n').count(),
            records().len() + 1
        );
        let boots: Vec<String> = lines(&journal).filter_map(boot_of).collect();
        assert_eq!(boots, ["b"]);
    }

    #[test]
    fn an_intent_of_the_first_journals_is_understood() {
        let json = br#"{"intent":{"sink":"a","output":{"path":"/o","dev":1,"ino":2,"head_len":0,"head_hash":9},"start":0,"end":5,"crc":1,"after":[]}}"#;
        let line = format!("{:08x} ", crc32fast::hash(json)).into_bytes();

        let records = intact(&[&line[..], json, b"\n"].concat());

        let [Record::Intent(intent)] = &records[..] else {
            panic!("{records:?}")
        };
        assert_eq!((intent.end, &intent.prefixes[..]), (5, &[][..]));
        assert_eq!((&intent.replayable, intent.anew), (&None, false));
    }

    #[test]
    fn a_journal_cut_anywhere_keeps_every_record_before_the_cut() {
        let journal = journal();
        for len in 0..journal.len() {
            let cut = &journal[..len];

            let whole = cut.iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(intact(cut), records()[..whole]);
            assert!(lines(cut).all(|line| decode(line) != Line::Damaged));
        }
    }

    #[test]
    fn a_flipped_bit_costs_one_record_only() {
        let journal = journal();
        for at in 0..journal.len() {
            let mut bytes = journal.clone();
            bytes[at] ^= 0x04;

            let kept = intact(&bytes);

            let all = records();
            assert!(
                kept.len() + 2 >= all.len(),
                "at {at}: {} records",
                kept.len()
            );
            assert!(kept.iter().all(|record| all.contains(record)), "at {at}");
        }
    }
}
