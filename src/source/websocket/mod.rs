//! The WebSocket source: messages of one connection, which is made again whenever it ends.
//!
//! `connect` makes a connection, `reader` reads it. While a full queue keeps us from reading, the
//! server's pings are not answered and it may cut us off; that is the price of bounded memory.

mod connect;
mod reader;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use super::fanout::Fanout;
use super::session::{End, Next, Session};
use super::{Common, Ends, SourceContext, SourceError};
use crate::http::Network;
use crate::model::StreamKey;
use crate::notes::FirstFailure;
use crate::secret::shown_url;
use connect::Server;
use reader::Reader;

/// Which server to connect to, and how.
#[derive(Clone, PartialEq)]
pub struct WebSocketConfig {
    /// The URL, used as written. It can hold a secret, so it is shown through
    /// [`crate::secret::shown_url`] only.
    pub url: String,
    /// How it is reached, and who asks; connecting includes the upgrade.
    pub network: Network,
    /// Text messages sent after every connect; they may hold secrets.
    pub send: Vec<crate::secret::Secret>,
    /// Subprotocols offered, the dearest first.
    pub subprotocols: Vec<String>,
    /// How often a ping is sent while nothing else is to do.
    pub ping: Duration,
    /// A connection without any frame for so long is dead.
    pub dead_after: Duration,
    /// The longest message, in bytes; `None`: as long as a line.
    pub message_bytes_max: Option<usize>,
    /// When the source is at its end.
    pub ends: Ends,
}

impl WebSocketConfig {
    /// A WebSocket with every default.
    pub fn of_url(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            network: Network::default(),
            send: Vec::new(),
            subprotocols: Vec::new(),
            ping: Duration::from_secs(20),
            dead_after: Duration::from_secs(60),
            message_bytes_max: None,
            ends: Ends::Never,
        }
    }
}

impl fmt::Debug for WebSocketConfig {
    /// The URL without what may be secret in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketConfig")
            .field("url", &shown_url(&self.url))
            .field("network", &self.network)
            .field("send", &self.send)
            .field("subprotocols", &self.subprotocols)
            .field("ping", &self.ping)
            .field("dead_after", &self.dead_after)
            .field("message_bytes_max", &self.message_bytes_max)
            .field("ends", &self.ends)
            .finish()
    }
}

/// Reads messages until told to stop.
pub(super) async fn run(
    common: Common,
    config: WebSocketConfig,
    cx: SourceContext,
) -> Result<(), SourceError> {
    let server = match Server::new(&config, common.line_bytes_max) {
        Ok(server) => server,
        Err(error) => {
            // Nobody may be waiting any more.
            let _ = cx.first_attempt.send(Err(FirstFailure::final_one(
                &common.name,
                &error.to_string(),
            )));
            return Err(error.into());
        }
    };
    let stream = StreamKey::new(shown_url(&config.url));
    let fanout = Fanout::new(&common, stream, &cx);
    let mut reader = Reader::new(fanout, &config, common.line_bytes_max);
    let mut session = Session::new(common.name, config.ends, cx);
    loop {
        let connected = tokio::select! {
            biased;
            () = session.stopped() => Err(End::Stopped),
            connected = server.connect() => connected,
        };
        let end = match connected {
            Ok(socket) => {
                session.connected("WebSocket");
                reader.read(socket, &mut session).await
            }
            Err(end) => end,
        };
        if session.after(end, None).await == Next::Return {
            return Ok(());
        }
    }
}
