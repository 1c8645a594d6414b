//! Which files a source's patterns name right now.
//!
//! Looking is cheap while nothing changes: one `stat` per directory and per literal path. A
//! directory is listed again only when its times moved: that of its modification, which programs
//! such as `rsync -a` set back, and that of its change, which nobody can.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::FileType;
use std::io;
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use globset::{GlobBuilder, GlobMatcher};

use super::pattern::{Names, Part, Pattern, is_dotfile};

/// A directory that changed less than this before it was listed is listed again: a second change
/// may have left its modification time as it was (file systems stamp with the timer tick, and some
/// with whole seconds).
const MTIME_SLACK: Duration = Duration::from_secs(2);

/// Directories that `**` descends at most.
const DEPTH_MAX: usize = 16;

/// A file that a pattern names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) path: Arc<Path>,
    /// Inode of the directory entry (for a symbolic link its own), 0 where it is not known.
    pub(super) entry_ino: u64,
}

/// Finds the files of some patterns, again and again.
#[derive(Debug)]
pub(super) struct Scanner {
    names: Arc<Names>,
    dirs: HashMap<PathBuf, Listing>,
    /// Literal paths outside listed directories, and what they were.
    literals: HashMap<PathBuf, Option<Seen>>,
    first: bool,
}

/// When a directory was modified, and when it was changed.
type Times = (SystemTime, (i64, i64));

/// What `stat` said of a path.
type Seen = (u64, u64, bool);

/// Inode of a directory entry, and what it is, as far as they are known.
type Entry = (u64, Option<FileType>);

#[derive(Debug, Default)]
struct Listing {
    times: Option<Times>,
    /// True where the next look must list it whatever its modification time.
    unsure: bool,
    /// True where it is used by the present expansion.
    used: bool,
    entries: BTreeMap<OsString, Entry>,
}

impl Scanner {
    pub(super) fn new(names: Arc<Names>) -> Self {
        Self {
            names,
            dirs: HashMap::new(),
            literals: HashMap::new(),
            first: true,
        }
    }

    /// The literal paths, each with why it cannot be looked at. Blocks.
    pub(super) fn missing(&self) -> Vec<(PathBuf, Option<String>)> {
        let literal = self.names.patterns.iter().filter(|it| it.is_literal());
        let state = |it: &Pattern| {
            let error = it.path.metadata().err();
            (it.path.clone(), error.map(|error| error.to_string()))
        };
        literal.map(state).collect()
    }

    /// The files that are named now, in the order of the patterns and by name within each; `None`
    /// where nothing can have changed since the last look. Blocks.
    pub(super) fn look(&mut self) -> Option<Vec<Match>> {
        if !self.changed() && !self.first {
            return None;
        }
        self.first = false;
        self.dirs
            .values_mut()
            .for_each(|listing| listing.used = false);
        self.literals.clear();
        let names = Arc::clone(&self.names);
        let mut found = Vec::new();
        for pattern in &names.patterns {
            self.expand(pattern, &mut found);
        }
        self.dirs.retain(|_, listing| listing.used);
        if names.patterns.len() > 1 {
            let mut seen = HashSet::new();
            found.retain(|entry| seen.insert(entry.path.clone()));
        }
        found.retain(|entry| !names.exclude.holds(&entry.path));
        Some(found)
    }

    /// The directories whose changes matter: the listed ones, and those that hold a literal path.
    pub(super) fn dirs(&self) -> HashSet<PathBuf> {
        let listed = self
            .dirs
            .iter()
            .filter(|(_, listing)| listing.times.is_some());
        let parents = self.literals.keys().filter_map(|path| path.parent());
        listed
            .map(|(path, _)| path.clone())
            .chain(parents.filter(|dir| dir.is_dir()).map(Path::to_owned))
            .collect()
    }

    fn changed(&mut self) -> bool {
        let dirs = self
            .dirs
            .iter()
            .any(|(path, listing)| listing.unsure || times(path) != listing.times);
        dirs || self.literals.iter().any(|(path, seen)| stat(path) != *seen)
    }

    fn expand(&mut self, pattern: &Pattern, found: &mut Vec<Match>) {
        // A file whose name holds a bracket is meant before the glob.
        let literal = pattern.is_literal() || pattern.path.symlink_metadata().is_ok();
        if literal {
            return self.expand_literal(&pattern.path, found);
        }
        let start = pattern
            .parts
            .iter()
            .take_while(|part| matches!(part, Part::Literal(_)));
        let mut root = PathBuf::from("/");
        let literals = start.inspect(|part| {
            if let Part::Literal(name) = part {
                root.push(name);
            }
        });
        let skip = literals.count();
        self.walk(&root, &pattern.parts[skip..], 0, found);
    }

    fn expand_literal(&mut self, path: &Path, found: &mut Vec<Match>) {
        let seen = stat(path);
        self.literals.insert(path.to_owned(), seen);
        match seen {
            Some((_, _, true)) => {
                let all = [Part::Glob {
                    matcher: any_name(),
                    dotfiles: false,
                }];
                self.walk(path, &all, 0, found);
            }
            Some((_, ino, false)) => {
                found.push(Match {
                    path: path.into(),
                    entry_ino: ino,
                });
            }
            None => {}
        }
    }

    fn walk(&mut self, dir: &Path, parts: &[Part], depth: usize, found: &mut Vec<Match>) {
        let Some((part, rest)) = parts.split_first() else {
            return;
        };
        match part {
            Part::Literal(name) => self.descend(dir.join(name), (0, None), rest, depth, found),
            Part::Glob { matcher, dotfiles } => {
                let wanted =
                    |name: &OsStr| (*dotfiles || !is_dotfile(name)) && matcher.is_match(name);
                for (path, entry) in self.paths(dir, wanted) {
                    self.descend(path, entry, rest, depth, found);
                }
            }
            Part::AnyDepth => {
                self.walk(dir, rest, depth, found);
                if depth < DEPTH_MAX {
                    for (path, _) in self.paths(dir, |name| !is_dotfile(name)) {
                        // Links to directories are not followed: they can form a circle.
                        if path.symlink_metadata().is_ok_and(|it| it.is_dir()) {
                            self.walk(&path, parts, depth + 1, found);
                        }
                    }
                }
            }
        }
    }

    /// A file where the pattern ends, a directory where it goes on.
    fn descend(
        &mut self,
        path: PathBuf,
        (ino, kind): Entry,
        rest: &[Part],
        depth: usize,
        found: &mut Vec<Match>,
    ) {
        if !rest.is_empty() {
            return self.walk(&path, rest, depth, found);
        }
        let is_file = match kind {
            Some(kind) if kind.is_file() => true,
            Some(kind) if kind.is_dir() => false,
            _ => path.metadata().is_ok_and(|it| it.is_file()),
        };
        if is_file {
            found.push(Match {
                path: path.into(),
                entry_ino: ino,
            });
        }
    }

    /// Paths in a directory whose names pass `wanted`; listed again where it changed.
    fn paths(&mut self, dir: &Path, wanted: impl Fn(&OsStr) -> bool) -> Vec<(PathBuf, Entry)> {
        let listing = self.dirs.entry(dir.to_owned()).or_default();
        if !listing.used {
            listing.used = true;
            let now = times(dir);
            if listing.unsure || now != listing.times {
                listing.times = now;
                let fresh = |time: SystemTime| time.elapsed().map_or(true, |age| age < MTIME_SLACK);
                listing.unsure = now.is_some_and(|(modified, _)| fresh(modified));
                listing.entries = list(dir).unwrap_or_default();
            }
        }
        let entries = listing.entries.iter().filter(|(name, _)| wanted(name));
        entries.map(|(name, it)| (dir.join(name), *it)).collect()
    }
}

/// The path of the file with this device and inode in a directory: a file that was renamed.
pub(super) fn find_inode(dir: &Path, dev: u64, ino: u64) -> Option<PathBuf> {
    let entries = std::fs::read_dir(dir).ok()?;
    let same = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.ino() == ino);
    same.map(|entry| entry.path()).find(|path| {
        path.metadata()
            .is_ok_and(|it| it.dev() == dev && it.ino() == ino)
    })
}

/// True where a directory entry is not the one that was listed: the name was given to another file.
/// Blocks.
pub(super) fn was_renamed(listed: &Match) -> bool {
    let is_listed = |ino: u64| listed.entry_ino == 0 || ino == listed.entry_ino;
    // Of a link in a directory its own inode was listed, of one that was asked for its target's.
    let states = [listed.path.symlink_metadata(), listed.path.metadata()];
    if states.into_iter().flatten().any(|it| is_listed(it.ino())) {
        return false;
    }
    // Some file systems list other inode numbers than they tell of a file.
    let dir = listed.path.parent().unwrap_or(Path::new("/"));
    let mut entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let entry = entries.find(|it| Some(&*it.file_name()) == listed.path.file_name());
    entry.is_none_or(|it| !is_listed(it.ino()))
}

fn any_name() -> GlobMatcher {
    GlobBuilder::new("*")
        .build()
        .expect("a valid glob")
        .compile_matcher()
}

fn times(dir: &Path) -> Option<Times> {
    let metadata = dir.metadata().ok().filter(|it| it.is_dir())?;
    let changed = (metadata.ctime(), metadata.ctime_nsec());
    Some((metadata.modified().ok()?, changed))
}

fn stat(path: &Path) -> Option<Seen> {
    path.metadata()
        .ok()
        .map(|it| (it.dev(), it.ino(), it.is_dir()))
}

fn list(dir: &Path) -> io::Result<BTreeMap<OsString, Entry>> {
    let entries = std::fs::read_dir(dir)?;
    let entries = entries.filter_map(Result::ok);
    Ok(entries
        .map(|entry| (entry.file_name(), (entry.ino(), entry.file_type().ok())))
        .collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::source::file::pattern::Exclude;

    fn scanner_of(patterns: Vec<Pattern>, exclude: Exclude) -> Scanner {
        Scanner::new(Arc::new(Names { patterns, exclude }))
    }

    fn scanner(dir: &Path, patterns: &[&str]) -> Scanner {
        let parse = |text: &&str| Pattern::parse(dir.join(text).to_str().unwrap()).unwrap();
        scanner_of(patterns.iter().map(parse).collect(), Exclude::default())
    }

    fn look(scanner: &mut Scanner, dir: &Path) -> Option<Vec<String>> {
        let found = scanner.look()?;
        let relative = |entry: Match| {
            entry
                .path
                .strip_prefix(dir)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        };
        Some(found.into_iter().map(relative).collect())
    }

    #[test]
    fn patterns_name_files_in_order_and_each_once() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "b.log",
            "a.log",
            ".hidden.log",
            "a[1].log",
            "c.txt",
            "sub/x.log",
            "sub/y/z.log",
        ] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let cases: [(&[&str], &[&str]); 8] = [
            (&["*.log"], &["a.log", "a[1].log", "b.log"]),
            (&["c.txt", "*.txt"], &["c.txt"]),
            (&["a[1].log"], &["a[1].log"]),
            (&["*/*.log"], &["sub/x.log"]),
            (
                &["**/*.log"],
                &["a.log", "a[1].log", "b.log", "sub/x.log", "sub/y/z.log"],
            ),
            (&["sub"], &["sub/x.log"]),
            (&["sub/", "none/*.log"], &["sub/x.log"]),
            (&[".*.log", "[ab].log"], &[".hidden.log", "a.log", "b.log"]),
        ];
        for (patterns, expected) in cases {
            let mut scanner = scanner(dir.path(), patterns);
            assert_eq!(
                look(&mut scanner, dir.path()).unwrap(),
                expected,
                "{patterns:?}"
            );
        }
    }

    #[test]
    fn a_new_name_is_seen_and_a_quiet_directory_is_not_listed() {
        let dir = tempfile::tempdir().unwrap();
        let old = SystemTime::now() - Duration::from_secs(60);
        let settle = || {
            fs::File::open(dir.path())
                .unwrap()
                .set_modified(old)
                .unwrap()
        };
        settle();
        let mut scanner = scanner(dir.path(), &["*.log", "late/*.log"]);

        assert_eq!(look(&mut scanner, dir.path()), Some(vec![]));
        assert_eq!(look(&mut scanner, dir.path()), None);

        fs::write(dir.path().join("a.log"), "").unwrap();
        assert_eq!(look(&mut scanner, dir.path()), Some(vec!["a.log".into()]));

        fs::create_dir(dir.path().join("late")).unwrap();
        fs::write(dir.path().join("late/b.log"), "").unwrap();
        let both = vec!["a.log".into(), "late/b.log".into()];
        assert_eq!(look(&mut scanner, dir.path()), Some(both));
    }

    #[test]
    fn what_is_excluded_is_left_out_by_name_or_by_path() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.log", "a.tmp", "b.log"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let by_path = dir.path().join("b*").display().to_string();
        let exclude = Exclude::parse(&["*.tmp".into(), by_path]).unwrap();
        let pattern = Pattern::parse(&dir.path().join("*").display().to_string()).unwrap();

        let found = scanner_of(vec![pattern], exclude).look().unwrap();

        let paths: Vec<_> = found.into_iter().map(|it| it.path).collect();
        assert_eq!(paths, [dir.path().join("a.log").into()]);
    }

    #[test]
    fn a_bad_glob_is_refused() {
        let error = Pattern::parse("/var/log/[a.log").unwrap_err();

        assert_eq!(error.pattern, "/var/log/[a.log");
    }
}
