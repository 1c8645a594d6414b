//! Reads the keys of a WebSocket source.

use reqwest::header::HeaderName;

use super::super::credentials::sealed;
use super::super::cx::Cx;
use super::super::endpoint::{InTheClear, WEBSOCKET, checked};
use super::super::references::Text;
use super::super::table::Table;
use super::super::value::Value;
use super::network::{self, DAY, MS};
use crate::http::Proxy;
use crate::secret::Secret;
use crate::source::websocket::WebSocketConfig;

/// A WebSocket with every default.
pub(super) fn of_url(
    value: &Value,
    text: Text,
    cx: &mut Cx,
) -> Option<(WebSocketConfig, Option<InTheClear>)> {
    let url = checked(value, text, &WEBSOCKET, cx)?;
    Some((WebSocketConfig::of_url(url.text.value), url.in_the_clear))
}

/// `None` if its URL has errors.
pub(super) fn read(
    (value, text): (Value, Text),
    table: &mut Table,
    cx: &mut Cx,
) -> Option<WebSocketConfig> {
    let (config, clear) = of_url(&value, text, cx).unzip();
    let network = network::read(table, clear.flatten().as_ref(), cx);
    let send = table.take("send").map(|value| messages(&value, cx));
    let subprotocols = table
        .take("subprotocols")
        .map(|value| subprotocols(&value, cx));
    let ping = table
        .take("ping")
        .and_then(|value| value.duration(MS..=DAY, cx));
    let dead_after = table
        .take("dead_after")
        .and_then(|value| value.duration(MS..=DAY, cx));
    let message_bytes_max = table
        .take("max_message")
        .and_then(|value| value.size(1..=64 << 20, cx));
    let mut config = config?;
    if let Proxy::Url(proxy) = &network.proxy
        && proxy.expose().starts_with("https")
    {
        let message = format!("{}: proxy: must be an http:// URL", value.subject);
        cx.error(value.key_span.clone(), message)
            .label("a WebSocket goes through no proxy that is encrypted itself");
    }
    config.network = network;
    config.send = send.unwrap_or_default();
    config.subprotocols = subprotocols.unwrap_or_default();
    config.ping = ping.unwrap_or(config.ping);
    config.dead_after = dead_after.unwrap_or(config.dead_after);
    config.message_bytes_max =
        message_bytes_max.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    if config.dead_after <= config.ping {
        let message = format!("{}: dead_after must be longer than ping", value.subject);
        cx.error(value.key_span.clone(), message)
            .label("a quiet connection would be taken for a dead one");
    }
    Some(config)
}

fn messages(value: &Value, cx: &mut Cx) -> Vec<Secret> {
    // A subscription may carry a token: it is never shown.
    let message = |one: &Value, cx: &mut Cx| {
        let text = one.filled_text(cx)?;
        cx.diagnostics.mask(cx.file, one.span());
        Some(sealed(text))
    };
    let values = value.one_or_many();
    values.iter().filter_map(|one| message(one, cx)).collect()
}

fn subprotocols(value: &Value, cx: &mut Cx) -> Vec<String> {
    let mut names = Vec::new();
    for one in value.one_or_many() {
        let Some(text) = one.known_text(cx) else {
            continue;
        };
        // RFC 6455 §4.1: a token, as a header's name is.
        if HeaderName::from_bytes(text.value.as_bytes()).is_err() {
            one.fail(cx, "is not a subprotocol's name");
            continue;
        }
        names.push(text.value);
    }
    names
}
