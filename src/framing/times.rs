//! The time that a record carries itself.
//!
//! Pure: no I/O, no clock (`now` and the time zone are arguments).

use std::collections::VecDeque;
use std::fmt;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::container::rfc3339_ns;
use super::pointer::{Pointer, Text};

/// Where a record's own time is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeFrom {
    /// At its start, in one of the usual forms.
    Leading,
    /// In its JSON, at a pointer.
    Pointer(Pointer),
    /// In its JSON, under one of the usual names at the top level.
    Known,
}

/// What a time is read with beside its own text.
#[derive(Clone, Debug)]
pub struct TimeContext {
    /// The zone of times that name none.
    pub zone: TimeZone,
    /// In nanoseconds since 1970: it tells the year of times that name none.
    pub now_ns: i64,
}

/// Names under which programs write the time.
const KNOWN: [&str; 5] = ["time", "timestamp", "@timestamp", "ts", "t"];

impl TimeFrom {
    /// The record's own time in nanoseconds since 1970; `None` where there is none to be found.
    pub fn find(&self, text: &[u8], cx: &TimeContext) -> Option<i64> {
        let path = match self {
            Self::Leading => return leading(text, cx),
            Self::Pointer(pointer) => Path::Names(&pointer.0),
            Self::Known => Path::Known,
        };
        let mut json = serde_json::Deserializer::from_slice(text);
        Seek { path, cx }.deserialize(&mut json).ok()?
    }
}

/// What is left of the way to the value.
#[derive(Clone, Copy)]
enum Path<'a> {
    Names(&'a [String]),
    Known,
}

/// Descends to one value and passes over the rest.
#[derive(Clone, Copy)]
struct Seek<'a> {
    path: Path<'a>,
    cx: &'a TimeContext,
}

impl Seek<'_> {
    /// Where to go on below a key; `None`: not there.
    fn below(&self, key: &str) -> Option<Self> {
        let names = match self.path {
            Path::Names([first, rest @ ..]) if first == key => rest,
            Path::Known if KNOWN.contains(&key) => &[],
            _ => return None,
        };
        Some(Self {
            path: Path::Names(names),
            ..*self
        })
    }

    fn is_there(&self) -> bool {
        matches!(self.path, Path::Names([]))
    }
}

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Option<i64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = Option<i64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(self.is_there().then(|| epoch_ns(value)).flatten())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        // Before 1970.
        Ok(None)
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(self
            .is_there()
            .then(|| fractional_epoch_ns(value))
            .flatten())
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        let time = || {
            let text = value.as_bytes();
            // What nearly all are is read by what costs a third.
            let usual = is_utc(text).then(|| leading(text, self.cx)).flatten();
            usual
                .or_else(|| rfc3339_ns(text))
                .or_else(|| value.parse().ok().and_then(epoch_ns))
                .or_else(|| value.parse().ok().and_then(fractional_epoch_ns))
                .or_else(|| leading(text, self.cx))
        };
        Ok(self.is_there().then(time).flatten())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(Text(key)) = map.next_key()? {
            match self.below(&key) {
                Some(below) if found.is_none() => found = map.next_value_seed(below)?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let index = match self.path {
            Path::Names([first, ..]) => first.parse::<i64>().ok(),
            _ => None,
        };
        let below = match self.path {
            Path::Names([_, rest @ ..]) => Self {
                path: Path::Names(rest),
                ..self
            },
            _ => self,
        };
        let Some(index) = index else {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(None);
        };
        let (mut at, mut found, mut last) = (0, None, VecDeque::new());
        let from_end = usize::try_from(-index).unwrap_or(0);
        while let Some(value) = seq.next_element_seed(below)? {
            if at == index {
                found = value;
            }
            last.push_back(value);
            if last.len() > from_end {
                last.pop_front();
            }
            at += 1;
        }
        if index < 0 && last.len() == from_end {
            found = last.pop_front().flatten();
        }
        Ok(found)
    }
}

/// True of the form `2026-11-22T23:41:23.515Z`, whatever the digits are.
fn is_utc(text: &[u8]) -> bool {
    let (head, tail) = text.split_at(text.len().min(19));
    let ends_well = match tail {
        [b'Z'] => true,
        [b'.', digits @ .., b'Z'] => {
            (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    };
    ends_well && head[4] == b'-' && head[10] == b'T'
}

/// Seconds, milliseconds, microseconds or nanoseconds since 1970: whichever is a time of these
/// decades.
fn epoch_ns(value: u64) -> Option<i64> {
    let factor = match value {
        0..100_000_000_000 => 1_000_000_000,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        _ => 1,
    };
    i64::try_from(value).ok()?.checked_mul(factor)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the whole part is in range, and a float holds no more digits of the rest"
)]
fn fractional_epoch_ns(value: f64) -> Option<i64> {
    let seconds = value.trunc();
    if !(0.0..9e9).contains(&seconds) {
        return (9e9..9e18)
            .contains(&value)
            .then(|| epoch_ns(value as u64))
            .flatten();
    }
    // A float of today's seconds is exact to a microsecond or so.
    let micros = ((value - seconds) * 1e6).round() as i64;
    Some(seconds as i64 * 1_000_000_000 + micros * 1_000)
}

/// The time at the start of a line: `2026-11-22T23:41:23.515Z`, `2026-11-22 23:41:23,515`,
/// `2026/11/22 23:41:23`, `[22/Nov/2026:23:41:23 +0100]`, `Nov 22 23:41:23`; behind a bracket, a
/// quote or a syslog priority, too.
fn leading(text: &[u8], cx: &TimeContext) -> Option<i64> {
    let mut rest = Scan(text.get(..text.len().min(80))?);
    rest.priority();
    rest.skip(b"[\"( ");
    let (date, has_year) = rest.date(cx)?;
    let hour = rest.number(2)?;
    rest.expect(b":")?;
    let minute = rest.number(2)?;
    rest.expect(b":")?;
    let second = rest.number(2)?;
    let nanos = rest.fraction();
    if rest.0.first().is_some_and(u8::is_ascii_alphanumeric) && rest.0[0] != b'Z' {
        return None;
    }
    let field = |value: u64| i8::try_from(value).ok();
    // A leap second is shown as the one before it.
    let second = field(second.min(59))?;
    let time = DateTime::new(
        date.0,
        field(date.1)?,
        field(date.2)?,
        field(hour)?,
        field(minute)?,
        second,
        nanos,
    )
    .ok()?;
    let offset_s = rest.zone();
    let found = ns_of(time, offset_s, cx)?;
    if has_year || found <= cx.now_ns.saturating_add(DAY_NS) {
        return Some(found);
    }
    // December's lines that are read in January.
    ns_of(time.with().year(date.0 - 1).build().ok()?, offset_s, cx)
}

const DAY_NS: i64 = 86_400_000_000_000;

fn ns_of(time: DateTime, offset_s: Option<i64>, cx: &TimeContext) -> Option<i64> {
    let ns = match offset_s {
        Some(offset_s) => {
            let utc = TimeZone::UTC.to_timestamp(time).ok()?.as_nanosecond();
            utc - i128::from(offset_s) * 1_000_000_000
        }
        None => cx.zone.to_timestamp(time).ok()?.as_nanosecond(),
    };
    i64::try_from(ns).ok()
}

/// What is left of a text.
struct Scan<'a>(&'a [u8]);

impl Scan<'_> {
    fn skip(&mut self, bytes: &[u8]) {
        while self.0.first().is_some_and(|first| bytes.contains(first)) {
            self.0 = &self.0[1..];
        }
    }

    fn expect(&mut self, any_of: &[u8]) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        any_of.contains(first).then(|| self.0 = rest)
    }

    /// A number of exactly so many digits.
    fn number(&mut self, digits: usize) -> Option<u64> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        let value = number.iter().try_fold(0, |value, digit| {
            digit
                .is_ascii_digit()
                .then(|| value * 10 + u64::from(digit - b'0'))
        })?;
        self.0 = rest;
        Some(value)
    }

    /// `<34>` and, of RFC 5424, the version behind it.
    fn priority(&mut self) {
        if self.0.first() == Some(&b'<')
            && let Some(end) = memchr::memchr(b'>', self.0)
        {
            self.0 = &self.0[end + 1..];
            self.0 = self.0.strip_prefix(b"1 ").unwrap_or(self.0);
        }
    }

    /// Year, month and day, and whether the year was named. What stands before the hour goes, too.
    fn date(&mut self, cx: &TimeContext) -> Option<((i16, u64, u64), bool)> {
        if let Some(month) = self.month() {
            self.expect(b" ")?;
            self.skip(b" ");
            let day = self.number(2).or_else(|| self.number(1))?;
            self.expect(b" ")?;
            let now = jiff::Timestamp::from_nanosecond(i128::from(cx.now_ns)).ok()?;
            let year = cx.zone.to_datetime(now).year();
            return Some(((year, month, day), false));
        }
        if let Some(year) = self.number(4) {
            self.expect(b"-/")?;
            let month = self.number(2)?;
            self.expect(b"-/")?;
            let day = self.number(2)?;
            self.expect(b"Tt ")?;
            return Some(((i16::try_from(year).ok()?, month, day), true));
        }
        let day = self.number(2)?;
        self.expect(b"/")?;
        let month = self.month()?;
        self.expect(b"/")?;
        let year = self.number(4)?;
        self.expect(b": ")?;
        Some(((i16::try_from(year).ok()?, month, day), true))
    }

    fn month(&mut self) -> Option<u64> {
        const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
        let (name, rest) = self.0.split_at_checked(3)?;
        let month = MONTHS.chunks(3).position(|month| month == name)?;
        self.0 = rest;
        Some(month as u64 + 1)
    }

    /// Nanoseconds behind a point or comma.
    fn fraction(&mut self) -> i32 {
        if !matches!(self.0, [b'.' | b',', b'0'..=b'9', ..]) {
            return 0;
        }
        self.0 = &self.0[1..];
        let (mut nanos, mut unit) = (0, 100_000_000);
        while let Some(digit) = self.0.first().filter(|byte| byte.is_ascii_digit()) {
            nanos += i32::from(digit - b'0') * unit;
            unit /= 10;
            self.0 = &self.0[1..];
        }
        nanos
    }

    /// Seconds east of Greenwich; `None` where no zone is named.
    fn zone(&mut self) -> Option<i64> {
        let text = self.0.strip_prefix(b" ").unwrap_or(self.0);
        if [&b"Z"[..], b"UTC", b"GMT"]
            .iter()
            .any(|name| text.starts_with(name))
        {
            return Some(0);
        }
        let sign = match text.first()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let mut rest = Scan(&text[1..]);
        let hours = rest.number(2)?;
        rest.skip(b":");
        let minutes = rest.number(2).unwrap_or(0);
        let is_zone = hours < 24 && minutes < 60;
        is_zone.then(|| sign * i64::try_from(hours * 3600 + minutes * 60).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::offset;

    use super::*;

    /// 2026-11-22T23:41:23Z
    const TIME_S: i64 = 1_795_390_883;

    fn cx() -> TimeContext {
        TimeContext {
            zone: TimeZone::fixed(offset(1)),
            now_ns: (TIME_S + 3 * 86_400) * 1_000_000_000,
        }
    }

    #[track_caller]
    fn check(from: &TimeFrom, text: &str, expected: Option<(i64, i64)>) {
        let expected = expected.map(|(s, ns)| s * 1_000_000_000 + ns);
        assert_eq!(from.find(text.as_bytes(), &cx()), expected, "{text}");
    }

    #[test]
    fn leading_times() {
        let cases = [
            ("2026-11-22T23:41:23Z x", Some((TIME_S, 0))),
            (
                "2026-11-22T23:41:23.515351945+00:00 x",
                Some((TIME_S, 515_351_945)),
            ),
            ("2026-11-23 00:41:23,515 INFO", Some((TIME_S, 515_000_000))),
            (
                "2026-11-22 23:41:23.5 UTC [7] LOG",
                Some((TIME_S, 500_000_000)),
            ),
            ("2026-11-22 18:11:23 -0530", Some((TIME_S, 0))),
            ("2026/11/23 00:41:23 worker", Some((TIME_S, 0))),
            ("[22/Nov/2026:23:41:23 +0000] GET", Some((TIME_S, 0))),
            ("Nov 23 00:41:23 web01 sshd", Some((TIME_S, 0))),
            ("<34>Nov 23 00:41:23 web01", Some((TIME_S, 0))),
            ("<34>1 2026-11-22T23:41:23Z web01", Some((TIME_S, 0))),
            ("Nov  3 00:41:23 x", Some((TIME_S - 20 * 86_400, 0))),
            ("Dec 31 00:00:00 of last year", Some((1_767_135_600, 0))),
            ("\"2026-11-22T23:41:23Z\"", Some((TIME_S, 0))),
            ("2026-13-22T23:41:23Z", None),
            ("2026-11-22", None),
            ("2026-11-22T23:41:230", None),
            ("no time", None),
            ("", None),
        ];
        for (text, expected) in cases {
            check(&TimeFrom::Leading, text, expected);
        }
    }

    #[test]
    fn times_in_json() {
        let at = |text: &str| TimeFrom::Pointer(Pointer::new(text).unwrap());
        let cases = [
            (
                at("/ts"),
                r#"{"a":[1,{"ts":1}],"ts":1795390883}"#,
                Some((TIME_S, 0)),
            ),
            (
                at("/ts"),
                r#"{"ts":1795390883.25}"#,
                Some((TIME_S, 250_000_000)),
            ),
            (
                at("/ts"),
                r#"{"ts":1795390883001}"#,
                Some((TIME_S, 1_000_000)),
            ),
            (
                at("/ts"),
                r#"{"ts":"1795390883000001"}"#,
                Some((TIME_S, 1_000)),
            ),
            (
                at("/ts"),
                r#"{"ts":1795390883000000001}"#,
                Some((TIME_S, 1)),
            ),
            (
                at("/a/b~1c/1"),
                r#"{"a":{"b/c":[0,"2026-11-22T23:41:23Z"]}}"#,
                Some((TIME_S, 0)),
            ),
            (
                at("/a/-1"),
                r#"{"a":[0,0,"2026-11-23 00:41:23"]}"#,
                Some((TIME_S, 0)),
            ),
            (at("/a/-4"), r#"{"a":[0,0,1795390883]}"#, None),
            (at("/ts"), r#"{"ts":null,"x":{"ts":1795390883}}"#, None),
            (at("/ts"), r#"{"ts":{"x":1}}"#, None),
            (at("/ts"), "2026-11-22T23:41:23Z", None),
            (
                TimeFrom::Known,
                r#"{"msg":"a","@timestamp":"2026-11-22T23:41:23Z"}"#,
                Some((TIME_S, 0)),
            ),
            (TimeFrom::Known, r#"{"x":{"time":1}}"#, None),
        ];
        for (from, text, expected) in cases {
            check(&from, text, expected);
        }
        assert_eq!(Pointer::new("ts"), None);
    }
}
