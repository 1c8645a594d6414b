//! What is said of a spool that is full, or that cannot be written: once when it begins and once when it
//! ends.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use tracing::{error, info, warn};

use super::state::Lost;
use super::{Full, Inner};

/// What was said and has not ended.
#[derive(Debug, Default)]
pub(super) struct Outage {
    /// Lines dropped since it is full; `None`: it is not.
    full: Option<u64>,
    /// The same, of which sink.
    of_sinks: BTreeMap<Arc<str>, u64>,
    /// True while it cannot be written.
    refused: bool,
}

impl Outage {
    /// Notes that there is no room.
    pub(super) fn full(&mut self, inner: &Inner) {
        if self.full.is_some() {
            return;
        }
        self.full = Some(0);
        let (source, max_bytes) = (&inner.source, inner.config.max_bytes);
        match inner.config.full {
            Full::Block => warn!(
                %source, max_bytes,
                "the spool is full: the source is not read until sinks have taken some of it"
            ),
            Full::DropNewest => warn!(
                %source, max_bytes,
                "the spool is full: what comes is dropped until sinks have taken some of it"
            ),
            // Said of each sink by itself.
            Full::DropOldest => {}
        }
    }

    /// Notes that lines which came were dropped.
    pub(super) fn dropped(&mut self, n_lines: u64) {
        if let Some(all) = &mut self.full {
            *all += n_lines;
        }
    }

    /// Notes that lines were given up for some sinks.
    pub(super) fn given_up(&mut self, inner: &Inner, lost: Vec<Lost>) {
        for Lost { sink, n_lines } in lost {
            self.dropped(n_lines);
            if !self.of_sinks.contains_key(&sink) {
                warn!(
                    source = %inner.source, %sink, max_bytes = inner.config.max_bytes,
                    "the spool is full: its oldest lines are given up for a sink that has not taken them"
                );
            }
            *self.of_sinks.entry(sink).or_default() += n_lines;
        }
    }

    /// Notes that there is room again: half of it, or the next record would be news.
    pub(super) fn has_room(&mut self, inner: &Inner, bytes: u64) {
        if self.full.is_none() || bytes > inner.config.max_bytes / 2 {
            return;
        }
        if self.end(&inner.source) == 0 {
            info!(source = %inner.source, "the spool is no longer full: the source is read again");
        }
    }

    /// Says what an outage cost, and returns how many lines that are.
    pub(super) fn end(&mut self, source: &Arc<str>) -> u64 {
        let dropped = self.full.take().unwrap_or(0);
        for (sink, dropped) in std::mem::take(&mut self.of_sinks) {
            warn!(%source, %sink, dropped, "lines of the spool were given up for this sink");
        }
        if dropped > 0 {
            warn!(%source, dropped, "the spool was full: so many lines were dropped");
        }
        dropped
    }

    /// Notes that it cannot be written.
    pub(super) fn refused(&mut self, inner: &Inner, error: &io::Error) {
        if !std::mem::replace(&mut self.refused, true) {
            error!(
                source = %inner.source, path = %inner.folder.path().display(), %error,
                "the spool cannot be written: the source waits, and it is tried again until it can"
            );
        }
    }

    /// Notes that it was written.
    pub(super) fn written(&mut self, source: &Arc<str>) {
        if std::mem::take(&mut self.refused) {
            info!(%source, "the spool is written again: the source goes on");
        }
    }
}
