//! The HTTP sink: sends batches to a collector and reads its answers rightly.

mod answer;
mod body;
mod config;
mod probe;
mod protocol;
mod request;

use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use reqwest::Url;
use reqwest::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use tracing::warn;

pub use config::{HttpConfig, Retry};
pub use probe::probe;
pub use protocol::Protocol;

use super::body::Bodies;
use crate::delivery::{Part, Sink, SinkError};
use crate::encoding::{Compression, Compressor, Encoder};
use crate::http::{ClientError, ClientOptions, LiveHeaders, client};
use crate::model::Batch;
use crate::queue::Chunk;
use crate::secret::shown_url;
use request::Requester;

/// Sends batches to one collector.
#[derive(Debug)]
pub struct HttpSink {
    requester: Requester,
    bodies: Bodies,
    protocol: Protocol,
    compressor: Compressor,
    /// Random, new for each process and sink: the first part of the `Idempotency-Key`.
    instance: String,
    /// What the collector last warned of, so that it is said once.
    warned: Mutex<Option<String>>,
}

/// One encoded body and its key.
#[derive(Debug)]
pub struct Payload {
    pieces: Vec<Bytes>,
    key: HeaderValue,
    lines: u64,
    cut: u64,
}

impl HttpSink {
    /// Prepares the client; connects at the first batch.
    ///
    /// # Errors
    /// [`ClientError`] where the set-up cannot work.
    pub fn open(config: &HttpConfig, encoder: Encoder) -> Result<Self, ClientError> {
        let mut public = HeaderMap::new();
        let content_type = config.protocol.content_type(encoder.is_raw());
        public.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(accept) = config.protocol.accept() {
            public.insert(ACCEPT, HeaderValue::from_static(accept));
        }
        if let Some(coding) = coding(config.compression) {
            public.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        Ok(Self {
            requester: requester(config, public)?,
            bodies: Bodies::new(encoder),
            protocol: config.protocol,
            compressor: Compressor::new(config.compression),
            instance: crate::random::id(),
            warned: Mutex::new(None),
        })
    }

    /// Says what a collector that took everything complains about, once for each complaint.
    fn warn(&self, warning: String) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.as_ref() != Some(&warning) {
            warn!(url = %shown_url(self.requester.url.as_str()), warning, "the collector warns");
            *warned = Some(warning);
        }
    }
}

fn requester(config: &HttpConfig, public: HeaderMap) -> Result<Requester, ClientError> {
    let options = ClientOptions {
        tls: &config.tls,
        proxy: &config.proxy,
        connect_timeout: config.connect_timeout,
        concurrency: config.concurrency,
    };
    let mut url = Url::parse(&config.url)
        .map_err(|error| ClientError::Client(format!("url {}: {error}", shown_url(&config.url))))?;
    config.protocol.complete(&mut url);
    Ok(Requester {
        client: client(&config.url, options)?,
        url,
        private: LiveHeaders::new(&config.credentials, options)?,
        public,
        timeout: config.timeout,
        connect_timeout: config.connect_timeout,
        has_connected: AtomicBool::new(false),
    })
}

fn coding(compression: Compression) -> Option<&'static str> {
    match compression {
        Compression::None => None,
        Compression::Gzip(_) => Some("gzip"),
        Compression::Zstd(_) => Some("zstd"),
    }
}

impl Sink for HttpSink {
    type Payload = Payload;

    fn encode(&self, batch: &Batch<Chunk>, part: &Part) -> Payload {
        let body = self.bodies.encode(batch, part);
        let key = format!("{}-{}{}", self.instance, batch.number, part.suffix);
        Payload {
            key: HeaderValue::try_from(key).expect("hexadecimal digits, numbers, dots and an r"),
            lines: body.lines,
            cut: body.cut,
            pieces: self.compressor.compress(body.pieces),
        }
    }

    async fn deliver(&self, payload: &Payload) -> Result<(), SinkError> {
        let most = self.protocol.answer_bytes_max(payload.lines);
        let answer = self
            .requester
            .post(&payload.pieces, &payload.key, most)
            .await?;
        if let Some(warning) = answer::read(self.protocol, &answer, payload.lines)? {
            self.warn(warning);
        }
        Ok(())
    }

    fn hands_on(&self) -> bool {
        self.bodies.hands_on() && self.compressor.how() == Compression::None
    }

    fn n_cut(&self, payload: &Payload) -> u64 {
        payload.cut
    }
}
