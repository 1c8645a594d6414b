//! Resuming by time, for servers that replay from a time on: what came in the last second is counted,
//! and of what is replayed of it so many lines are passed over. That is what stern does for
//! Kubernetes, whose servers know no fractions of a second.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::framing::{TimeContext, TimeFrom};
use crate::model::{Line, Lines, Position};

const SECOND_NS: i64 = 1_000_000_000;

/// How a stream is resumed by time.
#[derive(Clone, Debug, PartialEq)]
pub struct ResumeRule {
    /// The parameter of the query that says from when on.
    pub param: String,
    /// Where a record's time is.
    pub from: TimeFrom,
}

/// How the server writes times, and so wants to read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spelling {
    /// `2026-11-25T18:00:00Z`
    Rfc3339,
    /// A number, of which so many make a second.
    PerSecond(i64),
}

/// Where a stream stands by its records' times.
#[derive(Debug)]
pub(super) struct Replay {
    rule: ResumeRule,
    spelling: Spelling,
    zone: TimeZone,
    /// The latest second of all records, since 1970; `None` before the first.
    second: Option<i64>,
    /// Records of that second that came.
    count: u32,
    /// Of those that are replayed, so many are still to come.
    skip: u32,
    /// True where the record before belonged to that second: one without a time does, too.
    in_second: bool,
}

impl Replay {
    /// Stands where a cursor does, or at no time yet. Docker's servers read Unix seconds.
    pub(super) fn new(rule: ResumeRule, is_docker: bool, place: Option<(Arc<str>, u32)>) -> Self {
        let spelling = if is_docker {
            Spelling::PerSecond(1)
        } else {
            Spelling::Rfc3339
        };
        let mut replay = Self {
            rule,
            spelling,
            zone: TimeZone::system(),
            second: None,
            count: 0,
            skip: 0,
            in_second: false,
        };
        if let Some((cursor, count)) = place
            && let Some((second, spelling)) = read(&cursor)
        {
            (replay.second, replay.count, replay.spelling) = (Some(second), count, spelling);
        }
        replay
    }

    /// Begins a connection; what is asked for: a parameter and its value.
    pub(super) fn connect(&mut self) -> Option<(&str, String)> {
        self.skip = self.count;
        self.in_second = false;
        let second = self.second?;
        Some((&self.rule.param, self.spelled(second)))
    }

    /// The lines without those that came before, and how many these were.
    pub(super) fn sift(&mut self, lines: Lines, now_ns: i64) -> (Option<Lines>, u64) {
        let cx = TimeContext {
            zone: self.zone.clone(),
            now_ns,
        };
        let before = lines.count();
        let kept = lines.filtered(|line| self.is_new(line, &cx));
        let left = kept.as_ref().map_or(0, Lines::count);
        (kept, u64::from(before - left))
    }

    /// Where the stream stands behind what was sifted.
    pub(super) fn position(&self) -> Position {
        match self.second {
            None => Position::Live,
            Some(second) => Position::Token {
                cursor: self.spelled(second).into(),
                skip: self.count,
            },
        }
    }

    /// How the place is shown; `None` where there is none.
    pub(super) fn shown(&self) -> Option<String> {
        self.second.map(|second| self.spelled(second))
    }

    fn is_new(&mut self, line: &Line, cx: &TimeContext) -> bool {
        let second = self.rule.from.find(line.text, cx);
        let second = second.map(|time_ns| time_ns.div_euclid(SECOND_NS));
        if let Some(second) = second {
            self.learn(line.text);
            if self.second.is_none_or(|latest| second > latest) {
                self.second = Some(second);
                (self.count, self.skip) = (0, 0);
            }
            self.in_second = self.second == Some(second);
        }
        if !self.in_second {
            // Older ones are not replayed, and so are not counted.
            return true;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.count = self.count.saturating_add(1);
        true
    }

    /// A record that is JSON and names its time by a number tells how the server counts.
    fn learn(&mut self, text: &[u8]) {
        let TimeFrom::Pointer(pointer) = &self.rule.from else {
            return;
        };
        if self.second.is_some() {
            return;
        }
        let found = std::str::from_utf8(text)
            .ok()
            .and_then(|text| pointer.find(text));
        if let Some((_, spelling)) = found.as_deref().and_then(read) {
            self.spelling = spelling;
        }
    }

    fn spelled(&self, second: i64) -> String {
        match self.spelling {
            Spelling::PerSecond(n) => second.saturating_mul(n).to_string(),
            Spelling::Rfc3339 => Timestamp::from_second(second)
                .map_or_else(|_| second.to_string(), |time| time.to_string()),
        }
    }
}

/// When a cursor stands, for comparing.
pub(super) fn second_of(cursor: &str) -> Option<i64> {
    read(cursor).map(|(second, _)| second)
}

/// A time as it was spelled: the second, and how.
fn read(text: &str) -> Option<(i64, Spelling)> {
    let text = text.trim_matches('"');
    let whole = text.split('.').next().unwrap_or_default();
    if let Ok(number) = whole.parse::<i64>() {
        // As everywhere: what is too large to be seconds is milliseconds, and so on.
        let per_second = match number.unsigned_abs() {
            0..100_000_000_000 => 1,
            100_000_000_000..100_000_000_000_000 => 1_000,
            100_000_000_000_000..100_000_000_000_000_000 => 1_000_000,
            _ => SECOND_NS,
        };
        return Some((
            number.div_euclid(per_second),
            Spelling::PerSecond(per_second),
        ));
    }
    let time: Timestamp = text.parse().ok()?;
    let second = time.as_nanosecond().div_euclid(i128::from(SECOND_NS));
    Some((i64::try_from(second).ok()?, Spelling::Rfc3339))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::framing::Pointer;

    fn lines(texts: &[&str]) -> Lines {
        let bytes: String = texts.iter().map(|text| format!("{text}\n")).collect();
        let count = u32::try_from(texts.len()).unwrap();
        Lines::untouched(Bytes::from(bytes), count, 0)
    }

    fn sifted(replay: &mut Replay, texts: &[&str]) -> Vec<String> {
        let (kept, _) = replay.sift(lines(texts), 0);
        let kept = kept.iter().flat_map(Lines::iter);
        kept.map(|it| String::from_utf8_lossy(it.text).into_owned())
            .collect()
    }

    fn token(cursor: &str, skip: u32) -> Position {
        Position::Token {
            cursor: cursor.into(),
            skip,
        }
    }

    #[test]
    fn lines_of_the_last_second_are_passed_over_once() {
        let rule = ResumeRule {
            param: "sinceTime".to_owned(),
            from: TimeFrom::Leading,
        };
        let mut replay = Replay::new(rule.clone(), false, None);
        assert_eq!(replay.connect(), None);
        let first = [
            "no time yet",
            "2026-11-25T18:00:00.1Z a",
            "2026-11-25T18:00:01.2Z b",
            "  goes on",
            "2026-11-25T18:00:01.9Z c",
        ];
        assert_eq!(sifted(&mut replay, &first), first);
        assert_eq!(replay.position(), token("2026-11-25T18:00:01Z", 3));

        let place = Some(("2026-11-25T18:00:01Z".into(), 3));
        for mut again in [replay, Replay::new(rule, false, place)] {
            let asked = again.connect();
            assert_eq!(
                asked,
                Some(("sinceTime", "2026-11-25T18:00:01Z".to_owned()))
            );
            let part = [first[2], first[3]];
            assert!(sifted(&mut again, &part).is_empty());
            let rest = [
                first[4],
                "2026-11-25T18:00:01.9Z d",
                "2026-11-25T17:59:59Z late",
                "2026-11-25T18:00:02Z e",
            ];
            assert_eq!(sifted(&mut again, &rest), rest[1..]);
            assert_eq!(again.position(), token("2026-11-25T18:00:02Z", 1));
        }
    }

    #[test]
    fn what_is_not_replayed_any_more_costs_nothing_new() {
        let rule = ResumeRule {
            param: "since".to_owned(),
            from: TimeFrom::Leading,
        };
        let mut replay = Replay::new(rule, true, Some(("1795629601".into(), 7)));
        let asked = replay.connect();

        assert_eq!(asked, Some(("since", "1795629601".to_owned())));
        let next = ["2026-11-25T18:00:02Z e"];
        assert_eq!(sifted(&mut replay, &next), next);
    }

    #[test]
    fn times_are_asked_for_as_the_server_writes_them() {
        let check = |record: &str, asked: &str| {
            let rule = ResumeRule {
                param: "since".to_owned(),
                from: TimeFrom::Pointer(Pointer::new("/ts").unwrap()),
            };
            let mut replay = Replay::new(rule, false, None);
            assert_eq!(sifted(&mut replay, &[record]), [record]);
            assert_eq!(replay.connect(), Some(("since", asked.to_owned())));
        };
        check(r#"{"ts":1795629601}"#, "1795629601");
        check(r#"{"ts":1795629601.25}"#, "1795629601");
        check(r#"{"ts":1795629601250}"#, "1795629601000");
        check(r#"{"ts":"1795629601250000000"}"#, "1795629601000000000");
        check(
            r#"{"ts":"2026-11-25T19:00:01.5+01:00"}"#,
            "2026-11-25T18:00:01Z",
        );
    }
}
