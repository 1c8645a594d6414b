//! Turns the bytes of responses into lines and sends them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt as _, Stream, StreamExt as _};
use reqwest::Response;

use super::StreamConfig;
use super::request::root_cause;
use crate::checkpoint::Checkpoints;
use crate::framing::{LineBuffer, Pool, SseBuffer};
use crate::model::{Position, StreamKey};
use crate::queue::Closed;
use crate::secret::shown_url;
use crate::source::fanout::{Fanout, JOIN_BYTES};
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
    checkpoints: Checkpoints,
    /// As of the last event that was sent.
    last_id: Option<Arc<str>>,
    /// True where the server has ever given an id.
    has_ids: bool,
    /// Bytes read since the start, over all connections.
    offset: u64,
    line_bytes_max: usize,
    idle: Option<Duration>,
    pool: Pool,
}

/// Bytes of one response on their way to becoming lines.
#[derive(Debug)]
enum Framer {
    Lines(LineBuffer),
    Sse(SseBuffer),
}

impl Reader {
    pub(super) fn new(common: &Common, config: &StreamConfig, cx: &SourceContext) -> Self {
        let stream = StreamKey::new(shown_url(&config.url));
        let fanout = Fanout::new(common, stream, cx);
        let last_id = fanout.resume();
        Self {
            fanout,
            checkpoints: cx.checkpoints.clone(),
            has_ids: last_id.is_some(),
            last_id,
            offset: 0,
            line_bytes_max: common.line_bytes_max,
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
        let mut framer = if is_sse {
            Framer::Sse(SseBuffer::new(self.offset, self.last_id.clone(), max))
        } else {
            Framer::Lines(LineBuffer::new(self.pool.clone(), self.offset, false, max))
        };
        let mut body = Box::pin(response.bytes_stream());
        let end = loop {
            let next = tokio::select! {
                biased;
                () = session.stopped() => break End::Stopped,
                next = within(self.idle, body.next()) => next,
            };
            let Some(next) = next else {
                break End::cut("no data");
            };
            let ended = join(&mut framer, next, &mut body).await;
            session.received();
            if self.forward(&mut framer, session).await.is_err() {
                break End::Closed;
            }
            if let Some(end) = ended {
                break end;
            }
        };
        match end {
            End::Closed => end,
            end => match self.finish(framer, session).await {
                Ok(()) => end,
                Err(Closed) => End::Closed,
            },
        }
    }

    /// Sends every whole line.
    async fn forward(&mut self, framer: &mut Framer, session: &mut Session) -> Result<(), Closed> {
        match framer {
            Framer::Lines(buffer) => {
                while let Some(taken) = buffer.take() {
                    if let Some(lines) = taken.lines {
                        self.fanout.push(lines, Position::Live).await?;
                    }
                }
            }
            Framer::Sse(buffer) => {
                if let Some(delay) = buffer.take_retry() {
                    session.set_delay(delay);
                }
                if let Some(events) = buffer.take() {
                    self.last_id = events.last_id;
                    let position = self.position();
                    match events.lines {
                        Some(lines) => self.fanout.push(lines, position).await?,
                        None => self.fanout.pass(&position, &self.checkpoints),
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
    async fn finish(&mut self, framer: Framer, session: &Session) -> Result<(), Closed> {
        match framer {
            Framer::Lines(mut buffer) => {
                if let Some(lines) = buffer.finish().and_then(|taken| taken.lines) {
                    self.fanout.push(lines, Position::Live).await?;
                }
                self.offset = buffer.read_offset();
            }
            Framer::Sse(buffer) => {
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
    framer: &mut Framer,
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
                match framer {
                    Framer::Lines(buffer) => buffer.extend(&bytes),
                    Framer::Sse(buffer) => buffer.extend(&bytes),
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
