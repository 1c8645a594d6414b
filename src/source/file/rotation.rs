//! What rotation does to files: names that it gives, copies that it makes, generations that come and
//! go unseen.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use super::Inode;
use super::adopt::Adopted;
use super::discover::find_inode;
use super::found::Found;
use super::identity::Head;
use super::packed::packing_of;
use super::pattern::Names;
use super::place::guarded;
use super::pump::{Location, locate, lock};
use super::tail::Place;
use crate::checkpoint::StreamRecord;

/// A generation that is read now, as far as deciding on its copies needs it.
#[derive(Clone, Debug)]
pub(super) struct Living {
    pub(super) record: Arc<StreamRecord>,
    pub(super) file: Option<Arc<File>>,
    pub(super) location: Location,
    /// One for each sink.
    pub(super) progress: Vec<Arc<Mutex<Place>>>,
}

impl Living {
    /// A known file that is not taken in yet.
    pub(super) fn known(record: &Arc<StreamRecord>, places: Vec<Place>) -> Self {
        let location = Location {
            path: Path::new(&*record.path).into(),
            inode: Inode::of_record(record),
        };
        Self {
            record: Arc::clone(record),
            file: None,
            location,
            progress: places.into_iter().map(Mutex::new).map(Arc::new).collect(),
        }
    }

    /// A file that is being taken in.
    pub(super) fn of(adopted: &Adopted) -> Self {
        let location = Location {
            path: adopted.found.path.as_path().into(),
            inode: adopted.found.inode,
        };
        let places = adopted.places.iter();
        Self {
            record: Arc::clone(&adopted.record),
            file: Some(Arc::clone(&adopted.found.file)),
            location,
            progress: places.map(|it| Arc::new(Mutex::new(*it))).collect(),
        }
    }
}

/// Whether a file is a copy of one that is read.
pub(super) enum CopyOf {
    Yes,
    No,
    Perhaps,
}

/// Tells a copy from a file of its own. Only names that rotation gives can be copies.
pub(super) fn copy_of(found: &Found, other: &Living) -> io::Result<CopyOf> {
    if !share_a_base(&other.location.path, &found.path) {
        return Ok(CopyOf::No);
    }
    if found.len == 0 {
        // It may be about to be copied to.
        return Ok(CopyOf::Perhaps);
    }
    let original = other
        .file
        .clone()
        .map_or_else(|| locate(&other.location), |it| Ok(Some(it)))?;
    let Some(original) = &original else {
        return Ok(CopyOf::No);
    };
    // The length of a compressed file says nothing about its content.
    let is_packed = packing_of(original)?.is_some();
    if is_packed || found.len <= original.metadata()?.len() {
        // Everything in it is in the original, too, as far as both ends tell.
        let begins_alike = Head::read(original)?.starts_with(&found.head);
        if begins_alike && guarded(original, found.len)? == guarded(&found.file, found.len)? {
            return Ok(CopyOf::Yes);
        }
    }
    // Looked at after what was compared, which may have been truncated meanwhile.
    let places: Vec<Place> = other.progress.iter().map(|it| *lock(it)).collect();
    let len = original.metadata()?.len();
    let is_held = |place: &Place| place.is_held_by(original, len).unwrap_or(true);
    let truncated = !places.iter().all(is_held);
    let unread_is_here = holds_all(found, &other.record, &places)?;
    let still_grows = found.file.metadata()?.len() != found.len;
    Ok(if truncated && (unread_is_here || still_grows) {
        CopyOf::Perhaps
    } else {
        CopyOf::No
    })
}

/// True where the file holds what was read up to each place, and something was read at all.
pub(super) fn holds_all(
    found: &Found,
    record: &StreamRecord,
    places: &[Place],
) -> io::Result<bool> {
    if !found.head.continues(record) || places.iter().all(|place| place.offset == 0) {
        return Ok(false);
    }
    for place in places {
        if !place.is_held_by(&found.file, found.len)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The copy of a stream that was truncated at `path`, beside it and under a name that rotation
/// gives. Blocks.
pub(super) fn find_copy(path: &Path, record: &StreamRecord, places: &[Place]) -> Option<Found> {
    let bases = bases(path).into_iter().chain([path.to_owned()]);
    bases
        .flat_map(|base| siblings(&base, |ino| ino == record.ino))
        .filter(|found| found.inode != Inode::of_record(record))
        .find(|found| holds_all(found, record, places).unwrap_or(false))
}

/// True where a file beside `path` begins as the stream did, of which nothing was read: what it held is
/// there, and was taken in as a file of its own. Blocks.
pub(super) fn is_copied_unread(path: &Path, record: &StreamRecord, places: &[Place]) -> bool {
    let is_unread = places.iter().all(|place| place.offset == 0) && record.head_len > 0;
    let mut beside = is_unread
        .then(|| siblings(path, |ino| ino == record.ino))
        .into_iter()
        .flatten();
    beside.any(|it| it.head.continues(record))
}

/// Generations that came to `path` and were renamed or copied away without being seen: siblings that
/// were made since then and, where a file is there at present, before it; oldest first. Blocks.
pub(super) fn find_missed(
    path: &Path,
    since: SystemTime,
    present: Option<&Found>,
    known: &HashSet<Inode>,
) -> Vec<Found> {
    let inos: HashSet<u64> = known.iter().map(|inode| inode.ino).collect();
    let at_path = present.map(|it| it.inode);
    let is_present = |ino: u64| at_path.is_some_and(|it| it.ino == ino);
    let found = siblings(path, |ino| !is_present(ino) && inos.contains(&ino));
    // A file that is copied and truncated is older than its copies: of them all are missed.
    let present_born = present.and_then(came);
    let present_born = present_born.filter(|it| *it >= since);
    // It may have been renamed meanwhile, and others after it: those are for the next look. As long
    // as it is at the path, what is younger than it is a copy of what was in it before.
    let place = found.iter().find(|it| Some(it.inode) == at_path);
    let number = place.and_then(|it| rotation_number(&it.path));
    let has_moved = place.is_some() || present.is_some_and(|it| !it.is_at(path));
    let is_younger = |it: &Found| match (rotation_number(&it.path), number) {
        // A compressed one of its number is being made of it.
        (Some(n), Some(present)) => n < present || n == present && it.packing.is_some(),
        _ => has_moved && present_born.is_some_and(|at| came(it) > Some(at)),
    };
    let mut missed: Vec<Found> = found
        .into_iter()
        .filter(|found| Some(found.inode) != at_path && !known.contains(&found.inode))
        .filter(|found| is_readable(found) && !is_younger(found))
        .filter(|found| came(found).is_some_and(|it| is_since(it, since)))
        .collect();
    missed.sort_by_cached_key(age_key);
    missed
}

/// The file that has a known stream's inode under a name that rotation gave it, and not its content:
/// it was truncated or written anew, and then rotated; or its inode is that of a compressed file which
/// was made `since`. Blocks.
pub(super) fn find_rewritten(path: &Path, known: Inode, since: SystemTime) -> Option<Found> {
    let now = find_inode(path.parent()?, known.dev, known.ino)?;
    if !is_sibling(path, &now) {
        return None;
    }
    let found = Found::look(&now).ok().flatten()?;
    let is_young = || came(&found).is_some_and(|it| is_since(it, since));
    (is_readable(&found) && (found.packing.is_none() || is_young())).then_some(found)
}

/// The file that was at `path` when its directory was listed, under the name that rotation gave it
/// since. Blocks.
pub(super) fn find_renamed(path: &Path, entry_ino: u64) -> Option<Found> {
    let found = siblings(path, |ino| ino != entry_ino);
    found
        .into_iter()
        .find(|it| it.packing.is_none() && is_readable(it))
}

/// The files beside `path` that have a name that rotation gives, each once; but not those whose
/// directory entry's inode number is to be skipped. Blocks.
fn siblings(path: &Path, skip: impl Fn(u64) -> bool) -> Vec<Found> {
    /// A directory whose names move while it is looked at is listed again: a file may have gone to a
    /// name that was passed already. What was found once stays open.
    const PASSES_MAX: usize = 16;
    let Some(dir) = path.parent() else {
        return Vec::new();
    };
    let changed = || dir.metadata().map(|it| (it.ctime(), it.ctime_nsec())).ok();
    let mut found: Vec<Found> = Vec::new();
    for _ in 0..PASSES_MAX {
        let before = changed();
        let Ok(entries) = std::fs::read_dir(dir) else {
            break;
        };
        for entry in entries.filter_map(Result::ok) {
            let sibling = entry.path();
            if skip(entry.ino()) || !is_sibling(path, &sibling) {
                continue;
            }
            if let Some(seen) = found.iter_mut().find(|it| it.inode.ino == entry.ino()) {
                // Numbers tell the order only where they are all of one moment.
                seen.path = sibling;
                continue;
            }
            let Some(one) = Found::look(&sibling).ok().flatten().and_then(timed) else {
                continue;
            };
            if found.iter().all(|it| it.inode != one.inode) && !skip(one.inode.ino) {
                found.push(one);
            }
        }
        if changed() == before {
            break;
        }
    }
    found
}

/// Gives a compressed file that is being made the time that its packer gives it when it is done, and
/// before it removes the original: that of the original. Until then it has a later one. Blocks.
fn timed(mut found: Found) -> Option<Found> {
    if found.packing.is_none() || !is_compressed(&found.path) {
        return Some(found);
    }
    let original = found.path.with_extension("").metadata();
    let original = original.and_then(|it| it.modified()).ok();
    // Looked at after the original: where that was gone, this is its last time; and where it is a
    // later generation, because names have moved on, it is the earlier one.
    let own = found.file.metadata().and_then(|it| it.modified()).ok()?;
    found.modified = original.map_or(own, |it| it.min(own));
    Some(found)
}

/// How old a file is: see [`age_key`].
pub(super) type Age = (
    Option<SystemTime>,
    Reverse<Option<u64>>,
    SystemTime,
    PathBuf,
);

/// Sorts files by age, oldest first. Clocks of file systems tick every few milliseconds, within which
/// a busy writer fills several files: of those that came at the same tick, the one with the higher
/// rotation number is the older one, else that which was written to last before, else that with the
/// first name, in which there is a date.
pub(super) fn age_key(found: &Found) -> Age {
    let number = rotation_number(&found.path);
    let path = found.path.clone();
    (came(found), Reverse(number), found.modified, path)
}

/// Gives files the names that they have now, all of one moment: numbers that were seen one after the
/// other, while names moved, do not tell which is older. Blocks.
pub(super) fn name_anew(files: &mut [&mut Found]) {
    if files.len() < 2 {
        return;
    }
    let dirs = files
        .iter()
        .filter_map(|it| it.path.parent().map(Path::to_owned));
    let dirs: HashSet<PathBuf> = dirs.collect();
    let by_ino = files.iter().enumerate().map(|(n, it)| (it.inode.ino, n));
    let by_ino: HashMap<u64, usize> = by_ino.collect();
    for dir in dirs {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            if let Some(found) = by_ino.get(&entry.ino()).map(|n| &mut files[*n])
                && found.path.parent() == Some(&dir)
            {
                found.path = entry.path();
            }
        }
    }
}

/// When a file came. One that rotation compressed is younger than its content, but has the time at
/// which that was written last: `gzip`, `zstd` and logrotate see to it.
fn came(found: &Found) -> Option<SystemTime> {
    match found.packing {
        Some(_) => Some(found.modified),
        None => born(&found.file),
    }
}

/// True for a time that is not before `since`. One without a fraction can have lost it.
fn is_since(time: SystemTime, since: SystemTime) -> bool {
    let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH);
    let is_whole = since_1970.is_ok_and(|it| it.subsec_nanos() == 0);
    time >= since || is_whole && time + Duration::from_secs(1) > since
}

/// False for what is compressed in a way that cannot be read.
fn is_readable(found: &Found) -> bool {
    found.packing.is_some() || !is_compressed(&found.path)
}

/// When the last file that was at each path, or that rotation made of it, was noted last, of those
/// that have ended.
pub(super) fn ended_last<'a>(
    records: impl Iterator<Item = &'a Arc<StreamRecord>>,
) -> HashMap<PathBuf, SystemTime> {
    let mut last = HashMap::new();
    for record in records.filter(|it| it.ended) {
        let seen = SystemTime::UNIX_EPOCH + Duration::from_secs(record.seen);
        let path = PathBuf::from(&*record.path);
        for path in bases(&path).into_iter().chain([path]) {
            let known = last.entry(path).or_insert(seen);
            *known = seen.max(*known);
        }
    }
    last
}

/// A time after which what came next to the path of a file was made, as near as its own file tells:
/// that of a compressed one was made later than what came next, so it is told by its content, which a
/// slow writer may have written to for some time after that. Blocks.
pub(super) fn came_by(file: &File) -> Option<SystemTime> {
    /// How long a writer may take to turn to the new file.
    const TURNS_WITHIN: Duration = Duration::from_secs(2);
    match packing_of(file) {
        Ok(Some(_)) => {
            let modified = file.metadata().and_then(|it| it.modified()).ok();
            modified.map(|it| it - TURNS_WITHIN)
        }
        _ => born(file),
    }
}

/// When a file was made; `None` where the file system does not tell.
pub(super) fn born(file: &File) -> Option<SystemTime> {
    file.metadata().and_then(|it| it.created()).ok()
}

/// The path that a file at `path` was at before it was rotated: one that is `there`, or at which one
/// would be read; `path` itself where none is.
pub(super) fn named_path(path: PathBuf, there: &HashMap<Arc<Path>, u64>, names: &Names) -> PathBuf {
    let bases = bases(&path);
    let paths = || [&path].into_iter().chain(&bases);
    let at = paths().find(|it| there.contains_key(it.as_path()));
    let at = at.or_else(|| paths().find(|it| names.hold(it)));
    at.unwrap_or(&path).clone()
}

/// The paths that rotation may have made `path` from: [`is_sibling`] holds for each of them.
pub(super) fn bases(path: &Path) -> Vec<PathBuf> {
    let Some(name) = path.file_name().map(|name| name.to_string_lossy()) else {
        return Vec::new();
    };
    // Of very many names most are never given by rotation: told without an allocation.
    let digit_at = |at: usize| name.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
    let cut = |at: usize| name[at..].starts_with(['.', '-']) && at > 0 && digit_at(at + 1);
    let cuts = name.char_indices().map(|(at, _)| at).filter(|at| cut(*at));
    let bare = without_packing(&name);
    let extension = |name: &str| name.rsplit_once('.').map(|(_, it)| it.to_owned());
    let extensions = [extension(&name), bare.and_then(extension)];
    let names = cuts.flat_map(|at| {
        let stem = &name[..at];
        let extended = extensions
            .iter()
            .flatten()
            .map(move |it| format!("{stem}.{it}"));
        extended.chain([stem.to_owned()])
    });
    names
        .chain(bare.map(str::to_owned))
        .map(|base| path.with_file_name(base))
        .filter(|base| is_sibling(base, path))
        .collect()
}

/// True where rotation may have made both paths from one, which may be the first of them.
fn share_a_base(one: &Path, other: &Path) -> bool {
    let of_other = bases(other);
    let mut of_one = bases(one).into_iter().chain([one.to_owned()]);
    of_one.any(|base| of_other.contains(&base))
}

/// True where `path` has a name that rotation gives to `of`: `of.1`, `of-20261122`, `of.2026-11-22`
/// or `stem-20261122.ext`, compressed or not, or `of` itself compressed.
fn is_sibling(of: &Path, path: &Path) -> bool {
    let name = |path: &Path| {
        path.file_name()
            .map(|name| name.to_string_lossy().into_owned())
    };
    let (Some(base), Some(name)) = (name(of), name(path)) else {
        return false;
    };
    if of.parent() != path.parent() || base == name {
        return false;
    }
    let rotated = |rest: &str| {
        rest.starts_with(['.', '-']) && rest[1..].starts_with(|c: char| c.is_ascii_digit())
    };
    let is_of_stem = |name: &str| {
        let (stem, extension) = base.rsplit_once('.')?;
        let rest = name.strip_prefix(stem)?.strip_suffix(extension)?;
        Some(rotated(rest))
    };
    let is_rotated = |name: &str| {
        name.strip_prefix(&*base).is_some_and(rotated) || is_of_stem(name) == Some(true)
    };
    is_rotated(&name) || without_packing(&name).is_some_and(|bare| bare == base || is_rotated(bare))
}

/// The name that a compressed file had before.
fn without_packing(name: &str) -> Option<&str> {
    name.strip_suffix(".gz")
        .or_else(|| name.strip_suffix(".zst"))
}

pub(super) fn is_compressed(path: &Path) -> bool {
    path.extension()
        .is_some_and(|it| ["gz", "zst", "bz2", "xz"].iter().any(|known| it == *known))
}

fn rotation_number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let (_, number) = without_packing(name).unwrap_or(name).rsplit_once('.')?;
    number.parse().ok()
}

/// True for a name that rotation by numbers gives: `app.log.12`, compressed or not.
pub(super) fn has_number(path: &Path) -> bool {
    /// Larger ones are dates.
    const NUMBER_MAX: u64 = 9_999;
    rotation_number(path).is_some_and(|it| it <= NUMBER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotation_gives_certain_names_only() {
        let is = |of: &str, path: &str| is_sibling(Path::new(of), Path::new(path));

        assert!(is("/l/app.log", "/l/app.log.1"));
        assert!(is("/l/app.log", "/l/app.log-20261122"));
        assert!(is("/l/app.log", "/l/app.log.2026-11-22.gz"));
        assert!(is("/l/app.log", "/l/app-20261122.log"));
        assert!(is("/l/app.log", "/l/app-20261122.log.zst"));
        assert!(is("/l/app.log", "/l/app.log.gz"));
        assert!(!is("/l/app.log", "/l/app.gz"));
        assert!(!is("/l/app.log", "/l/app.log"));
        assert!(!is("/l/app.log", "/l/app.log.old"));
        assert!(!is("/l/app.log", "/l/app-audit.log"));
        assert!(!is("/l/app.log", "/m/app.log.1"));
        assert!(!is("/l/app", "/l/application.1"));
    }

    #[test]
    fn a_rotated_name_leads_back_to_its_base() {
        let leads = |path: &str, base: &str| bases(Path::new(path)).contains(&PathBuf::from(base));

        assert!(leads("/l/app.log.1", "/l/app.log"));
        assert!(leads("/l/app.log-20261122", "/l/app.log"));
        assert!(leads("/l/app.log.2026-11-22.gz", "/l/app.log"));
        assert!(leads("/l/app-20261122.log", "/l/app.log"));
        assert!(leads("/l/app-20261122.log.gz", "/l/app.log"));
        assert!(leads("/l/app.log.gz", "/l/app.log"));
        assert!(leads("/l/app.log.12.zst", "/l/app.log"));
        assert_eq!(bases(Path::new("/l/app.log")), Vec::<PathBuf>::new());
    }
}
