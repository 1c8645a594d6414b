//! Asks servers for responses: redirects, credentials, and what a status means.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode, Url};

use super::{
    ClientError, LiveHeaders, Network, client, describe_status, redirect_target, retry_after,
};
use crate::secret::shown_url;
use crate::terminal::without_codes;

/// Redirects that one request follows.
const REDIRECTS_MAX: usize = 5;

/// Why there is no response that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Something that passes by itself.
    Passing {
        /// For a person.
        cause: String,
        /// The delay that the peer asked for.
        after: Option<Duration>,
    },
    /// Something that only a person can end.
    Lasting {
        /// For a person.
        cause: String,
    },
    /// The same, and only other credentials help.
    Denied {
        /// For a person.
        cause: String,
        /// Who wants them.
        by: Denier,
    },
}

/// Who wants other credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denier {
    /// The server that was asked: those that it was sent are the source's own.
    Server,
    /// A proxy, or whoever grants tokens; the cause says which.
    OnTheWay,
}

impl Trouble {
    /// Something that passes by itself.
    pub fn passing(cause: impl Into<String>) -> Self {
        Self::Passing {
            cause: cause.into(),
            after: None,
        }
    }

    /// Something that only a person can end.
    pub fn lasting(cause: impl Into<String>) -> Self {
        Self::Lasting {
            cause: cause.into(),
        }
    }

    /// What a status of the server means that neither is a success nor passes by itself.
    pub fn of_status(status: u16) -> Self {
        let by = Denier::Server;
        match status {
            401 => Self::Denied {
                cause: "401 Unauthorized".to_owned(),
                by,
            },
            403 => Self::Denied {
                cause: "403 Forbidden".to_owned(),
                by,
            },
            _ => Self::on_the_way(status, describe_status(status, "")),
        }
    }

    /// What a status means of somebody between here and the server; `cause` names who.
    pub fn on_the_way(status: u16, cause: String) -> Self {
        match status {
            401 | 403 | 407 => Self::Denied {
                cause,
                by: Denier::OnTheWay,
            },
            _ => Self::Lasting { cause },
        }
    }

    /// What it is, for a person.
    pub fn cause(&self) -> &str {
        match self {
            Self::Passing { cause, .. } | Self::Lasting { cause } | Self::Denied { cause, .. } => {
                cause
            }
        }
    }
}

/// One request.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The method.
    pub method: Method,
    /// What is asked for.
    pub url: Url,
    /// What may be sent to any origin.
    pub headers: HeaderMap,
    /// What is posted.
    pub body: Option<Bytes>,
}

impl Ask {
    /// GET without anything else.
    pub fn get(url: Url) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: None,
        }
    }
}

/// A client for the configured URLs of one source, and who asks.
#[derive(Debug)]
pub struct Endpoint {
    client: reqwest::Client,
    /// False where the client was made for plain HTTP alone.
    knows_certificates: bool,
    /// For redirects from http to https then.
    encrypted: OnceLock<reqwest::Client>,
    network: Network,
    /// What is sent to configured origins only.
    private: Arc<LiveHeaders>,
}

impl Endpoint {
    /// Prepares a client for `urls`, with so many requests at once.
    ///
    /// # Errors
    /// [`ClientError`] where the set-up cannot work.
    pub fn new<'a>(
        urls: impl IntoIterator<Item = &'a str>,
        network: &Network,
        concurrency: usize,
    ) -> Result<Self, ClientError> {
        let mut options = network.options();
        options.concurrency = concurrency;
        // One that is encrypted needs certificates for all.
        let mut chosen = "";
        for url in urls {
            if chosen.is_empty() || url.starts_with("https") {
                chosen = url;
            }
        }
        Ok(Self {
            client: client(chosen, options)?,
            knows_certificates: chosen.starts_with("https"),
            encrypted: OnceLock::new(),
            private: LiveHeaders::new(&network.credentials, options)?,
            network: network.clone(),
        })
    }

    /// Asks, following redirects. What is private goes to the origin of `home` only, which is a
    /// configured URL. The response may have any status but that of a redirect.
    ///
    /// # Errors
    /// [`Trouble`] where there is no response, or a redirect that cannot be followed.
    pub async fn send(&self, home: &Url, ask: &Ask) -> Result<Response, Trouble> {
        let mut ask = ask.clone();
        for _ in 0..=REDIRECTS_MAX {
            let response = self.send_once(home, &ask).await?;
            let Some(next) = redirect_target(&response) else {
                return Ok(response);
            };
            if ask.body.is_some() && !matches!(response.status().as_u16(), 307 | 308) {
                let cause = describe_status(response.status().as_u16(), "");
                return Err(Trouble::lasting(cause));
            }
            ask.url = next;
        }
        Err(Trouble::lasting(format!(
            "more than {REDIRECTS_MAX} redirects (set url to where they end)"
        )))
    }

    /// Asks without following redirects.
    ///
    /// # Errors
    /// [`Trouble`] where there is no response.
    pub async fn send_once(&self, home: &Url, ask: &Ask) -> Result<Response, Trouble> {
        if ask.url.origin() != home.origin() {
            return self.request(ask, HeaderMap::new()).await;
        }
        let private = self.private.get().await?;
        let response = self.request(ask, private.clone()).await?;
        if response.status() == StatusCode::UNAUTHORIZED && self.private.refused(&private).await {
            let private = self.private.get().await?;
            return self.request(ask, private).await;
        }
        Ok(response)
    }

    async fn request(&self, ask: &Ask, private: HeaderMap) -> Result<Response, Trouble> {
        let client = if ask.url.scheme() == "https" && !self.knows_certificates {
            self.encrypted(&ask.url)?
        } else {
            self.client.clone()
        };
        let send = || {
            let mut request = client
                .request(ask.method.clone(), ask.url.clone())
                .headers(ask.headers.clone())
                .headers(private.clone());
            if let Some(body) = &ask.body {
                request = request.body(body.clone());
            }
            request.send()
        };
        let first = send().await;
        let sent = match first {
            // A server may close an idle connection while a question is on its way to it (RFC 9112
            // §9.3.1). That is no trouble: what changes nothing there is asked again at once.
            Err(error) if ask.method.is_safe() && was_closed(&error) => send().await,
            sent => sent,
        };
        sent.map_err(|error| {
            let cause = root_cause(&error);
            if error.is_connect() {
                Trouble::passing(unreachable(&ask.url, &cause))
            } else {
                Trouble::passing(format!("no answer: {cause}"))
            }
        })
    }

    fn encrypted(&self, url: &Url) -> Result<reqwest::Client, Trouble> {
        if let Some(client) = self.encrypted.get() {
            return Ok(client.clone());
        }
        let made = client(url.as_str(), self.network.options())
            .map_err(|error| Trouble::lasting(error.to_string()))?;
        Ok(self.encrypted.get_or_init(|| made).clone())
    }
}

/// True where a connection ended without an answer.
fn was_closed(error: &reqwest::Error) -> bool {
    if error.is_connect() || error.is_timeout() {
        return false;
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(cause) = cause.downcast_ref::<hyper::Error>()
            && (cause.is_incomplete_message() || cause.is_closed() || cause.is_canceled())
        {
            return true;
        }
        if let Some(cause) = cause.downcast_ref::<std::io::Error>() {
            use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
            return matches!(
                cause.kind(),
                ConnectionReset | BrokenPipe | ConnectionAborted
            );
        }
        source = cause.source();
    }
    false
}

/// A URL as configured.
///
/// # Errors
/// [`ClientError`] where it is none.
pub fn parsed_url(text: &str) -> Result<Url, ClientError> {
    Url::parse(text)
        .map_err(|error| ClientError::Client(format!("url {}: {error}", shown_url(text))))
}

/// A response whose body can be read, or what its status means.
///
/// # Errors
/// [`Trouble`] for every status that is no success.
pub fn accepted(response: Response) -> Result<Response, Trouble> {
    let status = response.status().as_u16();
    match status {
        200..=299 => Ok(response),
        408 | 425 | 429 | 500..=599 => Err(Trouble::Passing {
            cause: describe_status(status, ""),
            after: asked_delay(&response),
        }),
        _ => Err(Trouble::of_status(status)),
    }
}

/// What a response says in `Retry-After`.
pub fn asked_delay(response: &Response) -> Option<Duration> {
    let after = response.headers().get(RETRY_AFTER)?;
    retry_after(after.to_str().ok()?, Timestamp::now())
}

/// That nobody answers where a URL leads.
pub fn unreachable(url: &Url, said: &str) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(80);
    // The words of the library before what the system says.
    let cause = said.strip_prefix("failed to lookup address information: ");
    let cause = without_codes(cause.unwrap_or(said));
    format!("cannot connect to {host}:{port}: {cause}")
}

/// The innermost cause: what the system or the TLS library said.
pub fn root_cause(error: &reqwest::Error) -> String {
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

/// Sets a parameter of a URL's query; the others stay as they are written.
pub fn set_param(url: &mut Url, name: &str, value: &str) {
    let is_other = |pair: &&str| {
        let found = form_urlencoded(pair.split('=').next().unwrap_or_default());
        !pair.is_empty() && found != name
    };
    let mut pairs: Vec<String> = url
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(is_other)
        .map(str::to_owned)
        .collect();
    pairs.push(format!("{}={}", param_encoded(name), param_encoded(value)));
    url.set_query(Some(&pairs.join("&")));
}

/// A name of a query, decoded.
fn form_urlencoded(text: &str) -> String {
    percent_decoded(&text.replace('+', " "))
}

/// What `%` and two digits stand for; everything else as it is.
pub fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let code = after
            .get(..2)
            .filter(|_| *byte == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(code.unwrap_or(*byte));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A text for a query. Colons stay readable: many servers take times there and log them.
pub(super) fn param_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._:".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_set_and_the_others_stay() {
        let check = |before: &str, after: &str| {
            let mut url = Url::parse(before).unwrap();
            set_param(&mut url, "since", "2026-11-25T18:00:00+01:00");
            assert_eq!(url.as_str(), after);
        };
        let set = "since=2026-11-25T18:00:00%2B01:00";

        check("http://h/a", &format!("http://h/a?{set}"));
        check("http://h/a?k=%20v&f", &format!("http://h/a?k=%20v&f&{set}"));
        check(
            "http://h/a?since=1&k=v#f",
            &format!("http://h/a?k=v&{set}#f"),
        );
        check("http://h/a?s%69nce=1", &format!("http://h/a?{set}"));
    }
}
