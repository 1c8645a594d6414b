//! Asks for a response: redirects, credentials, and what a status means.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{ACCEPT, CONTENT_ENCODING, HeaderMap, RETRY_AFTER};
use reqwest::{Response, Url};

use super::StreamConfig;
use crate::http::{
    ClientError, ClientOptions, Tls, client, describe_status, redirect_target, retry_after,
};
use crate::secret::shown_url;
use crate::source::session::End;

/// Redirects that one request follows.
const REDIRECTS_MAX: usize = 5;

/// No encoding is asked for: proxies hold compressed streams back until a block is full.
const ACCEPTED: &str = "text/event-stream, application/x-ndjson, */*";

/// How to ask.
#[derive(Debug)]
pub(super) struct Request {
    client: reqwest::Client,
    url: Url,
    tls: Tls,
    connect_timeout: Duration,
    /// What is sent to the configured origin only.
    private: HeaderMap,
}

impl Request {
    pub(super) fn new(config: &StreamConfig) -> Result<Self, ClientError> {
        let url = Url::parse(&config.url).map_err(|error| {
            ClientError::Client(format!("url {}: {error}", shown_url(&config.url)))
        })?;
        Ok(Self {
            client: client(
                url.as_str(),
                ClientOptions::new(&config.tls, config.connect_timeout),
            )?,
            url,
            tls: config.tls.clone(),
            connect_timeout: config.connect_timeout,
            private: config.credentials.headers()?,
        })
    }

    /// Asks, following redirects. To another origin nothing private goes along.
    pub(super) async fn send(&self, last_id: Option<&str>) -> Result<Response, End> {
        let mut url = self.url.clone();
        let mut client = self.client.clone();
        for _ in 0..=REDIRECTS_MAX {
            let mut request = client.get(url.clone()).header(ACCEPT, ACCEPTED);
            if let Some(id) = last_id {
                request = request.header("last-event-id", id.as_bytes());
            }
            if url.origin() == self.url.origin() {
                request = request.headers(self.private.clone());
            }
            let response = request
                .send()
                .await
                .map_err(|error| End::cut(format!("cannot connect: {}", root_cause(&error))))?;
            let Some(next) = redirect_target(&response) else {
                return accepted(response);
            };
            if next.scheme() == "https" && url.scheme() == "http" {
                // The first client may know no certificates.
                let options = ClientOptions::new(&self.tls, self.connect_timeout);
                client = self::client(next.as_str(), options).map_err(|error| End::Refused {
                    cause: error.to_string(),
                })?;
            }
            url = next;
        }
        let cause = format!("more than {REDIRECTS_MAX} redirects (set url to where they end)");
        Err(End::Refused { cause })
    }
}

/// A response that can be read, or what its status means.
fn accepted(response: Response) -> Result<Response, End> {
    let status = response.status().as_u16();
    if let Some(encoding) = response.headers().get(CONTENT_ENCODING)
        && encoding != "identity"
        && response.status().is_success()
    {
        let cause = format!("content-encoding {encoding:?} cannot be read: it was not asked for");
        return Err(End::Refused { cause });
    }
    match status {
        // The standard of event streams: the server has nothing and will have nothing.
        204 | 205 => Err(End::Refused {
            cause: describe_status(status, "nothing to read"),
        }),
        200..=299 => Ok(response),
        408 | 425 | 429 | 500..=599 => {
            let after = response.headers().get(RETRY_AFTER);
            let after = after.and_then(|it| retry_after(it.to_str().ok()?, Timestamp::now()));
            let cause = describe_status(status, "");
            Err(End::Cut { cause, after })
        }
        _ => Err(End::Refused {
            cause: describe_status(status, ""),
        }),
    }
}

/// The innermost cause: what the system or the TLS library said.
pub(super) fn root_cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    // Only the outermost error knows the URL, and it may hold a secret.
    if std::ptr::addr_eq(cause, error) {
        return "request failed".to_owned();
    }
    cause.to_string()
}
