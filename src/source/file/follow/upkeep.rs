//! Regular upkeep of the generations: grace, broken ledgers, open files, records.

use std::time::Instant;

use tracing::warn;

use super::{CLOSE_AFTER, FileSource, OPEN_MAX};
use crate::source::file::generation::{GenerationId, Phase};
use crate::source::file::pump::on_pool;

impl FileSource {
    /// Ends what had its grace, closes what was quiet for long, restarts what broke.
    pub(super) fn look_after_files(&mut self, now: Instant) {
        let mut wanted = Vec::new();
        let mut broken = Vec::new();
        for (id, generation) in &mut self.generations {
            if let Phase::Replaced { until } = generation.phase {
                wanted.push(*id);
                if until <= now && generation.is_drained() {
                    generation.phase = Phase::Ending;
                    generation
                        .places
                        .iter_mut()
                        .for_each(|slot| slot.drained = false);
                }
            }
            for (outlet, slot) in generation.places.iter().enumerate() {
                if slot
                    .cursor
                    .as_ref()
                    .is_some_and(|cursor| cursor.ledger.is_broken())
                {
                    broken.push((*id, outlet));
                }
            }
        }
        wanted.into_iter().for_each(|id| self.want_all(id, now));
        broken
            .into_iter()
            .for_each(|(id, outlet)| self.restart(id, outlet));
        self.close_quiet_files(now);
    }

    fn close_quiet_files(&mut self, now: Instant) {
        let mut open: Vec<(Instant, GenerationId)> = self
            .generations
            .iter()
            .filter(|(_, it)| it.file.is_some() && it.phase == Phase::Current)
            .map(|(id, it)| (it.active, *id))
            .collect();
        open.sort_unstable();
        let excess = open.len().saturating_sub(OPEN_MAX);
        for (n, (active, id)) in open.into_iter().enumerate() {
            let quiet = now.duration_since(active) >= CLOSE_AFTER;
            if (quiet || n < excess)
                && let Some(generation) = self.generations.get_mut(&id)
            {
                generation.file = None;
            }
        }
    }

    /// Journals fingerprints and paths that changed.
    pub(super) async fn save_records(&mut self) {
        let unsaved: Vec<_> = self
            .generations
            .values_mut()
            .filter_map(|it| std::mem::take(&mut it.unsaved).then(|| it.record.clone()))
            .collect();
        if unsaved.is_empty() {
            return;
        }
        let checkpoints = self.cx.checkpoints.clone();
        if let Err(error) = on_pool(move || checkpoints.register(unsaved, Vec::new())).await {
            // The shorter fingerprint still holds.
            warn!(source = %self.common.name, %error, "cannot note a longer fingerprint");
        }
    }
}
