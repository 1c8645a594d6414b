//! The poll source: APIs that are asked again and again, each page of theirs a list of records.
//!
//! `config` is what can be said about it, `fetch` reads an answer, `page` takes it apart, `follow` knows
//! which page is next, `known` remembers which records came last, `place` is where an API stands, and `target` puts it
//! together for one URL. Each URL is a stream of its own; all are driven by one task.

mod config;
mod fetch;
mod follow;
mod known;
mod page;
mod place;
mod target;
#[cfg(test)]
mod tests;

pub use config::{CursorRule, NextRule, PollConfig, SentAs};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::Semaphore;

use super::session::{FirstAttempt, Session};
use super::{Common, SourceContext, SourceError, stream_keys};
use crate::http::{ClientError, Endpoint, parsed_url};
use crate::notes::FirstFailure;
use target::Target;

/// Answers that are larger than [`fetch::FREE_BYTES`] and in memory at the same time.
const LARGE_AT_ONCE: usize = 2;

/// What all URLs of a source share.
#[derive(Debug)]
struct Shared {
    config: PollConfig,
    endpoint: Endpoint,
    /// Requests that may be in flight.
    requests: Semaphore,
    /// Large answers that may be in memory.
    large: Semaphore,
}

impl Shared {
    fn new(config: PollConfig) -> Result<Self, ClientError> {
        let urls = config.urls.iter().map(|url| url.expose());
        Ok(Self {
            endpoint: Endpoint::new(urls, &config.network, config.concurrency)?,
            requests: Semaphore::new(config.concurrency),
            large: Semaphore::new(LARGE_AT_ONCE),
            config,
        })
    }
}

/// Polls every URL until told to stop.
pub(super) async fn run(
    common: Common,
    config: PollConfig,
    cx: SourceContext,
) -> Result<(), SourceError> {
    let (attempt, cx) = FirstAttempt::of(cx, config.urls.len());
    let made = Shared::new(config).and_then(|shared| {
        let urls = shared.config.urls.iter();
        let urls = urls.map(|url| parsed_url(url.expose()));
        let urls = urls.collect::<Result<Vec<_>, _>>()?;
        Ok((shared, urls))
    });
    let (shared, urls) = match made {
        Ok(made) => made,
        Err(error) => {
            attempt.fail_all(FirstFailure::final_one(&common.name, &error.to_string()));
            return Err(error.into());
        }
    };
    let keys = stream_keys(&urls);
    let many = urls.len() > 1;
    let targets = urls.into_iter().zip(keys).map(|(url, stream)| {
        let shown = many.then(|| stream.name());
        let name = common.name.clone();
        let session = Session::of_target((name, shown), shared.config.ends, attempt.clone(), &cx);
        Target::new(&common, (url, stream), session, &cx)
    });
    let mut running: FuturesUnordered<_> = targets.map(|it| it.run(&shared)).collect();
    while running.next().await.is_some() {}
    Ok(())
}
