//! The end of a process that remembers nothing: records that may get further lines are given out.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::FileSource;
use crate::framing::CHUNK_BYTES;
use crate::source::file::generation::GenerationId;

/// What it may take: the sinks need the rest of the time that a person waits.
const GIVES_OUT_FOR: Duration = Duration::from_millis(500);

impl FileSource {
    /// Gives out the records at the ends of files that wait for further lines, as they are. Where
    /// positions are kept, they stay behind such a record, and all of it is read next time.
    pub(super) async fn give_out_open(&mut self) {
        if self.cx.checkpoints.are_kept() {
            return;
        }
        // Of a file that grows without an end, or a sink that stands still, no more is given out.
        let _ = tokio::time::timeout(GIVES_OUT_FOR, self.close_records()).await;
    }

    async fn close_records(&mut self) {
        let mut open = BTreeSet::new();
        // They break off, or have come to the end of their file just now.
        while let Some((id, outlet, pumped)) = self.pumps.next().await {
            if let Some(generation) = self.generations.get_mut(&id) {
                generation.take_back(outlet, pumped, Instant::now());
                open.insert((id, outlet));
            }
        }
        for (id, generation) in &self.generations {
            for (outlet, slot) in generation.places.iter().enumerate() {
                let cursor = slot.cursor.as_ref();
                if cursor.is_some_and(|cursor| !cursor.quiet.is_idle()) {
                    open.insert((*id, outlet));
                }
            }
        }
        for (id, outlet) in open {
            self.read_rest(id, outlet).await;
        }
    }

    /// Reads a file to its end and waits for nothing there; not where that is a backlog.
    async fn read_rest(&mut self, id: GenerationId, outlet: usize) {
        let Some(generation) = self.generations.get_mut(&id) else {
            return;
        };
        let Some(cursor) = generation.places[outlet].cursor.take() else {
            return;
        };
        let generation = &self.generations[&id];
        let mut pump = self.pump(generation, outlet, generation.last_line());
        let Some(file) = pump.file.clone() else {
            return;
        };
        let len = self.cx.crew.io(move || Ok(file.metadata()?.len())).await;
        let left = len.map(|len| len.saturating_sub(cursor.place.offset));
        if left.is_ok_and(|left| left <= CHUNK_BYTES as u64) {
            pump.stop = CancellationToken::new();
            pump.rules.patience.record = Duration::ZERO;
            pump.run(cursor).await;
        }
    }
}
