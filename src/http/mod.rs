//! The HTTP client and its TLS, built from config; shared by everything that speaks HTTP.

mod credentials;
mod endpoint;
mod inflate;
mod network;
mod oauth2;
mod route;
mod tls;

pub use credentials::{Credentials, LiveHeaders};
pub use endpoint::{
    Ask, Denier, Endpoint, Trouble, accepted, asked_delay, parsed_url, percent_decoded, root_cause,
    set_param, unreachable,
};
pub use inflate::{Coding, Inflate};
pub use network::Network;
pub use oauth2::OAuth2;
pub use route::Route;
pub use tls::{Tls, Verify};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Response, Url};
use tokio_tungstenite::Connector;

use crate::secret::{Secret, shown_url};
use tls::{no_tls, tls_config};

/// What the program calls itself.
pub const USER_AGENT: &str = concat!("logweir/", env!("CARGO_PKG_VERSION"));

/// Idle connections are closed before the common servers do it (nginx 75 s, ALB 60 s, Node 5 s), so
/// that a request seldom meets a connection that is just being closed.
const POOL_IDLE: Duration = Duration::from_secs(20);

/// A peer that is gone without a word is noticed within a minute: a probe after 15 s of silence and
/// then every 15 s, of which the third without an answer ends the connection (tcp(7)).
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 3;

/// Idle connections kept per host, where fewer requests are in flight at once.
const POOL_IDLE_PER_HOST: usize = 4;

/// Why no client can be made. All of these are mistakes in the set-up.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A PEM file cannot be used.
    #[error("{what} {}: {reason}", path.display())]
    Pem {
        /// Which setting names it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The TLS library refuses the set-up.
    #[error("TLS: {0}; is the package ca-certificates installed?")]
    Tls(String),
    /// The HTTP library refuses the set-up.
    #[error("HTTP client: {0}")]
    Client(String),
}

/// How a client connects.
#[derive(Clone, Copy, Debug)]
pub struct ClientOptions<'a> {
    /// Whom to trust, and what to show.
    pub tls: &'a Tls,
    /// Through whom.
    pub proxy: &'a Proxy,
    /// Connecting alone, TLS included.
    pub connect_timeout: Duration,
    /// Requests at once.
    pub concurrency: usize,
}

impl<'a> ClientOptions<'a> {
    /// One request at a time, through whom the environment says.
    pub fn new(tls: &'a Tls, connect_timeout: Duration) -> Self {
        Self {
            tls,
            proxy: &Proxy::Environment,
            connect_timeout,
            concurrency: 1,
        }
    }
}

/// Through whom a client connects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proxy {
    /// As `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say.
    #[default]
    Environment,
    /// Through nobody.
    Off,
    /// Through the proxy at this URL, which can hold credentials.
    Url(Secret),
}

/// Builds a client for `url`. It follows no redirects by itself: credentials must not follow them.
///
/// # Errors
/// [`ClientError`] where a certificate or key file cannot be used.
pub fn client(url: &str, options: ClientOptions) -> Result<reqwest::Client, ClientError> {
    let proxy_url = match options.proxy {
        Proxy::Url(url) => url.expose(),
        Proxy::Environment | Proxy::Off => "",
    };
    // Without a certificate store on the machine, plain HTTP must still work.
    let mut config = if is_encrypted(url) || is_encrypted(proxy_url) {
        tls_config(options.tls)?
    } else {
        no_tls()?
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .connect_timeout(options.connect_timeout)
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(options.concurrency.max(POOL_IDLE_PER_HOST))
        .redirect(reqwest::redirect::Policy::none())
        .tcp_keepalive(KEEPALIVE)
        .tcp_keepalive_interval(KEEPALIVE)
        .tcp_keepalive_retries(KEEPALIVE_RETRIES)
        .tls_info(true)
        .user_agent(USER_AGENT);
    let builder = match options.proxy {
        Proxy::Environment => builder,
        Proxy::Off => builder.no_proxy(),
        Proxy::Url(url) => builder.proxy(reqwest::Proxy::all(url.expose()).map_err(|_| {
            ClientError::Client(format!("proxy {}: not a URL", shown_url(url.expose())))
        })?),
    };
    builder
        .build()
        .map_err(|error| ClientError::Client(chain(&error.without_url())))
}

/// What a WebSocket connects with. It offers no protocols: a server that chose HTTP/2 would refuse
/// the upgrade.
///
/// # Errors
/// [`ClientError`] where a certificate or key file cannot be used.
pub fn websocket_connector(url: &str, tls: &Tls) -> Result<Connector, ClientError> {
    if is_encrypted(url) {
        Ok(Connector::Rustls(Arc::new(tls_config(tls)?)))
    } else {
        Ok(Connector::Plain)
    }
}

fn is_encrypted(url: &str) -> bool {
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss")
}

/// An error and its causes on one line: "a: b: c".
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// What a status other than success means, with the reason that came with it, for a person.
pub fn describe_status(status: u16, reason: &str) -> String {
    let name = reqwest::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("unknown status");
    let hint = match status {
        401 | 403 => " (is the token right, and does it still count?)",
        404 => " (is the path of the url right?)",
        407 => " (the proxy wants credentials)",
        300..=399 => " (set url to where it points)",
        _ => "",
    };
    let reason = reason.trim();
    let colon = if reason.is_empty() { "" } else { ": " };
    format!("HTTP {status} {name}{hint}{colon}{reason}")
}

/// Reads a `Retry-After` header: seconds or an HTTP date (RFC 9110 §10.2.3). A date in the past
/// means at once; anything else is ignored.
pub fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(value)
        .ok()?;
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

/// What a server says about how often it may be asked: how long to wait where nothing is left. Read are
/// `RateLimit-…` and `X-RateLimit-…`, whose reset is a number of seconds or a time since 1970, and
/// `RateLimit: …;r=0;t=30` of the newer drafts.
pub fn rate_limit(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let header = |name: String| headers.get(name)?.to_str().ok();
    for prefix in ["ratelimit", "x-ratelimit"] {
        let left = header(format!("{prefix}-remaining")).and_then(number);
        if left == Some(0) {
            let reset = header(format!("{prefix}-reset")).and_then(number)?;
            let since_1970 = u64::try_from(now.as_second()).unwrap_or(0);
            let is_time = reset > 1_000_000_000;
            let seconds = if is_time {
                reset.saturating_sub(since_1970)
            } else {
                reset
            };
            return Some(Duration::from_secs(seconds));
        }
    }
    let newer = header("ratelimit".to_owned())?;
    let param = |name: &str| {
        let mut params = newer.split([';', ',']).map(str::trim);
        params.find_map(|it| number(it.strip_prefix(name)?.strip_prefix('=')?))
    };
    (param("r") == Some(0)).then(|| param("t").map(Duration::from_secs))?
}

/// Where a redirect leads; `None`: it is none, or one that HTTP cannot follow.
pub fn redirect_target(response: &Response) -> Option<Url> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let target = response.url().join(location).ok()?;
    let is_redirect = response.status().is_redirection();
    (is_redirect && matches!(target.scheme(), "http" | "https")).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_left_of_a_rate_means_waiting() {
        let now: Timestamp = "2026-11-22T18:00:00Z".parse().unwrap();
        let check = |headers: &[(&'static str, &str)], seconds: Option<u64>| {
            let pairs = headers.iter().map(|(name, value)| {
                let name = reqwest::header::HeaderName::from_static(name);
                (name, value.parse().unwrap())
            });
            let found = rate_limit(&pairs.collect(), now);
            assert_eq!(found, seconds.map(Duration::from_secs), "{headers:?}");
        };
        let at = (now.as_second() + 90).to_string();

        check(
            &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &at)],
            Some(90),
        );
        check(
            &[("ratelimit-remaining", "0"), ("ratelimit-reset", "7")],
            Some(7),
        );
        check(
            &[("ratelimit-remaining", "1"), ("ratelimit-reset", "7")],
            None,
        );
        check(&[("ratelimit", "\"default\";r=0;t=30")], Some(30));
        check(&[("ratelimit", "\"default\";r=5;t=30")], None);
        check(&[], None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2026-11-22T18:00:00Z".parse().unwrap();
        let seconds = |n| Some(Duration::from_secs(n));

        assert_eq!(retry_after("2", now), seconds(2));
        assert_eq!(retry_after(" 120 ", now), seconds(120));
        assert_eq!(
            retry_after("Sun, 22 Nov 2026 18:00:30 GMT", now),
            seconds(30)
        );
        assert_eq!(
            retry_after("Sun, 22 Nov 2026 17:00:00 GMT", now),
            seconds(0)
        );
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("-3", now), None);
    }
}
