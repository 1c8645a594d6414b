//! What holds across tables: which source feeds which sink, budgets, and who writes where.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use globset::{GlobBuilder, GlobMatcher};

use super::diagnostics::{Diagnostics, Place};
use super::document::Entries;
use super::sink::SinkEntry;
use super::source::SourceEntry;
use super::suggest::nearest;
use super::units::show_size;
use crate::outputs::{Template, Values};
use crate::sink::{SinkConfig, SinkKind};
use crate::source::SourceKind;

/// Checks what holds across tables and fills in what one table takes from another.
pub(super) fn connect(entries: &mut Entries, memory_bytes: usize, found: &mut Diagnostics) {
    let names: Vec<Arc<str>> = entries.sources.iter().map(|it| it.name.clone()).collect();
    let mut taken = vec![false; names.len()];
    for sink in &mut entries.sinks {
        let before = found.len();
        let from = feeding(sink, &names, found);
        // A pattern that was reported may have meant any source.
        let reported = found.len() > before;
        for (taken, name) in taken.iter_mut().zip(&names) {
            *taken |= reported || from.contains(name);
        }
        if from.is_empty() && !names.is_empty() && !reported {
            found
                .warning(
                    Some(sink.place.clone()),
                    format!("sink `{}` is never fed", sink.name),
                )
                .label("its `from` leaves no source over");
        }
        budget(sink, memory_bytes, found);
        if let Some(config) = &mut sink.config {
            config.from = from;
        }
    }
    for (source, taken) in entries.sources.iter().zip(taken) {
        if !taken && !entries.sinks.is_empty() {
            let message = format!("no sink takes source `{}`", source.name);
            found
                .error(Some(source.place.clone()), message)
                .label("add it to the `from` of a sink, or remove it");
        }
    }
    outputs(entries, found);
}

/// The sources that a sink's `from` names, in the order of the config. If only exclusions are
/// given, every other source is meant.
fn feeding(sink: &SinkEntry, names: &[Arc<str>], found: &mut Diagnostics) -> Vec<Arc<str>> {
    let Some(patterns) = &sink.from else {
        return names.to_vec();
    };
    let mut kept: Vec<GlobMatcher> = Vec::new();
    let mut excluded: Vec<GlobMatcher> = Vec::new();
    for (pattern, place) in patterns {
        let (name, list) = match pattern.strip_prefix('!') {
            Some(name) => (name, &mut excluded),
            None => (pattern.as_str(), &mut kept),
        };
        list.extend(matcher(name, sink, (names, place), found));
    }
    let all_but = patterns.iter().all(|(pattern, _)| pattern.starts_with('!'));
    let matches = |list: &[GlobMatcher], name: &str| list.iter().any(|one| one.is_match(name));
    let all_but = all_but && !patterns.is_empty();
    names
        .iter()
        .filter(|name| (all_but || matches(&kept, name)) && !matches(&excluded, name))
        .cloned()
        .collect()
}

/// A pattern that matches at least one source; reported otherwise.
fn matcher(
    pattern: &str,
    sink: &SinkEntry,
    (names, place): (&[Arc<str>], &Place),
    found: &mut Diagnostics,
) -> Option<GlobMatcher> {
    let at = || Some(place.clone());
    let Ok(glob) = GlobBuilder::new(pattern).build() else {
        let message = format!(
            "sink `{}`: from: `{pattern}` is not a valid glob",
            sink.name
        );
        found.error(at(), message);
        return None;
    };
    let matcher = glob.compile_matcher();
    if names.iter().any(|name| matcher.is_match(&**name)) {
        return Some(matcher);
    }
    if pattern.contains(['*', '?', '[', '{']) {
        if !names.is_empty() {
            let message = format!("sink `{}`: from: `{pattern}` matches no source", sink.name);
            found.warning(at(), message);
        }
        return None;
    }
    let message = format!("sink `{}`: from: there is no source `{pattern}`", sink.name);
    let error = found.error(at(), message);
    if let Some(near) = nearest(pattern, names.iter().map(|name| &**name)) {
        error.label(format!("did you mean `{near}`?"));
    }
    let all: Vec<&str> = names.iter().map(|name| &**name).collect();
    if !all.is_empty() {
        error.note(format!("sources: {}", all.join(", ")));
    }
    None
}

/// What is being delivered and the batch that fills meanwhile must fit the memory.
fn budget(sink: &mut SinkEntry, agent_bytes: usize, found: &mut Diagnostics) {
    let Some(config) = &mut sink.config else {
        return;
    };
    let own = sink
        .memory
        .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    config.memory_bytes = own.unwrap_or(agent_bytes);
    let concurrency = concurrency(config);
    let needed = config.batch.bytes.saturating_mul(concurrency + 1);
    if needed <= config.memory_bytes {
        return;
    }
    let message = format!(
        "sink `{}`: batch.bytes × (concurrency + 1) = {} × {} is over its memory of {}",
        sink.name,
        show_size(config.batch.bytes as u64),
        concurrency + 1,
        show_size(config.memory_bytes as u64),
    );
    let owner = if own.is_some() {
        "memory of the sink"
    } else {
        "memory of [agent]"
    };
    let others = if concurrency == 1 {
        "another is".to_owned()
    } else {
        format!("{concurrency} are")
    };
    found
        .error(Some(sink.budget.clone()), message)
        .note(format!(
            "one batch fills while {others} delivered; raise the {owner} to {} at least, \
         or make batches smaller",
            show_size(needed as u64)
        ));
}

fn concurrency(config: &SinkConfig) -> usize {
    match &config.kind {
        SinkKind::Http(http) => http.concurrency,
        SinkKind::Stdout | SinkKind::File(_) => 1,
    }
}

/// A file that a sink writes.
struct Written<'a> {
    sink: &'a SinkEntry,
    place: &'a Place,
    /// As configured.
    path: PathBuf,
    /// What it is called at two times, for each source of the sink. One with a date is another at
    /// each of them.
    names: Vec<[PathBuf; 2]>,
}

impl<'a> Written<'a> {
    fn new(sink: &'a SinkEntry, path: &Path, place: &'a Place) -> Self {
        /// In nanoseconds: 2009-02-13 23:31:30 and 2026-11-25 23:59:59, with no part in common.
        const TIMES_NS: [i64; 2] = [1_234_567_890_000_000_000, 1_795_651_199_000_000_000];
        let path = absolute(path);
        let names = match Self::template(sink) {
            None => vec![[path.clone(), path.clone()]],
            Some((template, sources)) => {
                let name = |source: &str| {
                    TIMES_NS.map(|time_ns| {
                        let values = Values {
                            source,
                            host: "host",
                            time_ns,
                        };
                        absolute(&template.expand(values))
                    })
                };
                if template.has_source() {
                    sources.iter().map(|source| name(source)).collect()
                } else {
                    vec![name("")]
                }
            }
        };
        Self {
            sink,
            place,
            path,
            names,
        }
    }

    /// The path of a file sink, with its sources.
    fn template(sink: &SinkEntry) -> Option<(&Template, &[Arc<str>])> {
        let config = sink.config.as_ref()?;
        match &config.kind {
            SinkKind::File(file) => Some((&file.path, &config.from)),
            SinkKind::Stdout | SinkKind::Http(_) => None,
        }
    }

    /// True where it can be called `path`, on whatever day.
    fn makes(&self, path: &Path) -> bool {
        Self::template(self.sink)
            .is_some_and(|(template, sources)| template.makes(path, sources, "host"))
    }

    /// A file that both write to, at the same time at least.
    fn shared_with(&self, other: &Self) -> Option<PathBuf> {
        let at_times = || {
            let both = |name: &&[PathBuf; 2]| other.names.contains(*name);
            self.names.iter().find(both).map(|name| name[1].clone())
        };
        let on_a_day = |one: &Self, other: &Self| {
            let fixed = one.names.iter().filter(|[first, second]| first == second);
            let mut made = fixed.filter(|[name, _]| other.makes(name));
            made.next().map(|[name, _]| name.clone())
        };
        at_times()
            .or_else(|| on_a_day(self, other))
            .or_else(|| on_a_day(other, self))
    }
}

/// Two writers of one file are an error; a source that would read one is told that it will not.
fn outputs(entries: &Entries, found: &mut Diagnostics) {
    let mut written: Vec<Written> = Vec::new();
    for sink in &entries.sinks {
        for (path, place) in &sink.outputs {
            let this = Written::new(sink, path, place);
            let shared = |other: &Written| Some((this.shared_with(other)?, other.place.clone()));
            if let Some((path, first)) = written.iter().find_map(shared) {
                let error = found.error(Some(place.clone()), "two sinks write to one file");
                error.related(first.labelled("the first is here"));
                if path != this.path {
                    error.note(format!("both write to {} at some time", path.display()));
                }
                continue;
            }
            for source in entries.sources.iter() {
                if reads(source, &this.path) {
                    let message =
                        format!("source `{}` would read what this sink writes", source.name);
                    found
                        .warning(Some(place.clone()), message)
                        .label("own outputs are never tailed")
                        .related(source.place.clone());
                }
            }
            written.push(this);
        }
    }
}

/// True if a path, glob or directory of the source names the file.
fn reads(source: &SourceEntry, file: &Path) -> bool {
    let Some(config) = &source.config else {
        return false;
    };
    let SourceKind::File(files) = &config.kind else {
        return false;
    };
    let hidden = file
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    files.paths.iter().any(|path| {
        let path = absolute(Path::new(path));
        let in_folder = file.parent() == Some(path.as_path()) && !hidden;
        let glob = GlobBuilder::new(&path.to_string_lossy())
            .literal_separator(true)
            .build();
        path == file || in_folder || glob.is_ok_and(|it| it.compile_matcher().is_match(file))
    })
}

/// A path from the root, `.` and doubled slashes removed; symbolic links are not followed.
fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    path.components().collect()
}
