//! The generations of this process that a file may be a copy of.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::FileSource;
use crate::source::file::generation::{Generation, GenerationId, Phase};
use crate::source::file::rotation::{Living, bases, is_compressed};

impl FileSource {
    /// The generations that a file at `path` may be a copy of, one that was at its path `before`
    /// among them.
    pub(super) fn living(&mut self, path: &Path, before: Option<GenerationId>) -> Vec<Living> {
        let bases = bases(path);
        if bases.is_empty() {
            return Vec::new();
        }
        let at_paths = bases.iter().filter_map(|base| self.at_path(base));
        let moved = self.moved.iter().copied();
        let others = before
            .into_iter()
            .chain(moved)
            .chain(self.emptied(path, &bases));
        let ids: HashSet<GenerationId> = at_paths.chain(others).collect();
        ids.iter().for_each(|id| self.wake(*id));
        let generations = ids.iter().filter_map(|id| self.generations.get(id));
        generations
            .map(|it| Living {
                record: it.record.clone(),
                file: it.file.clone(),
                location: it.location(),
                progress: it
                    .places
                    .iter()
                    .map(|slot| Arc::clone(&slot.progress))
                    .collect(),
            })
            .collect()
    }

    /// Files that were empty when they were renamed or deleted, and that a compressed one at `path` may
    /// be made of: nothing but their handles tells what they hold.
    fn emptied(&self, path: &Path, bases: &[PathBuf]) -> Vec<GenerationId> {
        let lens = bases.iter().map(|it| it.as_os_str().as_bytes());
        let Some(base) = lens
            .min_by_key(|it| it.len())
            .filter(|_| is_compressed(path))
        else {
            return Vec::new();
        };
        let is_of = |it: &Generation| it.path.as_os_str().as_bytes().starts_with(base);
        let gone = self.generations.iter();
        let gone = gone.filter(|(_, it)| it.phase != Phase::Current && it.len == 0 && is_of(it));
        gone.map(|(id, _)| *id).collect()
    }
}
