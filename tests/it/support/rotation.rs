//! What happens to a log file under its writer: renamed, copied, truncated, deleted, swapped.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::tools::tool_path;

/// What happens to the file, each time after so many lines and never after the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Rotation {
    /// Nothing.
    None,
    /// `app.log` becomes `app.log.1`, which became `app.log.2`; all are kept.
    Rename { every: u64 },
    /// As `Rename`, and of more than `keep` old files the oldest is deleted.
    Keep { every: u64, keep: usize },
    /// `app.log` gets a name with a date in it; all are kept.
    Dated { every: u64, names: Dated },
    /// As `Rename`, but by a copy, and the file itself is truncated.
    CopyTruncate { every: u64 },
    /// The file is truncated, and nothing is kept.
    Truncate { every: u64 },
    /// The file is deleted and made anew.
    Recreate { every: u64 },
    /// A new file is made and renamed over the old one.
    MoveOver { every: u64 },
    /// As `Rename` or `CopyTruncate`, and the old file is compressed; all are kept.
    Packed {
        every: u64,
        packer: Packer,
        when: Packs,
    },
    /// As `Dated`, and the old file is compressed at once.
    PackedDated {
        every: u64,
        packer: Packer,
        names: Dated,
    },
    /// What logrotate makes of it with these directives; all are kept.
    Logrotate { every: u64, directives: Directives },
    /// `app.log` is a symbolic link that is turned to a new file each time; all files are kept.
    Retarget { every: u64 },
}

/// How logrotate is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Directives {
    Create,
    NoCreate,
    Compress,
    DelayCompress,
    CopyTruncate,
    CopyTruncateCompress,
    /// Names with a date and a time; there must be a second between two turns.
    DateExt,
    /// The same before the extension, compressed.
    DateExtCompress,
    /// Old files go to another directory, compressed.
    OldDir,
}

impl Directives {
    fn text(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::NoCreate => "nocreate",
            Self::Compress => "create\ncompress",
            Self::DelayCompress => "create\ncompress\ndelaycompress",
            Self::CopyTruncate => "copytruncate",
            Self::CopyTruncateCompress => "copytruncate\ncompress",
            Self::DateExt => "create\ndateext\ndateformat -%Y%m%d-%s",
            Self::DateExtCompress => {
                "create\ncompress\nextension .log\ndateext\ndateformat -%Y%m%d-%s"
            }
            Self::OldDir => "create\ncompress\nolddir old\ncreateolddir 700 root root",
        }
    }

    /// Rotates a file by the real program.
    fn turn(self, path: &Path) -> Next {
        let dir = path.parent().expect("a test log has a directory");
        let (config, state) = (dir.join("rotate.conf"), dir.join("rotate.state"));
        let text = format!("{} {{\nrotate 1000\n{}\n}}\n", path.display(), self.text());
        fs::write(&config, text).expect("writes a config");
        let mut logrotate = Command::new("logrotate");
        logrotate.env("PATH", tool_path());
        logrotate
            .args(["--force", "--state"])
            .arg(state)
            .arg(config);
        let ended = logrotate.output().expect("starts logrotate");
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.success() && !said.contains("error"), "{said}");
        match self {
            Self::CopyTruncate | Self::CopyTruncateCompress => Next::Truncated,
            _ => Next::Anew,
        }
    }
}

/// The program that compresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Packer {
    Gzip,
    Zstd,
}

impl Packer {
    const ALL: [Self; 2] = [Self::Gzip, Self::Zstd];

    /// What is appended to the name of a file.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }

    /// Puts a compressed file in the place of a file, as rotation does.
    pub(crate) fn pack(self, path: &Path) {
        let done = match self {
            Self::Gzip => Command::new("gzip").arg(path).status(),
            Self::Zstd => Command::new("zstd").args(["-q", "--rm"]).arg(path).status(),
        };
        match done {
            Err(error) if error.kind() == ErrorKind::NotFound && self == Self::Zstd => {
                pack_as_zstd(path);
            }
            done => assert!(done.expect("starts a packer").success(), "packs {path:?}"),
        }
    }
}

/// When a rotated file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Packs {
    /// At once.
    AtOnce,
    /// At the next turn: `delaycompress`.
    Later,
    /// At once, and it is a copy: the file itself was truncated.
    Copy,
}

/// Where a rotated file's name has its date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Dated {
    /// `app-20261125.log`
    BeforeExtension,
    /// `app.log-20261125`
    AfterDash,
    /// `app.log.2026-11-25`
    AfterDot,
}

impl Dated {
    /// The name of the `n`th old file of `path`; there are 28 at most.
    fn of(self, path: &Path, n: u64) -> PathBuf {
        assert!((1..=28).contains(&n), "a day of February 2026");
        let whole = path.display();
        let bare = path.with_extension("");
        PathBuf::from(match self {
            Self::BeforeExtension => format!("{}-202602{n:02}.log", bare.display()),
            Self::AfterDash => format!("{whole}-202602{n:02}"),
            Self::AfterDot => format!("{whole}.2026-02-{n:02}"),
        })
    }
}

/// What the program does, where it is not installed.
fn pack_as_zstd(path: &Path) {
    let plain = File::open(path).expect("opens a test log");
    let modified = plain.metadata().and_then(|it| it.modified());
    let mut name = path.as_os_str().to_owned();
    name.push(Packer::Zstd.suffix());
    let packed = File::create(name).expect("makes a test log");
    zstd::stream::copy_encode(plain, &packed, 3).expect("compresses a test log");
    packed
        .set_modified(modified.expect("a file has a time"))
        .expect("sets the time of a test log");
    fs::remove_file(path).expect("deletes a test log");
}

impl Rotation {
    /// After how many lines it happens.
    pub(super) fn every(self) -> u64 {
        match self {
            Self::None => u64::MAX,
            Self::Rename { every }
            | Self::Keep { every, .. }
            | Self::Dated { every, .. }
            | Self::CopyTruncate { every }
            | Self::Packed { every, .. }
            | Self::PackedDated { every, .. }
            | Self::Logrotate { every, .. }
            | Self::Truncate { every }
            | Self::Recreate { every }
            | Self::MoveOver { every }
            | Self::Retarget { every } => every,
        }
    }

    /// Moves the file out of the way for the `n`th time, and says what is written to next.
    pub(super) fn turn(self, path: &Path, n: u64) -> Next {
        match self {
            Self::None => return Next::Same,
            Self::Rename { .. } => {
                shift(path, usize::MAX);
                fs::rename(path, numbered(path, 1)).expect("renames a test log");
            }
            Self::Keep { keep, .. } => {
                shift(path, keep);
                fs::rename(path, numbered(path, 1)).expect("renames a test log");
            }
            Self::Dated { names, .. } => {
                fs::rename(path, names.of(path, n)).expect("renames a test log");
            }
            Self::CopyTruncate { .. } => {
                shift(path, usize::MAX);
                fs::copy(path, numbered(path, 1)).expect("copies a test log");
                return Next::Truncated;
            }
            Self::Packed { packer, when, .. } => return pack(path, packer, when),
            Self::PackedDated { packer, names, .. } => {
                fs::rename(path, names.of(path, n)).expect("renames a test log");
                File::create(path).expect("makes a test log");
                packer.pack(&names.of(path, n));
            }
            Self::Logrotate { directives, .. } => return directives.turn(path),
            Self::Truncate { .. } => return Next::Truncated,
            Self::Recreate { .. } => fs::remove_file(path).expect("deletes a test log"),
            Self::MoveOver { .. } => {
                let new = path.with_extension("new");
                File::create(&new).expect("makes a test log");
                fs::rename(new, path).expect("renames a test log");
            }
            Self::Retarget { .. } => retarget(path, n),
        }
        Next::Anew
    }

    /// How many of the generations before the present one still have a file after the `n`th turn;
    /// `None` for all.
    pub(super) fn keeps(self) -> Option<usize> {
        match self {
            Self::Keep { keep, .. } => Some(keep),
            Self::Truncate { .. } | Self::Recreate { .. } | Self::MoveOver { .. } => Some(0),
            _ => None,
        }
    }

    /// True where what was written is gone although somebody may still have the file open.
    pub(super) fn erases(self) -> bool {
        matches!(self, Self::Truncate { .. })
    }
}

/// What is written to after a rotation.
pub(super) enum Next {
    /// The same file, as it is.
    Same,
    /// The same file, after it was truncated.
    Truncated,
    /// What is at the path then.
    Anew,
}

/// Opens the file as it is at first; the first target of a link is made before.
pub(super) fn first(path: &Path, rotation: Rotation, opened: Opened) -> File {
    if matches!(rotation, Rotation::Retarget { .. }) && path.symlink_metadata().is_err() {
        retarget(path, 0);
    }
    open(path, opened)
}

/// How a writer opens its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Opened {
    /// With `O_APPEND`.
    ToAppend,
    /// Without: after a truncation it goes on where it was, behind a hole.
    AtItsOffset,
}

pub(super) fn open(path: &Path, opened: Opened) -> File {
    let mut options = OpenOptions::new();
    match opened {
        Opened::ToAppend => options.append(true),
        Opened::AtItsOffset => options.write(true),
    };
    let mut file = options.create(true).open(path).expect("opens a test log");
    file.seek(SeekFrom::End(0)).expect("goes to the end");
    file
}

/// Turns the link at `path` to a new file.
fn retarget(path: &Path, n: u64) {
    let target = path.with_extension(format!("target{n}"));
    File::create(&target).expect("makes a test log");
    let link = path.with_extension("link");
    symlink(target, &link).expect("makes a link");
    fs::rename(link, path).expect("turns a link");
}

/// Moves a file out of the way and compresses what is to be compressed.
fn pack(path: &Path, packer: Packer, when: Packs) -> Next {
    shift_packed(path);
    let first = numbered(path, 1);
    if when == Packs::Copy {
        fs::copy(path, &first).expect("copies a test log");
        packer.pack(&first);
        return Next::Truncated;
    }
    fs::rename(path, &first).expect("renames a test log");
    // As `create` of logrotate does: it is there while others are compressed.
    File::create(path).expect("makes a test log");
    let second = numbered(path, 2);
    match when {
        Packs::Later if second.exists() => packer.pack(&second),
        Packs::Later | Packs::Copy => {}
        Packs::AtOnce => packer.pack(&first),
    }
    Next::Anew
}

/// Makes room for a new `.1`, compressed or not.
fn shift_packed(path: &Path) {
    let named = |n: usize| {
        let number = numbered(path, n);
        let packed =
            Packer::ALL.map(|it| PathBuf::from(format!("{}{}", number.display(), it.suffix())));
        let names = packed.into_iter().zip(Packer::ALL.map(Packer::suffix));
        let mut names = names.chain([(number, "")]);
        names.find(|(path, _)| path.exists())
    };
    let all: Vec<_> = (1..).map_while(named).collect();
    for (n, (old, suffix)) in all.into_iter().enumerate().rev() {
        let new = format!("{}{suffix}", numbered(path, n + 2).display());
        fs::rename(old, new).expect("renames a test log");
    }
}

/// Makes room for a new `.1`; of more than `keep` the oldest is overwritten.
fn shift(path: &Path, keep: usize) {
    let last = (1..)
        .find(|&n| n >= keep || !numbered(path, n).exists())
        .expect("numbers do not end");
    for n in (1..last).rev() {
        fs::rename(numbered(path, n), numbered(path, n + 1)).expect("renames a test log");
    }
}

fn numbered(path: &Path, n: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    PathBuf::from(name)
}

/// Truncates a file under its writer, who goes on where `opened` says.
pub(super) fn truncate(file: &mut File, opened: Opened) {
    file.set_len(0).expect("truncates a test log");
    if opened == Opened::ToAppend {
        file.rewind().expect("rewinds a test log");
    }
    file.flush().expect("a file has no buffer");
}
