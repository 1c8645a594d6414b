//! What directories hold, listed once for questions about very many of their files.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::rotation::bases;

/// A directory that changed less than this before it was listed is listed again for the next
/// question: another change may have left its time as it was.
const CHANGE_SLACK: Duration = Duration::from_millis(100);

/// Directories as they were listed. One that changed since is listed again, so an answer is about the
/// directory as it is. Every call blocks.
#[derive(Debug, Default)]
pub(super) struct Folders(HashMap<PathBuf, Folder>);

#[derive(Debug, Default)]
struct Folder {
    /// When it was changed last; `None` where the next question must list it again.
    changed: Option<(i64, i64)>,
    inos: HashSet<u64>,
    /// What rotation may have made of each path: names, and the inode numbers of their entries.
    rotated: HashMap<PathBuf, Vec<(PathBuf, u64)>>,
}

impl Folders {
    /// True where an entry of the directory has this inode number.
    pub(super) fn hold(&mut self, dir: &Path, ino: u64) -> bool {
        self.at(dir).inos.contains(&ino)
    }

    /// True where rotation may have made another file of `path`.
    pub(super) fn have_rotated(&mut self, path: &Path) -> bool {
        let dir = path.parent().unwrap_or(Path::new("/"));
        self.at(dir).rotated.contains_key(path)
    }

    /// True where rotation may have made a file of `path` that was made since then and that is none of
    /// the known ones.
    pub(super) fn have_missed(
        &mut self,
        path: &Path,
        since: SystemTime,
        is_known: impl Fn(u64) -> bool,
    ) -> bool {
        let dir = path.parent().unwrap_or(Path::new("/"));
        let rotated = self.at(dir).rotated.get(path).into_iter().flatten();
        // One that cannot be looked at now may be under its next name already.
        let is_young = |path: &Path| {
            let born = path.metadata().and_then(|it| it.created());
            born.map_or(true, |born| born >= since)
        };
        let mut unknown = rotated.filter(|(_, ino)| !is_known(*ino));
        unknown.any(|(path, _)| is_young(path))
    }

    fn at(&mut self, dir: &Path) -> &Folder {
        let changed = dir.metadata().map(|it| (it.ctime(), it.ctime_nsec())).ok();
        let folder = self.0.entry(dir.to_owned()).or_default();
        if changed.is_none() || folder.changed != changed {
            *folder = Folder::list(dir);
            folder.changed = changed.filter(|it| is_settled(*it));
        }
        folder
    }
}

impl Folder {
    fn list(dir: &Path) -> Self {
        let mut this = Self::default();
        let entries = std::fs::read_dir(dir).into_iter().flatten();
        for entry in entries.filter_map(Result::ok) {
            let (path, ino) = (entry.path(), entry.ino());
            this.inos.insert(ino);
            for base in bases(&path) {
                let rotated = this.rotated.entry(base).or_default();
                rotated.push((path.clone(), ino));
            }
        }
        this
    }
}

/// True where a directory's time of change is so old that a change since would show in it.
fn is_settled((seconds, nanoseconds): (i64, i64)) -> bool {
    let since = u64::try_from(seconds)
        .ok()
        .zip(u32::try_from(nanoseconds).ok());
    let changed =
        since.map(|(seconds, nanoseconds)| UNIX_EPOCH + Duration::new(seconds, nanoseconds));
    let age = changed.and_then(|it| SystemTime::now().duration_since(it).ok());
    age.is_some_and(|age| age > CHANGE_SLACK)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn an_answer_is_about_the_directory_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (log, old) = (dir.path().join("app.log"), dir.path().join("app.log.1"));
        let mut folders = Folders::default();
        fs::write(&log, "").unwrap();
        let ino = log.metadata().unwrap().ino();
        assert!(folders.hold(dir.path(), ino) && !folders.have_rotated(&log));

        fs::rename(&log, &old).unwrap();

        assert!(folders.hold(dir.path(), ino) && folders.have_rotated(&log));
        let missed = |folders: &mut Folders, since, known| {
            folders.have_missed(&log, since, |it| known && it == ino)
        };
        assert!(missed(&mut folders, UNIX_EPOCH, false));
        assert!(!missed(&mut folders, UNIX_EPOCH, true));
        let later = SystemTime::now() + Duration::from_secs(60);
        assert!(!missed(&mut folders, later, false));
        fs::remove_file(&old).unwrap();
        assert!(!folders.hold(dir.path(), ino) && !folders.have_rotated(&log));
    }
}
