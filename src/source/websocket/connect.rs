//! Makes a connection: the upgrade, who asks, and what is sent first.

use std::time::Duration;

use futures::SinkExt as _;
use jiff::Timestamp;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::http::Response;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig as Limits;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
};

use super::WebSocketConfig;
use crate::http::{
    ClientError, Credentials, USER_AGENT, describe_status, retry_after, websocket_connector,
};
use crate::secret::{Secret, shown_url};
use crate::source::session::End;

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// One per connection, allocated at once; a message that is longer grows it.
const READ_BUFFER_BYTES: usize = 8 * 1024;

/// What waits to be written: pings, pongs and what `send` says.
const WRITE_BUFFER_BYTES_MAX: usize = 1 << 20;

/// How to connect.
pub(super) struct Server {
    url: String,
    headers: HeaderMap,
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
        let refused =
            |why: String| ClientError::Client(format!("url {}: {why}", shown_url(&config.url)));
        let mut url = Url::parse(&config.url).map_err(|error| refused(error.to_string()))?;
        let mut headers = credentials_of(&mut url)?;
        for (name, value) in &config.credentials.headers()? {
            headers.append(name, value.clone());
        }
        headers
            .entry("user-agent")
            .or_insert(HeaderValue::from_static(USER_AGENT));
        if !config.subprotocols.is_empty() {
            let offered = HeaderValue::try_from(config.subprotocols.join(", "))
                .map_err(|_| refused("the subprotocols cannot stand in a header".to_owned()))?;
            headers.insert(SEC_WEBSOCKET_PROTOCOL, offered);
        }
        let bytes_max = config.message_bytes_max.unwrap_or(line_bytes_max);
        let limits = Limits::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
            .max_message_size(Some(bytes_max))
            .max_frame_size(Some(bytes_max));
        Ok(Self {
            connector: websocket_connector(url.as_str(), &config.tls)?,
            url: url.into(),
            headers,
            limits,
            connect_timeout: config.connect_timeout,
            send: config.send.clone(),
        })
    }

    /// Connects, upgrades and sends what is to be sent first, all within the connect timeout.
    pub(super) async fn connect(&self) -> Result<Socket, End> {
        timeout(self.connect_timeout, self.try_connect())
            .await
            .unwrap_or_else(|_| Err(End::cut("cannot connect: no answer in time")))
    }

    async fn try_connect(&self) -> Result<Socket, End> {
        let mut request = self
            .url
            .as_str()
            .into_client_request()
            .map_err(|error| end_of(&error))?;
        for (name, value) in &self.headers {
            request.headers_mut().append(name, value.clone());
        }
        let connector = Some(self.connector.clone());
        let connecting = connect_async_tls_with_config(request, Some(self.limits), true, connector);
        let (mut socket, _) = connecting.await.map_err(|error| end_of(&error))?;
        for message in &self.send {
            let message = Message::Text(Utf8Bytes::from(message.expose()));
            socket.send(message).await.map_err(|error| end_of(&error))?;
        }
        Ok(socket)
    }
}

/// User and password of a URL as a header; they are taken out of it.
fn credentials_of(url: &mut Url) -> Result<HeaderMap, ClientError> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(HeaderMap::new());
    }
    let decoded = |text: &str| percent_decoded(text);
    let password = Secret::new(decoded(url.password().unwrap_or_default()));
    let credentials = Credentials {
        basic: Some((decoded(url.username()), password)),
        ..Credentials::default()
    };
    // Both succeed for every URL with a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    credentials.headers()
}

fn percent_decoded(text: &str) -> String {
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

/// What an error before the first message means.
fn end_of(error: &Error) -> End {
    match error {
        Error::Http(response) => refusal(response),
        Error::Io(error) => End::cut(format!("cannot connect: {error}")),
        Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(error)) => End::Refused {
            cause: error.to_string(),
        },
        error => End::cut(format!("cannot connect: {error}")),
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
        _ => End::Refused { cause },
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
