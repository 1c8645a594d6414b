//! The HTTP sink: sends batches to a collector and reads its answers rightly.

mod body;
mod response;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Response, Url};

use super::body::Bodies;
use crate::delivery::{Part, Sink, SinkError};
use crate::encoding::{Encoder, gzip};
use crate::http::{ClientError, Credentials, Tls, chain, client, redirect_target, retry_after};
use crate::model::Batch;
use crate::queue::Chunk;
use crate::secret::shown_url;
use body::PiecesBody;

/// How much of an answer is read: enough for a reason, and to use the connection again.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How much of a refusal's text is kept.
const REASON_CHARS_MAX: usize = 300;

/// Redirects that one request follows.
const REDIRECTS_MAX: usize = 5;

/// Which collector, and how to speak to it.
#[derive(Clone, PartialEq)]
pub struct HttpConfig {
    /// The collector's URL, used as written. It can hold a secret in its userinfo or query, so it
    /// is shown through [`crate::secret::shown_url`] only.
    pub url: String,
    /// Extra headers and who sends.
    pub credentials: Credentials,
    /// How a body is compressed.
    pub compression: Compression,
    /// Requests in flight at once; 1 keeps the order.
    pub concurrency: usize,
    /// The whole of one request, from connect to the end of the answer.
    pub timeout: Duration,
    /// Connecting alone, TLS included.
    pub connect_timeout: Duration,
    /// First and longest delay between retries.
    pub retry: Retry,
    /// Where lines go that the collector refuses for good; `None`: `<state>/rejected/<sink>.ndjson`.
    pub dead_letter: Option<PathBuf>,
    /// A private CA beside the system's roots, and a client certificate with its key (PEM files).
    pub tls: Tls,
}

impl fmt::Debug for HttpConfig {
    /// The URL without what may be secret in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpConfig")
            .field("url", &shown_url(&self.url))
            .field("credentials", &self.credentials)
            .field("compression", &self.compression)
            .field("concurrency", &self.concurrency)
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("retry", &self.retry)
            .field("dead_letter", &self.dead_letter)
            .field("tls", &self.tls)
            .finish()
    }
}

/// First and longest delay between retries; full jitter lies in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The first delay is drawn from zero to this.
    pub base: Duration,
    /// No delay is longer, a `Retry-After` included.
    pub max: Duration,
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip at a level from 1 to 9.
    Gzip(u32),
}

/// Sends batches to one collector.
#[derive(Debug)]
pub struct HttpSink {
    client: reqwest::Client,
    bodies: Bodies,
    url: Url,
    /// What every request carries, to this origin only.
    private: HeaderMap,
    /// What every request carries, wherever a redirect leads.
    public: HeaderMap,
    compression: Compression,
    timeout: Duration,
    /// Random, new for each process and sink: the first part of the `Idempotency-Key`.
    instance: String,
}

/// One encoded body and its key.
#[derive(Debug)]
pub struct Payload {
    pieces: Arc<[Bytes]>,
    key: HeaderValue,
}

impl HttpSink {
    /// Prepares the client; connects at the first batch.
    ///
    /// # Errors
    /// [`ClientError`] where the set-up cannot work.
    pub fn open(config: &HttpConfig, encoder: Encoder) -> Result<Self, ClientError> {
        let client = client(&config.url, &config.tls, config.connect_timeout)?;
        let url = Url::parse(&config.url).map_err(|error| {
            ClientError::Client(format!("url {}: {error}", shown_url(&config.url)))
        })?;
        let content_type = if encoder.is_raw() {
            "text/plain"
        } else {
            "application/x-ndjson"
        };
        let mut public = HeaderMap::new();
        public.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if matches!(config.compression, Compression::Gzip(_)) {
            public.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Ok(Self {
            client,
            bodies: Bodies::new(encoder),
            url,
            private: config.credentials.headers()?,
            public,
            compression: config.compression,
            timeout: config.timeout,
            instance: crate::random::id(),
        })
    }

    /// Sends a body, following redirects. To another origin nothing private goes along.
    async fn send(&self, payload: &Payload) -> Result<Response, SinkError> {
        let mut url = self.url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let mut request = self
                .client
                .post(url.clone())
                .timeout(self.timeout)
                .headers(self.public.clone())
                .header("idempotency-key", payload.key.clone())
                .body(PiecesBody::wrap(&payload.pieces));
            if url.origin() == self.url.origin() {
                request = request.headers(self.private.clone());
            }
            let response = request.send().await.map_err(transport_error)?;
            let Some(next) = kept_redirect(&response) else {
                return Ok(response);
            };
            url = next;
        }
        let cause = format!("more than {REDIRECTS_MAX} redirects (set url to where they end)");
        Err(SinkError::Paused { cause })
    }
}

impl Sink for HttpSink {
    type Payload = Payload;

    fn encode(&self, batch: &Batch<Chunk>, part: &Part) -> Payload {
        let body = self.bodies.encode(batch, part);
        let pieces = match self.compression {
            Compression::None => body.pieces,
            Compression::Gzip(level) => vec![gzip(&body.into_bytes(), level).into()],
        };
        let key = format!("{}-{}{}", self.instance, batch.number, part.suffix);
        let key = HeaderValue::try_from(key).expect("hexadecimal digits, numbers and dots");
        Payload {
            pieces: pieces.into(),
            key,
        }
    }

    async fn deliver(&self, payload: &Payload) -> Result<(), SinkError> {
        let mut response = self.send(payload).await?;
        let status = response.status().as_u16();
        let after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| retry_after(value.to_str().ok()?, Timestamp::now()));
        // Without it the status alone decides; the connection is not used again.
        let answer = read_answer(&mut response).await.unwrap_or_default();
        response::classify(status, after, &reason(&answer))
    }
}

/// Where a redirect that keeps method and body leads (RFC 9110 §15.4.8, §15.4.9).
fn kept_redirect(response: &Response) -> Option<Url> {
    let keeps = matches!(response.status().as_u16(), 307 | 308);
    redirect_target(response).filter(|_| keeps)
}

fn transport_error(error: reqwest::Error) -> SinkError {
    // The URL may hold a secret.
    let error = error.without_url();
    let cause = if error.is_timeout() {
        "no answer in time".to_owned()
    } else {
        chain(&error)
    };
    SinkError::Retryable { cause, after: None }
}

async fn read_answer(response: &mut Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut answer = Vec::new();
    while let Some(piece) = response.chunk().await? {
        answer.extend_from_slice(&piece);
        if answer.len() > ANSWER_BYTES_MAX {
            break;
        }
    }
    Ok(answer)
}

/// The beginning of an answer as one line of text.
fn reason(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(&answer[..answer.len().min(4 * REASON_CHARS_MAX)]);
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain
        .take(REASON_CHARS_MAX)
        .collect::<String>()
        .trim()
        .to_owned()
}
