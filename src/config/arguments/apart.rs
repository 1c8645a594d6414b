//! Files of globs and folders, each as a source of its own: so files that end are merged by time one
//! with another, as they are where a shell has put the names of all of them on the command line.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::names::{default_name, make_distinct};
use crate::source::file::{Label, files_of};
use crate::source::{SourceConfig, SourceKind};

/// So many files are read at the same time at most: each has room for a chunk of its own.
const FILES_MAX: usize = 256;

/// Sources whose files are apart.
#[derive(Debug)]
pub struct Apart {
    /// All of them, in their order.
    pub sources: Vec<SourceConfig>,
    /// Those that have too many files, and how many: they are read one after the other.
    pub too_many: Vec<(Arc<str>, usize)>,
}

/// Takes the files of each glob and folder apart. Looks at the file system.
pub fn apart(sources: Vec<SourceConfig>) -> Apart {
    let mut all = Apart {
        sources: Vec::new(),
        too_many: Vec::new(),
    };
    let mut has_name = Vec::new();
    for source in sources {
        let files = several_files(&source);
        if files.len() > FILES_MAX {
            all.too_many.push((Arc::clone(&source.name), files.len()));
        }
        if !(2..=FILES_MAX).contains(&files.len()) {
            has_name.push(true);
            all.sources.push(source);
            continue;
        }
        for path in files {
            let (one, is_named) = of_file(&source, &path);
            has_name.push(is_named);
            all.sources.push(one);
        }
    }
    // Files of one source share the name that was given to it: that is no mistake.
    let _ = make_distinct(&mut all.sources, &has_name);
    all
}

/// The files of a source; none where it names one, or cannot name several.
fn several_files(source: &SourceConfig) -> Vec<PathBuf> {
    let SourceKind::File(config) = &source.kind else {
        return Vec::new();
    };
    // Links to one file are one file.
    let mut seen = HashSet::new();
    let mut files = files_of(config);
    files.retain(|path| {
        let inode = path.metadata().map(|it| (it.dev(), it.ino()));
        inode.map_or(true, |inode| seen.insert(inode))
    });
    files
}

/// One file of a source, and whether it has a name already.
fn of_file(source: &SourceConfig, path: &Path) -> (SourceConfig, bool) {
    let mut one = source.clone();
    let text = path.to_string_lossy().into_owned();
    let SourceKind::File(config) = &mut one.kind else {
        return (one, true);
    };
    let is_named = config.label == Label::Source;
    config.label = Label::Source;
    if !is_named {
        one.name = Arc::from(default_name(&text, false));
    }
    config.paths = vec![text];
    (one, is_named)
}
