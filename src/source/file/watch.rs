//! Hints from the operating system that something changed in a directory.
//!
//! Hints may be lost, late or doubled: the scan is the truth. Directories are watched, never files:
//! a file's watch follows its inode and says nothing about its name.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{CreateKind, ModifyKind, RemoveKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tracing::{info, warn};

use super::WatchMode;

/// What changed since the last look.
#[derive(Debug, Default)]
pub(super) struct Hints {
    /// Files that were written to.
    pub(super) written: HashSet<PathBuf>,
    /// True where names appeared, vanished or moved.
    pub(super) names: bool,
    /// True where hints were lost: anything can have changed.
    pub(super) lost: bool,
}

/// Where changes bring no events, so that every file is looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Polled {
    /// Nowhere.
    #[default]
    Nothing,
    /// In these directories.
    Dirs(HashSet<PathBuf>),
    /// Everywhere.
    All,
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
    mode: WatchMode,
    watched: HashSet<PathBuf>,
    /// Directories whose changes bring no events.
    polled: HashSet<PathBuf>,
    /// A directory that could not be watched was said.
    said: bool,
}

impl Watch {
    /// Starts watching nothing yet.
    pub(super) fn new(mode: WatchMode) -> Self {
        let shared = Arc::new(Shared::default());
        let handler = Arc::clone(&shared);
        let start = || {
            notify::recommended_watcher(move |event: notify::Result<Event>| handler.note(event))
                .inspect_err(|error| {
                    warn!(
                        %error,
                        "no file events: every file is looked at once a second instead \
                         (fs.inotify.max_user_instances may be exhausted)"
                    );
                })
                .ok()
        };
        let watcher = (mode != WatchMode::Poll).then(start).flatten();
        Self {
            watcher,
            shared,
            mode,
            watched: HashSet::new(),
            polled: HashSet::new(),
            said: false,
        }
    }

    /// Watches exactly these directories, and says where that brings no events. Blocks for a system
    /// call per directory that is new.
    pub(super) fn set(&mut self, dirs: &HashSet<PathBuf>) -> Polled {
        let Some(watcher) = &mut self.watcher else {
            return Polled::All;
        };
        for gone in self.watched.iter().filter(|dir| !dirs.contains(*dir)) {
            // It fails where the directory is gone, and with it its watch.
            let _ = watcher.unwatch(gone);
        }
        self.watched.retain(|dir| dirs.contains(dir));
        self.polled.retain(|dir| dirs.contains(dir));
        for dir in dirs {
            // A watch that was refused is tried again: others may have given theirs back.
            if self.watched.contains(dir) {
                continue;
            }
            match watcher.watch(dir, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(dir.clone());
                    self.polled.remove(dir);
                    if self.mode == WatchMode::Auto && !has_events(dir) {
                        info!(
                            dir = %dir.display(),
                            "changes made elsewhere bring no events: files are looked at once a second"
                        );
                        self.polled.insert(dir.clone());
                    }
                }
                Err(error) => {
                    self.polled.insert(dir.clone());
                    if !std::mem::replace(&mut self.said, true) {
                        let dir = dir.display();
                        warn!(
                            %dir, %error,
                            "cannot watch: its files are looked at once a second instead \
                             (fs.inotify.max_user_watches may be exhausted)"
                        );
                    }
                }
            }
        }
        if self.polled.is_empty() {
            Polled::Nothing
        } else {
            Polled::Dirs(self.polled.clone())
        }
    }

    /// Waits for hints and takes them. Cancel safe.
    pub(super) async fn hints(&self) -> Hints {
        loop {
            self.shared.wake.notified().await;
            let hints = std::mem::take(&mut *self.shared.lock());
            if hints.names || hints.lost || !hints.written.is_empty() {
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
            Err(_) => hints.lost = true,
            Ok(event) if event.need_rescan() => {
                hints.lost = true;
                hints.names = true;
            }
            Ok(event) => match event.kind {
                EventKind::Access(_) => return,
                EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any) => {
                    if hints.written.len() < WRITTEN_MAX {
                        hints.written.extend(event.paths);
                    } else {
                        hints.lost = true;
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

/// True where the file system tells of every change. One that other machines or programs write to
/// behind the kernel does not (inotify(7), "Limitations and caveats").
fn has_events(dir: &Path) -> bool {
    /// `f_type` of statfs(2): NFS, SMB, CIFS, SMB2, 9p, FUSE, AFS, Ceph, Lustre, VirtualBox, proc.
    const WITHOUT: [u64; 11] = [
        0x6969,
        0x517b,
        0xff53_4d42,
        0xfe53_4d42,
        0x0102_1997,
        0x6573_5546,
        0x5346_414f,
        0x00c3_6400,
        0x0bd0_0bd0,
        0x786f_4256,
        0x9fa0,
    ];
    let kind = rustix::fs::statfs(dir).map(|it| it.f_type);
    // A negative number is a type whose highest bit is set.
    kind.map_or(true, |kind| {
        !WITHOUT.contains(&((kind as u64) & 0xffff_ffff))
    })
}
