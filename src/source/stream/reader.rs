//! Turns the bytes of responses into lines and sends them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;

use super::intake::{Intake, Track};
use super::replay::{Replay, second_of};
use super::{Framing, StreamConfig};
use crate::framing::{Pool, Recording, SeqBuffer, SseBuffer};
use crate::model::{Lines, Position, StreamKey};
use crate::queue::Closed;
use crate::secret::shown_url;
use crate::source::body::Body;
use crate::source::fanout::{Fanout, JOIN_BYTES, now_ns};
use crate::source::quiet::until;
use crate::source::session::{End, Session};
use crate::source::{Common, SourceContext};

/// The outcome of `future`, or `None` after `limit`. The clock runs only while this is waited for.
pub(super) async fn within<T>(
    limit: Option<Duration>,
    future: impl Future<Output = T>,
) -> Option<T> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, future).await.ok(),
        None => Some(future.await),
    }
}

/// Turns the bytes of responses into lines and sends them.
#[derive(Debug)]
pub(super) struct Reader {
    fanout: Fanout,
    place: Place,
    /// Bytes read since the start, over all connections.
    offset: u64,
    line_bytes_max: usize,
    recording: Recording,
    /// True once it was said that events are not joined.
    told_whole: bool,
    idle: Option<Duration>,
    pool: Pool,
}

/// Where a stream goes on.
#[derive(Debug)]
enum Place {
    /// Behind the last event that was sent.
    Id {
        last: Option<Arc<str>>,
        /// True where the server has ever given an id.
        has_ids: bool,
        /// Events so far, over all runs: the same event has the same number when it comes again.
        n_events: u32,
    },
    /// At a time.
    Time(Box<Replay>),
}

impl Reader {
    pub(super) fn new(common: &Common, config: &StreamConfig, cx: &SourceContext) -> Self {
        let stream = StreamKey::new(shown_url(&config.url));
        let fanout = Fanout::new(common, stream, cx);
        let place = match &config.resume {
            Some(rule) => {
                let place = fanout.resume(second_of);
                let is_docker = config.framing == Framing::Docker;
                Place::Time(Box::new(Replay::new(rule.clone(), is_docker, place)))
            }
            None => {
                // Which of two ids is the older one only the server knows: events are counted.
                let place = fanout.resume(|_| Some(()));
                let (last, n_events) = place.unzip();
                Place::Id {
                    has_ids: last.is_some(),
                    last,
                    n_events: n_events.unwrap_or(0),
                }
            }
        };
        Self {
            fanout,
            place,
            offset: 0,
            line_bytes_max: common.line_bytes_max,
            recording: common.recording.clone(),
            told_whole: false,
            idle: config.idle,
            pool: Pool::default(),
        }
    }

    /// The id of the last event that was sent, or after which a checkpoint stands.
    pub(super) fn last_id(&self) -> Option<&str> {
        match &self.place {
            Place::Id { last, .. } => last.as_deref().filter(|id| !id.is_empty()),
            Place::Time(_) => None,
        }
    }

    /// Begins a connection; the parameter that says from when on the server replays.
    pub(super) fn since(&mut self) -> Option<(&str, String)> {
        match &mut self.place {
            Place::Id { .. } => None,
            Place::Time(replay) => replay.connect(),
        }
    }

    /// Where it would go on, for a person.
    pub(super) fn resume(&self) -> Option<String> {
        match &self.place {
            Place::Id { .. } => self.last_id().map(str::to_owned),
            Place::Time(replay) => replay.shown(),
        }
    }

    /// Reads a response until it ends ([`End::Complete`]) or something else does.
    pub(super) async fn read(
        &mut self,
        mut body: Body,
        framing: Framing,
        session: &mut Session,
    ) -> End {
        let mut intake = self.intake(framing, session);
        let end = loop {
            let (due, wake) = intake.look();
            let next = tokio::select! {
                biased;
                () = session.stopped() => break End::Stopped,
                next = within(self.idle, body.next()) => Some(next),
                () = until(wake) => None,
            };
            let mut ended = None;
            match next {
                Some(None) => break End::cut("no data"),
                Some(Some(next)) => {
                    ended = join(&mut intake, next, &mut body).await;
                    session.received();
                }
                None => {
                    if let Some(lines) = due.and_then(|due| intake.take_due(due))
                        && self.push(lines).await.is_err()
                    {
                        break End::Closed;
                    }
                }
            }
            if self.forward(&mut intake, session).await.is_err() {
                break End::Closed;
            }
            if let Some(end) = ended {
                break end;
            }
        };
        match end {
            End::Closed => end,
            end => match self
                .finish(
                    intake,
                    body.tells_its_end() && end == End::Complete,
                    session,
                )
                .await
            {
                Ok(()) => end,
                Err(Closed) => End::Closed,
            },
        }
    }

    fn intake(&mut self, framing: Framing, session: &Session) -> Intake {
        let max = self.line_bytes_max;
        let whole = matches!(framing, Framing::Sse | Framing::JsonSeq);
        if whole && !self.recording.is_plain() && !self.told_whole {
            self.told_whole = true;
            session.hint("multiline and parse are for lines: events and JSON texts come whole");
        }
        let track = || Track::new(&self.pool, &self.recording, self.offset, max);
        match framing {
            Framing::Sse => {
                let last = self.last_id().map(Arc::from);
                Intake::Sse(SseBuffer::new(self.offset, last, max))
            }
            Framing::JsonSeq => Intake::Seq(SeqBuffer::new(self.offset, max)),
            Framing::Docker => Intake::docker([track(), track()]),
            Framing::Auto | Framing::Lines => Intake::Lines(track()),
        }
    }

    /// Sends lines without those that were sent before.
    async fn push(&mut self, lines: Lines) -> Result<(), Closed> {
        let Place::Time(replay) = &mut self.place else {
            return self.fanout.push(lines, Position::Live).await;
        };
        let (lines, n_again) = replay.sift(lines, now_ns());
        let position = replay.position();
        self.fanout.count_duplicates(n_again);
        match lines {
            Some(lines) => self.fanout.push(lines, position).await,
            None => Ok(()),
        }
    }

    /// Sends every whole line.
    async fn forward(&mut self, intake: &mut Intake, session: &mut Session) -> Result<(), Closed> {
        let Intake::Sse(buffer) = intake else {
            for lines in intake.take() {
                self.push(lines).await?;
            }
            session.counters().unparsed.add(intake.take_unparsed());
            return Ok(());
        };
        if let Some(delay) = buffer.take_retry() {
            session.set_delay(delay);
        }
        let Some(events) = buffer.take() else {
            return Ok(());
        };
        if matches!(self.place, Place::Time(_)) {
            return match events.lines {
                Some(lines) => self.push(lines).await,
                None => Ok(()),
            };
        }
        let n_events = events.lines.as_ref().map_or(0, Lines::count);
        let position = self.behind(events.last_id, n_events);
        match events.lines {
            Some(lines) => self.fanout.push(lines, position).await?,
            None => self.fanout.pass(&position).await?,
        }
        Ok(())
    }

    /// Where an event stream stands behind this id. An id that was taken back is an empty one.
    fn behind(&mut self, id: Option<Arc<str>>, n_new: u32) -> Position {
        let Place::Id {
            last,
            has_ids,
            n_events,
        } = &mut self.place
        else {
            return Position::Live;
        };
        *last = id;
        *n_events = n_events.wrapping_add(n_new);
        *has_ids |= last.is_some();
        if !*has_ids {
            return Position::Live;
        }
        Position::Token {
            cursor: last.clone().unwrap_or_default(),
            skip: *n_events,
        }
    }

    /// Sends a line that the end of the response left without its newline. An event that was torn
    /// is none, as its standard says; it comes again where the server resumes, as torn lines do
    /// where it replays.
    async fn finish(
        &mut self,
        mut intake: Intake,
        is_complete: bool,
        session: &Session,
    ) -> Result<(), Closed> {
        self.offset = intake.read_offset();
        if let Intake::Sse(buffer) = &intake {
            let is_lost = buffer.held() > 0 && self.last_id().is_none();
            session.counters().dropped.add(u64::from(is_lost));
        }
        if matches!(self.place, Place::Time(_)) && !is_complete {
            return Ok(());
        }
        for lines in intake.finish() {
            self.push(lines).await?;
        }
        session.counters().unparsed.add(intake.take_unparsed());
        Ok(())
    }
}

/// Feeds what came and whatever else is there already; returns how the response ended, if it did.
async fn join(
    intake: &mut Intake,
    first: Option<Result<Bytes, String>>,
    body: &mut Body,
) -> Option<End> {
    let mut next = first;
    let mut joined = 0;
    loop {
        match next {
            None => return Some(End::Complete),
            Some(Err(cause)) => return Some(End::cut(cause)),
            Some(Ok(bytes)) => {
                joined += bytes.len();
                if let Err(cause) = intake.extend(&bytes) {
                    let cause = cause.to_owned();
                    return Some(End::Refused { cause });
                }
            }
        }
        if joined >= JOIN_BYTES {
            return None;
        }
        next = match body.next().now_or_never() {
            Some(next) => next,
            None => {
                // Bytes that arrived meanwhile are handed over by another task.
                tokio::task::yield_now().await;
                match body.next().now_or_never() {
                    Some(next) => next,
                    None => return None,
                }
            }
        };
    }
}
