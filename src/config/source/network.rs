//! Reads the keys that all sources over the network share.

use std::time::Duration;

use super::super::credentials;
use super::super::cx::Cx;
use super::super::endpoint::{InTheClear, tls};
use super::super::table::Table;
use crate::http::{Credentials, Tls};

pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// Keys that are described and do not exist yet.
const LATER_KEYS: [&str; 3] = ["oauth2", "proxy", "spool"];

/// What all sources over the network are configured with; `None`: the default.
pub(super) struct Network {
    pub(super) credentials: Credentials,
    pub(super) tls: Option<Tls>,
    pub(super) connect_timeout: Option<Duration>,
}

pub(super) fn read(table: &mut Table, clear: Option<&InTheClear>, cx: &mut Cx) -> Network {
    let mut credentials = Credentials::default();
    let place = credentials::Place {
        in_the_clear: clear,
        token: None,
    };
    credentials::read(table, &mut credentials, place, cx);
    let tls = table.take("tls").and_then(|value| tls(&value, cx));
    let connect_timeout = table
        .take("connect_timeout")
        .and_then(|it| it.duration(MS..=Duration::from_secs(3_600), cx));
    table.later(&LATER_KEYS, cx);
    Network {
        credentials,
        tls,
        connect_timeout,
    }
}
