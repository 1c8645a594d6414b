//! What happens to records after framing: some are dropped, and their own times are found.

use std::ops::Range;

use jiff::tz::TimeZone;

use crate::encoding::level::Level;
use crate::filter::Filter;
use crate::framing::{Stamps, TimeContext, TimeFrom, own_time};
use crate::model::{Line, Lines};
use crate::telemetry::SourceCounters;

/// Which records are kept by what they say about themselves. A record that says nothing goes with
/// the one before it in its stream, for it mostly continues that one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The least level. Until a stream names its first level, its records are dropped.
    pub level: Option<Level>,
    /// From when to when, in nanoseconds since 1970. Until a stream has its first time, its records
    /// are kept.
    pub times: Option<Range<i64>>,
}

/// What happens to records after framing.
#[derive(Clone, Debug)]
pub(crate) struct Refine {
    filter: Filter,
    selection: Selection,
    time: Option<TimeFrom>,
    zone: TimeZone,
}

/// What is remembered of one stream from record to record.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Refined {
    stamps: Stamps,
    /// Whether the last record that named its level was kept.
    level: Option<bool>,
    /// Whether the last record that had a time was kept.
    time: Option<bool>,
}

impl Refine {
    pub(crate) fn new(filter: Filter, selection: Selection, time: Option<TimeFrom>) -> Self {
        // Without a zone of their own, times are the machine's.
        let zone = if time.is_some() || selection.times.is_some() {
            TimeZone::system()
        } else {
            TimeZone::UTC
        };
        Self {
            filter,
            selection,
            time,
            zone,
        }
    }

    /// Where records have their time, where that counts.
    pub(crate) fn time(&self) -> Option<&TimeFrom> {
        self.time.as_ref()
    }

    /// True where nothing happens.
    pub(crate) fn is_idle(&self) -> bool {
        self.filter.is_empty() && self.time.is_none() && self.selection == Selection::default()
    }

    /// What is left of the lines; `None` where nothing is. It takes time linear in their bytes.
    pub(crate) fn apply(
        &self,
        lines: Lines,
        now_ns: i64,
        refined: &mut Refined,
        counters: &SourceCounters,
    ) -> Option<Lines> {
        let cx = TimeContext {
            zone: self.zone.clone(),
            now_ns,
        };
        let mut left = lines;
        if self.selection != Selection::default() {
            left = self.drop_some(&left, counters, |lines| {
                lines.filtered(|line| self.selects(line, &cx, refined))
            })?;
        }
        if !self.filter.is_empty() {
            left = self.drop_some(&left, counters, |lines| self.filter.apply(lines))?;
        }
        let Some(time) = &self.time else {
            return Some(left);
        };
        let mut unparsed = 0;
        let timed = left.with_times(|line| {
            let found = time
                .find(line.text, &cx)
                .map(|time_ns| refined.stamps.next(time_ns));
            let is_json = || line.text.trim_ascii_start().starts_with(b"{");
            unparsed += u64::from(*time == TimeFrom::Known && found.is_none() && !is_json());
            found
        });
        counters.unparsed.add(unparsed);
        Some(timed)
    }

    fn drop_some(
        &self,
        lines: &Lines,
        counters: &SourceCounters,
        keep: impl FnOnce(&Lines) -> Option<Lines>,
    ) -> Option<Lines> {
        let kept = keep(lines);
        let dropped = lines.count() - kept.as_ref().map_or(0, Lines::count);
        counters.filtered.add(u64::from(dropped));
        kept
    }

    fn selects(&self, line: &Line, cx: &TimeContext, refined: &mut Refined) -> bool {
        if let Some(times) = &self.selection.times {
            let found = match &self.time {
                Some(time) => line.time_ns.or_else(|| time.find(line.text, cx)),
                None => line.time_ns.or_else(|| own_time(line.text, cx)),
            };
            if let Some(time_ns) = found {
                refined.time = Some(times.contains(&time_ns));
            }
        }
        if let Some(least) = self.selection.level {
            if let Some(level) = Level::detect(line.text) {
                refined.level = Some(level >= least);
            }
            if !refined.level.unwrap_or(false) {
                return false;
            }
        }
        refined.time.unwrap_or(true)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn kept(selection: Selection, chunks: &[&'static str]) -> String {
        let refine = Refine::new(Filter::default(), selection, None);
        let (mut refined, counters) = (Refined::default(), SourceCounters::default());
        let mut all = String::new();
        for chunk in chunks {
            let count = u32::try_from(chunk.lines().count()).unwrap();
            let lines = Lines::untouched(Bytes::from_static(chunk.as_bytes()), count, 0);
            if let Some(left) = refine.apply(lines, 0, &mut refined, &counters) {
                all.push_str(std::str::from_utf8(left.bytes()).unwrap());
            }
        }
        all
    }

    #[test]
    fn a_record_without_a_level_goes_with_the_one_before_also_over_chunks() {
        let selection = Selection {
            level: Some(Level::Warn),
            times: None,
        };

        let left = kept(
            selection,
            &[
                "no level yet\nINFO a\n  of a\nERROR b\n",
                "  at b.rs:1\n{\"level\":30}\n",
                "{\"level\":40}\n",
            ],
        );

        assert_eq!(left, "ERROR b\n  at b.rs:1\n{\"level\":40}\n");
    }

    #[test]
    fn times_are_the_records_own_and_what_has_none_goes_with_the_one_before() {
        let at = |text: &str| {
            let time: jiff::Timestamp = text.parse().unwrap();
            i64::try_from(time.as_nanosecond()).unwrap()
        };
        let selection = Selection {
            level: None,
            times: Some(at("2026-11-22T18:00:00Z")..at("2026-11-22T19:00:00Z")),
        };

        let left = kept(
            selection,
            &[
                "without any\n2026-11-22T17:59:59Z early\n more\n",
                "{\"ts\":\"2026-11-22T18:00:00Z\"}\n more of it\n2026-11-22T19:00:00Z late\n more\n",
            ],
        );

        assert_eq!(
            left,
            "without any\n{\"ts\":\"2026-11-22T18:00:00Z\"}\n more of it\n"
        );
    }
}
