//! Spools that no configured source writes: what is unread in them is told, and nothing is removed.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use tracing::warn;

use super::files::{FOLDER_SUFFIX, Folder, folder_of_all};
use super::read::scan;
use super::state::place_of;
use super::stream_of;
use crate::checkpoint::Checkpoints;

/// Tells of spools in the state directory that belong to none of these sources, which can have one. Blocks.
pub fn tell_unread(state: &Path, sources: &HashSet<Arc<str>>, checkpoints: &Checkpoints) {
    let Ok(entries) = fs::read_dir(folder_of_all(state)) else {
        // There never was one.
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let source = name.to_str().and_then(|it| it.strip_suffix(FOLDER_SUFFIX));
        let Some(source) = source.filter(|it| !sources.contains(*it)) else {
            continue;
        };
        let path = entry.path();
        let found = match unread(source, &Folder::at(path.clone()), checkpoints) {
            Ok(found) => found,
            Err(error) => {
                warn!(
                    source, path = %path.display(), %error,
                    "a spool that no source is configured with cannot be looked at"
                );
                continue;
            }
        };
        let Unread { lines, bytes } = found;
        if lines > 0 {
            warn!(
                source, path = %path.display(), lines, bytes,
                "a spool that no source is configured with holds lines that not every sink has: they are \
                 delivered once the source has its `spool` again, or the folder can be removed"
            );
        }
    }
}

/// What is left of a spool.
#[derive(Debug, Default)]
pub(super) struct Unread {
    /// Behind the sink that is furthest back.
    pub(super) lines: u64,
    /// On disk.
    pub(super) bytes: u64,
}

pub(super) fn unread(
    source: &str,
    folder: &Folder,
    checkpoints: &Checkpoints,
) -> std::io::Result<Unread> {
    let (segments, _) = folder.list()?;
    let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
        return Ok(Unread::default());
    };
    let (end, _) = scan(last)?;
    let known = checkpoints.positions(source, &stream_of(last.head.id));
    let lines = known.iter().filter_map(|(_, at)| Some(place_of(at)?.line));
    let read = lines.min().unwrap_or(0).max(first.head.start.line);
    Ok(Unread {
        lines: end.line.saturating_sub(read),
        bytes: segments.iter().map(|it| it.len).sum(),
    })
}
