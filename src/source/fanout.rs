//! Pushes the lines of one stream into the queues of all its sinks, or into the source's spool.
//!
//! For sources that cannot be read by each sink at its own pace: each sink's ledger is opened here,
//! and room is charged before a chunk is sent. While this waits for room its source is not read. Where
//! there is a spool, it is what a source waits for, and each sink reads that at its own pace.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use tracing::warn;

use super::refine::{Refine, Refined};
use super::spool::Inlet;
use super::{Common, Outlet, SourceContext};
use crate::checkpoint::Checkpoints;
use crate::framing::{CHUNK_BYTES, SHARED_ABOVE_BYTES};
use crate::model::{CursorKey, Ledger, Lines, Origin, Position, StreamKey};
use crate::queue::{Chunk, Closed};
use crate::segment::{Record, Token};
use crate::telemetry::SourceCounters;

/// Lines that are there at once are joined up to so many bytes before they are sent. More would
/// share a read buffer, of which what is not filled is pinned too.
pub(super) const JOIN_BYTES: usize = SHARED_ABOVE_BYTES;

/// One stream's way to all its sinks.
#[derive(Debug)]
pub(super) struct Fanout {
    origin: Arc<Origin>,
    to: To,
    counters: Arc<SourceCounters>,
    refine: Refine,
    refined: Refined,
    /// The least time that the next line may carry, in nanoseconds since 1970.
    next_time_ns: i64,
}

/// Where lines go.
#[derive(Debug)]
enum To {
    Sinks {
        ways: Vec<Way>,
        checkpoints: Checkpoints,
    },
    Spool {
        inlet: Inlet,
        /// Where sinks stand by their checkpoints from before there was a spool.
        before: Vec<(Arc<str>, Position)>,
    },
}

/// The way to one sink.
#[derive(Debug)]
struct Way {
    outlet: Outlet,
    ledger: Ledger,
    /// Where the last chunk ended.
    sent: Position,
}

impl Fanout {
    /// Opens a ledger per sink, each where the sink's checkpoint stands; or the spool's inlet.
    pub(super) fn new(common: &Common, stream: StreamKey, cx: &SourceContext) -> Self {
        let origin = Origin {
            source: Arc::clone(&common.name),
            stream,
            path: None,
            labels: Arc::clone(&common.labels),
        };
        let committed = |outlet: &Outlet| {
            let key = CursorKey {
                source: Arc::clone(&origin.source),
                stream: origin.stream.clone(),
                sink: Arc::clone(&outlet.sink),
            };
            let committed = cx.checkpoints.position(&key).unwrap_or(Position::Live);
            (key, committed)
        };
        let way = |outlet: &Outlet| {
            let (key, committed) = committed(outlet);
            let mut outlet = outlet.clone();
            outlet.sender = outlet.sender.limited(outlet.share_bytes);
            Way {
                outlet,
                ledger: Ledger::new(Arc::new(key), committed.clone()),
                sent: committed,
            }
        };
        let before = |outlet: &Outlet| (Arc::clone(&outlet.sink), committed(outlet).1);
        let to = match &cx.inlet {
            None => To::Sinks {
                ways: cx.outlets.iter().map(way).collect(),
                checkpoints: cx.checkpoints.clone(),
            },
            Some(inlet) => To::Spool {
                inlet: inlet.clone(),
                before: cx.outlets.iter().map(before).collect(),
            },
        };
        Self {
            to,
            origin: Arc::new(origin),
            counters: Arc::clone(&cx.counters),
            refine: common.refine.clone(),
            refined: Refined::default(),
            next_time_ns: 0,
        }
    }

    /// The token at which the stream goes on after a restart, and how many lines were taken by then:
    /// what the spool says, or the earliest that a sink stands at. Nothing is missing at any sink then,
    /// and what the others had already comes to them twice. A sink that is new to the stream gets what
    /// comes from now on.
    ///
    /// `age` tells which of two tokens is the older one; between equals the number of lines does, which
    /// may have gone round.
    pub(super) fn resume<K: Ord>(&self, age: impl Fn(&str) -> Option<K>) -> Option<Token> {
        match &self.to {
            To::Sinks { ways, .. } => {
                let places = ways.iter().map(|way| (&way.outlet.sink, &way.sent));
                self.earliest(places, age)
            }
            To::Spool { inlet, before } => inlet
                .token(self.origin.stream.as_str())
                .or_else(|| self.earliest(before.iter().map(|(sink, at)| (sink, at)), age)),
        }
    }

    fn earliest<'a, K: Ord>(
        &self,
        sinks: impl Iterator<Item = (&'a Arc<str>, &'a Position)>,
        age: impl Fn(&str) -> Option<K>,
    ) -> Option<Token> {
        let mut places = Vec::new();
        for (sink, position) in sinks {
            if let Position::Token { cursor, skip } = position {
                places.push((age(cursor)?, *skip, cursor, sink));
            }
        }
        let earliest = places.iter().min_by(|a, b| {
            let lines = a.1.wrapping_sub(b.1).cast_signed();
            a.0.cmp(&b.0).then(lines.cmp(&0))
        })?;
        let (_, skip, token, sink) = earliest;
        if let Some((_, _, other, other_sink)) = places.iter().find(|it| it.2 != *token) {
            warn!(
                source = %self.origin.source, resume = %token, %sink, %other, %other_sink,
                "sinks stand at different places of this stream: it is resumed at the earlier one, \
                 and the other sink gets some lines twice"
            );
        }
        Some((Arc::clone(token), *skip))
    }

    /// Notes that lines came again and were passed over.
    pub(super) fn count_duplicates(&self, n: u64) {
        self.counters.duplicates.add(n);
    }

    /// Sends lines to every sink and returns when each has taken them, or the spool. `end` is where the
    /// stream stands after them. A sink whose delivery has ended gets no more.
    ///
    /// Not cancel safe: if dropped before it returns, ledgers may be broken.
    ///
    /// # Errors
    /// [`Closed`] when the delivery of every sink has ended.
    pub(super) async fn push(&mut self, lines: Lines, end: Position) -> Result<(), Closed> {
        let now_ns = now_ns();
        let refined = self
            .refine
            .apply(lines, now_ns, &mut self.refined, &self.counters);
        let Some(lines) = refined else {
            return self.pass(&end).await;
        };
        let time_ns = now_ns.max(self.next_time_ns);
        self.next_time_ns = time_ns + i64::from(lines.count());
        let (origin, counters) = (&self.origin, &self.counters);
        let ways = match &mut self.to {
            To::Sinks { ways, .. } => ways,
            To::Spool { inlet, .. } => {
                return inlet
                    .push(record(origin, (time_ns, end), Some(lines)))
                    .await;
            }
        };
        let pushes = ways.iter_mut().map(|way| {
            let (lines, end) = (lines.clone(), end.clone());
            async move {
                way.note(origin, counters, &lines);
                way.push(origin, counters, lines, (time_ns, end)).await
            }
        });
        let mut closed = join_all(pushes).await.into_iter().map(|it| it.is_err());
        ways.retain(|_| !closed.next().unwrap_or(false));
        if ways.is_empty() {
            return Err(Closed);
        }
        Ok(())
    }

    /// Moves every cursor to where the stream stands, behind what was sent before. For a place that
    /// moved without lines.
    ///
    /// # Errors
    /// [`Closed`] when there is a spool and the delivery of every sink has ended.
    pub(super) async fn pass(&mut self, end: &Position) -> Result<(), Closed> {
        match &mut self.to {
            To::Sinks { ways, checkpoints } => {
                for way in ways {
                    way.sent.clone_from(end);
                    let moved = way.ledger.open(end.clone()).settle();
                    checkpoints.advance(moved.into_iter().collect());
                }
                Ok(())
            }
            To::Spool { .. } if *end == Position::Live => Ok(()),
            To::Spool { inlet, .. } => {
                let place = (self.next_time_ns, end.clone());
                inlet.push(record(&self.origin, place, None)).await
            }
        }
    }
}

/// Lines as the spool keeps them.
fn record(origin: &Origin, (time_ns, end): (i64, Position), lines: Option<Lines>) -> Record {
    Record {
        stream: origin.stream.name(),
        labels: Arc::clone(&origin.labels),
        token: match end {
            Position::Token { cursor, skip } => Some((cursor, skip)),
            Position::File { .. } | Position::Live => None,
        },
        time_ns,
        lines,
    }
}

impl Way {
    fn note(&mut self, origin: &Origin, counters: &SourceCounters, lines: &Lines) {
        counters.lines.add(u64::from(lines.count()));
        counters.bytes.add(lines.bytes().len() as u64);
        counters.truncated.add(lines.truncated());
        // Whoever wants no more breaks ledgers, too; it is found out when lines are sent.
        if self.ledger.is_broken() && !self.outlet.sender.is_closed() {
            let lost = self.ledger.unsettled();
            warn!(
                source = %origin.source, sink = %self.outlet.sink, chunks = lost,
                "lines were given up by a delivery that broke off"
            );
            let committed = self.ledger.committed();
            self.ledger = Ledger::new(Arc::clone(self.ledger.key()), committed);
        }
    }

    async fn push(
        &mut self,
        origin: &Arc<Origin>,
        counters: &SourceCounters,
        lines: Lines,
        (time_ns, end): (i64, Position),
    ) -> Result<(), Closed> {
        let charge = self.outlet.charge(pinned_bytes(&lines), counters).await?;
        let mut charge = Some(charge);
        let (mut from, count) = (0, lines.count());
        while from < count {
            let to = (from + self.outlet.chunk_lines).min(count);
            // The last part pays for all: they share one buffer and are settled in order.
            let (charge, place) = if to == count {
                (charge.take(), end.clone())
            } else {
                (None, self.sent.clone())
            };
            let chunk = Chunk {
                origin: Arc::clone(origin),
                lines: lines.slice(from..to),
                time_ns: time_ns + i64::from(from),
                ack: self.ledger.open(place),
                charge,
            };
            self.outlet.sender.send(chunk).await?;
            from = to;
        }
        self.sent = end;
        Ok(())
    }
}

/// What the lines keep in memory: from a certain size on they share a read buffer.
fn pinned_bytes(lines: &Lines) -> usize {
    match lines.bytes().len() {
        small if small < SHARED_ABOVE_BYTES => small,
        large => large.max(CHUNK_BYTES),
    }
}

/// The time, in nanoseconds since 1970.
pub(super) fn now_ns() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
