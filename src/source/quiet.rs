//! What waits for more of itself while its stream is quiet, and since when.

use std::time::{Duration, Instant};

use crate::framing::{Framer, Taken};
use crate::model::StdStream;

/// Something unfinished at the end of what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// The record of that stream; `None`: the line that has no newline.
    pub(super) record: Option<StdStream>,
    /// Where it begins and ends so far: something else, or more of it, waits anew.
    span: (u64, u64),
}

/// How long unfinished things wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// A record of which further lines may come.
    pub(super) record: Duration,
    /// A line without its newline; `None`: for ever.
    pub(super) line: Option<Duration>,
}

/// Knows since when each unfinished thing has been as it is.
#[derive(Debug, Default)]
pub(super) struct Quiet(Vec<(Waiting, Instant)>);

impl Quiet {
    /// True where nothing was unfinished.
    pub(super) fn is_idle(&self) -> bool {
        self.0.is_empty()
    }

    /// Looks at what is unfinished now. Returns what has waited long enough, if anything, and
    /// otherwise when something will have.
    pub(super) fn look(
        &mut self,
        framer: &Framer,
        patience: Patience,
        now: Instant,
    ) -> (Option<Waiting>, Option<Instant>) {
        let records = framer.open().map(|open| {
            let span = (open.start, open.end);
            (
                Waiting {
                    record: Some(open.stream),
                    span,
                },
                patience.record,
            )
        });
        let held = framer.held() as u64;
        let line = patience.line.filter(|_| held > 0).map(|patience| {
            let end = framer.read_offset();
            (
                Waiting {
                    record: None,
                    span: (end - held, end),
                },
                patience,
            )
        });
        let before = std::mem::take(&mut self.0);
        let (mut due, mut next) = (None, None::<Instant>);
        for (waiting, patience) in records.chain(line) {
            let known = before.iter().find(|(it, _)| *it == waiting);
            let since = known.map_or(now, |(_, since)| *since);
            self.0.push((waiting, since));
            let until = since + patience;
            if until <= now {
                due = due.or(Some(waiting));
            }
            next = Some(next.map_or(until, |next| next.min(until)));
        }
        (due, next)
    }
}

/// Takes what has waited long enough, as if it were finished.
pub(super) fn take(framer: &mut Framer, due: Waiting) -> Option<Taken> {
    match due.record {
        Some(stream) => framer.close(stream),
        None => framer.take_unterminated(),
    }
}

/// Completes at that time; never where there is none.
pub(super) async fn until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::{GroupLimits, Multiline, Pool, RecordLimits, Recording, Start};

    #[test]
    fn what_grows_waits_anew() {
        let rules = Recording {
            multiline: Multiline::Auto(GroupLimits::default()),
            ..Recording::default()
        };
        let limits = RecordLimits {
            line_bytes_max: 100,
            records: 100,
            bytes: 1000,
        };
        let mut framer = Framer::new(Pool::default(), Start::default(), &rules, limits);
        let patience = Patience {
            record: Duration::from_secs(1),
            line: Some(Duration::from_secs(3)),
        };
        let mut quiet = Quiet::default();
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);

        framer.extend(b"one\nhal");
        assert!(framer.take().is_none());
        assert_eq!(quiet.look(&framer, patience, at(0)), (None, Some(at(1))));
        framer.extend(b"f\n\tat x\nrest");
        let taken = framer.take().and_then(|taken| taken.lines).unwrap();
        assert_eq!(taken.bytes().as_ref(), b"one\n");
        assert_eq!(quiet.look(&framer, patience, at(1)), (None, Some(at(2))));

        let (due, _) = quiet.look(&framer, patience, at(2));
        assert_eq!(due.map(|it| it.record), Some(Some(StdStream::Stdout)));
        let taken = framer.close(StdStream::Stdout).unwrap();
        assert_eq!(
            (taken.lines.unwrap().bytes().as_ref(), taken.end),
            (&b"half\n\tat x\n"[..], 15)
        );
        assert_eq!(quiet.look(&framer, patience, at(2)), (None, Some(at(4))));
        let (due, _) = quiet.look(&framer, patience, at(4));
        assert_eq!(due.map(|it| it.record), Some(None));
    }
}
