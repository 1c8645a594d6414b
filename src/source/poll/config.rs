//! What an API is asked, and how its answers are read.

use std::fmt;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderName;

use crate::framing::Pointer;
use crate::http::Network;
use crate::secret::{Secret, shown_url};
use crate::source::Ends;

/// Which APIs to poll, and how.
#[derive(Clone, PartialEq)]
pub struct PollConfig {
    /// The URLs, used as written.
    pub urls: Vec<Secret>,
    /// How they are reached, and who asks.
    pub network: Network,
    /// From the beginning of one round to that of the next.
    pub interval: Duration,
    /// The whole of one request.
    pub timeout: Duration,
    /// Requests at once, over all URLs.
    pub concurrency: usize,
    /// GET or POST, for the most part.
    pub method: Method,
    /// What is posted.
    pub body: Option<Secret>,
    /// Where the records are; the root: the document itself, or its elements.
    pub records: Pointer,
    /// How an API is told what is known already.
    pub cursor: Option<CursorRule>,
    /// How an answer of several pages goes on.
    pub next: Option<NextRule>,
    /// Pages of one round.
    pub pages_max: u32,
    /// What tells that a record came before.
    pub dedupe: Option<Pointer>,
    /// A longer answer is refused, in bytes without compression.
    pub body_bytes_max: usize,
    /// When the source is at its end.
    pub ends: Ends,
}

/// How an API is told what is known already.
#[derive(Clone, Debug, PartialEq)]
pub struct CursorRule {
    /// Where an answer says it.
    pub from: Pointer,
    /// How it is sent.
    pub sent_as: SentAs,
    /// What is sent the first time.
    pub start: Option<String>,
}

/// What carries a value to the server.
#[derive(Clone, Debug, PartialEq)]
pub enum SentAs {
    /// A parameter of the query.
    Param(String),
    /// A header.
    Header(HeaderName),
}

/// How an answer of several pages goes on.
#[derive(Clone, Debug, PartialEq)]
pub enum NextRule {
    /// `Link: <…>; rel="next"` (RFC 8288).
    Link,
    /// A URL in the document, or a token that is sent as a parameter.
    At {
        /// Where it stands.
        from: Pointer,
        /// The parameter that takes it; `None`: it is a URL.
        param: Option<String>,
    },
    /// Pages are numbered: the last one is empty.
    Page {
        /// The parameter.
        param: String,
        /// Of the first page.
        start: u64,
    },
    /// Records are numbered: the parameter says how many are passed over.
    Offset {
        /// The parameter.
        param: String,
        /// Of the first page.
        start: u64,
    },
}

impl PollConfig {
    /// URLs with every default.
    pub fn of_urls(urls: Vec<Secret>) -> Self {
        Self {
            urls,
            network: Network::default(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            concurrency: 8,
            method: Method::GET,
            body: None,
            records: Pointer::default(),
            cursor: None,
            next: None,
            pages_max: 1000,
            dedupe: None,
            body_bytes_max: 16 << 20,
            ends: Ends::Never,
        }
    }
}

impl fmt::Debug for PollConfig {
    /// The URLs without what may be secret in them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls: Vec<String> = self
            .urls
            .iter()
            .map(|url| shown_url(url.expose()))
            .collect();
        f.debug_struct("PollConfig")
            .field("urls", &urls)
            .field("network", &self.network)
            .field("interval", &self.interval)
            .field("timeout", &self.timeout)
            .field("concurrency", &self.concurrency)
            .field("method", &self.method)
            .field("records", &self.records)
            .field("cursor", &self.cursor)
            .field("next", &self.next)
            .field("pages_max", &self.pages_max)
            .field("dedupe", &self.dedupe)
            .field("body_bytes_max", &self.body_bytes_max)
            .field("ends", &self.ends)
            .finish_non_exhaustive()
    }
}
