//! What happens to records after framing: some are dropped, and their own times are found.

use jiff::tz::TimeZone;

use crate::filter::Filter;
use crate::framing::{Stamps, TimeContext, TimeFrom};
use crate::model::Lines;
use crate::telemetry::SourceCounters;

/// What happens to records after framing.
#[derive(Clone, Debug)]
pub(crate) struct Refine {
    filter: Filter,
    time: Option<TimeFrom>,
    zone: TimeZone,
}

impl Refine {
    pub(crate) fn new(filter: Filter, time: Option<TimeFrom>) -> Self {
        // Without a zone of their own, times are the machine's.
        let zone = if time.is_some() {
            TimeZone::system()
        } else {
            TimeZone::UTC
        };
        Self { filter, time, zone }
    }

    /// Where records have their time, where that counts.
    pub(crate) fn time(&self) -> Option<&TimeFrom> {
        self.time.as_ref()
    }

    /// True where nothing happens.
    pub(crate) fn is_idle(&self) -> bool {
        self.filter.is_empty() && self.time.is_none()
    }

    /// What is left of the lines; `None` where nothing is. It takes time linear in their bytes.
    pub(crate) fn apply(
        &self,
        lines: Lines,
        now_ns: i64,
        stamps: &mut Stamps,
        counters: &SourceCounters,
    ) -> Option<Lines> {
        let mut lines = lines;
        if !self.filter.is_empty() {
            let kept = self.filter.apply(&lines);
            let dropped = lines.count() - kept.as_ref().map_or(0, Lines::count);
            counters.filtered.add(u64::from(dropped));
            lines = kept?;
        }
        let Some(time) = &self.time else {
            return Some(lines);
        };
        let cx = TimeContext {
            zone: self.zone.clone(),
            now_ns,
        };
        let mut unparsed = 0;
        let timed = lines.with_times(|line| {
            let found = time
                .find(line.text, &cx)
                .map(|time_ns| stamps.next(time_ns));
            let is_json = || line.text.trim_ascii_start().starts_with(b"{");
            unparsed += u64::from(*time == TimeFrom::Known && found.is_none() && !is_json());
            found
        });
        counters.unparsed.add(unparsed);
        Some(timed)
    }
}
