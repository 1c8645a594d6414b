//! Reading a journal at the start: what it adds up to, and what becomes of one that is missing,
//! damaged, or not ours to understand.
//!
//! Every call here blocks.

use std::io::{self, ErrorKind};
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
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return anew("it is missing"),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Err(OpenError::journal(path, "be read")(error));
        }
        Err(error) => {
            set_aside(path, &error.to_string())?;
            return Ok(Loaded::StartsAnew(State::default()));
        }
    };
    if bytes.is_empty() {
        return anew("it is empty");
    }
    let Some(body) = bytes.strip_prefix(journal::HEADER.as_bytes()) else {
        set_aside(path, &foreign(&bytes))?;
        return Ok(Loaded::StartsAnew(State::default()));
    };
    let boot = boot_id();
    let same_boot = !boot.is_empty() && journal::last_boot(body).is_some_and(|last| last == boot);
    let mut flaws = Flaws::default();
    let header = journal::HEADER.len() as u64;
    let records = journal::decode(body).filter_map(|(end, line)| match line {
        Line::Intact(record) => Some((header + end, *record)),
        Line::Damaged => {
            flaws.damaged += 1;
            None
        }
        Line::Torn => {
            flaws.torn = true;
            None
        }
    });
    let state = if same_boot {
        // Nothing that was written can have been lost: every record counts.
        let mut state = State::default();
        records.for_each(|(_, record)| state.apply(record));
        state
    } else {
        let (state, doubtful) = replay(records.collect(), &boot, is_carried_out);
        for sink in doubtful {
            warn!(
                sink,
                "the machine went down while its output was written: what is not there is written again"
            );
        }
        state
    };
    flaws
        .tell(path, &bytes)
        .map_err(OpenError::journal(path, "be copied aside"))?;
    let len = bytes.len() as u64;
    let outdated = len > COMPACT_ABOVE_BYTES && len > COMPACT_RATIO * snapshot_len_of(&state);
    let goes_on = same_boot && flaws == Flaws::default() && !outdated;
    Ok(match goes_on {
        true => Loaded::GoesOn { state, len },
        false => Loaded::StartsAnew(state),
    })
}

/// What is wrong with a journal.
#[derive(Debug, Default, PartialEq, Eq)]
struct Flaws {
    damaged: u64,
    torn: bool,
}

impl Flaws {
    /// Says it, and keeps a copy of what is damaged.
    fn tell(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if self.damaged > 0 {
            let aside = aside_path(path);
            if let Err(error) = std::fs::write(&aside, bytes) {
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
