//! Which collector, and how to speak to it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::Protocol;
use crate::encoding::Compression;
use crate::http::{Credentials, Proxy, Tls};
use crate::secret::shown_url;

/// Which collector, and how to speak to it.
#[derive(Clone, PartialEq)]
pub struct HttpConfig {
    /// The collector's URL as written; [`Protocol::complete`] completes it. It can hold a secret in
    /// its userinfo or query, so it is shown through [`crate::secret::shown_url`] only.
    pub url: String,
    /// What the collector speaks.
    pub protocol: Protocol,
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
    /// Through whom to connect.
    pub proxy: Proxy,
}

impl HttpConfig {
    /// Bodies that are encoded at once. Compressing is slower than reading and sending: every core
    /// does it. Without it one thread keeps up with the network.
    pub fn encoders(&self) -> usize {
        /// Each keeps a batch and its body in memory.
        const MOST: usize = 8;
        match self.compression {
            Compression::None => 1,
            Compression::Gzip(_) | Compression::Zstd(_) => {
                std::thread::available_parallelism().map_or(1, |cores| cores.get().min(MOST))
            }
        }
    }
}

impl fmt::Debug for HttpConfig {
    /// The URL without what may be secret in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpConfig")
            .field("url", &shown_url(&self.url))
            .field("protocol", &self.protocol)
            .field("credentials", &self.credentials)
            .field("compression", &self.compression)
            .field("concurrency", &self.concurrency)
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("retry", &self.retry)
            .field("dead_letter", &self.dead_letter)
            .field("tls", &self.tls)
            .field("proxy", &self.proxy)
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
