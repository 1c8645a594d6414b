//! What the last run may have left half-written: found out by its last intent, and settled so that
//! file and positions agree. What cannot be told is left alone.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use super::Surroundings;
use super::sums::proved;
use crate::checkpoint::{Checkpoints, FoundOutput, Intent, find_output};

/// What became of a write.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    CarriedOut,
    /// Carried out, and bytes stand behind it that nobody intended.
    LongerThanKnown,
    NotBegun,
    /// Begun, and what is there are whole lines that must stay.
    WholeLinesOnly,
    Cut {
        bytes: u64,
        saved: PathBuf,
    },
    Unknown(&'static str),
}

/// Finds out whether a sink's last write was carried out, and makes file and positions agree.
pub(super) fn recover(cx: &Surroundings) {
    let (sink, checkpoints) = (&cx.name, &cx.checkpoints);
    for id in checkpoints.outputs(sink) {
        let head_len = id.head_len as usize;
        cx.own_files
            .note_hashed(id.dev, id.ino, head_len, id.head_hash);
    }
    let Some((last, settled)) = checkpoints.last_intent(sink) else {
        return;
    };
    // Positions stand before what a power cut undid, so that it is written again, also where all of
    // it is there: something in front of it is not.
    let unproved = checkpoints.unproved_intents(sink);
    for intent in &unproved {
        let settled = settle(intent, checkpoints, Positions::Stay);
        if !matches!(settled, Ok(Outcome::CarriedOut | Outcome::Unknown(_))) {
            say(intent, settled);
        }
    }
    if unproved.contains(&last) {
        return;
    }
    if settled {
        say(&last, look(&last));
    } else {
        say(&last, settle(&last, checkpoints, Positions::Follow));
    }
}

fn say(intent: &Intent, outcome: io::Result<Outcome>) {
    let (sink, path) = (&intent.sink, &intent.output.path);
    match outcome {
        Ok(Outcome::CarriedOut) => info!(sink, path, "the last batch was written: not repeated"),
        Ok(Outcome::NotBegun | Outcome::WholeLinesOnly) => {}
        Ok(Outcome::LongerThanKnown) => warn!(
            sink,
            path,
            "the output is longer than the checkpoints know: somebody else wrote to it, or they are \
             older than it is; nothing is cut, lines may be doubled"
        ),
        Ok(Outcome::Cut { bytes, saved }) => warn!(
            sink, path, bytes, saved = %saved.display(),
            "the last batch was torn: what was written of it is saved and cut off"
        ),
        Ok(Outcome::Unknown(reason)) => warn!(
            sink,
            path,
            reason,
            "cannot tell whether the last batch was written: nothing is cut, it is written again"
        ),
        Err(error) => warn!(
            sink, path, %error,
            "cannot tell whether the last batch was written: nothing is cut, it is written again"
        ),
    }
}

/// Looks at the output of a write that was settled: nothing is to be done, but what others did to it
/// is said.
fn look(intent: &Intent) -> io::Result<Outcome> {
    Ok(match find_output(&intent.output)? {
        Ok(found) if found.len > intent.end => Outcome::LongerThanKnown,
        // It may be rotated, shortened or deleted by whoever owns it.
        _ => Outcome::NotBegun,
    })
}

/// What becomes of the positions of a write that was carried out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Positions {
    Follow,
    Stay,
}

fn settle(intent: &Intent, checkpoints: &Checkpoints, positions: Positions) -> io::Result<Outcome> {
    let found = match find_output(&intent.output)? {
        Ok(found) => found,
        Err(reason) => return Ok(Outcome::Unknown(reason)),
    };
    let size = found.len;
    if size < intent.start {
        return Ok(Outcome::Unknown(
            "the file is shorter than before the write",
        ));
    }
    if size == intent.start {
        return Ok(Outcome::NotBegun);
    }
    let len = usize::try_from(intent.end.min(size) - intent.start).map_err(io::Error::other)?;
    let mut bytes = vec![0; len];
    found.file.read_exact_at(&mut bytes, intent.start)?;
    if size >= intent.end {
        if crc32fast::hash(&bytes) != intent.crc {
            return Ok(Outcome::Unknown("other bytes stand in its place"));
        }
        if positions == Positions::Follow {
            checkpoints.adopt(intent.after.clone())?;
        }
        return Ok(if size > intent.end {
            Outcome::LongerThanKnown
        } else {
            Outcome::CarriedOut
        });
    }
    match proved(intent, &bytes) {
        None => return Ok(Outcome::Unknown("other bytes stand in its place")),
        // A write that tore anywhere ends in the middle of a line nearly always, and what somebody
        // appended to a torn write ends with one.
        Some(len) if len < bytes.len() && bytes.ends_with(b"\n") => {
            return Ok(Outcome::Unknown("somebody else may have written behind it"));
        }
        Some(_) => {}
    }
    cut_torn(intent, &found, &bytes, checkpoints, positions)
}

/// Saves what is torn of a write, and cuts it off. Lines that cannot be read again stay where they
/// are whole.
fn cut_torn(
    intent: &Intent,
    found: &FoundOutput,
    bytes: &[u8],
    checkpoints: &Checkpoints,
    positions: Positions,
) -> io::Result<Outcome> {
    let kept = kept_len(intent, bytes);
    let torn = &bytes[kept..];
    let saved = if torn.is_empty() {
        None
    } else {
        let saved = save_cut(torn, intent, checkpoints)?;
        cut(found, intent, intent.start + kept as u64)?;
        Some(saved)
    };
    if positions == Positions::Follow {
        let spans = intent.replayable.iter().flatten();
        let whole = spans.filter(|span| span.to <= kept as u64);
        checkpoints.adopt(whole.map(|span| span.cursor.clone()).collect())?;
    }
    Ok(match saved {
        Some(saved) => Outcome::Cut {
            bytes: torn.len() as u64,
            saved,
        },
        None => Outcome::WholeLinesOnly,
    })
}

/// How many of a torn write's bytes stay: none where all of it is read again; else the whole lines,
/// up to where such begin as are read again.
fn kept_len(intent: &Intent, bytes: &[u8]) -> usize {
    let Some(spans) = &intent.replayable else {
        return 0;
    };
    let whole = memchr::memrchr(b'\n', bytes).map_or(0, |newline| newline + 1);
    let torn =
        |span: &&crate::checkpoint::Span| span.from < whole as u64 && (whole as u64) < span.to;
    let again = spans.iter().find(torn).map(|span| span.from);
    again.map_or(whole, |from| usize::try_from(from).unwrap_or(whole))
}

/// Cuts an output, if it is still as it was looked at.
fn cut(found: &FoundOutput, intent: &Intent, len: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(&found.path)?;
    let metadata = file.metadata()?;
    let id = (metadata.dev(), metadata.ino(), metadata.len());
    if id != (intent.output.dev, intent.output.ino, found.len) {
        return Err(io::Error::other("somebody else is writing to it"));
    }
    file.set_len(len)?;
    file.sync_data()
}

/// Saves bytes that are about to be cut off, in `<state>/cut/`.
fn save_cut(bytes: &[u8], intent: &Intent, checkpoints: &Checkpoints) -> io::Result<PathBuf> {
    let state = checkpoints
        .dir()
        .ok_or_else(|| io::Error::other("no state directory"))?;
    let dir = state.join("cut");
    DirBuilder::new().recursive(true).mode(0o750).create(&dir)?;
    let (path, mut file) = create_free(&dir, &format!("{}-{}", intent.sink, intent.start))?;
    file.write_all(bytes)?;
    file.sync_data()?;
    File::open(&dir)?.sync_all()?;
    Ok(path)
}

fn create_free(dir: &Path, name: &str) -> io::Result<(PathBuf, File)> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o640);
    let mut n = 0_u32;
    loop {
        let path = dir.join(format!("{name}-{n}"));
        match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => n += 1,
            opened => return Ok((path, opened?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::checkpoint::{CursorRecord, OutputId, Pages, Span, to_record};
    use crate::model::{CursorKey, Position, StreamKey};

    const LINES: &[u8] = b"one\ntwo\nthree\nfour\n";

    fn cursor(offset: u64) -> CursorRecord {
        let place = Position::File {
            offset,
            guard: 0,
            mid_line: false,
            ahead: None,
            begun: None,
        };
        to_record(&key(), &place).unwrap()
    }

    fn key() -> CursorKey {
        CursorKey {
            source: "app".into(),
            stream: StreamKey::new("s"),
            sink: "out".into(),
        }
    }

    fn intent(path: &Path) -> Intent {
        let metadata = path.metadata().unwrap();
        let prefixes = [1, 2, 4, 8, 16].map(|len| crc32fast::hash(&LINES[..len]));
        let crcs = (1..LINES.len()).map(|len| crc32fast::hash(&LINES[..len]));
        Intent {
            sink: "out".into(),
            output: OutputId {
                path: path.display().to_string(),
                dev: metadata.dev(),
                ino: metadata.ino(),
                head_len: 0,
                head_hash: twox_hash::XxHash3_64::oneshot(b""),
            },
            start: 4,
            end: 4 + LINES.len() as u64,
            crc: crc32fast::hash(LINES),
            prefixes: prefixes.to_vec(),
            pages: Some(Pages {
                every: 1,
                crcs: crcs.collect(),
            }),
            pieces: Vec::new(),
            head_after: None,
            replayable: None,
            after: vec![cursor(19)],
            anew: false,
        }
    }

    /// What of a file with `there` behind its first four bytes stays, and where the cursor stands.
    fn trial(there: &[u8], replayable: Option<Vec<Span>>) -> (Outcome, Vec<u8>, Option<u64>) {
        trial_of(there, |intent| intent.replayable.clone_from(&replayable))
    }

    fn trial_of(there: &[u8], is: impl Fn(&mut Intent)) -> (Outcome, Vec<u8>, Option<u64>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        fs::write(&path, [b"old\n", there].concat()).unwrap();
        let checkpoints = Checkpoints::open(&dir.path().join("state")).unwrap();
        let mut intent = intent(&path);
        is(&mut intent);

        let mut outcome = settle(&intent, &checkpoints, Positions::Follow).unwrap();

        if let Outcome::Cut { bytes, saved } = &mut outcome {
            let kept = there.len() - usize::try_from(*bytes).unwrap();
            assert_eq!(fs::read(&saved).unwrap(), &there[kept..]);
            *saved = PathBuf::new();
        }
        let position = match checkpoints.position(&key()) {
            Some(Position::File { offset, .. }) => Some(offset),
            _ => None,
        };
        (outcome, fs::read(&path).unwrap()[4..].to_vec(), position)
    }

    fn cut(bytes: u64) -> Outcome {
        Outcome::Cut {
            bytes,
            saved: PathBuf::new(),
        }
    }

    #[test]
    fn a_write_of_a_file_is_there_whole_or_not_at_all() {
        assert_eq!(trial(b"", None), (Outcome::NotBegun, vec![], None));
        for len in 1..LINES.len() {
            let settled = trial(&LINES[..len], None);

            assert_eq!(settled, (cut(len as u64), vec![], None), "{len}");
        }
        let whole = (Outcome::CarriedOut, LINES.to_vec(), Some(19));
        assert_eq!(trial(LINES, None), whole);
        let longer = [LINES, b"x"].concat();
        let settled = (Outcome::LongerThanKnown, longer.clone(), Some(19));
        assert_eq!(trial(&longer, None), settled);
    }

    #[test]
    fn what_others_wrote_is_never_cut() {
        let foreign: [&[u8]; 5] = [
            b"x",
            b"foreign\n",
            b"one\ntwO\n",
            b"one\ntwo\nthree\nfouR\n",
            b"\0\0",
        ];
        for there in foreign {
            let (outcome, left, position) = trial(there, None);

            assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
            assert_eq!((&left[..], position), (there, None));
        }
    }

    #[test]
    fn what_is_not_proved_is_cut_only_where_it_is_no_whole_line() {
        let coarse = |there: &[u8]| trial_of(there, |intent| intent.pages = None);
        for theirs in [&b"one\ntwo\nmine\n"[..], b"one\ntwo\nthree\n", b"one\n\n"] {
            let (outcome, left, position) = coarse(theirs);

            assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
            assert_eq!((&left[..], position), (theirs, None));
        }
        for torn in [&b"one\ntwo\nthr"[..], b"one\n", b"one\ntw"] {
            assert_eq!(coarse(torn), (cut(torn.len() as u64), vec![], None));
        }
    }

    // Regression. Scenario: a batch of several pieces is torn by a kill between two of them, where a
    // line ends and no page does. Bug: what stood behind the last page was taken for somebody
    // else's, because it was a whole line, and stayed; the batch was written again behind it. Fix:
    // the intent has the checksum at the end of each piece.
    #[test]
    fn a_write_that_is_torn_between_two_of_its_pieces_is_cut() {
        let pieces = |ends: &[usize]| -> Vec<(u64, u32)> {
            let one = |end: &usize| (*end as u64, crc32fast::hash(&LINES[..*end]));
            ends.iter().map(one).collect()
        };
        let of_pieces = |there: &[u8]| {
            trial_of(there, |intent| {
                intent.pages = None;
                intent.pieces = pieces(&[4, 14]);
            })
        };

        assert_eq!(of_pieces(b"one\ntwo\nthree\n"), (cut(14), vec![], None));
        let (outcome, left, _) = of_pieces(b"one\ntwo\nmine!\n");
        assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
        assert_eq!(left, b"one\ntwo\nmine!\n");
    }

    #[test]
    fn whole_lines_that_cannot_be_read_again_stay() {
        for len in 1..LINES.len() {
            let (outcome, left, position) = trial(&LINES[..len], Some(Vec::new()));

            let whole = LINES[..len].iter().rposition(|byte| *byte == b'\n');
            let whole = whole.map_or(0, |newline| newline + 1);
            assert_eq!((&left[..], position), (&LINES[..whole], None), "{len}");
            let expected = if whole == len {
                Outcome::WholeLinesOnly
            } else {
                cut((len - whole) as u64)
            };
            assert_eq!(outcome, expected);
        }
    }

    #[test]
    fn of_a_mixed_write_only_what_is_read_again_goes() {
        // "one" and "four" are a stream's, "two" and "three" are a file's.
        let span = Span {
            from: 4,
            to: 14,
            cursor: cursor(7),
        };
        for (len, kept, position) in [
            (3, 0, None),
            (4, 4, None),
            (7, 4, None),
            (8, 4, None),
            (13, 4, None),
            (14, 14, Some(7)),
            (18, 14, Some(7)),
            (19, 19, Some(19)),
        ] {
            let (_, left, stands) = trial(&LINES[..len], Some(vec![span.clone()]));

            assert_eq!((&left[..], stands), (&LINES[..kept], position), "{len}");
        }
    }
}
