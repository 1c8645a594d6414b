//! Reads the keys that all sources over the network share.

use std::time::Duration;

use super::super::credentials;
use super::super::cx::Cx;
use super::super::endpoint::{InTheClear, proxy, tls};
use super::super::table::Table;
use crate::http::Network;

pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// What has errors is at its default.
pub(super) fn read(table: &mut Table, clear: Option<&InTheClear>, cx: &mut Cx) -> Network {
    let mut network = Network::default();
    let place = credentials::Place {
        in_the_clear: clear,
        token: None,
    };
    credentials::read(table, &mut network.credentials, place, cx);
    if let Some(it) = table.take("tls").and_then(|value| tls(&value, cx)) {
        network.tls = it;
    }
    if let Some(it) = table.take("proxy").and_then(|value| proxy(&value, cx)) {
        network.proxy = it;
    }
    if let Some(it) = table
        .take("connect_timeout")
        .and_then(|it| it.duration(MS..=Duration::from_secs(3_600), cx))
    {
        network.connect_timeout = it;
    }
    network
}
