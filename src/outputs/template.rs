//! Output paths with placeholders: `{source}`, `{host}` and `{date:%Y-%m-%d}`.
//!
//! Whatever stands for a placeholder stays one part of a path: it can neither name another folder
//! nor climb out of the one that the path is in. Dates are in UTC, as the times in the lines are.
//!
//! Pure: no I/O, no clock.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

/// Bytes of a source's or host's name that are used: a file name may have 255.
const VALUE_BYTES_MAX: usize = 128;

/// A path as configured, with or without placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Source,
    Host,
    /// A `strftime` format.
    Date(String),
}

/// What stands for the placeholders.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// The lines' source.
    pub source: &'a str,
    /// This machine.
    pub host: &'a str,
    /// In nanoseconds since 1970.
    pub time_ns: i64,
}

/// Why a path is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A placeholder that does not exist.
    #[error("`{{{0}}}` is no placeholder")]
    Unknown(String),
    /// A brace that is never closed.
    #[error("has a `{{` without its `}}`")]
    Unclosed,
    /// A date that cannot be written, or not be told from the written name.
    #[error("`{{date:{format}}}` is no date: {reason}")]
    Date {
        /// As configured.
        format: String,
        /// What is wrong.
        reason: String,
    },
}

impl Template {
    /// Parses a path. `{{` and `}}` stand for the braces themselves.
    ///
    /// # Errors
    /// [`TemplateError`] for what is between braces and no placeholder.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                literal.push_str(brace);
                rest = after;
            } else if brace == "}" {
                literal.push('}');
            } else {
                let end = rest.find('}').ok_or(TemplateError::Unclosed)?;
                if !literal.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                }
                parts.push(placeholder(&rest[..end])?);
                rest = &rest[end + 1..];
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self {
            text: text.to_owned(),
            parts,
        })
    }

    /// As configured.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The path, where it has no placeholder.
    pub fn literal(&self) -> Option<PathBuf> {
        match &self.parts[..] {
            [] => Some(PathBuf::new()),
            [Part::Literal(path)] => Some(PathBuf::from(path)),
            _ => None,
        }
    }

    /// True where each source has its own path.
    pub fn has_source(&self) -> bool {
        self.parts.contains(&Part::Source)
    }

    /// The path for some lines.
    pub fn expand(&self, values: Values) -> PathBuf {
        let time = zoned(values.time_ns);
        let date = |format: &str| strtime::format(format, &time).unwrap_or_default();
        PathBuf::from(self.render(values.source, values.host, &date, &str::to_owned))
    }

    /// True where lines of one of `sources` get this path, on whatever day.
    pub fn makes(&self, path: &Path, sources: &[impl AsRef<str>], host: &str) -> bool {
        let Some(path) = path.to_str() else {
            return false;
        };
        let literal = |text: &str| text.replace('%', "%%");
        let no_source = [""];
        let formats: Vec<String> = if self.has_source() {
            let one = |source: &_| self.render_format(AsRef::as_ref(source), host, &literal);
            sources.iter().map(one).collect()
        } else {
            let one = |source: &&str| self.render_format(source, host, &literal);
            no_source.iter().map(one).collect()
        };
        formats
            .iter()
            .any(|format| strtime::parse(format, path).is_ok())
    }

    fn render_format(&self, source: &str, host: &str, literal: &dyn Fn(&str) -> String) -> String {
        let path = self.render(source, host, &str::to_owned, literal);
        let absolute = std::path::absolute(&path).ok();
        absolute
            .and_then(|it| it.to_str().map(str::to_owned))
            .unwrap_or(path)
    }

    fn render(
        &self,
        source: &str,
        host: &str,
        date: &dyn Fn(&str) -> String,
        literal: &dyn Fn(&str) -> String,
    ) -> String {
        let mut path = Components::default();
        for part in &self.parts {
            match part {
                Part::Literal(text) => path.push(&literal(text), Kind::Literal),
                Part::Source => path.push(&literal(&one_name(source)), Kind::Value),
                Part::Host => path.push(&literal(&one_name(host)), Kind::Value),
                Part::Date(format) => path.push(&date(format), Kind::Value),
            }
        }
        path.finish()
    }
}

fn zoned(time_ns: i64) -> jiff::Zoned {
    let time = Timestamp::from_nanosecond(i128::from(time_ns)).unwrap_or(Timestamp::UNIX_EPOCH);
    time.to_zoned(TimeZone::UTC)
}

fn placeholder(text: &str) -> Result<Part, TemplateError> {
    match text.split_once(':') {
        None if text == "source" => Ok(Part::Source),
        None if text == "host" => Ok(Part::Host),
        None if text == "date" => date(""),
        Some(("date", format)) => date(format),
        _ => Err(TemplateError::Unknown(text.to_owned())),
    }
}

/// A date that can be written, and read back from a file's name: our own outputs are known by it.
fn date(format: &str) -> Result<Part, TemplateError> {
    let refused = |reason: String| TemplateError::Date {
        format: format.to_owned(),
        reason,
    };
    if !format.contains('%') {
        return Err(refused(
            "it needs a format, for example {date:%Y-%m-%d}".to_owned(),
        ));
    }
    // The last of a month with two digits everywhere, and a weekday.
    let sample = zoned(1_795_651_199_000_000_000);
    let written = strtime::format(format, &sample).map_err(|error| refused(error.to_string()))?;
    strtime::parse(format, &written).map_err(|error| refused(error.to_string()))?;
    Ok(Part::Date(format.to_owned()))
}

/// A name as it can stand in a path: without a slash, without control characters, never empty.
fn one_name(value: &str) -> String {
    let safe = |c: char| if c == '/' || c.is_control() { '_' } else { c };
    let mut name = String::new();
    for c in value.chars().map(safe) {
        if name.len() + c.len_utf8() > VALUE_BYTES_MAX {
            break;
        }
        name.push(c);
    }
    if name.is_empty() {
        name.push('_');
    }
    name
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Literal,
    Value,
}

/// A path that is put together, one component after the other.
#[derive(Default)]
struct Components {
    path: String,
    /// Where the open component begins.
    start: usize,
    /// True where a placeholder gave something to it.
    filled: bool,
}

impl Components {
    fn push(&mut self, text: &str, kind: Kind) {
        let mut rest = text;
        loop {
            let end = rest.find('/');
            let here = &rest[..end.unwrap_or(rest.len())];
            self.path.push_str(here);
            self.filled |= kind == Kind::Value;
            let Some(end) = end else { return };
            self.close();
            self.path.push('/');
            self.start = self.path.len();
            rest = &rest[end + 1..];
        }
    }

    /// What came out of a placeholder must not climb: `..` becomes `__`.
    fn close(&mut self) {
        let component = &self.path[self.start..];
        if self.filled && component.bytes().all(|byte| byte == b'.') {
            let dots = component.len().max(1);
            self.path.truncate(self.start);
            self.path.push_str(&"_".repeat(dots));
        }
        self.filled = false;
    }

    fn finish(mut self) -> String {
        self.close();
        self.path
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-25T23:59:59Z.
    const TIME_NS: i64 = 1_795_651_199_000_000_000;

    fn expand(template: &str, source: &str, host: &str) -> String {
        let values = Values {
            source,
            host,
            time_ns: TIME_NS,
        };
        let path = Template::parse(template).unwrap().expand(values);
        path.into_os_string().into_string().unwrap()
    }

    #[test]
    fn placeholders_are_filled_in() {
        let path = expand("/l/{host}/{source}-{date:%Y/%m/%d}.log", "app", "web-1");

        assert_eq!(path, "/l/web-1/app-2026/11/25.log");
        assert_eq!(expand("/a{{b}}c}", "", ""), "/a{b}c}");
    }

    #[test]
    fn a_value_never_names_another_folder() {
        for (value, path) in [
            ("..", "/l/__/x"),
            (".", "/l/_/x"),
            ("", "/l/_/x"),
            ("a/b", "/l/a_b/x"),
            ("../../etc", "/l/.._.._etc/x"),
            ("a\0b\n", "/l/a_b_/x"),
            ("...", "/l/___/x"),
            (".hidden", "/l/.hidden/x"),
        ] {
            assert_eq!(expand("/l/{host}/x", "", value), path, "{value:?}");
        }
        assert_eq!(expand("/l/{source}{host}/x", ".", "."), "/l/__/x");
        assert_eq!(expand("/l/.{host}", "", "."), "/l/__");
        assert_eq!(
            expand("../{host}", "", "a"),
            "../a",
            "what is configured is meant"
        );
    }

    #[test]
    fn what_is_no_placeholder_is_refused() {
        for (template, message) in [
            ("/l/{sauce}.log", "`{sauce}` is no placeholder"),
            ("/l/{}.log", "`{}` is no placeholder"),
            ("/l/{source.log", "has a `{` without its `}`"),
            (
                "/l/{date}.log",
                "`{date:}` is no date: it needs a format, for example {date:%Y-%m-%d}",
            ),
        ] {
            let error = Template::parse(template).unwrap_err();

            assert_eq!(error.to_string(), message);
        }
        for format in ["%K", "%", "%Y-%E"] {
            assert!(
                Template::parse(&format!("/{{date:{format}}}")).is_err(),
                "{format}"
            );
        }
    }

    #[test]
    fn own_outputs_are_known_by_their_names() {
        let template = Template::parse("/l/100%/{source}-{date:%Y-%m-%d}.log").unwrap();
        let makes = |path: &str| template.makes(Path::new(path), &["app", ".."], "h");

        assert!(makes("/l/100%/app-2026-11-25.log"));
        assert!(makes("/l/100%/..-1999-01-31.log"));
        assert!(!makes("/l/100%/other-2026-11-25.log"));
        assert!(!makes("/l/100%/app-2026-13-25.log"));
        assert!(!makes("/l/100%/app.log"));
        assert!(!makes("/l/100%/app-2026-11-25.log.1"));
    }

    proptest! {
        #[test]
        fn no_value_escapes_the_folder(source in "\\PC*|[./\\x00]{0,9}", host in "[./a]{0,9}") {
            for template in ["/l/{source}/{host}", "/l/{host}{source}", "/l/x{source}/.{host}"] {
                let path = expand(template, &source, &host);

                let path = Path::new(&path);
                let climbs = path.components().any(|it| it == std::path::Component::ParentDir);
                prop_assert!(!climbs && path.starts_with("/l") && path != Path::new("/l"));
                let slashes = template.matches('/').count();
                prop_assert_eq!(path.to_str().unwrap().matches('/').count(), slashes);
                prop_assert!(!path.to_str().unwrap().contains('\0'));
            }
        }

        #[test]
        fn every_expansion_is_known_again(time_ns in 0..4_000_000_000_000_000_000_i64) {
            let template = Template::parse("/l/{source}/{host}.{date:%Y%m%d-%H}").unwrap();

            let path = template.expand(Values { source: "a b", host: "c", time_ns });

            prop_assert!(template.makes(&path, &["x", "a b"], "c"));
        }
    }
}
