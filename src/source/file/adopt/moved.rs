//! Known streams whose files are not where they were: renamed, copied, truncated, written anew; and
//! what came to their paths after them.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use foldhash::HashMap as QuickMap;
use tracing::info;

use super::{Adopted, Decision, Registry};
use crate::checkpoint::StreamRecord;
use crate::source::file::discover::find_inode;
use crate::source::file::folders::Folders;
use crate::source::file::found::{Found, UNKNOWN_LEN, is_reborn, noted_at, now_s, still_there};
use crate::source::file::generation::GenerationId;
use crate::source::file::pattern::Names;
use crate::source::file::rotation::{
    CopyOf, Living, age_key, bases, copy_of, find_copy, find_missed, find_rewritten, holds_all,
    name_anew, named_path,
};
use crate::source::file::{Inode, Start};

/// Of more known files it is not asked at the start whether their inodes were given to others: what was
/// unread of such a file is read all the same, but beside what came after it.
const REBORN_MAX: usize = 1_000;

impl Registry {
    /// Finds known streams that are not ended and whose files none of the paths in `named` has (each
    /// with its directory entry's inode): they were renamed inside their folder, or copied there
    /// before they were truncated; and what came to a path of `names` after the last known file of it,
    /// and was rotated away. Each comes with the path that it was at, oldest first. `living` are the
    /// files that are read already. Blocks.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(in crate::source::file) fn adopt_moved(
        &mut self,
        named: &HashMap<Arc<Path>, u64>,
        names: &Names,
        living: HashSet<Inode>,
    ) -> io::Result<Vec<(PathBuf, Rotated)>> {
        let mut folders = Folders::default();
        let mut traces = self.traces(named, names, &living, &mut folders)?;
        // What nobody knows is judged when everything that is known has been found.
        let mut taken = living;
        taken.extend(traces.iter().filter_map(Trace::inode));
        for trace in &mut traces {
            self.follow_up(trace, &mut taken, &mut folders)?;
        }
        let traced: HashSet<PathBuf> = traces.iter().map(|it| it.was_at.clone()).collect();
        let is_gap = |path: &PathBuf| {
            !named.contains_key(path.as_path()) && !traced.contains(path) && names.hold(path)
        };
        let late = self.follow_ended(is_gap, &mut taken, &mut folders)?;
        Ok(in_order(traces, late))
    }

    /// The known streams whose files are not where they were, each with where it goes on.
    fn traces(
        &mut self,
        named: &HashMap<Arc<Path>, u64>,
        names: &Names,
        living: &HashSet<Inode>,
        folders: &mut Folders,
    ) -> io::Result<Vec<Trace>> {
        let known = self.by_inode.values().flatten();
        let inos = self.by_inode.keys().chain(living).map(|it| it.ino);
        let inos: HashSet<u64> = inos.collect();
        let is_quick = self.by_inode.len() <= REBORN_MAX;
        // What has its path and its inode is decided on when its path is taken in.
        let mut in_place = |it: &StreamRecord| {
            let entry_ino = named.get(Path::new(&*it.path));
            let is_there = entry_ino.is_some_and(|entry| *entry == it.ino || still_there(it));
            // Of one that was empty only a copy tells that it was filled and emptied.
            let mut has_copy = || {
                let is_known = |ino| inos.contains(&ino);
                folders.have_missed(Path::new(&*it.path), noted_at(it), is_known)
            };
            if !is_there || it.head_len == 0 && has_copy() {
                return false;
            }
            let path = Path::new(&*it.path);
            !(is_quick && folders.have_rotated(path) && is_reborn(it))
        };
        let moved = known.filter(|it| !it.ended && !in_place(it));
        let moved: Vec<Arc<StreamRecord>> = moved.cloned().collect();
        let mut traces = Vec::new();
        for record in moved {
            let path = PathBuf::from(&*record.path);
            let at = self.at_its_path(&record, &path)?;
            let in_place = at.is_some() && named.contains_key(&*path);
            let found = match at {
                // It is taken in with its path, behind what came before.
                Some(_) if in_place => None,
                Some(found) => found,
                None => self.moved_to(&record, &path, folders)?,
            };
            let mut rotated = Vec::new();
            if let Some(found) = found {
                self.remove(&record);
                rotated.push(Rotated::Read(Box::new(self.resume_as(&record, found)?)));
            }
            let was_at = named_path(path, named, names);
            traces.push(Trace {
                record,
                was_at,
                in_place,
                rotated,
            });
        }
        Ok(traces)
    }

    /// Takes in what came to a known stream's path after it and was rotated away unseen.
    fn follow_up(
        &mut self,
        trace: &mut Trace,
        taken: &mut HashSet<Inode>,
        folders: &mut Folders,
    ) -> io::Result<()> {
        let (record, path) = (&trace.record, Path::new(&*trace.record.path));
        let known = Inode::of_record(record);
        let mut later = Vec::new();
        if trace.inode() != Some(known) {
            // Its inode can hold something else now.
            let dir = path.parent().unwrap_or(Path::new("/"));
            let is_held = folders.hold(dir, known.ino);
            let rewritten = || find_rewritten(&trace.was_at, known, noted_at(record));
            let mut rewritten = is_held.then(rewritten).flatten();
            // While names move it can have been passed over until now.
            if let Some(found) = &rewritten
                && self.is_its_file(record, found)?
            {
                if trace.rotated.is_empty() {
                    self.remove(record);
                    let goes_on = self.resume_as(record, found.clone())?;
                    trace.rotated.push(Rotated::Read(Box::new(goes_on)));
                }
                rewritten = None;
            }
            if trace.rotated.is_empty() && (rewritten.is_some() || still_there(record)) {
                self.remove(record);
                self.ended(record);
            }
            if let Some(rewritten) = rewritten.filter(|_| !taken.contains(&known)) {
                self.tell_displaced(record, &rewritten, None);
                later.push(rewritten);
            }
        }
        // What is copied is older than its copies.
        taken.insert(known);
        if !later.is_empty() || folders.have_rotated(&trace.was_at) {
            later.extend(self.missed_at(&trace.was_at, Some(known), noted_at(record), taken));
        }
        trace.rotated.extend(self.take_rotated(later)?);
        Ok(())
    }

    /// What came to a path after `known` and was rotated away unseen, oldest first.
    fn missed_at(
        &mut self,
        path: &Path,
        known: Option<Inode>,
        since: SystemTime,
        taken: &mut HashSet<Inode>,
    ) -> Vec<Found> {
        let present = Found::look(path).ok().flatten();
        let present = present.filter(|it| known != Some(it.inode));
        let mut missed = find_missed(path, since, present.as_ref(), taken);
        // The copy of what is at its path goes on there, when that is taken in.
        let unclaimed = self.at(path);
        let unclaimed = unclaimed.iter();
        let unclaimed = unclaimed.map(|it| Living::known(it, self.resume_places(it)));
        let unclaimed: Vec<Living> = unclaimed.collect();
        missed.retain(|it| {
            let is_copy = |of| matches!(copy_of(it, of), Ok(CopyOf::Yes | CopyOf::Perhaps));
            !unclaimed.iter().any(is_copy)
        });
        taken.extend(missed.iter().map(|it| it.inode));
        missed
    }

    /// Decides on files that were rotated away unseen.
    fn take_rotated(&mut self, found: Vec<Found>) -> io::Result<Vec<Rotated>> {
        let mut rotated = Vec::new();
        for found in found {
            match self.adopt(found.clone(), Start::Beginning, &[])? {
                Decision::Read(adopted) => rotated.push(Rotated::Read(adopted)),
                Decision::Later => rotated.push(Rotated::Undecided(Box::new(found))),
                Decision::Copy => {}
            }
        }
        Ok(rotated)
    }

    /// Takes in what came to paths at which nothing is now, after all that is known of them had ended,
    /// and was rotated away unseen.
    fn follow_ended(
        &mut self,
        is_gap: impl Fn(&PathBuf) -> bool,
        taken: &mut HashSet<Inode>,
        folders: &mut Folders,
    ) -> io::Result<Vec<(PathBuf, Vec<Rotated>)>> {
        let gaps = self.all_ended().iter().filter(|(path, _)| is_gap(path));
        let gaps: Vec<_> = gaps.map(|(path, since)| (path.clone(), *since)).collect();
        let mut all = Vec::new();
        for (path, since) in gaps {
            if folders.have_missed(&path, since, |ino| taken.iter().any(|it| it.ino == ino)) {
                let mut missed = self.missed_at(&path, None, since, taken);
                missed.retain(|it| !self.was_read(it));
                all.push((path, self.take_rotated(missed)?));
            }
        }
        Ok(all)
    }

    /// True for a file whose content was read to its end, and that was copied or unpacked since.
    fn was_read(&self, found: &Found) -> bool {
        let ended = self.by_inode.values().flatten().filter(|it| it.ended);
        let mut alike = ended.filter(|it| found.head.continues(it));
        alike.any(|it| {
            let places = self.resume_places(it);
            let is_all = places.iter().all(|place| place.offset >= found.len);
            is_all && holds_all(found, it, &places).unwrap_or(false)
        })
    }

    /// Known streams that no file has claimed: their files are gone, at least for now. Should one
    /// come back to its path it goes on. Each comes with how many bytes of it are known to be unread.
    pub(in crate::source::file) fn gone(&mut self) -> Vec<(Arc<StreamRecord>, u64)> {
        let known = self.by_inode.values().flatten().filter(|it| !it.ended);
        let known: Vec<Arc<StreamRecord>> = known.cloned().collect();
        let mut gone = Vec::new();
        for record in known {
            let least = self.resume_places(&record).iter().map(|it| it.offset).min();
            let known = Some(record.len).filter(|len| *len != UNKNOWN_LEN);
            let unread = known.unwrap_or(0).saturating_sub(least.unwrap_or(0));
            // It is said once, and forgotten as what has ended is.
            self.unwritten.0.push(StreamRecord {
                ended: true,
                seen: now_s(),
                ..StreamRecord::clone(&record)
            });
            gone.push((record, unread));
        }
        gone
    }

    /// Known streams that had the file's inode and whose content it has not: each goes on in the
    /// copy that was made of it, or has ended. `living` are the files that are read already. Blocks.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(in crate::source::file) fn displaced(
        &mut self,
        found: &Found,
        living: &QuickMap<Inode, GenerationId>,
    ) -> io::Result<Vec<Rotated>> {
        let same_inode = self.by_inode.get(&found.inode).into_iter().flatten();
        let known: Vec<Arc<StreamRecord>> = same_inode.filter(|it| !it.ended).cloned().collect();
        let mut adopted = Vec::new();
        let mut noted: Option<SystemTime> = None;
        for record in known {
            if self.is_continued(&record, found)? {
                continue;
            }
            let at = noted_at(&record);
            noted = Some(noted.map_or(at, |noted| noted.min(at)));
            self.remove(&record);
            let path = PathBuf::from(&*record.path);
            let copy = find_copy(&path, &record, &self.resume_places(&record));
            self.tell_displaced(&record, found, copy.as_ref());
            match copy {
                Some(copy) => adopted.push(self.resume_as(&record, copy)?),
                None => self.ended(&record),
            }
        }
        adopted.sort_by_cached_key(|adopted| age_key(&adopted.found));
        let mut known: HashSet<Inode> = adopted.iter().map(|it| it.found.inode).collect();
        let adopted = adopted.into_iter().map(|it| Rotated::Read(Box::new(it)));
        let mut rotated: Vec<Rotated> = adopted.collect();
        if let Some(since) = noted {
            // What came after them and was copied or renamed away before it was seen.
            known.extend(living.keys());
            known.insert(found.inode);
            let missed = find_missed(&found.path, since, None, &known);
            rotated.extend(self.take_rotated(missed)?);
        }
        Ok(rotated)
    }

    /// Operators ask why a file was read again: this is the answer.
    fn tell_displaced(&self, known: &StreamRecord, found: &Found, copy: Option<&Found>) {
        let what = match copy {
            Some(_) => {
                "a known file was truncated or written anew: the rest of it is read first, from its copy"
            }
            None => "another content has the inode of a known file: it is read from its start",
        };
        info!(
            source = %self.source, path = %found.path.display(), dev = found.inode.dev,
            ino = found.inode.ino, len = found.len, head_len = found.head.len(),
            head_hash = found.head.hash(), known_path = &*known.path, known_dev = known.dev,
            known_ino = known.ino, born = found.born, known_born = known.born, known_len = known.len, known_head_len = known.head_len,
            known_head_hash = known.head_hash,
            known_offset = self.resume_places(known).iter().map(|it| it.offset).min(),
            copy = copy.map(|it| it.path.display().to_string()),
            "{what}"
        );
    }

    /// The stream's own file where it is at its path and still holds what was read of it. One that
    /// cannot be looked at now is not judged: that is `Some(None)`.
    pub(in crate::source::file) fn at_its_path(
        &self,
        record: &StreamRecord,
        path: &Path,
    ) -> io::Result<Option<Option<Found>>> {
        let Ok(Some(found)) = Found::look(path) else {
            return Ok(path.exists().then_some(None));
        };
        Ok(self.is_its_file(record, &found)?.then_some(Some(found)))
    }

    fn is_its_file(&self, record: &StreamRecord, found: &Found) -> io::Result<bool> {
        Ok(found.inode == Inode::of_record(record) && self.is_continued(record, found)?)
    }

    /// Where a stream's content is now: the same inode under another name, or a copy.
    fn moved_to(
        &self,
        record: &StreamRecord,
        path: &Path,
        folders: &mut Folders,
    ) -> io::Result<Option<Found>> {
        /// Its name may move between the look and the opening.
        const TRIES_MAX: usize = 16;
        let dir = path.parent().unwrap_or(Path::new("/"));
        let tries = if folders.hold(dir, record.ino) {
            TRIES_MAX
        } else {
            0
        };
        for _ in 0..tries {
            let Some(path) = find_inode(dir, record.dev, record.ino) else {
                continue;
            };
            match Found::look(&path) {
                Ok(Some(found)) if self.is_its_file(record, &found)? => return Ok(Some(found)),
                // It is there, with another content.
                Ok(Some(found)) if found.inode == Inode::of_record(record) => break,
                _ => {}
            }
        }
        let mut bases = bases(path).into_iter().chain([path.to_owned()]);
        if !bases.any(|base| folders.have_rotated(&base)) {
            return Ok(None);
        }
        let places = self.resume_places(record);
        Ok(find_copy(path, record, &places))
    }
}

/// Sorts what was rotated away by age, oldest first.
fn in_order(traces: Vec<Trace>, late: Vec<(PathBuf, Vec<Rotated>)>) -> Vec<(PathBuf, Rotated)> {
    let known = traces
        .into_iter()
        .map(|it| (it.was_at, Some(Inode::of_record(&it.record)), it.rotated));
    let late = late.into_iter().map(|(path, it)| (path, None, it));
    let mut all: Vec<_> = known.chain(late).collect();
    let found = all
        .iter_mut()
        .flat_map(|(.., it)| it)
        .map(Rotated::found_mut);
    name_anew(&mut found.collect::<Vec<_>>());
    let mut aged = Vec::new();
    for (path, known, rotated) in all {
        let mut copied = None;
        for (n, mut it) in rotated.into_iter().enumerate() {
            let found = it.found_mut();
            let mut age = age_key(found);
            if n == 1 && known == Some(found.inode) {
                // What was written to a file after it was copied is younger than the copy.
                age.0 = age.0.max(copied);
            }
            copied = age.0;
            aged.push((age, (path.clone(), it)));
        }
    }
    aged.sort_by(|(one, _), (other, _)| one.cmp(other));
    aged.into_iter().map(|(_, it)| it).collect()
}

/// A file that was at a path before the one that is there.
#[derive(Debug)]
pub(in crate::source::file) enum Rotated {
    /// It is read before that one.
    Read(Box<Adopted>),
    /// It may be a copy of one that has to be read first.
    Undecided(Box<Found>),
}

impl Rotated {
    fn found_mut(&mut self) -> &mut Found {
        match self {
            Self::Read(adopted) => &mut adopted.found,
            Self::Undecided(found) => found,
        }
    }
}

/// A known stream whose file is not where it was or may be another one, the path that it was at, and
/// what is read of both, in order.
struct Trace {
    record: Arc<StreamRecord>,
    was_at: PathBuf,
    /// True where it is at its path and nothing tells that it is another one.
    in_place: bool,
    rotated: Vec<Rotated>,
}

impl Trace {
    /// The file that the stream goes on in.
    fn inode(&self) -> Option<Inode> {
        if self.in_place {
            return Some(Inode::of_record(&self.record));
        }
        let Rotated::Read(first) = self.rotated.first()? else {
            return None;
        };
        (first.record.id == self.record.id).then_some(first.found.inode)
    }
}
