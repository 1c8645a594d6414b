//! The stream source: one long HTTP response, read as it arrives.
//!
//! `intake` makes lines of its body as the framing says, `reader` sends them and knows where the stream
//! goes on, by ids or, through `replay`, by time.

#[cfg(test)]
mod formats;
#[cfg(test)]
mod granted;
mod intake;
mod reader;
#[cfg(test)]
mod records;
mod replay;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Response, Url};

pub use replay::ResumeRule;

use super::body::Body;
use super::session::{End, Next, Session};
use super::{Common, Ends, SourceContext, SourceError};
use crate::http::{
    Ask, ClientError, Endpoint, Network, Trouble, accepted, describe_status, parsed_url, set_param,
};
use crate::notes::FirstFailure;
use crate::secret::shown_url;
use reader::{Reader, within};

/// No encoding is asked for: proxies hold compressed streams back until a block is full.
const ACCEPTED: &str = "text/event-stream, application/x-ndjson, */*";

/// Which response to read, and how.
#[derive(Clone, PartialEq)]
pub struct StreamConfig {
    /// The URL, used as written. It can hold a secret, so it is shown through
    /// [`crate::secret::shown_url`] only.
    pub url: String,
    /// How it is reached, and who asks.
    pub network: Network,
    /// How bytes become lines.
    pub framing: Framing,
    /// A connection without data for so long is made anew; `None`: silence is fine.
    pub idle: Option<Duration>,
    /// How the server is asked to replay by time; `None`: it cannot.
    pub resume: Option<ResumeRule>,
    /// When the source is at its end.
    pub ends: Ends,
}

/// How the bytes of a response become lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// As the content type says: server-sent events, a JSON text sequence, or what Docker
    /// multiplexes; everything else is lines.
    #[default]
    Auto,
    /// At newlines.
    Lines,
    /// Server-sent events.
    Sse,
    /// JSON text sequences.
    JsonSeq,
    /// The two outputs of a container, as Docker multiplexes them.
    Docker,
}

impl StreamConfig {
    /// A stream with every default.
    pub fn of_url(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            network: Network::default(),
            framing: Framing::Auto,
            idle: None,
            resume: None,
            ends: Ends::Never,
        }
    }
}

impl fmt::Debug for StreamConfig {
    /// The URL without what may be secret in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamConfig")
            .field("url", &shown_url(&self.url))
            .field("network", &self.network)
            .field("framing", &self.framing)
            .field("idle", &self.idle)
            .field("resume", &self.resume)
            .field("ends", &self.ends)
            .finish()
    }
}

/// Whom to ask, and for what.
struct Server {
    endpoint: Endpoint,
    url: Url,
}

impl Server {
    fn new(config: &StreamConfig) -> Result<Self, ClientError> {
        Ok(Self {
            url: parsed_url(&config.url)?,
            endpoint: Endpoint::new([&*config.url], &config.network, 1)?,
        })
    }

    /// The question that leads on from where the reader stands.
    fn question(&self, reader: &mut Reader) -> Ask {
        let mut ask = Ask::get(self.url.clone());
        ask.headers
            .insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
        // An id is UTF-8, which may stand in a header, but for control characters.
        let id = reader.last_id().map(str::as_bytes);
        if let Some(id) = id.and_then(|id| HeaderValue::from_bytes(id).ok()) {
            ask.headers.insert("last-event-id", id);
        }
        if let Some((name, value)) = reader.since() {
            set_param(&mut ask.url, name, &value);
        }
        ask
    }
}

/// Reads the response until told to stop, and asks again whenever it ends.
pub(super) async fn run(
    common: Common,
    config: StreamConfig,
    cx: SourceContext,
) -> Result<(), SourceError> {
    let server = match Server::new(&config) {
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
    let mut reader = Reader::new(&common, &config, &cx);
    let mut session = Session::new(common.name, config.ends, cx);
    loop {
        let end = connection(&config, &server, &mut reader, &mut session).await;
        let resume = reader.resume();
        if session.after(end, resume.as_deref()).await == Next::Return {
            return Ok(());
        }
    }
}

/// Asks once and reads the answer to its end.
async fn connection(
    config: &StreamConfig,
    server: &Server,
    reader: &mut Reader,
    session: &mut Session,
) -> End {
    let ask = server.question(reader);
    // Freed when the answer is there: a thousand streams are a thousand of these.
    let asked = Box::pin(server.endpoint.send(&server.url, &ask));
    let mut asked = std::pin::pin!(within(config.idle, asked));
    let mut is_told = config.idle.is_some();
    let limit = config.network.connect_timeout;
    let response = loop {
        tokio::select! {
            biased;
            () = session.stopped() => return End::Stopped,
            response = &mut asked => break response,
            // By then a connection stands, or there would be an error. Some servers begin their answer
            // with the first event only, so it is waited for all the same.
            () = tokio::time::sleep(limit), if !is_told => {
                is_told = true;
                session.hint(&format!(
                    "has not answered for {limit:?}: it is waited for (with `idle` it would be asked again)"
                ));
            }
        }
    };
    let response = match response.map(|it| it.and_then(readable)) {
        Some(Ok(response)) => response,
        Some(Err(trouble)) => return trouble.into(),
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
    let framing = match config.framing {
        Framing::Auto => framing_of(&response),
        framing => framing,
    };
    let body = match Body::new(response) {
        Ok(body) => body,
        Err(trouble) => return trouble.into(),
    };
    session.connected(match framing {
        Framing::Sse => "SSE",
        Framing::JsonSeq => "JSON texts",
        Framing::Docker => "Docker",
        Framing::Auto | Framing::Lines => "lines",
    });
    let end = reader.read(body, framing, session).await;
    match (end, length) {
        (End::Complete, None) => End::cut("the response ended"),
        (end, _) => end,
    }
}

/// A response that can be read, or what its status means.
fn readable(response: Response) -> Result<Response, Trouble> {
    match response.status().as_u16() {
        // The standard of event streams: the server has nothing and will have nothing.
        status @ (204 | 205) => Err(Trouble::lasting(describe_status(status, "nothing to read"))),
        _ => accepted(response),
    }
}

fn framing_of(response: &Response) -> Framing {
    let content_type = response.headers().get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let kind = content_type.and_then(|text| text.split(';').next());
    match kind
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
        .as_str()
    {
        "text/event-stream" => Framing::Sse,
        "application/json-seq" => Framing::JsonSeq,
        "application/vnd.docker.multiplexed-stream" => Framing::Docker,
        _ => Framing::Lines,
    }
}
