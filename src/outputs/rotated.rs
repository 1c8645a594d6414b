//! What our own rotation calls the files that it puts aside: `<path>.20261125-145719.123`, by UTC,
//! and `….gz` once it is compressed.
//!
//! Each file is renamed once and keeps its name: there is no moment at which some of several are
//! renamed, whoever looks at the folder sees no name change its meaning, and the order of the names
//! is the order of the lines. A file that does not follow this form to the letter is never touched.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// What a file that is being compressed ends in.
const UNFINISHED: &str = ".gz.new";

/// What a compressed file ends in.
const COMPRESSED: &str = ".gz";

/// One file that was put aside, in as many forms as there are of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotated {
    /// As it was written.
    pub plain: Option<PathBuf>,
    /// Compressed.
    pub compressed: Option<PathBuf>,
    /// Compressed in part, by a process that was interrupted or still does it.
    pub unfinished: Option<PathBuf>,
}

/// The files that were put aside for `path`, by their stamps: the oldest first.
///
/// # Errors
/// Its folder cannot be listed.
pub fn list(path: &Path) -> io::Result<BTreeMap<String, Rotated>> {
    let mut found: BTreeMap<String, Rotated> = BTreeMap::new();
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(found);
    };
    for entry in std::fs::read_dir(if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    })? {
        let entry = entry?;
        let file_name = entry.file_name();
        let rest = file_name.as_bytes().strip_prefix(name.as_bytes());
        let Some((stamp, form)) = rest.and_then(split) else {
            continue;
        };
        if !entry.file_type().is_ok_and(|it| it.is_file()) {
            continue;
        }
        let rotated = found.entry(stamp.to_owned()).or_default();
        let path = dir.join(&file_name);
        match form {
            "" => rotated.plain = Some(path),
            COMPRESSED => rotated.compressed = Some(path),
            _ => rotated.unfinished = Some(path),
        }
    }
    Ok(found)
}

/// Renames a file to the next free name of its rotation, which is returned. One step of the file
/// system.
///
/// # Errors
/// Those of `rename(2)`, and where the folder cannot be listed.
pub fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let mut last = list(path)?.pop_last().map(|(stamp, _)| stamp);
    loop {
        let stamp = next_stamp(Timestamp::now(), last.as_deref());
        let aside = with_stamp(path, &stamp);
        match rename_to_free(path, &aside) {
            Err(Errno::EXIST) => last = Some(stamp),
            renamed => return Ok(renamed.map(|()| aside)?),
        }
    }
}

fn rename_to_free(path: &Path, aside: &Path) -> Result<(), Errno> {
    match renameat_with(CWD, path, CWD, aside, RenameFlags::NOREPLACE) {
        // A file system that does not know the flag; the name was free a moment ago.
        Err(Errno::INVAL | Errno::NOSYS) if aside.symlink_metadata().is_err() => {
            rustix::fs::rename(path, aside)
        }
        renamed => renamed,
    }
}

/// The path that a rotated file had while it was written; `None` where rotation made no such name.
pub fn origin(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.as_bytes();
    let (at, _) = name
        .iter()
        .enumerate()
        .find(|(at, byte)| **byte == b'.' && *at > 0 && split(&name[*at..]).is_some())?;
    Some(path.with_file_name(OsString::from_vec(name[..at].to_vec())))
}

/// The stamp for a file that is put aside now: later than those that are there, whatever the clock
/// says, so that names stay in order.
pub fn next_stamp(now: Timestamp, last: Option<&str>) -> String {
    let stamp = stamp(now);
    match last {
        Some(last) if *last >= *stamp => after(last),
        _ => stamp,
    }
}

/// `path` with a stamp.
pub fn with_stamp(path: &Path, stamp: &str) -> PathBuf {
    extended(path, &format!(".{stamp}"))
}

/// What `plain` is called once it is compressed.
pub fn compressed(plain: &Path) -> PathBuf {
    extended(plain, COMPRESSED)
}

/// What the compressed form of `plain` is called while it is written.
pub fn unfinished(plain: &Path) -> PathBuf {
    extended(plain, UNFINISHED)
}

fn extended(path: &Path, by: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(by);
    PathBuf::from(name)
}

fn stamp(time: Timestamp) -> String {
    let format = "%Y%m%d-%H%M%S.%3f";
    time.to_zoned(TimeZone::UTC).strftime(format).to_string()
}

/// The stamp one millisecond later.
fn after(last: &str) -> String {
    let parsed = jiff::civil::DateTime::strptime("%Y%m%d-%H%M%S%.f", last);
    let parsed = parsed.and_then(|it| it.to_zoned(TimeZone::UTC));
    let next = parsed.and_then(|it| {
        it.timestamp()
            .checked_add(jiff::SignedDuration::from_millis(1))
    });
    // A stamp that is no date, such as 20261399-…: longer, and so behind it.
    next.map_or_else(|_| format!("{last}0"), stamp)
}

/// Splits ".20261125-145719.123.gz" into stamp and form.
fn split(rest: &[u8]) -> Option<(&str, &str)> {
    let rest = std::str::from_utf8(rest.strip_prefix(b".")?).ok()?;
    let form = [UNFINISHED, COMPRESSED]
        .into_iter()
        .find(|form| rest.ends_with(form))
        .unwrap_or("");
    let stamp = &rest[..rest.len() - form.len()];
    let shape = b"00000000-000000.000";
    let fits = stamp.len() == shape.len()
        && stamp.bytes().zip(shape).all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            other => byte == *other,
        });
    fits.then_some((stamp, &rest[stamp.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_rotation_makes_are_its_own() {
        let origin = |name: &str| origin(Path::new(name)).map(|it| it.display().to_string());

        for form in ["", ".gz", ".gz.new"] {
            let name = format!("/l/out.log.20261125-145719.123{form}");
            assert_eq!(origin(&name).as_deref(), Some("/l/out.log"));
        }
        for name in [
            "/l/out.log",
            "/l/out.log.1",
            "/l/out.log.20261125-145719",
            "/l/out.log.20261125-145719.123.zst",
            "/l/out.log.20261125-145719.123.gz.gz",
            "/l/out.log-20261125-145719.123",
            "/l/.20261125-145719.123",
            "/l/out.log.2026112a-145719.123",
        ] {
            assert_eq!(origin(name), None, "{name}");
        }
    }

    #[test]
    fn stamps_are_in_order_whatever_the_clock_says() {
        let now: Timestamp = "2026-11-25T14:57:19.1234Z".parse().unwrap();

        assert_eq!(next_stamp(now, None), "20261125-145719.123");
        for (last, next) in [
            ("20261125-145719.122", "20261125-145719.123"),
            ("20261125-145719.123", "20261125-145719.124"),
            ("20261231-235959.999", "20270101-000000.000"),
        ] {
            assert_eq!(next_stamp(now, Some(last)), next);
        }
    }

    #[test]
    fn the_forms_of_a_rotated_file_belong_together() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.log");
        let names = [
            "out.log",
            "out.log.20261125-145719.124.gz",
            "out.log.20261125-145719.123",
            "out.log.20261125-145719.123.gz.new",
            "out.log.1",
            "other.log.20261125-145719.123",
        ];
        for name in names {
            std::fs::write(dir.path().join(name), "").unwrap();
        }

        let found = list(&path).unwrap();

        let at = |n: usize| Some(dir.path().join(names[n]));
        let older = Rotated {
            plain: at(2),
            compressed: None,
            unfinished: at(3),
        };
        let newer = Rotated {
            compressed: at(1),
            ..Rotated::default()
        };
        assert_eq!(found.into_values().collect::<Vec<_>>(), [older, newer]);
    }
}
