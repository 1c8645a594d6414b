//! The folder of one spool: segments by the offset at which they begin, made whole before they get their
//! name, and set aside where they cannot be read. Every call here blocks.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::segment::{HeadError, SEGMENT_HEAD_BYTES, SegmentHead};

/// What a segment's name ends with, and that of one which is not complete.
const SUFFIX: &str = ".segment";
const NEW_SUFFIX: &str = ".new";

/// What is kept beside the segments for the moment when the disk is full: a segment that is written to
/// cannot be removed, and where even the head of the next one finds no room, nothing would ever be freed.
const SPARE: &str = "spare";
pub(super) const SPARE_BYTES: usize = 64 << 10;

/// Where the spools of all sources are, in the state directory.
pub(super) fn folder_of_all(state: &Path) -> PathBuf {
    state.join("spool")
}

/// What the folder of one spool's name ends with: a source may be called `..`.
pub(super) const FOLDER_SUFFIX: &str = ".d";

/// The folder of one spool.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

/// A segment on disk.
#[derive(Debug)]
pub(super) struct OnDisk {
    pub(super) head: SegmentHead,
    pub(super) path: PathBuf,
    /// In bytes.
    pub(super) len: u64,
}

/// A file that is called a segment and cannot be read as one.
pub(super) type NoSegment = (PathBuf, HeadError);

impl Folder {
    /// The folder of a source's spool.
    pub(super) fn of_source(state: &Path, source: &str) -> Self {
        Self(folder_of_all(state).join(format!("{source}{FOLDER_SUFFIX}")))
    }

    pub(super) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Where the segment is that begins at `offset`.
    pub(super) fn segment(&self, offset: u64) -> PathBuf {
        self.0.join(format!("{offset:016x}{SUFFIX}"))
    }

    /// Makes the folder, so that it is still there after a power cut.
    pub(super) fn make(&self) -> io::Result<()> {
        let mut options = DirBuilder::new();
        options.recursive(true).mode(0o750);
        options.create(&self.0)?;
        let of_all = self.0.parent();
        let folders = [of_all, of_all.and_then(Path::parent)];
        for folder in folders.into_iter().flatten() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }

    /// The segments in order, with the paths and reasons of those that cannot be read. What was left
    /// half-made is removed: nothing was in it that is not elsewhere.
    pub(super) fn list(&self) -> io::Result<(Vec<OnDisk>, Vec<NoSegment>)> {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&self.0)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.ends_with(NEW_SUFFIX) {
                // What cannot be removed takes room only.
                let _ = fs::remove_file(&path);
            }
            if !name.ends_with(SUFFIX) {
                continue;
            }
            let file = File::open(&path)?;
            match SegmentHead::decode(&first_bytes(&file)?) {
                Ok(head) => {
                    let len = file.metadata()?.len();
                    good.push(OnDisk { head, path, len });
                }
                Err(error) => bad.push((path, error)),
            }
        }
        good.sort_by_key(|it| it.head.start.offset);
        Ok((good, bad))
    }

    /// Makes a segment of these first bytes, whole and on disk before it has its name.
    pub(super) fn create(&self, offset: u64, bytes: &[u8]) -> io::Result<File> {
        let path = self.segment(offset);
        let new = path.with_extension(format!("segment{NEW_SUFFIX}"));
        let _ = fs::remove_file(&new);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o640);
        let opened = match options.open(&new) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // Somebody removed the folder; what was in it is missed by those who want to read it.
                self.make()?;
                options.open(&new)
            }
            opened => opened,
        };
        let made = opened.and_then(|file| {
            file.write_all_at(bytes, 0)?;
            file.sync_data()?;
            fs::rename(&new, &path)?;
            Ok(file)
        });
        if made.is_err() {
            // Where the disk is full, half of it must not stay.
            let _ = fs::remove_file(&new);
        }
        let file = made?;
        File::open(&self.0)?.sync_all()?;
        Ok(file)
    }

    /// Takes room for the head of a segment, where it is not taken yet. What fails is tried again later.
    pub(super) fn take_spare(&self) {
        let path = self.0.join(SPARE);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o640);
        if let Ok(file) = options.open(&path)
            && file.write_all_at(&[0; SPARE_BYTES], 0).is_err()
        {
            let _ = fs::remove_file(&path);
        }
    }

    /// Gives that room back; false where there was none.
    pub(super) fn give_spare(&self) -> bool {
        fs::remove_file(self.0.join(SPARE)).is_ok()
    }

    /// Removes every segment, and the folder unless something else is in it: what was set aside stays.
    pub(super) fn remove_all(&self) -> io::Result<()> {
        self.give_spare();
        for segment in self.list()?.0 {
            fs::remove_file(segment.path)?;
        }
        match fs::remove_dir(&self.0) {
            Err(error) if error.kind() != ErrorKind::DirectoryNotEmpty => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes a segment; one that is gone already is fine.
    pub(super) fn remove(&self, offset: u64) -> io::Result<()> {
        match fs::remove_file(self.segment(offset)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn first_bytes(file: &File) -> io::Result<Vec<u8>> {
    let mut head = vec![0; SEGMENT_HEAD_BYTES];
    let len = read_at(file, &mut head, 0)?;
    head.truncate(len);
    Ok(head)
}

/// Reads as much as there is room for, or less at the end of the file; returns how much that was.
pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match file.read_at(&mut buffer[len..], offset + len as u64) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

/// Puts a file aside under a name that is free, and says it.
pub(super) fn set_aside(source: &str, path: &Path, reason: &str) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = (1_u32..)
        .map(|n| path.with_file_name(format!("{name}.aside.{n}")))
        .find(|candidate| !candidate.exists())
        .expect("there are fewer than 2^32 of them");
    fs::rename(path, &aside)?;
    warn!(
        source, path = %path.display(), moved_to = %aside.display(), reason,
        "a segment of the spool cannot be read: it is set aside, and what was not delivered of its \
         lines is missing"
    );
    Ok(())
}
