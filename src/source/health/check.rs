//! Asks one service once.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use reqwest::tls::TlsInfo;
use reqwest::{Response, Url};
use serde::Serialize;

use super::HealthConfig;
use super::certificate::not_after;
use crate::http::{Ask, Endpoint, describe_status, root_cause};
use crate::telemetry::FailureKind;

/// So much of a body is read: for the match, and so that the connection can be used again.
const BODY_BYTES_MAX: usize = 64 << 10;

/// How a service is.
#[derive(Debug)]
pub(super) struct Outcome {
    /// What is wrong; `None`: it is well.
    pub(super) failure: Option<Failure>,
    /// Until the head of the answer was there.
    pub(super) took: Duration,
    status: Option<u16>,
    tls_days: Option<i64>,
}

/// What is wrong with a service.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    /// For a person.
    cause: String,
}

impl Failure {
    fn new(kind: FailureKind, cause: impl Into<String>) -> Self {
        Self {
            kind,
            cause: cause.into(),
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    url: &'a str,
    healthy: bool,
    status: Option<u16>,
    latency_ms: f64,
    error: Option<&'a str>,
    tls_days: Option<i64>,
}

impl Outcome {
    pub(super) fn is_healthy(&self) -> bool {
        self.failure.is_none()
    }

    /// The outcome as one JSON object.
    pub(super) fn line(&self, url: &str) -> String {
        // To a tenth of a millisecond.
        let tenths = (self.took.as_secs_f64() * 10_000.0).round();
        let line = Line {
            url,
            healthy: self.is_healthy(),
            status: self.status,
            latency_ms: tenths / 10.0,
            error: self.failure.as_ref().map(|it| it.cause.as_str()),
            tls_days: self.tls_days,
        };
        serde_json::to_string(&line).expect("texts and numbers can be JSON")
    }
}

/// Asks, and judges the answer. It takes no longer than the timeout.
pub(super) async fn check(endpoint: &Endpoint, url: &Url, config: &HealthConfig) -> Outcome {
    let begun = Instant::now();
    let mut outcome = Outcome {
        failure: None,
        took: Duration::ZERO,
        status: None,
        tls_days: None,
    };
    let judging = judge(endpoint, url, config, &mut outcome, begun);
    let judged = tokio::time::timeout(config.timeout, judging).await;
    let judged = judged.unwrap_or_else(|_| {
        let cause = format!("no answer within {:?}", config.timeout);
        Err(Failure::new(FailureKind::Late, cause))
    });
    if outcome.took.is_zero() {
        outcome.took = begun.elapsed();
    }
    outcome.failure = judged.err();
    outcome
}

/// What is wrong with the answer.
async fn judge(
    endpoint: &Endpoint,
    url: &Url,
    config: &HealthConfig,
    outcome: &mut Outcome,
    begun: Instant,
) -> Result<(), Failure> {
    let ask = Ask {
        method: config.method.clone(),
        ..Ask::get(url.clone())
    };
    let sent = endpoint.send_once(url, &ask).await;
    let response =
        sent.map_err(|trouble| Failure::new(FailureKind::Unreachable, trouble.cause()))?;
    outcome.took = begun.elapsed();
    let status = response.status().as_u16();
    outcome.status = Some(status);
    outcome.tls_days = tls_days(&response);
    let body = beginning(response).await?;
    if !config.expect.iter().any(|range| range.contains(&status)) {
        let cause = describe_status(status, "");
        return Err(Failure::new(FailureKind::Status, cause));
    }
    if let Some(pattern) = &config.body_match
        && !pattern.is_match(&body)
    {
        let cause = "the body does not match body_match";
        return Err(Failure::new(FailureKind::Body, cause));
    }
    Ok(())
}

/// The beginning of a body.
async fn beginning(mut response: Response) -> Result<Vec<u8>, Failure> {
    let torn = |error| Failure::new(FailureKind::Unreachable, root_cause(&error));
    let mut body = Vec::new();
    while let Some(bytes) = response.chunk().await.map_err(torn)? {
        body.extend_from_slice(&bytes);
        if body.len() > BODY_BYTES_MAX {
            body.truncate(BODY_BYTES_MAX);
            break;
        }
    }
    Ok(body)
}

/// Whole days until the server's certificate expires.
fn tls_days(response: &Response) -> Option<i64> {
    let certificate = response.extensions().get::<TlsInfo>()?.peer_certificate()?;
    let seconds = not_after(certificate)? - Timestamp::now().as_second();
    Some(seconds.div_euclid(86_400))
}
