//! Reading a journal at the start: what it adds up to, and what becomes of one that is missing,
//! damaged, or not ours to understand.
//!
//! Every call here blocks.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use tracing::warn;

use super::journal::{self, Line};
use super::open_error::OpenError;
use super::output::is_carried_out;
use super::replay::replay;
use super::state::State;
use super::store::{COMPACT_ABOVE_BYTES, COMPACT_RATIO};

/// What a journal adds up to, and whether it can be appended to.
pub(super) enum Loaded {
    /// It is whole, of this boot, and holds little that is outdated.
    GoesOn { state: State, len: u64 },
    /// A fresh one takes its place.
    StartsAnew(State),
}

/// Reads a journal. Missing is empty; damaged parts are said and passed over. One that is there and
/// may not be read is the operator's to see to: all lines would be sent again without it.
pub(super) fn load(path: &Path, was_used: bool) -> Result<Loaded, OpenError> {
    let anew = |reason| {
        if was_used {
            tell_anew(path, reason);
        }
        Ok(Loaded::StartsAnew(State::default()))
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return anew("it is missing"),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Err(OpenError::journal(path, "be read")(error));
        }
        Err(error) => {
            set_aside(path, &error.to_string())?;
            return Ok(Loaded::StartsAnew(State::default()));
        }
    };
    match read(&file) {
        Ok(Held::Nothing) => anew("it is empty"),
        Ok(Held::Foreign(what)) => {
            set_aside(path, &what)?;
            Ok(Loaded::StartsAnew(State::default()))
        }
        Ok(Held::Journal(journal)) => journal.goes_on(path),
        Err(error) => {
            set_aside(path, &error.to_string())?;
            Ok(Loaded::StartsAnew(State::default()))
        }
    }
}

/// What a file turned out to hold.
enum Held {
    Nothing,
    /// Something that is not ours to understand, in words.
    Foreign(String),
    Journal(ReadJournal),
}

struct ReadJournal {
    state: State,
    len: u64,
    same_boot: bool,
    flaws: Flaws,
}

/// Reads a journal line by line: of very many files it is longer than what it adds up to, and its
/// pages would cost as much as their contents.
fn read(file: &File) -> io::Result<Held> {
    let mut lines = Lines::of(file);
    let header = lines.header()?;
    if header.is_empty() {
        return Ok(Held::Nothing);
    }
    if header != journal::HEADER.as_bytes() {
        return Ok(Held::Foreign(foreign(header)));
    }
    let start = lines.end;
    let mut last_boot = None;
    while let Some(line) = lines.next()? {
        last_boot = journal::boot_of(line).or(last_boot);
    }
    let boot = boot_id();
    let same_boot = !boot.is_empty() && last_boot.is_some_and(|last| last == boot);
    let mut flaws = Flaws::default();
    let mut state = State::default();
    let mut doubted = Vec::new();
    lines.go_to(start)?;
    while let Some(line) = lines.next()? {
        match journal::decode(line) {
            // Nothing that was written can have been lost: every record counts.
            Line::Intact(record) if same_boot => state.apply(*record),
            Line::Intact(record) => doubted.push((lines.end, *record)),
            Line::Damaged => flaws.damaged += 1,
            Line::Torn => flaws.torn = true,
        }
    }
    if !same_boot {
        let doubtful;
        (state, doubtful) = replay(doubted, &boot, is_carried_out);
        for sink in doubtful {
            warn!(
                sink,
                "the machine went down while its output was written: what is not there is written again"
            );
        }
    }
    Ok(Held::Journal(ReadJournal {
        state,
        len: lines.end,
        same_boot,
        flaws,
    }))
}

impl ReadJournal {
    /// Says what is wrong with it, and whether it can be appended to.
    fn goes_on(self, path: &Path) -> Result<Loaded, OpenError> {
        self.flaws
            .tell(path)
            .map_err(OpenError::journal(path, "be copied aside"))?;
        let Self { state, len, .. } = self;
        let outdated = len > COMPACT_ABOVE_BYTES && len > COMPACT_RATIO * snapshot_len_of(&state);
        let goes_on = self.same_boot && self.flaws == Flaws::default() && !outdated;
        Ok(match goes_on {
            true => Loaded::GoesOn { state, len },
            false => Loaded::StartsAnew(state),
        })
    }
}

/// The lines of a file, each with its newline.
struct Lines<'a> {
    reader: BufReader<&'a File>,
    line: Vec<u8>,
    /// Where the last one ended.
    end: u64,
}

impl<'a> Lines<'a> {
    fn of(file: &'a File) -> Self {
        /// Read by one system call.
        const PIECE_BYTES: usize = 64 << 10;
        Self {
            reader: BufReader::with_capacity(PIECE_BYTES, file),
            line: Vec::new(),
            end: 0,
        }
    }

    /// The first line, or the beginning of what is none.
    fn header(&mut self) -> io::Result<&[u8]> {
        /// Somebody else's file can be one long line.
        const HEADER_MAX: u64 = 64;
        let mut start = self.reader.by_ref().take(HEADER_MAX);
        self.end = start.read_until(b'\n', &mut self.line)? as u64;
        Ok(&self.line)
    }

    fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let len = self.reader.read_until(b'\n', &mut self.line)?;
        self.end += len as u64;
        Ok((len > 0).then_some(&self.line))
    }

    fn go_to(&mut self, at: u64) -> io::Result<()> {
        self.reader.seek(SeekFrom::Start(at))?;
        self.end = at;
        Ok(())
    }
}

/// What is wrong with a journal.
#[derive(Debug, Default, PartialEq, Eq)]
struct Flaws {
    damaged: u64,
    torn: bool,
}

impl Flaws {
    /// Says it, and keeps a copy of what is damaged.
    fn tell(&self, path: &Path) -> io::Result<()> {
        if self.damaged > 0 {
            let aside = aside_path(path);
            if let Err(error) = std::fs::copy(path, &aside) {
                let _ = std::fs::remove_file(&aside);
                return Err(error);
            }
            warn!(
                path = %path.display(), records = self.damaged, copy = %aside.display(),
                "checkpoint journal is damaged: the intact records are used, lines may be sent twice"
            );
        }
        if self.torn {
            warn!(path = %path.display(), "checkpoint journal ends in a torn record, which is dropped");
        }
        Ok(())
    }
}

/// About how long a snapshot of `state` would be, in bytes.
pub(super) fn snapshot_len_of(state: &State) -> u64 {
    /// A stream's record and one cursor, measured.
    const STREAM_BYTES: u64 = 330;
    state.len() as u64 * STREAM_BYTES
}

/// What a file is that has another header than ours.
fn foreign(bytes: &[u8]) -> String {
    let version = bytes.strip_prefix(journal::HEADER_NAME.as_bytes());
    let digits = |rest: &[u8]| {
        let end = rest.iter().position(|byte| !byte.is_ascii_digit());
        String::from_utf8_lossy(&rest[..end.unwrap_or(rest.len()).min(20)]).into_owned()
    };
    match version.map(digits).filter(|version| !version.is_empty()) {
        Some(version) => format!(
            "it is of version {version}, and logweir {} reads version 1",
            env!("CARGO_PKG_VERSION")
        ),
        None => "it is not a journal".to_owned(),
    }
}

fn set_aside(path: &Path, reason: &str) -> Result<(), OpenError> {
    let aside = aside_path(path);
    std::fs::rename(path, &aside).map_err(OpenError::journal(path, "be set aside"))?;
    warn!(
        path = %path.display(), moved_to = %aside.display(), reason,
        "checkpoint journal cannot be used: reading starts again as configured"
    );
    Ok(())
}

fn tell_anew(path: &Path, reason: &str) {
    warn!(
        path = %path.display(), reason,
        "no checkpoint journal in a state directory that was used before: reading starts as \
         configured, lines may be sent twice"
    );
}

/// A name beside `path` that is free.
fn aside_path(path: &Path) -> PathBuf {
    (1..)
        .map(|n| path.with_extension(format!("damaged.{n}")))
        .find(|candidate| !candidate.exists())
        .expect("there are fewer than 2^31 damaged journals")
}

/// The kernel's id of this boot; empty where it does not say.
pub(super) fn boot_id() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    boot.trim().to_owned()
}
