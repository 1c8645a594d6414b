//! The health source: services that are asked again and again how they are, one line for each answer
//! or each change.
//!
//! `check` asks one service once, `certificate` reads when a certificate expires. Every target has a
//! grid of times of its own, so that no check drifts and not all of them come at the same moment.

mod certificate;
mod check;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use reqwest::{Method, Url};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::fanout::{Fanout, JOIN_BYTES};
use super::session::{FirstAttempt, Session};
use super::{Common, Ends, SourceContext, SourceError};
use crate::framing::MessageBuffer;
use crate::http::{ClientError, Endpoint, Network, parsed_url};
use crate::model::{Pattern, Position, StreamKey};
use crate::notes::FirstFailure;
use crate::secret::{Secret, shown_url};
use crate::telemetry::TargetCounters;
use check::{Outcome, check};

/// Outcomes that wait to be sent; where there are more, nobody is asked.
const WAITING_MAX: usize = 64;

/// Which services to ask, and what a good answer is.
#[derive(Clone, PartialEq)]
pub struct HealthConfig {
    /// The URLs, used as written.
    pub urls: Vec<Secret>,
    /// How they are reached, and who asks.
    pub network: Network,
    /// From one check of a service to the next.
    pub interval: Duration,
    /// The whole of one check.
    pub timeout: Duration,
    /// Checks at once.
    pub concurrency: usize,
    /// GET, for the most part.
    pub method: Method,
    /// Good statuses.
    pub expect: Vec<RangeInclusive<u16>>,
    /// What the body must match somewhere in its beginning.
    pub body_match: Option<Pattern>,
    /// Which checks become lines.
    pub emit: Emit,
}

/// Which checks become lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// The first of each service, and those whose outcome is another than before.
    Changes,
    /// All of them.
    All,
}

impl HealthConfig {
    /// URLs with every default.
    pub fn of_urls(urls: Vec<Secret>) -> Self {
        Self {
            urls,
            network: Network::default(),
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
            concurrency: 64,
            method: Method::GET,
            expect: vec![200..=399],
            body_match: None,
            emit: Emit::Changes,
        }
    }
}

impl fmt::Debug for HealthConfig {
    /// The URLs without what may be secret in them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls = self.urls.iter().map(|url| shown_url(url.expose()));
        f.debug_struct("HealthConfig")
            .field("urls", &urls.collect::<Vec<_>>())
            .field("network", &self.network)
            .field("interval", &self.interval)
            .field("timeout", &self.timeout)
            .field("concurrency", &self.concurrency)
            .field("method", &self.method)
            .field("expect", &self.expect)
            .field("body_match", &self.body_match)
            .field("emit", &self.emit)
            .finish()
    }
}

/// What all targets share.
#[derive(Debug)]
struct Shared {
    config: HealthConfig,
    endpoint: Endpoint,
    checks: Semaphore,
    stop: CancellationToken,
}

/// One service.
#[derive(Debug)]
struct Target {
    url: Url,
    counters: Arc<TargetCounters>,
    /// After the first check, its times are so far behind the others'.
    phase: Duration,
}

/// Checks every service until told to stop.
pub(super) async fn run(
    common: Common,
    config: HealthConfig,
    cx: SourceContext,
) -> Result<(), SourceError> {
    let (attempt, cx) = FirstAttempt::of(cx, 1);
    let (shared, targets) = match prepare(config, &cx) {
        Ok(made) => made,
        Err(error) => {
            attempt.fail_all(FirstFailure::final_one(&common.name, &error.to_string()));
            return Err(error.into());
        }
    };
    let mut session = Session::of_target((common.name.clone(), None), Ends::Never, attempt, &cx);
    // A service that does not answer is what this source is there to say.
    session.opened();
    let fanout = Fanout::new(&common, StreamKey::new("health"), &cx);
    let (outcomes, lines) = mpsc::channel(WAITING_MAX);
    let start = Instant::now();
    let running = targets.into_iter();
    let mut running: FuturesUnordered<_> = running
        .map(|target| target.run(&shared, start, outcomes.clone()))
        .collect();
    drop(outcomes);
    let checking = async { while running.next().await.is_some() {} };
    let sending = send(fanout, lines, common.line_bytes_max, &shared.stop);
    tokio::join!(checking, sending);
    Ok(())
}

fn prepare(config: HealthConfig, cx: &SourceContext) -> Result<(Shared, Vec<Target>), ClientError> {
    let urls = config.urls.iter().map(|url| url.expose());
    let endpoint = Endpoint::new(urls.clone(), &config.network, config.concurrency)?;
    let urls = urls.map(parsed_url).collect::<Result<Vec<_>, _>>()?;
    let n_urls = u32::try_from(urls.len()).unwrap_or(u32::MAX).max(1);
    let names = target_names(&urls).into_iter();
    let counters: Vec<_> = names
        .map(|name| Arc::new(TargetCounters::named(name)))
        .collect();
    // They are set once: a source is run once.
    let _ = cx.counters.targets.set(counters.clone());
    let targets = urls.into_iter().zip(counters).zip(0..);
    let targets = targets.map(|((url, counters), index)| Target {
        url,
        counters,
        phase: config.interval / n_urls * index,
    });
    let targets = targets.collect();
    let shared = Shared {
        endpoint,
        checks: Semaphore::new(config.concurrency),
        stop: cx.shutdown.child_token(),
        config,
    };
    Ok((shared, targets))
}

/// Sends what the checks found, until all of them have ended or all deliveries have.
async fn send(
    mut fanout: Fanout,
    mut lines: mpsc::Receiver<String>,
    line_bytes_max: usize,
    stop: &CancellationToken,
) {
    let mut messages = MessageBuffer::new(line_bytes_max);
    while let Some(line) = lines.recv().await {
        messages.text(&line);
        while messages.ready() < JOIN_BYTES
            && let Ok(line) = lines.try_recv()
        {
            messages.text(&line);
        }
        if let Some(all) = messages.take()
            && fanout.push(all, Position::Live).await.is_err()
        {
            stop.cancel();
            return;
        }
    }
}

impl Target {
    /// Checks at once, and then at the times of its grid; a check that takes longer than the interval
    /// leaves times out.
    async fn run(self, shared: &Shared, start: Instant, outcomes: mpsc::Sender<String>) {
        let stop = &shared.stop;
        let shown = shown_url(self.url.as_str());
        let mut was_healthy = None;
        let mut due = start;
        loop {
            let outcome = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                outcome = self.check(shared, due) => outcome,
            };
            let failure = outcome.failure.as_ref().map(|it| it.kind);
            self.counters.note(failure, outcome.took);
            let is_change = was_healthy != Some(outcome.is_healthy());
            was_healthy = Some(outcome.is_healthy());
            if is_change || shared.config.emit == Emit::All {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    sent = outcomes.send(outcome.line(&shown)) => if sent.is_err() {
                        return;
                    },
                }
            }
            due = next_due(start + self.phase, shared.config.interval, Instant::now());
        }
    }

    async fn check(&self, shared: &Shared, due: Instant) -> Outcome {
        sleep_until(due).await;
        let _asking = shared.checks.acquire().await.expect("it is never closed");
        check(&shared.endpoint, &self.url, &shared.config).await
    }
}

/// What services are called where they are counted: `host:port/path`. Those that differ in what is not
/// shown are numbered.
fn target_names(urls: &[Url]) -> Vec<String> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    let name = |url: &Url| {
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or_default();
        let name = format!("{host}:{port}{}", url.path());
        let count = counts.entry(name.clone()).or_default();
        *count += 1;
        match *count {
            1 => name,
            n => format!("{name}#{n}"),
        }
    };
    urls.iter().map(name).collect()
}

/// The next time of a grid after `now`.
fn next_due(first: Instant, interval: Duration, now: Instant) -> Instant {
    let past = now.saturating_duration_since(first);
    if now < first {
        return first;
    }
    let n_past = past.as_nanos() / interval.as_nanos().max(1);
    let n = u32::try_from(n_past + 1).unwrap_or(u32::MAX);
    first + interval * n
}
