//! Reads one connection: messages to lines, pings, and what a close means.

use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Message};

use super::WebSocketConfig;
use super::connect::Socket;
use crate::framing::MessageBuffer;
use crate::model::Position;
use crate::source::fanout::{Fanout, JOIN_BYTES};
use crate::source::session::{End, Session};

/// How long a goodbye may take.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(250);

/// How much of a close frame's reason is told.
const REASON_CHARS_MAX: usize = 80;

type Next = Option<tungstenite::Result<Message>>;

/// Turns messages into lines and sends them.
#[derive(Debug)]
pub(super) struct Reader {
    fanout: Fanout,
    messages: MessageBuffer,
    ping: Duration,
    dead_after: Duration,
}

/// When the peer was last heard and when it is asked next. It runs only while we are reading.
#[derive(Debug)]
struct Liveness {
    ping_at: Instant,
    dead_at: Instant,
}

impl Reader {
    pub(super) fn new(fanout: Fanout, config: &WebSocketConfig, line_bytes_max: usize) -> Self {
        Self {
            fanout,
            messages: MessageBuffer::new(line_bytes_max),
            ping: config.ping,
            dead_after: config.dead_after,
        }
    }

    /// Reads until the connection ends.
    pub(super) async fn read(&mut self, mut socket: Socket, session: &mut Session) -> End {
        let mut alive = self.liveness();
        loop {
            let next = tokio::select! {
                biased;
                () = session.stopped() => {
                    // A server that does not listen must not keep us.
                    let _ = timeout(CLOSE_TIMEOUT, socket.close(None)).await;
                    return End::Stopped;
                }
                next = socket.next() => next,
                () = sleep_until(alive.ping_at) => {
                    if let Some(end) = self.ping(&mut socket, session).await {
                        return end;
                    }
                    alive.ping_at = Instant::now() + self.ping;
                    continue;
                }
                () = sleep_until(alive.dead_at) => return self.dead(),
            };
            let end = self.join(next, &mut socket, session);
            if let Some(lines) = self.messages.take() {
                session.received();
                if self.fanout.push(lines, Position::Live).await.is_err() {
                    return End::Closed;
                }
            }
            if let Some(end) = end {
                return end;
            }
            // The time in which we did not read counts for nothing.
            let ping_at = alive.ping_at;
            alive = self.liveness();
            alive.ping_at = alive.ping_at.min(ping_at);
        }
    }

    /// Asks the peer whether it is there; returns how the connection ended, if it did.
    async fn ping(&self, socket: &mut Socket, session: &Session) -> Option<End> {
        let ping = Message::Ping(Bytes::new());
        // A peer that does not read lets nothing through at last.
        let sent = timeout(self.dead_after, socket.send(ping));
        tokio::select! {
            biased;
            () = session.stopped() => Some(End::Stopped),
            sent = sent => match sent {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(self.lost(&error, session)),
                Err(_) => Some(self.dead()),
            },
        }
    }

    /// Takes in what came and whatever else is there already; returns how it ended, if it did.
    fn join(&mut self, first: Next, socket: &mut Socket, session: &Session) -> Option<End> {
        let mut next = first;
        loop {
            match next {
                None => return Some(End::cut("closed")),
                Some(Ok(Message::Text(text))) => self.messages.text(&text),
                Some(Ok(Message::Binary(bytes))) => self.messages.binary(&bytes),
                Some(Ok(Message::Close(frame))) => {
                    // Says goodbye as far as that needs no waiting.
                    let _ = socket.flush().now_or_never();
                    return Some(End::cut(closed(frame.as_ref())));
                }
                // The library answers pings; what it wrote is sent off with the next read.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(error)) => return Some(self.lost(&error, session)),
            }
            if self.messages.ready() >= JOIN_BYTES {
                // The answer to a ping must not wait for room in a queue.
                let _ = socket.flush().now_or_never();
                return None;
            }
            next = socket.next().now_or_never()?;
        }
    }

    fn liveness(&self) -> Liveness {
        let now = Instant::now();
        Liveness {
            ping_at: now + self.ping,
            dead_at: now + self.dead_after,
        }
    }

    fn dead(&self) -> End {
        End::cut(format!("no sign of life for {:?}", self.dead_after))
    }

    fn lost(&self, error: &Error, session: &Session) -> End {
        match error {
            Error::Capacity(error) => {
                session.counters().dropped.add(1);
                End::cut(format!(
                    "{error} (max_message); the connection was given up"
                ))
            }
            Error::ConnectionClosed | Error::AlreadyClosed => End::cut("closed"),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::cut("closed 1006"),
            error => End::cut(format!("connection lost: {error}")),
        }
    }
}

/// What a close frame says; 1005 stands for none (RFC 6455 §7.1.5).
fn closed(frame: Option<&CloseFrame>) -> String {
    let Some(frame) = frame else {
        return "closed 1005".to_owned();
    };
    let reason: String = frame
        .reason
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(REASON_CHARS_MAX)
        .collect();
    let code = u16::from(frame.code);
    if reason.is_empty() {
        format!("closed {code}")
    } else {
        format!("closed {code} ({reason})")
    }
}
