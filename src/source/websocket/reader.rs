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
use crate::http::Denier;
use crate::model::Position;
use crate::source::fanout::{Fanout, JOIN_BYTES};
use crate::source::session::{End, Session};

/// How long a goodbye may take.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(250);

/// How long a server is left alone that asks to be.
const TRY_AGAIN_LATER: Duration = Duration::from_secs(5);

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
                    return Some(closed(frame.as_ref()));
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

/// What a close frame means; 1005 stands for none (RFC 6455 §7.1.5).
fn closed(frame: Option<&CloseFrame>) -> End {
    let Some(frame) = frame else {
        return End::cut("closed 1005 (without a reason)");
    };
    let code = u16::from(frame.code);
    let reason: String = frame
        .reason
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(REASON_CHARS_MAX)
        .collect();
    let said = if reason.is_empty() {
        meaning(code)
    } else {
        &reason
    };
    let cause = match said {
        "" => format!("closed {code}"),
        said => format!("closed {code} ({said})"),
    };
    match code {
        // What we say or who we are is refused, and will be the next time: 3000 and 3003 are what
        // 401 and 403 are to HTTP.
        1002 | 1003 | 1007 | 1008 | 1010 => End::Refused { cause },
        3000 | 3003 => End::Denied {
            cause,
            by: Denier::Server,
        },
        // It asks for patience itself; how much it does not say.
        1013 => End::Cut {
            cause,
            after: Some(TRY_AGAIN_LATER),
        },
        _ => End::cut(cause),
    }
}

/// What the registry of close codes says (IANA, WebSocket Close Code Number Registry).
fn meaning(code: u16) -> &'static str {
    match code {
        1000 => "normal closure",
        1001 => "going away",
        1002 => "protocol error",
        1003 => "unsupported data",
        1007 => "invalid data",
        1008 => "policy violation",
        1009 => "message too big",
        1010 => "extension missing",
        1011 => "internal error",
        1012 => "service restart",
        1013 => "try again later",
        1014 => "bad gateway",
        3000 => "unauthorized",
        3003 => "forbidden",
        3008 => "timeout",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_are_told_apart() {
        let close = |code: u16, reason: &'static str| {
            closed(Some(&CloseFrame {
                code: code.into(),
                reason: reason.into(),
            }))
        };
        let refused = |cause: &str| End::Refused {
            cause: cause.to_owned(),
        };

        assert_eq!(closed(None), End::cut("closed 1005 (without a reason)"));
        assert_eq!(close(1001, ""), End::cut("closed 1001 (going away)"));
        assert_eq!(
            close(1012, "back\nsoon"),
            End::cut("closed 1012 (back soon)")
        );
        assert_eq!(close(4999, ""), End::cut("closed 4999"));
        assert_eq!(close(1008, ""), refused("closed 1008 (policy violation)"));
        let denied = End::Denied {
            cause: "closed 3000 (token?)".to_owned(),
            by: Denier::Server,
        };
        assert_eq!(close(3000, "token?"), denied);
        let later = End::Cut {
            cause: "closed 1013 (try again later)".to_owned(),
            after: Some(TRY_AGAIN_LATER),
        };
        assert_eq!(close(1013, ""), later);
    }
}
