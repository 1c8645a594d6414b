//! Reads the keys of a file source.

use std::time::Duration;

use super::super::cx::Cx;
use super::super::location::path_trouble;
use super::super::references::{From, Text};
use super::super::suggest::nearest;
use super::super::table::Table;
use super::super::units;
use super::super::value::Value;
use super::is_path;
use super::network::MS;
use crate::framing::Charset;
use crate::source::file::{FileConfig, Follow, Label, Start, WatchMode, check_exclude};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// A file source with every default.
pub(in crate::config) fn of_paths(paths: Vec<String>) -> FileConfig {
    FileConfig {
        paths,
        start: Start::Beginning,
        follow: Follow::Forever,
        label: Label::Source,
        exclude: Vec::new(),
        ignore_older: None,
        watch: WatchMode::Auto,
        rotate_grace: Duration::from_secs(30),
        forget_after: 30 * DAY,
        charset: None,
        partial: None,
    }
}

/// `None` if its paths have errors.
pub(super) fn read(table: &mut Table, cx: &mut Cx) -> Option<FileConfig> {
    let paths = table
        .require("path", cx)
        .and_then(|value| paths(&value, cx));
    let mut config = of_paths(Vec::new());
    if let Some(start) = table.take("start").and_then(|value| start(&value, cx)) {
        config.start = start;
    }
    if let Some(exclude) = table.take("exclude_path") {
        let globs = exclude.one_or_many();
        config.exclude = globs.iter().filter_map(|glob| excluded(glob, cx)).collect();
    }
    // Shorter: a file that is being written to would count as old.
    if let Some(age) = table
        .take("ignore_older")
        .and_then(|it| it.duration(MINUTE..=3_650 * DAY, cx))
    {
        config.ignore_older = Some(age);
    }
    let modes = [
        ("auto", WatchMode::Auto),
        ("events", WatchMode::Events),
        ("poll", WatchMode::Poll),
    ];
    if let Some(mode) = table
        .take("watch")
        .and_then(|it| it.choice(&modes, &[], cx))
    {
        config.watch = mode;
    }
    // A handle kept for longer holds the disk space of a deleted file.
    if let Some(grace) = table
        .take("rotate_grace")
        .and_then(|it| it.duration(Duration::ZERO..=24 * HOUR, cx))
    {
        config.rotate_grace = grace;
    }
    // Shorter: the position is gone before a copying rotation is through.
    if let Some(after) = table
        .take("forget_after")
        .and_then(|it| it.duration(HOUR..=3_650 * DAY, cx))
    {
        config.forget_after = after;
    }
    config.charset = table.take("encoding").and_then(|value| charset(&value, cx));
    config.partial = table.take("partial").and_then(|value| {
        let is_off = value.raw_text() == Some("off");
        (!is_off)
            .then(|| value.duration(MS..=24 * HOUR, cx))
            .flatten()
    });
    Some(FileConfig {
        paths: paths?,
        ..config
    })
}

/// One path, glob or directory.
fn path(value: &Value, cx: &mut Cx) -> Option<String> {
    let text = value.text(cx)?;
    path_of(value, text, cx)
}

/// One path, glob or directory that was resolved.
pub(super) fn path_of(value: &Value, text: Text, cx: &mut Cx) -> Option<String> {
    if text.from == From::Placeholder {
        return Some(text.value);
    }
    if !is_path(value, &text.value, cx) {
        return None;
    }
    if let Some(trouble) = path_trouble(&text.value) {
        value.fail(cx, trouble);
        return None;
    }
    Some(text.value)
}

/// A glob of files to leave out.
fn excluded(value: &Value, cx: &mut Cx) -> Option<String> {
    let text = value.text(cx)?.value;
    match check_exclude(&text) {
        Ok(()) => Some(text),
        Err(error) => {
            value.fail(cx, &format!("is not a glob: {}", error.reason));
            None
        }
    }
}

fn paths(value: &Value, cx: &mut Cx) -> Option<Vec<String>> {
    let values = value.one_or_many();
    if values.is_empty() {
        value.fail(cx, "must name at least one file");
        return None;
    }
    Some(values.iter().filter_map(|value| path(value, cx)).collect())
}

fn charset(value: &Value, cx: &mut Cx) -> Option<Charset> {
    let text = value.known_text(cx)?;
    match Charset::named(&text.value) {
        Ok(charset) => Some(charset),
        Err(error) => {
            value
                .fail(cx, &error.to_string())
                .label("for example \"utf-16le\", \"utf-16be\", \"windows-1252\" or \"shift_jis\"");
            None
        }
    }
}

fn start(value: &Value, cx: &mut Cx) -> Option<Start> {
    let text = value.known_text(cx)?.value;
    let Some(age) = text.strip_prefix('-') else {
        return start_word(value, &text, cx);
    };
    match units::duration(age) {
        Ok(age) if (SECOND..=3_650 * DAY).contains(&age) => Some(Start::Since(age)),
        Ok(_) => {
            value.fail(cx, "must be between \"-1s\" and \"-3650d\"");
            None
        }
        Err(not) => {
            let hint = "a time ago is written as \"-15m\", \"-1h\" or \"-1d 12h\"";
            value.fail(cx, not.why).label(hint);
            None
        }
    }
}

fn start_word(value: &Value, text: &str, cx: &mut Cx) -> Option<Start> {
    let near = match text {
        "beginning" => return Some(Start::Beginning),
        "end" => return Some(Start::End),
        text if units::duration(text).is_ok() => Some(format!("-{text}")),
        text => nearest(text, ["beginning", "end"]).map(str::to_owned),
    };
    let wanted = "must be `beginning`, `end` or a time ago such as `-1h`";
    let found = value.fail(cx, wanted);
    if let Some(near) = near {
        found.label(format!("did you mean `{near}`?"));
    }
    None
}
