//! Outputs by identity: which file an intent speaks of, wherever in its folder it is by now.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirEntryExt as _, FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use twox_hash::XxHash3_64;

use super::journal::{Intent, OutputId};

/// How many of the first bytes identify an output, beside device and inode.
pub const HEAD_BYTES: usize = 1024;

/// An output that was found again.
#[derive(Debug)]
pub struct FoundOutput {
    /// Open for reading.
    pub file: File,
    /// Where it is now: not where it was written if it was renamed meanwhile.
    pub path: PathBuf,
    /// Its length.
    pub len: u64,
}

/// The first bytes of an output, as far as they are there.
///
/// # Errors
/// It cannot be read.
pub fn read_head(file: &File) -> io::Result<Vec<u8>> {
    let mut head = vec![0; HEAD_BYTES];
    let mut len = 0;
    while len < HEAD_BYTES {
        match file.read_at(&mut head[len..], len as u64) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    head.truncate(len);
    Ok(head)
}

/// Finds an output: at its path, or under another name in the same folder, where it was rotated to.
/// `Err` inside says why there is no such file.
///
/// # Errors
/// The file system does not answer.
pub fn find_output(id: &OutputId) -> io::Result<Result<FoundOutput, &'static str>> {
    let path = Path::new(&id.path);
    let reason = match look(path, id) {
        Ok(Ok(found)) => return Ok(Ok(found)),
        Ok(Err(reason)) => reason,
        Err(error) if error.kind() == ErrorKind::NotFound => "it is gone",
        Err(error) => return Err(error),
    };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let Ok(entries) = std::fs::read_dir(dir.unwrap_or(Path::new("."))) else {
        return Ok(Err(reason));
    };
    for entry in entries
        .filter_map(Result::ok)
        .filter(|it| it.ino() == id.ino)
    {
        if let Ok(Ok(found)) = look(&entry.path(), id) {
            return Ok(Ok(found));
        }
    }
    Ok(Err(reason))
}

fn look(path: &Path, id: &OutputId) -> io::Result<Result<FoundOutput, &'static str>> {
    // Opening a FIFO would wait for somebody who writes.
    if let Err(reason) = is_same(&path.metadata()?, id) {
        return Ok(Err(reason));
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if let Err(reason) = is_same(&metadata, id) {
        return Ok(Err(reason));
    }
    let mut head = read_head(&file)?;
    head.truncate(id.head_len as usize);
    if head.len() < id.head_len as usize || XxHash3_64::oneshot(&head) != id.head_hash {
        return Ok(Err("its beginning has changed"));
    }
    Ok(Ok(FoundOutput {
        file,
        path: path.to_owned(),
        len: metadata.len(),
    }))
}

fn is_same(metadata: &Metadata, id: &OutputId) -> Result<(), &'static str> {
    if !metadata.is_file() {
        return Err("it is not a regular file");
    }
    if (metadata.dev(), metadata.ino()) != (id.dev, id.ino) {
        return Err("another file has its path");
    }
    Ok(())
}

/// True where the output holds what the intent says. For intents that a power cut may have undone.
pub(super) fn is_carried_out(intent: &Intent) -> bool {
    let check = || -> io::Result<bool> {
        let Ok(found) = find_output(&intent.output)? else {
            return Ok(false);
        };
        if found.len < intent.end {
            return Ok(false);
        }
        let len = usize::try_from(intent.end - intent.start).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        found.file.read_exact_at(&mut bytes, intent.start)?;
        Ok(crc32fast::hash(&bytes) == intent.crc)
    };
    check().unwrap_or(false)
}
