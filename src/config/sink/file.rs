//! Reads the keys of a file sink.

use std::time::Duration;

use super::super::cx::Cx;
use super::super::table::Table;
use super::super::value::Value;
use super::{SinkEntry, output};
use crate::outputs::{Template, TemplateError};
use crate::sink::file::{FileSinkConfig, Fsync, Rotate};

/// Rotated files that can be kept.
const KEEP_MAX: u64 = 100_000;

/// Rotated files that are kept where nothing is said.
const KEEP_DEFAULT: usize = 7;

/// A file sink with every default.
pub(super) fn of_path(path: Template) -> FileSinkConfig {
    FileSinkConfig {
        path,
        fsync: Fsync::Interval,
        rotate: None,
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
        .and_then(|value| path(&value, entry, cx));
    let words = [
        ("never", Fsync::Never),
        ("interval", Fsync::Interval),
        ("batch", Fsync::Batch),
    ];
    let fsync = table
        .take("fsync")
        .and_then(|value| value.choice(&words, &[], cx));
    let rotate = table.take("rotate").and_then(|value| rotate(&value, cx));
    let mode = table.take("mode").and_then(|value| mode(&value, cx));
    let defaults = of_path(path?);
    Some(FileSinkConfig {
        fsync: fsync.unwrap_or(defaults.fsync),
        rotate,
        mode: mode.unwrap_or(defaults.mode),
        ..defaults
    })
}

/// The path of an output, with or without placeholders.
pub(super) fn path(value: &Value, entry: &mut SinkEntry, cx: &mut Cx) -> Option<Template> {
    let path = output(value, entry, cx)?;
    // What is there already tells more than a first write that fails for ever.
    if path.is_dir() {
        value
            .fail(cx, "is a directory")
            .label("name a file in it, for example one that ends in .log");
        return None;
    }
    let refused = match Template::parse(&path.to_string_lossy()) {
        Ok(template) => return Some(template),
        Err(refused) => refused,
    };
    let hint = match &refused {
        TemplateError::Unknown(_) | TemplateError::Unclosed => {
            "there are {source}, {host} and {date:%Y-%m-%d}; a brace itself is written {{ or }}"
        }
        TemplateError::Date { .. } => "for example {date:%Y-%m-%d}",
    };
    value.fail(cx, &refused.to_string()).label(hint);
    None
}

/// When an output is put aside.
fn rotate(value: &Value, cx: &mut Cx) -> Option<Rotate> {
    let mut table = value.table(cx)?;
    let named = table.has("size") || table.has("every");
    let size = table
        .take("size")
        .and_then(|it| it.size(1 << 10..=1 << 44, cx));
    let ages = Duration::from_secs(1)..=Duration::from_secs(366 * 86_400);
    let every = table.take("every").and_then(|it| it.duration(ages, cx));
    let keep = table.take("keep").and_then(|it| it.count(1..=KEEP_MAX, cx));
    let compress = table.take("compress").and_then(|it| it.flag(cx));
    if !named {
        table.missing_one_of("`size` or `every`", cx);
    }
    table.finish(cx);
    Some(Rotate {
        size,
        every,
        keep: keep
            .and_then(|keep| usize::try_from(keep).ok())
            .unwrap_or(KEEP_DEFAULT),
        compress: compress.unwrap_or(false),
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
