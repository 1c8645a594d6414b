//! Lines in a form of one's own: `{source} {time} {msg}`.
//!
//! Pure: no I/O, no clock.

use std::sync::Mutex;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::level::Level;
use super::text::append_neutral;
use super::{Lines, Origin};

/// What a line looks like, with places for its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Source,
    /// As `strftime` shows it; `None`: in ISO 8601 with milliseconds.
    Time(Option<String>),
    Message,
    Level,
    Host,
    File,
    Offset,
    Label(String),
}

/// Names of the parts, for messages.
const NAMES: &str =
    "{source} {time} {time:%H:%M:%S} {msg} {level} {host} {file} {offset} {label.NAME}";

impl Template {
    /// Reads a template. `{{` and `}}` are braces, `\t` and `\n` what they are in C.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(char) = rest.chars().next() {
            let after = &rest[char.len_utf8()..];
            let next = after.chars().next();
            rest = match (char, next) {
                ('{' | '}', Some(same)) if same == char => {
                    plain.push(char);
                    &after[1..]
                }
                ('\\', Some(escaped @ ('n' | 't' | '\\'))) => {
                    plain.push(match escaped {
                        'n' => '\n',
                        't' => '\t',
                        other => other,
                    });
                    &after[1..]
                }
                ('}', _) => return Err("a `}` that nothing opens; `}}` is a brace".to_owned()),
                ('{', _) => {
                    let (name, behind) = after
                        .split_once('}')
                        .ok_or("a `{` that is not closed; `{{` is a brace")?;
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(Part::named(name)?);
                    behind
                }
                _ => {
                    plain.push(char);
                    after
                }
            };
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }
}

impl Part {
    fn named(name: &str) -> Result<Self, String> {
        let (name, option) = match name.split_once([':', '.']) {
            Some((name, option)) => (name, Some(option)),
            None => (name, None),
        };
        Ok(match (name, option) {
            ("source", None) => Self::Source,
            ("msg", None) => Self::Message,
            ("level", None) => Self::Level,
            ("host", None) => Self::Host,
            ("file", None) => Self::File,
            ("offset", None) => Self::Offset,
            ("time", None) => Self::Time(None),
            ("time", Some(format)) => {
                let shown = jiff::fmt::strtime::format(
                    format,
                    &Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC),
                );
                shown.map_err(|error| format!("`{{time:{format}}}`: {error}"))?;
                Self::Time(Some(format.to_owned()))
            }
            ("label", Some(label)) => Self::Label(label.to_owned()),
            _ => return Err(format!("there is no `{{{name}}}`; there are {NAMES}")),
        })
    }
}

/// The encoder of a template.
#[derive(Debug)]
pub(super) struct Forms {
    template: Template,
    host: String,
    zone: TimeZone,
    /// What the last time was, and how it was shown: lines come in bursts.
    shown: Mutex<Option<(i64, Vec<String>)>>,
}

impl Forms {
    pub(super) fn new(template: &Template, host: &str, zone: TimeZone) -> Self {
        Self {
            template: template.clone(),
            host: host.to_owned(),
            zone,
            shown: Mutex::new(None),
        }
    }

    pub(super) fn append(&self, out: &mut Vec<u8>, origin: &Origin, time_ns: i64, lines: &Lines) {
        let mut time_ns = time_ns;
        for line in lines.iter() {
            let times = self.times(line.time_ns.unwrap_or(time_ns));
            let mut times = times.iter();
            for part in &self.template.0 {
                match part {
                    Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                    Part::Source => append_neutral(out, origin.source.as_bytes()),
                    Part::Time(_) => {
                        let time = times.next().map(String::as_bytes);
                        out.extend_from_slice(time.unwrap_or_default());
                    }
                    Part::Message => append_rows(out, line.text),
                    Part::Level => {
                        let level = Level::detect(line.text).map(Level::name);
                        out.extend_from_slice(level.unwrap_or("-").as_bytes());
                    }
                    Part::Host => append_neutral(out, self.host.as_bytes()),
                    Part::File => {
                        let path = origin.path.as_deref().map(|it| it.as_bytes());
                        append_neutral(out, path.unwrap_or(b"-"));
                    }
                    Part::Offset => out.extend_from_slice(line.offset.to_string().as_bytes()),
                    Part::Label(name) => {
                        let mut labels = origin.labels.iter();
                        let label = labels.find(|(label, _)| **label == **name);
                        append_neutral(out, label.map_or("-", |(_, value)| value).as_bytes());
                    }
                }
            }
            out.push(b'\n');
            time_ns = time_ns.wrapping_add(1);
        }
    }

    /// The times of a line, one for each place of the template; the same within a millisecond.
    fn times(&self, time_ns: i64) -> Vec<String> {
        const NS_PER_MS: i64 = 1_000_000;
        let wanted = |part: &Part| matches!(part, Part::Time(_));
        if !self.template.0.iter().any(wanted) {
            return Vec::new();
        }
        let ms = time_ns.div_euclid(NS_PER_MS);
        let mut shown = self
            .shown
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((at, times)) = &*shown
            && *at == ms
        {
            return times.clone();
        }
        let time = Timestamp::from_millisecond(ms)
            .unwrap_or_default()
            .to_zoned(self.zone.clone());
        let times: Vec<String> = self
            .template
            .0
            .iter()
            .filter_map(|part| match part {
                Part::Time(None) => Some(time.strftime("%Y-%m-%dT%H:%M:%S.%3f%:z").to_string()),
                Part::Time(Some(format)) => {
                    Some(jiff::fmt::strtime::format(format, &time).unwrap_or_default())
                }
                _ => None,
            })
            .collect();
        *shown = Some((ms, times.clone()));
        times
    }
}

/// Appends the rows of a record; a terminal shows them and obeys none.
fn append_rows(out: &mut Vec<u8>, text: &[u8]) {
    for (index, row) in text.split(|byte| *byte == b'\n').enumerate() {
        if index > 0 {
            out.push(b'\n');
        }
        append_neutral(out, row.strip_suffix(b"\r").unwrap_or(row));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::model::StreamKey;

    fn rendered(template: &str, text: &'static str) -> String {
        let forms = Forms::new(&Template::parse(template).unwrap(), "box", TimeZone::UTC);
        let origin = Origin {
            source: Arc::from("app"),
            stream: StreamKey::new("x"),
            path: None,
            labels: Arc::from([(Arc::from("team"), Arc::from("core"))]),
        };
        let count = u32::try_from(text.lines().count()).unwrap();
        let lines = Lines::untouched(Bytes::from_static(text.as_bytes()), count, 40);
        let mut out = Vec::new();
        forms.append(&mut out, &origin, 1_795_371_948_123_999_999, &lines);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_template_has_places_for_the_parts_of_a_line() {
        assert_eq!(
            rendered(
                "{source}@{host} {time} {time:%H:%M} {level} {offset} {label.team} {label.x} {file}\\t{{{msg}}}",
                "ERROR \x1b[31mone\ntwo\n"
            ),
            "app@box 2026-11-22T18:25:48.123+00:00 18:25 ERROR 40 core - -\t{ERROR \u{241b}[31mone}\n\
             app@box 2026-11-22T18:25:48.124+00:00 18:25 - 55 core - -\t{two}\n"
        );
    }

    #[test]
    fn a_wrong_template_says_what_is_wrong() {
        let wrong = |text: &str| Template::parse(text).unwrap_err();

        assert_eq!(
            wrong("{sorce}"),
            format!("there is no `{{sorce}}`; there are {NAMES}")
        );
        assert_eq!(wrong("{msg"), "a `{` that is not closed; `{{` is a brace");
        assert_eq!(wrong("msg}"), "a `}` that nothing opens; `}}` is a brace");
        assert!(wrong("{time:%Q%}").starts_with("`{time:%Q%}`: "));
    }
}
