//! Asks for one page and reads it whole, within bounds of time and memory.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use reqwest::header::HeaderMap;
use reqwest::{Response, StatusCode, Url};
use tokio::sync::SemaphorePermit;

use super::Shared;
use crate::http::{Ask, Trouble, accepted, asked_delay, rate_limit};
use crate::source::body::Body;
use crate::source::session::End;

/// What every answer may hold in memory; of larger ones there are only a few at a time.
pub(super) const FREE_BYTES: usize = 64 << 10;

/// However long a server asks to be left alone, it is asked again after so long.
const PATIENCE_MAX: Duration = Duration::from_secs(3_600);

/// An answer that was read whole.
pub(super) struct Answer<'s> {
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    /// `None`: the page is as it was.
    pub(super) body: Option<Vec<u8>>,
    /// Held as long as a large body is.
    _large: Option<SemaphorePermit<'s>>,
}

/// Asks for one page and reads it whole; notes until when the server wants to be left alone.
///
/// Cancel safe: nothing is kept of what was read.
pub(super) async fn fetch<'s>(
    shared: &'s Shared,
    (home, ask): (&Url, &Ask),
    not_before: &mut Option<Instant>,
) -> Result<Answer<'s>, End> {
    let _asking = shared.requests.acquire().await.expect("it is never closed");
    let mut left = shared.config.timeout;
    let late = || End::cut(format!("no answer within {:?}", shared.config.timeout));
    let sent = shared.endpoint.send(home, ask);
    let response = timed(&mut left, sent).await.ok_or_else(late)??;
    *not_before = patience(&response).map(|it| Instant::now() + it.min(PATIENCE_MAX));
    let (url, headers) = (response.url().clone(), response.headers().clone());
    if response.status() == StatusCode::NOT_MODIFIED {
        return Ok(Answer {
            url,
            headers,
            body: None,
            _large: None,
        });
    }
    let mut stream = Body::new(accepted(response)?)?;
    let (mut body, mut large) = (Vec::new(), None);
    while let Some(bytes) = timed(&mut left, stream.next()).await.ok_or_else(late)? {
        let bytes = bytes.map_err(End::cut)?;
        if body.len() + bytes.len() > shared.config.body_bytes_max {
            let most = shared.config.body_bytes_max;
            let cause = format!("the answer is longer than max_body = {most} bytes");
            return Err(Trouble::lasting(cause).into());
        }
        if large.is_none() && body.len() + bytes.len() > FREE_BYTES {
            large = shared.large.acquire().await.ok();
        }
        body.extend_from_slice(&bytes);
    }
    Ok(Answer {
        url,
        headers,
        body: Some(body),
        _large: large,
    })
}

/// What `future` gives within the time that is left, which is spent while it is waited for.
async fn timed<T>(left: &mut Duration, future: impl Future<Output = T>) -> Option<T> {
    let begun = Instant::now();
    let outcome = tokio::time::timeout(*left, future).await.ok();
    *left = left.saturating_sub(begun.elapsed());
    outcome
}

/// How long a server wants to be left alone.
fn patience(response: &Response) -> Option<Duration> {
    let limit = rate_limit(response.headers(), Timestamp::now());
    asked_delay(response).into_iter().chain(limit).max()
}
