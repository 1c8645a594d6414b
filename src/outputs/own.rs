//! Which files are our own: sources must not read them, whatever their patterns name.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::info;
use twox_hash::XxHash3_64;

use super::claims::Claims;
use super::rotated;
use super::template::Template;

/// Outputs that are remembered by identity.
const NOTED_MAX: usize = 1024;

/// Everything that this process writes: by path, by the form of its name, and by identity, for
/// outputs that others renamed.
#[derive(Debug, Default)]
pub struct OwnFiles {
    /// Files, and folders with everything in them; absolute.
    paths: Vec<PathBuf>,
    templates: Vec<(Template, Vec<Arc<str>>)>,
    host: String,
    noted: Mutex<VecDeque<Noted>>,
    claims: Claims,
}

#[derive(Debug)]
struct Noted {
    dev: u64,
    ino: u64,
    head_len: usize,
    head_hash: u64,
    /// True once it was said that it is not read under another name.
    said: bool,
}

impl OwnFiles {
    /// Of a process on `host` that writes nothing yet.
    pub fn new(host: &str) -> Self {
        Self {
            host: host.to_owned(),
            ..Self::default()
        }
    }

    /// Adds a file, or a folder with everything in it.
    pub fn add_path(&mut self, path: &Path) {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        self.paths.push(absolute);
    }

    /// Adds every file that lines of some sources can get.
    pub fn add_template(&mut self, template: &Template, sources: &[Arc<str>]) {
        match template.literal() {
            Some(path) => self.add_path(&path),
            None => self.templates.push((template.clone(), sources.to_vec())),
        }
    }

    /// Remembers an output by its identity, with its first bytes as far as they are there. Device
    /// and inode alone would hide somebody else's file once they are used again.
    pub fn note(&self, dev: u64, ino: u64, head: &[u8]) {
        self.note_hashed(dev, ino, head.len(), XxHash3_64::oneshot(head));
    }

    /// As [`OwnFiles::note`], where only the hash of the first bytes is known.
    pub fn note_hashed(&self, dev: u64, ino: u64, head_len: usize, head_hash: u64) {
        if head_len == 0 {
            return;
        }
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |it: &Noted| (it.dev, it.ino) == (dev, ino);
        let said = noted.iter().any(|it| same(it) && it.said);
        noted.retain(|it| !same(it));
        if noted.len() == NOTED_MAX {
            noted.pop_front();
        }
        noted.push_back(Noted {
            dev,
            ino,
            head_len,
            head_hash,
            said,
        });
    }

    /// Who writes to which file.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Device and inode of each file that is known by its path. Blocks.
    pub fn inodes(&self) -> HashSet<(u64, u64)> {
        let metadata = self.paths.iter().filter_map(|path| path.metadata().ok());
        metadata.map(|it| (it.dev(), it.ino())).collect()
    }

    /// True where the name says it: `path` is absolute, and one of ours, in a folder of ours, or of
    /// a form that our outputs have.
    pub fn name(&self, path: &Path) -> bool {
        let by_template = |path: &Path| {
            let makes = |(template, sources): &(Template, Vec<_>)| {
                template.makes(path, sources, &self.host)
            };
            self.templates.iter().any(makes)
        };
        if self.paths.iter().any(|own| path.starts_with(own)) || by_template(path) {
            return true;
        }
        rotated::origin(path).is_some_and(|path| {
            by_template(&path) || self.paths.iter().any(|own| same_place(own, &path))
        })
    }

    /// True for an output that was noted, whatever its name is by now. Looks into the file only
    /// where device and inode are those of one. Blocks.
    pub fn have_noted(&self, path: &Path, (dev, ino): (u64, u64)) -> bool {
        let of_id = {
            let noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            let found = noted.iter().find(|it| (it.dev, it.ino) == (dev, ino));
            found.map(|it| (it.head_len, it.head_hash))
        };
        let Some((len, hash)) = of_id else {
            return false;
        };
        let mut head = Vec::new();
        let read = File::open(path).and_then(|it| it.take(len as u64).read_to_end(&mut head));
        let ours = read.is_ok() && head.len() == len && XxHash3_64::oneshot(&head) == hash;
        if ours {
            self.say_once(path, (dev, ino));
        }
        ours
    }

    /// Says that a file which only its identity shows to be an output is not read.
    fn say_once(&self, path: &Path, (dev, ino): (u64, u64)) {
        if self.name(path) {
            return;
        }
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let this = noted.iter_mut().find(|it| (it.dev, it.ino) == (dev, ino));
        if let Some(this) = this.filter(|it| !it.said) {
            this.said = true;
            info!(
                path = %path.display(),
                "file is an output of this logweir that was renamed: it is not read"
            );
        }
    }

    /// True for a file of our own, by whatever is known. Blocks.
    pub fn contain(&self, path: &Path, id: (u64, u64)) -> bool {
        self.name(path) || self.inodes().contains(&id) || self.have_noted(path, id)
    }
}

/// True where two paths are one name in one folder, or the first is a link to such a one.
fn same_place(own: &Path, path: &Path) -> bool {
    if own == path {
        return true;
    }
    // The folder may be reached by different ways, and what is rotated is what a link points to.
    let real = |it: &Path| Some(it.parent()?.canonicalize().ok()?.join(it.file_name()?));
    let path = real(path);
    path.is_some() && (real(own) == path || own.canonicalize().ok() == path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn contain(own: &OwnFiles, path: &Path) -> bool {
        let metadata = path.metadata().unwrap();
        own.contain(path, (metadata.dev(), metadata.ino()))
    }

    #[test]
    fn an_output_is_known_by_path_by_form_and_by_identity() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = dir.path().join(name);
            fs::write(&path, format!("{name}\n")).unwrap();
            path
        };
        let mut own = OwnFiles::new("host");
        own.add_path(&dir.path().join("out.log"));
        let text = format!("{}/{{source}}-{{date:%Y}}.log", dir.path().display());
        own.add_template(&Template::parse(&text).unwrap(), &["app".into()]);

        for name in [
            "out.log",
            "out.log.20261125-145719.123",
            "out.log.20261125-145719.123.gz",
            "app-2026.log",
            "app-2026.log.20261125-145719.123.gz.new",
        ] {
            assert!(contain(&own, &write(name)), "{name}");
        }
        for name in [
            "in.log",
            "out.log.1",
            "in.log.20261125-145719.123",
            "db-2026.log",
        ] {
            assert!(!contain(&own, &write(name)), "{name}");
        }
        let moved = write("moved.log");
        let metadata = moved.metadata().unwrap();
        own.note(metadata.dev(), metadata.ino(), b"moved");
        assert!(contain(&own, &moved));
        fs::write(&moved, "another file with the same inode").unwrap();
        assert!(!contain(&own, &moved));
    }
}
