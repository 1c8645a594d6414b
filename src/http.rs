//! The HTTP client and its TLS, built from config; shared by everything that speaks HTTP.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Response, Url};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::{BuilderVerifierExt as _, Verifier};
use tokio_tungstenite::Connector;

use crate::secret::Secret;

/// What the program calls itself.
pub const USER_AGENT: &str = concat!("logweir/", env!("CARGO_PKG_VERSION"));

/// Idle connections are closed before the common servers do it (nginx 75 s, ALB 60 s, Node 5 s), so
/// that a request seldom meets a connection that is just being closed.
const POOL_IDLE: Duration = Duration::from_secs(20);

/// Idle connections kept per host.
const POOL_IDLE_PER_HOST: usize = 4;

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

/// What a request carries to say who it is from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Credentials {
    /// Extra headers; values may hold secrets.
    pub headers: Vec<(String, Secret)>,
    /// User and password for basic authentication.
    pub basic: Option<(String, Secret)>,
    /// A bearer token.
    pub bearer: Option<Secret>,
}

impl Credentials {
    /// The headers. They may hold secrets: they go to the configured origin only.
    ///
    /// # Errors
    /// [`ClientError`] names what cannot stand in a header.
    pub fn headers(&self) -> Result<HeaderMap, ClientError> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let refused = |reason: &str| ClientError::Client(format!("header `{name}`: {reason}"));
            let name =
                HeaderName::try_from(name).map_err(|_| refused("the name is not allowed"))?;
            headers.append(
                name,
                sensitive(value).ok_or_else(|| refused("the value is not allowed"))?,
            );
        }
        let refused = || ClientError::Client("the credentials cannot stand in a header".to_owned());
        if let Some(token) = &self.bearer {
            let value = Secret::new(format!("Bearer {}", token.expose()));
            headers.insert(AUTHORIZATION, sensitive(&value).ok_or_else(refused)?);
        }
        if let Some((user, password)) = &self.basic {
            let value = basic_credentials(user, password);
            headers.insert(AUTHORIZATION, sensitive(&value).ok_or_else(refused)?);
        }
        Ok(headers)
    }
}

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

/// Builds a client for `url`. It follows no redirects by itself: credentials must not follow them.
///
/// # Errors
/// [`ClientError`] where a certificate or key file cannot be used.
pub fn client(
    url: &str,
    tls: &Tls,
    connect_timeout: Duration,
) -> Result<reqwest::Client, ClientError> {
    // Without a certificate store on the machine, plain HTTP must still work.
    let mut config = if is_encrypted(url) {
        tls_config(tls)?
    } else {
        no_tls()?
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .connect_timeout(connect_timeout)
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(POOL_IDLE_PER_HOST)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(USER_AGENT)
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

/// Where a redirect leads; `None`: it is none, or one that HTTP cannot follow.
pub fn redirect_target(response: &Response) -> Option<Url> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let target = response.url().join(location).ok()?;
    let is_redirect = response.status().is_redirection();
    (is_redirect && matches!(target.scheme(), "http" | "https")).then_some(target)
}

fn sensitive(value: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(value.expose()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// RFC 7617: base64 of `user:password`.
fn basic_credentials(user: &str, password: &Secret) -> Secret {
    let pair = format!("{user}:{}", password.expose());
    Secret::new(format!("Basic {}", BASE64_STANDARD.encode(pair)))
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn no_tls() -> Result<ClientConfig, ClientError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Tls(error.to_string()))?;
    Ok(builder
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}

fn tls_config(tls: &Tls) -> Result<ClientConfig, ClientError> {
    let tls_error = |error: rustls::Error| ClientError::Tls(error.to_string());
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(tls_error)?;
    let builder = match &tls.ca {
        None => builder.with_platform_verifier().map_err(tls_error)?,
        Some(path) => {
            let extra = certificates("tls.ca", path)?;
            let verifier = Verifier::new_with_extra_roots(extra, provider()).map_err(tls_error)?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
        }
    };
    let (Some(cert), Some(key)) = (&tls.cert, &tls.key) else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates("tls.cert", cert)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| pem("tls.key", key, &error))?;
    builder
        .with_client_auth_cert(chain, private)
        .map_err(tls_error)
}

fn certificates(
    what: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let all = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| pem(what, path, &error))?;
    if all.is_empty() {
        let reason = "it holds no certificate".to_owned();
        return Err(ClientError::Pem {
            what,
            path: path.to_owned(),
            reason,
        });
    }
    Ok(all)
}

fn pem(what: &'static str, path: &Path, error: &rustls::pki_types::pem::Error) -> ClientError {
    ClientError::Pem {
        what,
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn basic_credentials_are_base64() {
        let cases = [
            (
                "Aladdin",
                "open sesame",
                "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            ),
            ("a", "b", "Basic YTpi"),
            ("a", "", "Basic YTo="),
        ];
        for (user, password, expected) in cases {
            assert_eq!(
                basic_credentials(user, &Secret::new(password)).expose(),
                expected
            );
        }
    }
}
