//! Reads `spool`.

use super::super::cx::Cx;
use super::super::table::Table;
use super::super::units::show_size;
use super::super::value::Value;
use crate::source::spool::{Full, SpoolConfig};

/// Less would be full after a few reads.
const MAX_BYTES_MIN: u64 = 1 << 20;
const MAX_BYTES_MAX: u64 = 1 << 44;

/// Lines as long as they may be that must fit, so that a spool that is read does not stand still.
const LONG_LINES: u64 = 4;

/// `None` where there is no spool, or it has errors.
pub(super) fn read(
    is_file: bool,
    line_bytes_max: usize,
    table: &mut Table,
    cx: &mut Cx,
) -> Option<SpoolConfig> {
    if is_file {
        table.refuse("spool", "a file is its own buffer", cx);
        return None;
    }
    let value = table.take("spool")?;
    of_value(&value, line_bytes_max, cx)
}

/// `{ max, full }`
fn of_value(value: &Value, line_bytes_max: usize, cx: &mut Cx) -> Option<SpoolConfig> {
    let mut table = value.table(cx)?;
    let max = table.require("max", cx);
    let max_bytes = max
        .as_ref()
        .and_then(|it| it.size(MAX_BYTES_MIN..=MAX_BYTES_MAX, cx));
    let words = [
        ("block", Full::Block),
        ("drop_oldest", Full::DropOldest),
        ("drop_newest", Full::DropNewest),
    ];
    let full = match table.take("full") {
        Some(value) => value.choice(&words, &[], cx),
        None => Some(Full::Block),
    };
    table.finish(cx);
    let least = LONG_LINES * line_bytes_max as u64;
    if let (Some(max), Some(bytes)) = (max, max_bytes)
        && bytes < least
    {
        let why = format!("must be at least {}, four times max_line", show_size(least));
        max.fail(cx, &why);
        return None;
    }
    Some(SpoolConfig {
        max_bytes: max_bytes?,
        full: full?,
    })
}
