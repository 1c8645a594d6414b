//! The range source: a file on a server that grows, asked for from where it was left.
//!
//! Where a file is left is known by its offset and a guard, a hash of the bytes before it, as with
//! local files. Each question asks for these bytes again: so a file that was rotated, truncated or
//! replaced is told from one that grew, whatever the server's ETags say. (`If-Range` would not do:
//! the ETags of nginx and Apache change with each line that is appended, and the whole file would be
//! sent each time.) `place` is what is saved, `tail` reads one answer.

mod place;
mod tail;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::session::{End, Next, Session};
use super::{Common, Ends, SourceContext, SourceError};
use crate::http::{ClientError, Endpoint, Network, parsed_url};
use crate::notes::FirstFailure;
use crate::secret::shown_url;
use tail::{Look, Tail};

/// Which file to follow, and how.
#[derive(Clone, PartialEq)]
pub struct RangeConfig {
    /// The URL, used as written.
    pub url: String,
    /// How it is reached, and who asks.
    pub network: Network,
    /// From the beginning of one look to that of the next.
    pub interval: Duration,
    /// When the source is at its end.
    pub ends: Ends,
}

impl RangeConfig {
    /// A file with every default.
    pub fn of_url(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            network: Network::default(),
            interval: Duration::from_secs(1),
            ends: Ends::Never,
        }
    }
}

impl fmt::Debug for RangeConfig {
    /// The URL without what may be secret in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RangeConfig")
            .field("url", &shown_url(&self.url))
            .field("network", &self.network)
            .field("interval", &self.interval)
            .field("ends", &self.ends)
            .finish()
    }
}

/// Follows the file until told to stop.
pub(super) async fn run(
    common: Common,
    config: RangeConfig,
    cx: SourceContext,
) -> Result<(), SourceError> {
    let made: Result<_, ClientError> = parsed_url(&config.url).and_then(|url| {
        let endpoint = Endpoint::new([&*config.url], &config.network, 1)?;
        Ok((endpoint, url))
    });
    let (endpoint, url) = match made {
        Ok(made) => made,
        Err(error) => {
            // Nobody may be waiting any more.
            let _ = cx.first_attempt.send(Err(FirstFailure::final_one(
                &common.name,
                &error.to_string(),
            )));
            return Err(error.into());
        }
    };
    let mut tail = Tail::new(&common, url, &cx);
    let mut session = Session::new(common.name, config.ends, cx);
    let is_finite = config.ends == Ends::WithFirstConnection;
    loop {
        let begun = Instant::now();
        let end = match tail.look(&endpoint, &mut session).await {
            // A file that begins anew is read at once.
            Ok(Look::Again) => continue,
            Ok(Look::Done) if is_finite => match tail.finish().await {
                Ok(()) => End::Complete,
                Err(end) => end,
            },
            Ok(Look::Done) => {
                tokio::select! {
                    biased;
                    () = session.stopped() => return Ok(()),
                    () = sleep_until(begun + config.interval) => {}
                }
                continue;
            }
            Err(end) => end,
        };
        let resume = format!("byte {}", tail.offset());
        if session.after(end, Some(&resume)).await == Next::Return {
            return Ok(());
        }
    }
}
