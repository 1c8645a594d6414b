//! TCP connections for what is no HTTP, through a proxy where there is one.

use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use reqwest::Url;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{ClientError, Proxy, Trouble, describe_status, unreachable};
use crate::secret::shown_url;

/// A longer answer of a proxy is none.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How connections are made.
#[derive(Debug)]
pub struct Route(Matcher);

impl Route {
    /// Through whom the configuration or the environment says.
    ///
    /// # Errors
    /// [`ClientError`] where the proxy's URL is none.
    pub fn new(proxy: &Proxy) -> Result<Self, ClientError> {
        let matcher = match proxy {
            Proxy::Environment => Matcher::from_env(),
            Proxy::Off => Matcher::builder().build(),
            Proxy::Url(url) => {
                let shown = shown_url(url.expose());
                Url::parse(url.expose())
                    .map_err(|_| ClientError::Client(format!("proxy {shown}: not a URL")))?;
                Matcher::builder().all(url.expose().to_owned()).build()
            }
        };
        Ok(Self(matcher))
    }

    /// Connects to the host of a `ws` or `wss` URL.
    ///
    /// # Errors
    /// [`Trouble`] says who does not answer.
    pub async fn connect(&self, url: &Url) -> Result<TcpStream, Trouble> {
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or(80);
        let scheme = if url.scheme() == "wss" {
            "https"
        } else {
            "http"
        };
        let target = format!("{host}:{port}");
        let uri = format!("{scheme}://{target}/").parse();
        let through = uri.ok().and_then(|uri| self.0.intercept(&uri));
        let Some(through) = through else {
            return open(host, port)
                .await
                .map_err(|error| Trouble::passing(unreachable(url, &error.to_string())));
        };
        tunnel(&through, &target).await
    }
}

async fn open(host: &str, port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Has a proxy connect to `target` (RFC 9110 §9.3.6).
async fn tunnel(through: &Intercept, target: &str) -> Result<TcpStream, Trouble> {
    let uri = through.uri();
    let host = uri.host().unwrap_or_default();
    let named = |what: &str| format!("proxy {host}: {what}");
    if uri.scheme_str() != Some("http") {
        let what = "a WebSocket goes through proxies at http:// URLs only";
        return Err(Trouble::lasting(named(what)));
    }
    let lost = |error: std::io::Error| Trouble::passing(named(&format!("cannot connect: {error}")));
    let port = uri.port_u16().unwrap_or(80);
    let mut stream = open(host, port).await.map_err(lost)?;
    let mut head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
    if let Some(auth) = through.basic_auth() {
        head.extend_from_slice(b"Proxy-Authorization: ");
        head.extend_from_slice(auth.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    stream.write_all(&head).await.map_err(lost)?;
    // Byte by byte: what follows the answer is the target's.
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.map_err(lost)?);
        if answer.len() > HEAD_BYTES_MAX {
            return Err(Trouble::passing(named("its answer does not end")));
        }
    }
    let status = answer.split(|byte| *byte == b' ').nth(1);
    let status = status.and_then(|it| std::str::from_utf8(it).ok()?.parse().ok());
    match status {
        Some(200..=299) => Ok(stream),
        Some(status @ (408 | 429 | 500..=599)) => {
            Err(Trouble::passing(named(&describe_status(status, ""))))
        }
        Some(status) => Err(Trouble::on_the_way(
            status,
            named(&describe_status(status, "")),
        )),
        None => Err(Trouble::passing(named("its answer is no HTTP"))),
    }
}
