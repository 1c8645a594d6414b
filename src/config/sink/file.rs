//! Reads the keys of a file sink.

use std::path::PathBuf;

use super::super::cx::Cx;
use super::super::table::Table;
use super::super::value::Value;
use super::{SinkEntry, output};
use crate::sink::file::{FileSinkConfig, Fsync};

/// Keys that are described and do not exist yet.
const LATER_KEYS: [&str; 1] = ["rotate"];

/// A file sink with every default.
pub(super) fn of_path(path: PathBuf) -> FileSinkConfig {
    FileSinkConfig {
        path,
        fsync: Fsync::Interval,
        mode: 0o640,
    }
}

/// `None` if its path has errors.
pub(super) fn read(
    table: &mut Table,
    entry: &mut SinkEntry,
    cx: &mut Cx,
) -> Option<FileSinkConfig> {
    let path = table
        .require("path", cx)
        .and_then(|value| output(&value, entry, cx));
    let mut config = of_path(PathBuf::new());
    let words = [
        ("never", Fsync::Never),
        ("interval", Fsync::Interval),
        ("batch", Fsync::Batch),
    ];
    if let Some(fsync) = table
        .take("fsync")
        .and_then(|value| value.choice(&words, &[], cx))
    {
        config.fsync = fsync;
    }
    if let Some(mode) = table.take("mode").and_then(|value| mode(&value, cx)) {
        config.mode = mode;
    }
    table.later(&LATER_KEYS, cx);
    Some(FileSinkConfig {
        path: path?,
        ..config
    })
}

/// Permission bits, octal in a string: a TOML number would be read as decimal.
fn mode(value: &Value, cx: &mut Cx) -> Option<u32> {
    let text = value.known_text(cx)?;
    let digits = !text.value.is_empty() && text.value.bytes().all(|it| (b'0'..=b'7').contains(&it));
    let mode = if digits {
        u32::from_str_radix(&text.value, 8).ok()
    } else {
        None
    };
    let Some(mode) = mode.filter(|mode| *mode <= 0o777) else {
        value.fail(cx, "must be octal permissions from \"0000\" to \"0777\"");
        return None;
    };
    if mode & 0o200 == 0 {
        value
            .fail(cx, "must let the owner write")
            .label("for example \"0640\"");
        return None;
    }
    Some(mode)
}
