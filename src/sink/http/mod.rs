//! The HTTP sink: sends batches to a collector and reads its answers rightly.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::secret::{Secret, shown_url};

/// Which collector, and how to speak to it.
#[derive(Clone, PartialEq)]
pub struct HttpConfig {
    /// The collector's URL, used as written. It can hold a secret in its userinfo or query, so it
    /// is shown through [`crate::secret::shown_url`] only.
    pub url: String,
    /// Extra headers; values may hold secrets.
    pub headers: Vec<(String, Secret)>,
    /// User and password for basic authentication.
    pub basic: Option<(String, Secret)>,
    /// A bearer token.
    pub bearer: Option<Secret>,
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
            .field("headers", &self.headers)
            .field("basic", &self.basic)
            .field("bearer", &self.bearer)
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

/// TLS files and policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates (PEM) to trust beside the system's.
    pub ca: Option<PathBuf>,
    /// Client certificate chain (PEM); needs `key`.
    pub cert: Option<PathBuf>,
    /// Client key (PEM).
    pub key: Option<PathBuf>,
}
