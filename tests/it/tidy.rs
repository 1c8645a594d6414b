//! The rules of ARCHITECTURE §2 and STYLE that no compiler holds: layers, pure modules, file sizes.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers from the bottom up; a module uses modules of lower layers only.
const LAYERS: [&[&str]; 9] = [
    &["model", "secret"],
    &["framing", "encoding", "filter", "segment", "backoff"],
    &["terminal", "blocking"],
    &[
        "queue",
        "checkpoint",
        "telemetry",
        "notes",
        "outputs",
        "http",
        "random",
    ],
    &["delivery"],
    &["source", "sink", "admin"],
    &["config"],
    &["agent"],
    &["cli"],
];

/// What siblings in `source/` and `sink/` share, by name.
const SHARED: [(&str, &[&str]); 2] = [
    (
        "source",
        &["body", "session", "fanout", "quiet", "refine", "spool"],
    ),
    ("sink", &["body"]),
];

/// Modules without I/O, clock, environment, log and globals, and what would break that.
const PURE: [&str; 6] = [
    "model", "framing", "encoding", "filter", "segment", "backoff",
];
const IMPURE: [&str; 10] = [
    "tokio::",
    "tracing::",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant::now",
    "static mut",
];

const LINES_MAX: usize = 500;

/// A Rust file of this crate.
struct Module {
    /// From the crate's root, for example `src/sink/http/mod.rs`.
    path: String,
    text: String,
}

impl Module {
    /// Its place in the crate: `["sink", "http"]` for `src/sink/http/mod.rs`.
    fn names(&self) -> Vec<&str> {
        let inner = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        inner.split('/').filter(|name| *name != "mod").collect()
    }

    /// Its numbered lines without comments, up to its tests.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self
            .text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line));
        let code = lines.take_while(|(_, line)| line.trim() != "#[cfg(test)]");
        code.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// The modules that it names by `crate::` or `super::`, as paths from the crate's root, with
    /// their lines.
    fn uses(&self) -> Vec<(usize, Vec<String>)> {
        let mut uses = Vec::new();
        for (number, line) in self.code() {
            for (at, _) in line.match_indices("crate::") {
                uses.push((
                    number,
                    self.path_names(Vec::new(), &line[at + "crate::".len()..]),
                ));
            }
            // Of `super::super::x` only the whole is a path.
            for (at, _) in line.match_indices("super::") {
                if line[..at].ends_with("super::") {
                    continue;
                }
                let mut base: Vec<_> = self.names().iter().map(|name| (*name).to_owned()).collect();
                let mut rest = &line[at..];
                while let Some(outer) = rest.strip_prefix("super::") {
                    base.pop();
                    rest = outer;
                }
                uses.push((number, self.path_names(base, rest)));
            }
        }
        uses
    }

    fn path_names(&self, mut base: Vec<String>, rest: &str) -> Vec<String> {
        for name in rest.split("::") {
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_');
            let name = &name[..end.unwrap_or(name.len())];
            if name.is_empty() || !name.starts_with(|c: char| c.is_lowercase()) {
                break;
            }
            base.push(name.to_owned());
            if end.is_some() {
                break;
            }
        }
        base
    }
}

/// Every Rust file below `folder`, in order.
fn modules(folder: &str) -> Vec<Module> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join(folder)];
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("lists the sources").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    let module = |path: &PathBuf| Module {
        path: path
            .strip_prefix(root)
            .unwrap()
            .to_str()
            .expect("a UTF-8 path")
            .to_owned(),
        text: fs::read_to_string(path).expect("reads a source"),
    };
    files.iter().map(module).collect()
}

/// The modules of the crate that are not only for its tests.
fn product() -> Vec<Module> {
    let all = modules("src");
    let mut only_tests = HashSet::new();
    for module in &all {
        let folder = match module.path.strip_suffix("/mod.rs") {
            Some(folder) => folder.to_owned(),
            None => module.path.trim_end_matches(".rs").to_owned(),
        };
        let lines: Vec<_> = module.text.lines().map(str::trim).collect();
        for pair in lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]") {
            if let Some(name) = pair[1]
                .strip_prefix("mod ")
                .and_then(|it| it.strip_suffix(';'))
            {
                only_tests.insert(format!("{folder}/{name}.rs"));
                only_tests.insert(format!("{folder}/{name}/mod.rs"));
            }
        }
    }
    all.into_iter()
        .filter(|module| !only_tests.contains(&module.path))
        .collect()
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|names| names.contains(&name))
}

#[track_caller]
fn expect_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn every_module_has_a_layer() {
    let mut wrong = Vec::new();

    for module in product() {
        let name = module.names()[0];
        if !["lib", "main"].contains(&name) && layer(name).is_none() {
            wrong.push(format!(
                "{}: give `{name}` a layer in tests/it/tidy.rs",
                module.path
            ));
        }
    }

    expect_none(&wrong);
}

#[test]
fn modules_use_lower_layers_only() {
    let mut wrong = Vec::new();

    for module in product() {
        let own = module.names()[0];
        let Some(own_layer) = layer(own) else {
            continue;
        };
        for (number, used) in module.uses() {
            let Some(used) = used.first() else { continue };
            let allowed = used == own || layer(used).is_some_and(|layer| layer < own_layer);
            if !allowed {
                wrong.push(format!("{}:{number}: `{own}` uses `{used}`", module.path));
            }
        }
    }

    expect_none(&wrong);
}

#[test]
fn sources_and_sinks_do_not_use_their_siblings() {
    let mut wrong = Vec::new();

    for module in product() {
        let names = module.names();
        let Some((parent, shared)) = SHARED.iter().find(|(parent, _)| *parent == names[0]) else {
            continue;
        };
        // `source/mod.rs` itself holds the one match over all of them.
        let Some(own) = names.get(1) else { continue };
        for (number, used) in module.uses() {
            let Some(sibling) = used.get(1).filter(|_| used[0] == *parent) else {
                continue;
            };
            if sibling != own && !shared.contains(&sibling.as_str()) {
                wrong.push(format!(
                    "{}:{number}: `{own}` uses `{sibling}`",
                    module.path
                ));
            }
        }
    }

    expect_none(&wrong);
}

#[test]
fn pure_modules_do_no_io_and_read_no_clock() {
    let mut wrong = Vec::new();

    for module in product() {
        if !PURE.contains(&module.names()[0]) {
            continue;
        }
        for (number, line) in module.code() {
            for impure in IMPURE.iter().filter(|impure| line.contains(**impure)) {
                wrong.push(format!("{}:{number}: {impure}", module.path));
            }
        }
    }

    expect_none(&wrong);
}

#[test]
fn every_file_says_what_it_is_for_and_is_short() {
    let mut wrong = Vec::new();

    for module in [modules("src"), modules("tests"), modules("benches")]
        .into_iter()
        .flatten()
    {
        let n_lines = module.text.lines().count();
        if !module.text.starts_with("//!") {
            wrong.push(format!("{}: begins without `//!`", module.path));
        }
        if n_lines > LINES_MAX {
            wrong.push(format!(
                "{}: {n_lines} lines, {LINES_MAX} at most",
                module.path
            ));
        }
    }

    expect_none(&wrong);
}

#[test]
fn nothing_is_left_to_be_done() {
    // In two parts, so that this file does not find itself.
    let marks = [
        ["FIX", "ME"],
        ["XX", "X"],
        ["TO", "DO"],
        ["todo", "!"],
        ["unimplemented", "!"],
        ["dbg", "!"],
    ];
    let marks = marks.map(|parts| parts.concat());
    let mut wrong = Vec::new();

    for module in [modules("src"), modules("tests"), modules("benches")]
        .into_iter()
        .flatten()
    {
        for (index, line) in module.text.lines().enumerate() {
            for mark in marks.iter().filter(|mark| line.contains(mark.as_str())) {
                wrong.push(format!("{}:{}: {mark}", module.path, index + 1));
            }
        }
    }

    expect_none(&wrong);
}

#[test]
fn no_test_is_switched_off() {
    let marks = [["#[ign", "ore"], ["#[should_", "panic"]].map(|parts| parts.concat());
    let mut wrong = Vec::new();

    for module in [modules("src"), modules("tests")].into_iter().flatten() {
        for (index, line) in module.text.lines().enumerate() {
            if marks
                .iter()
                .any(|mark| line.trim_start().starts_with(mark.as_str()))
            {
                wrong.push(format!("{}:{}: {}", module.path, index + 1, line.trim()));
            }
        }
    }

    expect_none(&wrong);
}
