//! Reads `url` or `urls`: of kinds that ask several.

use std::path::Path;

use super::super::credentials::sealed;
use super::super::cx::{Cx, References};
use super::super::endpoint::{HTTP, InTheClear, checked};
use super::super::location::without_framing;
use super::super::references::{From, Text};
use super::super::table::Table;
use super::super::value::Value;
use crate::secret::Secret;

/// Where a list of URLs stands in a file of its own.
const FILE: &str = "file:";

/// The URLs of a source, and whether one of them is reached without encryption.
#[derive(Default)]
pub(super) struct Targets {
    pub(super) urls: Vec<Secret>,
    pub(super) in_the_clear: Option<InTheClear>,
}

/// The one URL of a source that has no options.
pub(super) fn of_url(value: &Value, text: Text, cx: &mut Cx) -> Option<Vec<Secret>> {
    let mut targets = Targets::default();
    targets.add(value, text, cx)?;
    Some(targets.urls)
}

/// Reads them; `url` is the key of that name where it was taken already. `None`: it was reported.
pub(super) fn read(url: Option<(Value, Text)>, table: &mut Table, cx: &mut Cx) -> Option<Targets> {
    let mut targets = Targets::default();
    let single = match url {
        Some(url) => Some(url),
        None => match table.take("url") {
            Some(value) => Some((value.clone(), value.filled_text(cx)?)),
            None => None,
        },
    };
    let list = table.take("urls");
    match (single, list) {
        (Some(_), Some(list)) => {
            list.fail(cx, "stands beside `url`")
                .label("one of the two is enough");
            return None;
        }
        (Some((value, text)), None) => targets.add(&value, text, cx)?,
        (None, Some(list)) => targets.add_all(&list, cx)?,
        (None, None) => {
            table.missing_one_of("`url` or `urls`", cx);
            return None;
        }
    }
    Some(targets)
}

impl Targets {
    fn add(&mut self, value: &Value, text: Text, cx: &mut Cx) -> Option<()> {
        let bare = without_framing(&text.value).to_owned();
        let text = Text {
            value: bare,
            ..text
        };
        let url = checked(value, text, &HTTP, cx)?;
        self.in_the_clear = self.in_the_clear.take().or(url.in_the_clear);
        self.urls.push(sealed(url.text));
        Some(())
    }

    /// Every mistake is reported, not the first alone.
    fn add_all(&mut self, list: &Value, cx: &mut Cx) -> Option<()> {
        let Some(values) = list.elements() else {
            return self.add_file(list, cx);
        };
        if values.is_empty() {
            list.fail(cx, "must name at least one URL");
            return None;
        }
        let mut all_good = true;
        for value in &values {
            let text = value.filled_text(cx);
            all_good &= text.and_then(|text| self.add(value, text, cx)).is_some();
        }
        all_good.then_some(())
    }

    fn add_file(&mut self, list: &Value, cx: &mut Cx) -> Option<()> {
        let text = list.filled_text(cx)?;
        let Some(path) = text.value.strip_prefix(FILE) else {
            list.fail(cx, "must be a list of URLs, or `file:` and a path")
                .label("for example [\"https://a\", \"https://b\"], or \"file:/etc/logweir/urls\"");
            return None;
        };
        if cx.references == References::Placeholders {
            self.urls.push(Secret::new("http://placeholder.invalid/"));
            return Some(());
        }
        let found = match cx.environment.file(Path::new(path)) {
            Ok(found) => found.text,
            Err(error) => {
                list.fail(cx, &format!("cannot be read: {error}"));
                return None;
            }
        };
        let lines = found.lines().map(str::trim).enumerate();
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let mut all_good = true;
        for (index, line) in lines {
            let line_text = Text {
                value: line.to_owned(),
                from: From::Reference,
                parts: Vec::new(),
                ..text.clone()
            };
            if self.add(list, line_text, cx).is_none() {
                list.fail(
                    cx,
                    &format!("line {} is no URL that can be asked", index + 1),
                );
                all_good = false;
            }
        }
        if self.urls.is_empty() && all_good {
            list.fail(cx, "names no URL");
            return None;
        }
        all_good.then_some(())
    }
}
