//! Starting pumps: which file is read next for which sink.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::FutureExt as _;

use super::{FileSource, PUMPS_MAX};
use crate::framing::CHUNK_BYTES;
use crate::source::file::Follow;
use crate::source::file::generation::{Generation, GenerationId};
use crate::source::file::identity::Beginning;
use crate::source::file::pump::{LastLine, Pump};

impl FileSource {
    /// Starts what waits for its turn. A sink that takes nothing holds up its own reads alone.
    pub(super) fn start_pumps(&mut self) {
        let most = if self.config.follow == Follow::UntilEnd {
            1
        } else {
            PUMPS_MAX
        };
        for outlet in 0..self.ready.len() {
            let mut blocked = VecDeque::new();
            let most = most + self.cx.outlets[outlet].sender.n_with_own_room();
            while self.running[outlet] < most
                && let Some(id) = self.ready[outlet].pop_front()
            {
                if !self.start_pump(id, outlet) {
                    blocked.push_back(id);
                }
            }
            self.ready[outlet].append(&mut blocked);
        }
    }

    /// Starts one pump; false where something must be done before.
    fn start_pump(&mut self, id: GenerationId, outlet: usize) -> bool {
        let Some(generation) = self.generations.get(&id) else {
            return true;
        };
        if !self.may_start(generation, id, outlet) {
            return false;
        }
        let tail = match self.config.follow {
            Follow::Forever => generation.last_line(),
            Follow::UntilEnd => LastLine::IsSent,
        };
        let pump = self.pump(generation, outlet, tail);
        let slot = &mut self.generations.get_mut(&id).expect("just found").places[outlet];
        slot.queued = false;
        if let Some(cursor) = slot.cursor.take() {
            let pump = match self.config.follow {
                Follow::Forever => self.merging.merged(pump, slot.behind.take()),
                Follow::UntilEnd => pump,
            };
            self.running[outlet] += 1;
            self.pumps
                .push(async move { (id, outlet, pump.run(cursor).await) }.boxed());
        }
        true
    }

    /// What reads a file for one sink.
    pub(super) fn pump(&self, generation: &Generation, outlet: usize, tail: LastLine) -> Pump {
        Pump {
            file: generation.file.clone(),
            location: generation.location(),
            outlet: self.cx.outlets[outlet].clone(),
            read_bytes: CHUNK_BYTES,
            behind: None,
            stop: self.cx.shutdown.clone(),
            turns: None,
            origin: Arc::clone(&generation.origin),
            counters: Arc::clone(&self.cx.counters),
            checkpoints: self.cx.checkpoints.clone(),
            pool: self.pool.clone(),
            crew: self.cx.crew.clone(),
            rules: self.rules.clone(),
            tail,
            beginning: Beginning::of(&generation.record),
            wants_head: generation.wants_head(),
        }
    }

    /// False where what was at its path before must be read first, or it cannot be journalled.
    pub(super) fn may_start(
        &self,
        generation: &Generation,
        id: GenerationId,
        outlet: usize,
    ) -> bool {
        let before = generation
            .after
            .and_then(|before| self.generations.get(&before));
        let waits = before.is_some_and(|before| !before.places[outlet].drained);
        !waits && !self.unwritten.contains(&id)
    }
}
