//! How a place in the network is reached, and who asks: what all sources over the network share.

use std::time::Duration;

use super::{ClientOptions, Credentials, Proxy, Tls};

/// How a place in the network is reached, and who asks.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Extra headers and who asks.
    pub credentials: Credentials,
    /// A private CA beside the system's roots, and a client certificate.
    pub tls: Tls,
    /// Through whom to connect.
    pub proxy: Proxy,
    /// Connecting alone, TLS included.
    pub connect_timeout: Duration,
}

impl Network {
    /// How a client connects that has one request in flight.
    pub fn options(&self) -> ClientOptions<'_> {
        ClientOptions {
            tls: &self.tls,
            proxy: &self.proxy,
            connect_timeout: self.connect_timeout,
            concurrency: 1,
        }
    }
}

impl Default for Network {
    fn default() -> Self {
        Self {
            credentials: Credentials::default(),
            tls: Tls::default(),
            proxy: Proxy::default(),
            connect_timeout: Duration::from_secs(10),
        }
    }
}
