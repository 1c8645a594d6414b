//! Sweeping: asking for the state of files, in case no event told of a change.

use std::fs::File;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::FileSource;
use crate::source::SourceError;
use crate::source::file::discover::Match;
use crate::source::file::found::{UNKNOWN_LEN, born_of};
use crate::source::file::generation::{Generation, GenerationId, Phase};

use crate::source::file::resting::Resting;
use crate::source::file::tail::Place;
use crate::source::file::watch::Polled;
use crate::source::file::{Inode, open};

/// Files whose state is asked for at each look, in turn, beside those with events.
const STATS_PER_LOOK: usize = 200;

/// What is known of a file that is asked about.
#[derive(Debug)]
struct Asked {
    id: GenerationId,
    path: Arc<Path>,
    inode: Inode,
    /// When the inode was made, where the file system tells.
    born: Option<NonZeroU64>,
    /// `None` where it says nothing: of a compressed file, that of its content is known.
    len: Option<u64>,
    /// Where something must be unchanged, for a file that can have been written anew.
    places: Option<Resting>,
}

/// How a file is not as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Differs {
    /// It grew, shrank or was written anew.
    Content,
    /// The path names another file.
    Inode,
}

impl FileSource {
    /// Looks at some files in turn, and at all of those whose changes bring no events.
    pub(super) async fn sweep(&mut self) -> Result<(), SourceError> {
        self.ask_late().await?;
        let ids = self.due();
        let asked: Vec<Asked> = ids.into_iter().filter_map(|id| self.ask(id)).collect();
        let swept = self.cx.crew.io(move || {
            let state = |it: Asked| {
                let differs = it.differs();
                (it, differs)
            };
            Ok(asked.into_iter().map(state).collect::<Vec<_>>())
        });
        let now = Instant::now();
        for (asked, differs) in swept.await.map_err(SourceError::Io)? {
            if let Some(sleeper) = self.sleepers.get_mut(&asked.id) {
                sleeper.doubtful = false;
            }
            match differs {
                None => {}
                Some(Differs::Content) => self.want_all(asked.id, now),
                Some(Differs::Inode) => self.turned(&asked, now).await?,
            }
        }
        Ok(())
    }

    /// Asks files that have no path any more whether a slow writer still writes to them.
    pub(super) async fn ask_late(&mut self) -> Result<(), SourceError> {
        self.ask_late_at = None;
        let replaced = self.generations.iter();
        let replaced = replaced.filter(|(_, it)| it.phase != Phase::Current);
        let open = |it: &Generation| it.file.clone().filter(|_| it.is_drained());
        let asked: Vec<(GenerationId, Option<Arc<File>>, u64)> =
            replaced.map(|(id, it)| (*id, open(it), it.len)).collect();
        let grew = self.cx.crew.io(move || {
            let is_as_it_was =
                |file: &File, len: u64| file.metadata().is_ok_and(|it| it.len() == len);
            let grew = asked.into_iter().filter(|(_, file, len)| {
                file.as_ref().is_none_or(|file| !is_as_it_was(file, *len))
            });
            Ok(grew.map(|(id, ..)| id).collect::<Vec<_>>())
        });
        let now = Instant::now();
        for id in grew.await.map_err(SourceError::Io)? {
            self.want_all(id, now);
        }
        Ok(())
    }

    /// A path names another file, and its directory may look as before: a symbolic link was turned.
    async fn turned(&mut self, asked: &Asked, now: Instant) -> Result<(), SourceError> {
        let path = Arc::clone(&asked.path);
        let entry_ino = self.paths.get(&path).map_or(0, |named| named.entry_ino);
        self.consider(Match { path, entry_ino }, &mut Default::default())
            .await?;
        if self
            .paths
            .values()
            .all(|named| named.generation != asked.id)
        {
            self.replaced(asked.id, now);
        }
        self.want_all(asked.id, now);
        Ok(())
    }

    /// Which files it is the turn of.
    fn due(&mut self) -> Vec<GenerationId> {
        let all = std::mem::take(&mut self.lost_events) || matches!(self.polled, Polled::All);
        if all {
            return self.paths.values().map(|named| named.generation).collect();
        }
        if self.round.is_empty() {
            self.round
                .extend(self.paths.values().map(|named| named.generation));
        }
        let rest = self.round.len().saturating_sub(STATS_PER_LOOK);
        let mut due = self.round.split_off(rest);
        if let Polled::Dirs(dirs) = &self.polled {
            let is_polled = |path: &Path| path.parent().is_some_and(|dir| dirs.contains(dir));
            let named = self.paths.iter().filter(|(path, _)| is_polled(path));
            due.extend(named.map(|(_, named)| named.generation));
            let linked = self.aliases.iter().filter(|(path, _)| is_polled(path));
            due.extend(linked.map(|(_, id)| *id));
        }
        due
    }

    fn ask(&self, id: GenerationId) -> Option<Asked> {
        if let Some(sleeper) = self.sleepers.get(&id) {
            return Some(Asked {
                id,
                path: Arc::clone(&sleeper.path),
                inode: sleeper.inode(),
                born: sleeper.record.born,
                len: Some(sleeper.len).filter(|len| *len != UNKNOWN_LEN),
                places: sleeper.doubtful.then(|| sleeper.places.clone()),
            });
        }
        let generation = self.generations.get(&id)?;
        Some(Asked {
            id,
            path: Arc::clone(&generation.path),
            inode: generation.inode,
            born: generation.record.born,
            len: (!generation.is_packed).then_some(generation.len),
            places: None,
        })
    }
}

impl Asked {
    /// How the file is not as it was; `None` where it is, or is not there. Blocks.
    fn differs(&self) -> Option<Differs> {
        let metadata = self.path.metadata().ok()?;
        let born = born_of(&metadata);
        let is_reborn = born.is_some() && self.born.is_some() && born != self.born;
        if Inode::of_metadata(&metadata) != self.inode || is_reborn {
            return Some(Differs::Inode);
        }
        let len = metadata.len();
        if self.len.is_some_and(|known| known != len) {
            return Some(Differs::Content);
        }
        let places = self.places.as_ref()?;
        let file = open(&self.path).ok()?;
        let holds = |place: &Place| place.is_held_by(&file, len).unwrap_or(true);
        (!places.all(holds)).then_some(Differs::Content)
    }
}
