//! What rotation made of an output, read back as one file.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::support::{Dir, PATIENCE, read, within};

/// The files that rotation put aside for an output, the oldest first, in whatever form.
pub(super) fn aside(dir: &Dir, name: &str) -> Vec<PathBuf> {
    let path = dir.path(name);
    let (folder, file) = (path.parent().unwrap(), path.file_name().unwrap());
    let prefix = format!("{}.2", file.to_str().unwrap());
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(&prefix)
        })
        .collect();
    found.sort();
    found
}

/// Everything that an output ever held: the files that were put aside, then the current one.
pub(super) fn whole(dir: &Dir, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for path in aside(dir, name) {
        bytes.extend(match path.extension().and_then(|it| it.to_str()) {
            Some("gz") => gunzip(&path),
            _ => read(&path),
        });
    }
    bytes.extend(dir.read(name));
    bytes
}

/// Waits until every file that was put aside is compressed and nothing else is left of it.
#[track_caller]
pub(super) fn wait_compressed(dir: &Dir, name: &str) {
    within("compressed files alone", PATIENCE, || {
        let all = aside(dir, name);
        let plain = |it: &PathBuf| it.extension().is_none_or(|it| it != "gz");
        (!all.iter().any(plain)).then_some(())
    });
}

fn gunzip(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).unwrap();
    flate2::read::GzDecoder::new(file)
        .read_to_end(&mut bytes)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    bytes
}
