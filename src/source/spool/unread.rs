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

/// Tells of spools in the state directory that belong to none of these sources. Blocks.
pub fn tell_unread(state: &Path, spooled: &HashSet<Arc<str>>, checkpoints: &Checkpoints) {
    let Ok(entries) = fs::read_dir(folder_of_all(state)) else {
        // There never was one.
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let source = name.to_str().and_then(|it| it.strip_suffix(FOLDER_SUFFIX));
        let Some(source) = source.filter(|it| !spooled.contains(*it)) else {
            continue;
        };
        let path = entry.path();
        match unread(source, &Folder::at(path.clone()), checkpoints) {
            Ok((0, _)) => {}
            Ok((lines, bytes)) => warn!(
                source, path = %path.display(), lines, bytes,
                "a spool that no source is configured with holds lines that not every sink has: they are \
                 delivered once the source has its `spool` again, or the folder can be removed"
            ),
            Err(error) => warn!(
                source, path = %path.display(), %error,
                "a spool that no source is configured with cannot be looked at"
            ),
        }
    }
}

/// Lines behind the sink that is furthest back, and bytes on disk.
fn unread(source: &str, folder: &Folder, checkpoints: &Checkpoints) -> std::io::Result<(u64, u64)> {
    let (segments, _) = folder.list()?;
    let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
        return Ok((0, 0));
    };
    let (end, _) = scan(last)?;
    let known = checkpoints.positions(source, &stream_of(last.head.id));
    let lines = known.iter().filter_map(|(_, at)| Some(place_of(at)?.line));
    let read = lines.min().unwrap_or(0).max(first.head.start.line);
    let bytes = segments.iter().map(|it| it.len).sum();
    Ok((end.line.saturating_sub(read), bytes))
}
