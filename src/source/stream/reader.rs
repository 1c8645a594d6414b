//! Turns the bytes of responses into lines and sends them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{FutureExt as _, Stream, StreamExt as _};
use reqwest::Response;

use super::StreamConfig;
use super::request::root_cause;
use crate::framing::{Framer, Pool, RecordLimits, Recording, SseBuffer, Start};
use crate::model::{Position, StreamKey};
use crate::queue::Closed;
use crate::secret::shown_url;
use crate::source::fanout::{Fanout, JOIN_BYTES};
use crate::source::quiet::{self, Patience, Quiet, Waiting, until};
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
    /// As of the last event that was sent.
    last_id: Option<Arc<str>>,
    /// True where the server has ever given an id.
    has_ids: bool,
    /// Bytes read since the start, over all connections.
    offset: u64,
    line_bytes_max: usize,
    recording: Recording,
    /// True once it was said that events are not joined.
    told_events: bool,
    quiet: Quiet,
    idle: Option<Duration>,
    pool: Pool,
}

/// Bytes of one response on their way to becoming lines.
#[derive(Debug)]
enum Intake {
    Lines(Framer),
    Sse(SseBuffer),
}

impl Reader {
    pub(super) fn new(common: &Common, config: &StreamConfig, cx: &SourceContext) -> Self {
        let stream = StreamKey::new(shown_url(&config.url));
        let fanout = Fanout::new(common, stream, cx);
        let last_id = fanout.resume();
        Self {
            fanout,
            has_ids: last_id.is_some(),
            last_id,
            offset: 0,
            line_bytes_max: common.line_bytes_max,
            recording: common.recording.clone(),
            told_events: false,
            quiet: Quiet::default(),
            idle: config.idle,
            pool: Pool::default(),
        }
    }

    /// The id of the last event that was sent, or after which a checkpoint stands.
    pub(super) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref().filter(|id| !id.is_empty())
    }

    /// Reads a response until it ends ([`End::Complete`]) or something else does.
    pub(super) async fn read(
        &mut self,
        response: Response,
        is_sse: bool,
        session: &mut Session,
    ) -> End {
        let max = self.line_bytes_max;
        let mut intake = if is_sse {
            self.tell_events(session);
            Intake::Sse(SseBuffer::new(self.offset, self.last_id.clone(), max))
        } else {
            Intake::Lines(self.framer())
        };
        let mut body = Box::pin(response.bytes_stream());
        let end = loop {
            let (due, wake) = self.look(&intake);
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
                    if let Some(due) = due
                        && self.take(&mut intake, due).await.is_err()
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
            end => match self.finish(intake, session).await {
                Ok(()) => end,
                Err(Closed) => End::Closed,
            },
        }
    }

    fn framer(&self) -> Framer {
        let limits = RecordLimits {
            line_bytes_max: self.line_bytes_max,
            records: usize::MAX,
            bytes: JOIN_BYTES,
        };
        let start = Start {
            offset: self.offset,
            ..Start::default()
        };
        Framer::new(self.pool.clone(), start, &self.recording, limits)
    }

    /// Says once that an event is a record, whatever is configured.
    fn tell_events(&mut self, session: &Session) {
        if !self.recording.is_plain() && !self.told_events {
            self.told_events = true;
            session.hint("multiline and parse are for lines: server-sent events come whole");
        }
    }

    fn look(&mut self, intake: &Intake) -> (Option<Waiting>, Option<Instant>) {
        let Intake::Lines(framer) = intake else {
            return (None, None);
        };
        let patience = Patience {
            record: self.recording.timeout(),
            line: None,
        };
        self.quiet.look(framer, patience, Instant::now())
    }

    /// Sends what has waited long enough.
    async fn take(&mut self, intake: &mut Intake, due: Waiting) -> Result<(), Closed> {
        let Intake::Lines(framer) = intake else {
            return Ok(());
        };
        if let Some(lines) = quiet::take(framer, due).and_then(|taken| taken.lines) {
            self.fanout.push(lines, Position::Live).await?;
        }
        Ok(())
    }

    /// Sends every whole line.
    async fn forward(&mut self, intake: &mut Intake, session: &mut Session) -> Result<(), Closed> {
        match intake {
            Intake::Lines(buffer) => {
                while let Some(taken) = buffer.take() {
                    if let Some(lines) = taken.lines {
                        self.fanout.push(lines, Position::Live).await?;
                    }
                }
                session.counters().unparsed.add(buffer.take_unparsed());
            }
            Intake::Sse(buffer) => {
                if let Some(delay) = buffer.take_retry() {
                    session.set_delay(delay);
                }
                if let Some(events) = buffer.take() {
                    self.last_id = events.last_id;
                    let position = self.position();
                    match events.lines {
                        Some(lines) => self.fanout.push(lines, position).await?,
                        None => self.fanout.pass(&position),
                    }
                }
            }
        }
        Ok(())
    }

    /// Where an event stream stands. An id that was taken back is an empty one.
    fn position(&mut self) -> Position {
        self.has_ids |= self.last_id.is_some();
        if !self.has_ids {
            return Position::Live;
        }
        let cursor = self.last_id.clone().unwrap_or_default();
        Position::Token { cursor, skip: 0 }
    }

    /// Sends a line that the end of the response left without its newline. An event that was torn
    /// is none, as its standard says; it comes again where the server resumes.
    async fn finish(&mut self, intake: Intake, session: &Session) -> Result<(), Closed> {
        match intake {
            Intake::Lines(mut buffer) => {
                if let Some(lines) = buffer.finish().and_then(|taken| taken.lines) {
                    self.fanout.push(lines, Position::Live).await?;
                }
                self.offset = buffer.read_offset();
            }
            Intake::Sse(buffer) => {
                if buffer.held() > 0 && self.last_id.is_none() {
                    session.counters().dropped.add(1);
                }
                self.offset = buffer.read_offset();
            }
        }
        Ok(())
    }
}

/// Feeds what came and whatever else is there already; returns how the response ended, if it did.
async fn join(
    intake: &mut Intake,
    first: Option<reqwest::Result<Bytes>>,
    body: &mut (impl Stream<Item = reqwest::Result<Bytes>> + Unpin),
) -> Option<End> {
    let mut next = first;
    let mut joined = 0;
    loop {
        match next {
            None => return Some(End::Complete),
            Some(Err(error)) => {
                return Some(End::cut(format!("connection lost: {}", root_cause(&error))));
            }
            Some(Ok(bytes)) => {
                joined += bytes.len();
                match intake {
                    Intake::Lines(buffer) => buffer.extend(&bytes),
                    Intake::Sse(buffer) => buffer.extend(&bytes),
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
