//! Makes a connection: the upgrade, who asks, and what is sent first.

use std::sync::Arc;
use std::time::Duration;

use futures::SinkExt as _;
use jiff::Timestamp;
use reqwest::Url;
use reqwest::header::{
    AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL, USER_AGENT,
};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::http::Response;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig as Limits;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

use super::WebSocketConfig;
use crate::http::{
    self, ClientError, Credentials, LiveHeaders, Route, Trouble, describe_status, parsed_url,
    percent_decoded, retry_after, unreachable, websocket_connector,
};
use crate::secret::Secret;
use crate::source::session::End;

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// One per connection, allocated at once; a message that is longer grows it.
const READ_BUFFER_BYTES: usize = 8 * 1024;

/// What waits to be written: pings, pongs and what `send` says.
const WRITE_BUFFER_BYTES_MAX: usize = 1 << 20;

/// How to connect.
pub(super) struct Server {
    url: Url,
    headers: HeaderMap,
    private: Arc<LiveHeaders>,
    route: Route,
    connector: Connector,
    limits: Limits,
    connect_timeout: Duration,
    send: Vec<Secret>,
}

impl Server {
    pub(super) fn new(
        config: &WebSocketConfig,
        line_bytes_max: usize,
    ) -> Result<Self, ClientError> {
        let network = &config.network;
        let mut url = parsed_url(&config.url)?;
        let mut headers = credentials_of(&mut url)?;
        headers.insert(USER_AGENT, HeaderValue::from_static(http::USER_AGENT));
        if !config.subprotocols.is_empty() {
            let offered = HeaderValue::try_from(config.subprotocols.join(", "));
            let offered = offered.map_err(|_| {
                ClientError::Client("the subprotocols cannot stand in a header".to_owned())
            })?;
            headers.insert(SEC_WEBSOCKET_PROTOCOL, offered);
        }
        let bytes_max = config.message_bytes_max.unwrap_or(line_bytes_max);
        let limits = Limits::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
            .max_message_size(Some(bytes_max))
            .max_frame_size(Some(bytes_max));
        Ok(Self {
            connector: websocket_connector(url.as_str(), &network.tls)?,
            url,
            headers,
            private: LiveHeaders::new(&network.credentials, network.options())?,
            route: Route::new(&network.proxy)?,
            limits,
            connect_timeout: network.connect_timeout,
            send: config.send.clone(),
        })
    }

    /// Connects, upgrades and sends what is to be sent first, all within the connect timeout. A
    /// token that was refused is asked for again once.
    pub(super) async fn connect(&self) -> Result<Socket, End> {
        let private = self.private.get().await?;
        let first = self.connect_within(&private).await;
        if let Err(Failed::Upgrade(error)) = &first
            && let Error::Http(response) = &**error
            && response.status() == 401
            && self.private.refused(&private).await
        {
            let private = self.private.get().await?;
            return self
                .connect_within(&private)
                .await
                .map_err(|it| self.end(it));
        }
        first.map_err(|it| self.end(it))
    }

    fn end(&self, failed: Failed) -> End {
        match failed {
            Failed::Ended(end) => end,
            Failed::Upgrade(error) => end_of(&error, &self.url),
        }
    }

    async fn connect_within(&self, private: &HeaderMap) -> Result<Socket, Failed> {
        let connecting = timeout(self.connect_timeout, self.try_connect(private));
        let late = |_| Failed::Ended(End::cut(unreachable(&self.url, "no answer in time")));
        connecting.await.map_err(late)?
    }

    async fn try_connect(&self, private: &HeaderMap) -> Result<Socket, Failed> {
        let mut request = self.url.as_str().into_client_request()?;
        let headers = request.headers_mut();
        for (name, value) in self.headers.iter().chain(private) {
            // What is configured counts more than what the URL says.
            if name == AUTHORIZATION || name == USER_AGENT {
                headers.insert(name, value.clone());
            } else {
                headers.append(name, value.clone());
            }
        }
        let tcp = self.route.connect(&self.url).await.map_err(End::from)?;
        let connector = Some(self.connector.clone());
        let upgrading = client_async_tls_with_config(request, tcp, Some(self.limits), connector);
        let (mut socket, _) = upgrading.await?;
        for message in &self.send {
            let message = Message::Text(Utf8Bytes::from(message.expose()));
            socket.send(message).await?;
        }
        Ok(socket)
    }
}

/// Why there is no connection.
enum Failed {
    Ended(End),
    Upgrade(Box<Error>),
}

impl From<End> for Failed {
    fn from(end: End) -> Self {
        Self::Ended(end)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Upgrade(Box::new(error))
    }
}

/// User and password of a URL as a header; they are taken out of it.
fn credentials_of(url: &mut Url) -> Result<HeaderMap, ClientError> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(HeaderMap::new());
    }
    let password = Secret::new(percent_decoded(url.password().unwrap_or_default()));
    let credentials = Credentials {
        basic: Some((percent_decoded(url.username()), password)),
        ..Credentials::default()
    };
    // Both succeed for every URL with a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    credentials.headers()
}

/// What an error before the first message means.
fn end_of(error: &Error, url: &Url) -> End {
    match error {
        Error::Http(response) => refusal(response),
        Error::Io(error) => End::cut(unreachable(url, &error.to_string())),
        Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(error)) => End::Refused {
            cause: error.to_string(),
        },
        error => End::cut(unreachable(url, &error.to_string())),
    }
}

/// What an answer other than 101 means.
fn refusal(response: &Response<Option<Vec<u8>>>) -> End {
    let status = response.status().as_u16();
    let cause = describe_status(status, "");
    match status {
        408 | 425 | 429 | 500..=599 => {
            let after = response.headers().get(RETRY_AFTER);
            let after = after.and_then(|it| retry_after(it.to_str().ok()?, Timestamp::now()));
            End::Cut { cause, after }
        }
        200..=299 => End::Refused {
            cause: format!("{cause}: this is no WebSocket (is it a stream? then http:// reads it)"),
        },
        _ => Trouble::of_status(status).into(),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::AUTHORIZATION;

    use super::*;

    #[test]
    fn user_and_password_of_a_url_become_a_header() {
        let mut url = Url::parse("wss://a%40b:c%3Ad@h/x").unwrap();

        let headers = credentials_of(&mut url).unwrap();

        assert_eq!(url.as_str(), "wss://h/x");
        assert_eq!(headers[AUTHORIZATION], "Basic YUBiOmM6ZA==");
    }
}
