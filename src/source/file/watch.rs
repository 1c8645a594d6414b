//! Hints from the operating system that something changed in a directory.
//!
//! Hints may be lost, late or doubled: the scan is the truth. Directories are watched, never files:
//! a file's watch follows its inode and says nothing about its name.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{CreateKind, ModifyKind, RemoveKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tracing::warn;

/// What changed since the last look.
#[derive(Debug, Default)]
pub(super) struct Hints {
    /// Files that were written to.
    pub(super) written: HashSet<PathBuf>,
    /// True where names appeared, vanished or moved, or hints were lost.
    pub(super) names: bool,
}

#[derive(Debug, Default)]
struct Shared {
    hints: Mutex<Hints>,
    wake: Notify,
}

/// Watches directories.
#[derive(Debug)]
pub(super) struct Watch {
    /// Absent where the system has no more watchers: then the scan alone finds changes.
    watcher: Option<RecommendedWatcher>,
    shared: Arc<Shared>,
    watched: HashSet<PathBuf>,
    /// A directory that could not be watched was said.
    said: bool,
}

impl Watch {
    /// Starts watching nothing yet.
    pub(super) fn new() -> Self {
        let shared = Arc::new(Shared::default());
        let handler = Arc::clone(&shared);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            handler.note(event);
        });
        let watcher = watcher
            .inspect_err(|error| warn!(%error, "no file events: changes are found by looking"))
            .ok();
        Self {
            watcher,
            shared,
            watched: HashSet::new(),
            said: false,
        }
    }

    /// Watches exactly these directories. True where every one of them is watched.
    pub(super) fn set(&mut self, dirs: &HashSet<PathBuf>) -> bool {
        let Some(watcher) = &mut self.watcher else {
            return false;
        };
        for gone in self.watched.iter().filter(|dir| !dirs.contains(*dir)) {
            // It fails where the directory is gone, and with it its watch.
            let _ = watcher.unwatch(gone);
        }
        self.watched.retain(|dir| dirs.contains(dir));
        let mut complete = true;
        for dir in dirs {
            if self.watched.contains(dir) {
                continue;
            }
            match watcher.watch(dir, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(dir.clone());
                }
                Err(error) => {
                    complete = false;
                    if !std::mem::replace(&mut self.said, true) {
                        let dir = dir.display();
                        warn!(%dir, %error, "cannot watch: changes are found by looking");
                    }
                }
            }
        }
        complete
    }

    /// Waits for hints and takes them. Cancel safe.
    pub(super) async fn hints(&self) -> Hints {
        loop {
            self.shared.wake.notified().await;
            let hints = std::mem::take(&mut *self.shared.lock());
            if hints.names || !hints.written.is_empty() {
                return hints;
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Hints> {
        self.hints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, event: notify::Result<Event>) {
        /// More different files than this and looking at all of them is cheaper.
        const WRITTEN_MAX: usize = 4096;
        let mut hints = self.lock();
        match event {
            Err(_) => hints.names = true,
            Ok(event) if event.need_rescan() => hints.names = true,
            Ok(event) => match event.kind {
                EventKind::Access(_) => return,
                EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any) => {
                    if hints.written.len() < WRITTEN_MAX {
                        hints.written.extend(event.paths);
                    } else {
                        hints.names = true;
                    }
                }
                EventKind::Modify(ModifyKind::Metadata(_)) => return,
                EventKind::Create(CreateKind::File | CreateKind::Folder | _)
                | EventKind::Remove(RemoveKind::File | RemoveKind::Folder | _)
                | EventKind::Modify(_)
                | EventKind::Any
                | EventKind::Other => hints.names = true,
            },
        }
        drop(hints);
        self.wake.notify_one();
    }
}
