//! One request: redirects, connections that were closed meanwhile, and the answer read to its end.

use std::error::Error as _;
use std::io::{ErrorKind, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use jiff::Timestamp;
use reqwest::header::{CONTENT_ENCODING, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url};

use super::answer::Answer;
use super::body::PiecesBody;
use crate::delivery::SinkError;
use crate::http::{
    LiveHeaders, Trouble, chain, redirect_target, retry_after, root_cause, unreachable,
};

/// Redirects that one request follows.
const REDIRECTS_MAX: usize = 5;

/// Sends bodies to one URL.
#[derive(Debug)]
pub(super) struct Requester {
    pub(super) client: reqwest::Client,
    pub(super) url: Url,
    /// What every request carries, to this origin only.
    pub(super) private: Arc<LiveHeaders>,
    /// What every request carries, wherever a redirect leads.
    pub(super) public: HeaderMap,
    pub(super) timeout: Duration,
    pub(super) connect_timeout: Duration,
    /// True once a connection has served a request, and so may be used again.
    pub(super) has_connected: AtomicBool,
}

impl Requester {
    /// Sends a body and reads the answer, up to so many bytes of it.
    pub(super) async fn post(
        &self,
        pieces: &[Bytes],
        key: &HeaderValue,
        answer_bytes_max: usize,
    ) -> Result<Answer, SinkError> {
        let private = self.private.get().await.map_err(without_token)?;
        let mut response = self.send_twice(pieces, key, &private).await?;
        // A token may be taken back before its time: another is asked for once.
        if response.status() == StatusCode::UNAUTHORIZED && self.private.refused(&private).await {
            let private = self.private.get().await.map_err(without_token)?;
            response = self.send_twice(pieces, key, &private).await?;
        }
        let after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| retry_after(value.to_str().ok()?, Timestamp::now()));
        let mut answer = Answer {
            status: response.status().as_u16(),
            after,
            body: Vec::new(),
            torn: None,
        };
        let is_gzip = response
            .headers()
            .get(CONTENT_ENCODING)
            .is_some_and(|it| it == "gzip");
        read_body(&mut response, &mut answer, answer_bytes_max).await;
        if is_gzip {
            unpack(&mut answer, answer_bytes_max);
        }
        Ok(answer)
    }

    /// Sends a body, and again where the connection turned out to be closed.
    async fn send_twice(
        &self,
        pieces: &[Bytes],
        key: &HeaderValue,
        private: &HeaderMap,
    ) -> Result<Response, SinkError> {
        let first = self.send(pieces, key, private).await;
        let response = match first {
            // A server may close an idle connection while a request is on its way to it (RFC 9112
            // §9.3.1 asks clients to expect it). That is no outage: the same request is sent again
            // at once, on another connection.
            Err(Unsent::Transport(error)) if self.was_closed(&error) => {
                self.send(pieces, key, private).await
            }
            sent => sent,
        };
        let response = response.map_err(|unsent| match unsent {
            Unsent::Transport(error) => self.transport_error(&error),
            Unsent::Redirects(cause) => SinkError::Paused { cause },
        })?;
        self.has_connected.store(true, Ordering::Relaxed);
        Ok(response)
    }

    /// Sends a body, following redirects. To another origin nothing private goes along.
    async fn send(
        &self,
        pieces: &[Bytes],
        key: &HeaderValue,
        private: &HeaderMap,
    ) -> Result<Response, Unsent> {
        let mut url = self.url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let mut request = self
                .client
                .post(url.clone())
                .timeout(self.timeout)
                .headers(self.public.clone())
                .header("idempotency-key", key.clone())
                .body(PiecesBody::wrap(pieces));
            if url.origin() == self.url.origin() {
                request = request.headers(private.clone());
            }
            let response = request.send().await.map_err(Unsent::Transport)?;
            let Some(next) = kept_redirect(&response) else {
                return Ok(response);
            };
            url = next;
        }
        Err(Unsent::Redirects(format!(
            "more than {REDIRECTS_MAX} redirects (set url to where they end)"
        )))
    }

    /// True where a connection that had served before ended without an answer.
    fn was_closed(&self, error: &reqwest::Error) -> bool {
        if !self.has_connected.load(Ordering::Relaxed) || error.is_connect() || error.is_timeout() {
            return false;
        }
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(cause) = cause.downcast_ref::<hyper::Error>()
                && (cause.is_incomplete_message() || cause.is_closed() || cause.is_canceled())
            {
                return true;
            }
            if let Some(cause) = cause.downcast_ref::<std::io::Error>() {
                return matches!(
                    cause.kind(),
                    ErrorKind::ConnectionReset
                        | ErrorKind::BrokenPipe
                        | ErrorKind::ConnectionAborted
                );
            }
            source = cause.source();
        }
        false
    }

    fn transport_error(&self, error: &reqwest::Error) -> SinkError {
        SinkError::Retryable {
            cause: self.cause_of(error),
            after: None,
        }
    }

    /// Why a request was not answered, in words; none of them is of its URL.
    pub(super) fn cause_of(&self, error: &reqwest::Error) -> String {
        let is_connect = error.is_connect();
        if error.is_timeout() && is_connect {
            format!("no connection within {:?}", self.connect_timeout)
        } else if error.is_timeout() {
            format!("no answer within {:?}", self.timeout)
        } else if is_connect {
            unreachable(&self.url, &root_cause(error))
        } else {
            format!("no answer: {}", root_cause(error))
        }
    }
}

/// What it means for a batch that nobody grants a token.
fn without_token(trouble: Trouble) -> SinkError {
    match trouble {
        Trouble::Passing { cause, after } => SinkError::Retryable { cause, after },
        Trouble::Lasting { cause } | Trouble::Denied { cause, .. } => SinkError::Paused { cause },
    }
}

/// Why there is no response.
enum Unsent {
    Transport(reqwest::Error),
    Redirects(String),
}

/// Where a redirect that keeps method and body leads (RFC 9110 §15.4.8, §15.4.9).
fn kept_redirect(response: &Response) -> Option<Url> {
    let keeps = matches!(response.status().as_u16(), 307 | 308);
    redirect_target(response).filter(|_| keeps)
}

/// Takes gzip off an answer: nobody asked for it, but some proxies do not ask either.
fn unpack(answer: &mut Answer, bytes_max: usize) {
    let mut plain = Vec::new();
    let packed = std::mem::take(&mut answer.body);
    let reader = MultiGzDecoder::new(packed.as_slice());
    if let Err(error) = reader.take(bytes_max as u64).read_to_end(&mut plain) {
        answer.torn = Some(format!("the answer is no gzip: {error}"));
    }
    answer.body = plain;
}

async fn read_body(response: &mut Response, answer: &mut Answer, bytes_max: usize) {
    loop {
        match response.chunk().await {
            Ok(Some(piece)) => answer.body.extend_from_slice(&piece),
            Ok(None) => return,
            Err(error) => {
                let cause = chain(&error.without_url());
                answer.torn = Some(format!("the answer broke off: {cause}"));
                return;
            }
        }
        if answer.body.len() > bytes_max {
            answer.torn = Some(format!("the answer is longer than {bytes_max} bytes"));
            return;
        }
    }
}
