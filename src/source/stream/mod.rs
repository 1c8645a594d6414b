//! The stream source: one long HTTP response, read as it arrives.

mod reader;
#[cfg(test)]
mod records;
mod request;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use reqwest::Response;
use reqwest::header::CONTENT_TYPE;

use super::session::{End, Next, Session};
use super::{Common, Ends, SourceContext, SourceError};
use crate::http::{Credentials, Tls};
use crate::secret::shown_url;
use reader::{Reader, within};
use request::Request;

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
    common: Common,
    config: StreamConfig,
    cx: SourceContext,
) -> Result<(), SourceError> {
    let request = match Request::new(&config) {
        Ok(request) => request,
        Err(error) => {
            // Nobody may be waiting any more.
            let _ = cx
                .first_attempt
                .send(Err(format!("{}: {error}", common.name)));
            return Err(error.into());
        }
    };
    let mut reader = Reader::new(&common, &config, &cx);
    let mut session = Session::new(common.name, config.ends, cx);
    loop {
        let end = connection(&config, &request, &mut reader, &mut session).await;
        let resume = reader.last_id();
        if session.after(end, resume).await == Next::Return {
            return Ok(());
        }
    }
}

/// Asks once and reads the answer to its end.
async fn connection(
    config: &StreamConfig,
    request: &Request,
    reader: &mut Reader,
    session: &mut Session,
) -> End {
    let asked = request.send(reader.last_id());
    let response = tokio::select! {
        biased;
        () = session.stopped() => return End::Stopped,
        response = within(config.idle, asked) => response,
    };
    let response = match response {
        Some(Ok(response)) => response,
        Some(Err(end)) => return end,
        None => return End::cut("no answer"),
    };
    let length = response.content_length();
    if let (Some(length), Ends::Never) = (length, config.ends) {
        let cause = format!(
            "the answer has an end (Content-Length: {length}): this is no stream; \
             poll+ or range+ in front of the URL reads it"
        );
        return End::Refused { cause };
    }
    let is_sse = match config.framing {
        Framing::Auto => is_event_stream(&response),
        framing => framing == Framing::Sse,
    };
    session.connected(if is_sse { "SSE" } else { "lines" });
    let end = reader.read(response, is_sse, session).await;
    match (end, length) {
        (End::Complete, None) => End::cut("the response ended"),
        (end, _) => end,
    }
}

fn is_event_stream(response: &Response) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    content_type.is_some_and(|text| {
        let kind = text.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("text/event-stream")
    })
}
