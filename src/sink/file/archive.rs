//! What becomes of rotated outputs: compressed and, beyond so many, deleted; away from the writes.
//!
//! A file is compressed into one with another name, which is forced to disk and renamed before the
//! original goes. Killed at any point, there is either the original (and perhaps an unfinished file
//! that is deleted at the next start) or the whole compressed file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::runtime::Handle;
use tracing::{info, warn};

use super::{Inner, Rotate};
use crate::outputs::rotated::{self, Rotated};

/// Read and compressed at once.
const PIECE_BYTES: usize = 128 * 1024;

/// The level of `gzip` itself: these files are written once and off the way of the lines.
const LEVEL: u32 = 6;

/// Takes care of the rotated files of a sink's outputs.
#[derive(Debug)]
pub(super) struct Archive {
    rotate: Rotate,
    jobs: Mutex<Jobs>,
}

#[derive(Debug, Default)]
struct Jobs {
    /// Outputs whose rotated files are to be looked at.
    outputs: BTreeSet<PathBuf>,
    runs: bool,
}

impl Inner {
    /// Goes on where the last run was interrupted.
    pub(super) fn tidy_up(&self) {
        let Some(archive) = &self.archive else { return };
        let last = self.cx.checkpoints.last_intent(&self.cx.name);
        let written = last.map(|(intent, _)| PathBuf::from(intent.output.path));
        for path in self.config.path.literal().into_iter().chain(written) {
            archive.wake(path);
        }
    }
}

impl Archive {
    pub(super) fn new(rotate: Rotate) -> Self {
        Self {
            rotate,
            jobs: Mutex::default(),
        }
    }

    /// Has the rotated files of an output looked at on the blocking pool.
    pub(super) fn wake(self: &Arc<Self>, output: PathBuf) {
        {
            let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
            jobs.outputs.insert(output);
            if jobs.runs {
                return;
            }
            jobs.runs = true;
        }
        let this = Arc::clone(self);
        // One worker at a time, which nobody waits for: whatever it leaves is done the next time.
        drop(Handle::current().spawn_blocking(move || this.work()));
    }

    fn work(&self) {
        let _stops = Stops(&self.jobs);
        loop {
            let output = {
                let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(output) = jobs.outputs.pop_first() else {
                    jobs.runs = false;
                    return;
                };
                output
            };
            if let Err(error) = self.tidy(&output) {
                let path = output.display();
                warn!(%path, %error, "rotated files of this output stay as they are for now");
            }
        }
    }

    fn tidy(&self, output: &Path) -> io::Result<()> {
        let mut found = rotated::list(output)?;
        while found.len() > self.rotate.keep {
            let Some((_, oldest)) = found.pop_first() else {
                break;
            };
            delete(&oldest)?;
        }
        finish(&found)?;
        if self.rotate.compress {
            for plain in found.into_values().filter_map(|it| it.plain) {
                if plain.exists() {
                    compress(&plain)?;
                }
            }
        }
        Ok(())
    }
}

/// Notes that the worker has gone, also where it panicked.
struct Stops<'a>(&'a Mutex<Jobs>);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).runs = false;
        }
    }
}

fn delete(rotated: &Rotated) -> io::Result<()> {
    let forms = [&rotated.plain, &rotated.compressed, &rotated.unfinished];
    for path in forms.into_iter().flatten() {
        info!(path = %path.display(), "rotated output is deleted: newer ones are kept");
        remove(path)?;
    }
    Ok(())
}

/// Ends what was interrupted: nothing here is compressed at the moment.
fn finish(found: &BTreeMap<String, Rotated>) -> io::Result<()> {
    for rotated in found.values() {
        if let Some(unfinished) = &rotated.unfinished {
            remove(unfinished)?;
        }
        if let (Some(plain), Some(compressed)) = (&rotated.plain, &rotated.compressed) {
            if holds(compressed, plain)? {
                remove(plain)?;
            } else {
                let path = compressed.display();
                warn!(%path, "is not what this output was compressed to: both are left alone");
            }
        }
    }
    Ok(())
}

/// Compresses a file and deletes it.
fn compress(plain: &Path) -> io::Result<()> {
    let compressed = rotated::compressed(plain);
    if compressed.symlink_metadata().is_ok() {
        return Ok(());
    }
    let unfinished = rotated::unfinished(plain);
    let written = write_compressed(plain, &unfinished);
    if let Err(error) = written {
        let _ = fs::remove_file(&unfinished);
        return Err(error);
    }
    fs::rename(&unfinished, &compressed)?;
    if let Some(dir) = plain.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        File::open(dir)?.sync_all()?;
    }
    remove(plain)
}

fn write_compressed(plain: &Path, to: &Path) -> io::Result<()> {
    let mut input = File::open(plain)?;
    let metadata = input.metadata()?;
    let mut options = OpenOptions::new();
    let mode = metadata.mode() & 0o777;
    let output = options.write(true).create_new(true).mode(mode).open(to)?;
    let mut encoder = GzEncoder::new(&output, Compression::new(LEVEL));
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = input.read(&mut piece)?;
        if read == 0 {
            break;
        }
        encoder.write_all(&piece[..read])?;
    }
    encoder.finish()?;
    // Whoever sorts by time finds it where the original was.
    output.set_times(FileTimes::new().set_modified(metadata.modified()?))?;
    output.sync_all()
}

/// True where the end of a gzip file says that it holds the bytes of another one.
fn holds(compressed: &Path, plain: &Path) -> io::Result<bool> {
    let mut plain = File::open(plain)?;
    let (mut crc, mut len) = (crc32fast::Hasher::new(), 0_u64);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = plain.read(&mut piece)?;
        if read == 0 {
            break;
        }
        crc.update(&piece[..read]);
        len += read as u64;
    }
    let mut trailer = [0; 8];
    let mut compressed = File::open(compressed)?;
    if compressed.metadata()?.len() < trailer.len() as u64 {
        return Ok(false);
    }
    compressed.seek(SeekFrom::End(-8))?;
    compressed.read_exact(&mut trailer)?;
    // The length is kept modulo 2^32 there (RFC 1952).
    let len = (len & u64::from(u32::MAX)).to_le_bytes();
    let expected = [&crc.finalize().to_le_bytes()[..], &len[..4]].concat();
    Ok(trailer[..] == expected[..])
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROTATE: Rotate = Rotate {
        size: Some(1),
        every: None,
        keep: 3,
        compress: true,
    };

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = entries
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn gunzip(path: &Path) -> Vec<u8> {
        let mut bytes = Vec::new();
        let file = File::open(path).unwrap();
        flate2::read::GzDecoder::new(file)
            .read_to_end(&mut bytes)
            .unwrap();
        bytes
    }

    fn stamp(n: u32) -> String {
        format!("out.log.20261125-145719.00{n}")
    }

    #[test]
    fn only_the_newest_are_kept_and_all_of_them_are_compressed() {
        let dir = tempfile::tempdir().unwrap();
        for n in 1..=5 {
            fs::write(dir.path().join(stamp(n)), format!("{n}\n")).unwrap();
        }
        for other in ["out.log", "out.log.1", "out.log.20261125-145719"] {
            fs::write(dir.path().join(other), "mine\n").unwrap();
        }

        Archive::new(ROTATE)
            .tidy(&dir.path().join("out.log"))
            .unwrap();

        let gz = |n| format!("{}.gz", stamp(n));
        let mut expected = vec!["out.log".to_owned(), "out.log.1".to_owned()];
        expected.extend(["out.log.20261125-145719".to_owned(), gz(3), gz(4), gz(5)]);
        assert_eq!(names(dir.path()), expected);
        assert_eq!(gunzip(&dir.path().join(gz(3))), b"3\n");
    }

    #[test]
    fn whatever_was_interrupted_is_ended_without_loss() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        // Killed while it was compressed, killed between rename and removal, and somebody's own.
        fs::write(path(&stamp(1)), "one\n").unwrap();
        fs::write(path(&format!("{}.gz.new", stamp(1))), "half").unwrap();
        fs::write(path(&stamp(2)), "two\n").unwrap();
        write_compressed(&path(&stamp(2)), &path(&format!("{}.gz", stamp(2)))).unwrap();
        fs::write(path(&stamp(3)), "three\n").unwrap();
        fs::write(path(&format!("{}.gz", stamp(3))), "not what it was").unwrap();

        Archive::new(ROTATE).tidy(&path("out.log")).unwrap();

        let gz = |n| format!("{}.gz", stamp(n));
        assert_eq!(names(dir.path()), [gz(1), gz(2), stamp(3), gz(3)]);
        assert_eq!(gunzip(&path(&gz(1))), b"one\n");
        assert_eq!(gunzip(&path(&gz(2))), b"two\n");
        assert_eq!(fs::read(path(&stamp(3))).unwrap(), b"three\n");
    }

    #[test]
    fn a_compressed_file_has_the_time_and_the_mode_of_its_original() {
        let dir = tempfile::tempdir().unwrap();
        let plain = dir.path().join(stamp(1));
        let file = File::create(&plain).unwrap();
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(86_400);
        file.set_modified(time).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&plain, mode).unwrap();

        compress(&plain).unwrap();

        let metadata = rotated::compressed(&plain).metadata().unwrap();
        assert_eq!(metadata.modified().unwrap(), time);
        assert_eq!(metadata.mode() & 0o777, 0o600);
    }
}
