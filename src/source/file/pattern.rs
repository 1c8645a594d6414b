//! Patterns as they are configured: paths, globs and directories to read, and globs to leave out.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

/// A path, glob or directory as configured.
#[derive(Debug)]
pub(super) struct Pattern {
    /// As configured, absolute.
    pub(super) path: PathBuf,
    pub(super) parts: Vec<Part>,
}

/// One component of a pattern.
#[derive(Debug)]
pub(super) enum Part {
    Literal(OsString),
    Glob {
        matcher: GlobMatcher,
        dotfiles: bool,
    },
    /// `**`: any number of directories.
    AnyDepth,
}

/// A pattern that cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("{pattern}: {reason}")]
pub struct PatternError {
    /// As configured.
    pub pattern: String,
    /// What is wrong.
    pub reason: String,
}

impl Pattern {
    /// Parses a path or glob. `*` never matches `/`, and a leading dot only where it is written.
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        let refused = |reason: String| PatternError {
            pattern: text.to_owned(),
            reason,
        };
        let path = std::path::absolute(text).map_err(|error| refused(error.to_string()))?;
        let mut parts = Vec::new();
        for component in path
            .components()
            .filter(|c| !matches!(c, Component::RootDir))
        {
            let name = component.as_os_str();
            let part = match name.to_str() {
                Some("**") => Part::AnyDepth,
                Some(glob) if glob.contains(['*', '?', '[', '{']) => {
                    let built = GlobBuilder::new(glob).literal_separator(true).build();
                    let matcher = built
                        .map_err(|e| refused(e.kind().to_string()))?
                        .compile_matcher();
                    Part::Glob {
                        matcher,
                        dotfiles: glob.starts_with('.'),
                    }
                }
                _ => Part::Literal(name.to_owned()),
            };
            parts.push(part);
        }
        Ok(Self { path, parts })
    }

    /// True for a path at which it would find a file, whether or not one is there.
    pub(super) fn names(&self, path: &Path) -> bool {
        let components = path.components();
        let names = components.filter(|it| !matches!(it, Component::RootDir));
        let names: Vec<&OsStr> = names.map(Component::as_os_str).collect();
        // A directory stands for the files in it, one whose name holds a bracket for itself.
        let is_in = self.is_literal() && path.parent() == Some(&self.path);
        is_in || path == self.path || match_parts(&self.parts, &names)
    }

    /// True where it names one path.
    pub(super) fn is_literal(&self) -> bool {
        self.parts
            .iter()
            .all(|part| matches!(part, Part::Literal(_)))
    }
}

fn match_parts(parts: &[Part], names: &[&OsStr]) -> bool {
    let Some((part, rest)) = parts.split_first() else {
        return names.is_empty();
    };
    let first = names.split_first();
    match part {
        Part::Literal(literal) => {
            first.is_some_and(|(name, deeper)| literal == name && match_parts(rest, deeper))
        }
        Part::Glob { matcher, dotfiles } => first.is_some_and(|(name, deeper)| {
            let is_shown = *dotfiles || !is_dotfile(name);
            is_shown && matcher.is_match(name) && match_parts(rest, deeper)
        }),
        Part::AnyDepth => {
            let descend =
                |(name, deeper): (&&OsStr, _)| !is_dotfile(name) && match_parts(parts, deeper);
            match_parts(rest, names) || first.is_some_and(descend)
        }
    }
}

pub(super) fn is_dotfile(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

/// What a source reads: patterns, and what is left out of what they match.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) patterns: Vec<Pattern>,
    pub(super) exclude: Exclude,
}

impl Names {
    /// Parses what is configured: paths, globs and directories, and globs to leave out.
    pub(super) fn parse(paths: &[String], exclude: &[String]) -> Result<Self, PatternError> {
        let patterns = paths.iter().map(|text| Pattern::parse(text));
        Ok(Self {
            patterns: patterns.collect::<Result<_, _>>()?,
            exclude: Exclude::parse(exclude)?,
        })
    }

    /// True for a path at which a file would be read, whether or not one is there.
    pub(super) fn hold(&self, path: &Path) -> bool {
        self.patterns.iter().any(|it| it.names(path)) && !self.exclude.holds(path)
    }
}

/// Which files are left out: globs, those without a slash for names, the others for whole paths.
#[derive(Debug, Default)]
pub(super) struct Exclude {
    names: Vec<GlobMatcher>,
    paths: Vec<GlobMatcher>,
}

impl Exclude {
    pub(super) fn parse(globs: &[String]) -> Result<Self, PatternError> {
        let mut this = Self::default();
        for text in globs {
            let refused = |reason: String| PatternError {
                pattern: text.clone(),
                reason,
            };
            let is_path = text.contains('/');
            let glob = if is_path {
                let path = std::path::absolute(text).map_err(|error| refused(error.to_string()))?;
                path.to_string_lossy().into_owned()
            } else {
                text.clone()
            };
            let built = GlobBuilder::new(&glob).literal_separator(true).build();
            let built = built.map_err(|error| refused(error.kind().to_string()))?;
            let kind = if is_path {
                &mut this.paths
            } else {
                &mut this.names
            };
            kind.push(built.compile_matcher());
        }
        Ok(this)
    }

    /// True for a file that is to be left out.
    pub(super) fn holds(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default();
        self.names.iter().any(|it| it.is_match(name))
            || self.paths.iter().any(|it| it.is_match(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_named_whether_or_not_a_file_is_there() {
        let names = |pattern: &str, path: &str| {
            let names = Names::parse(&[pattern.into()], &["*.gz".into()]).unwrap();
            names.hold(Path::new(path))
        };
        for (pattern, path) in [
            ("/no/such/a.log", "/no/such/a.log"),
            ("/no/such", "/no/such/a.log"),
            ("/no/*/a.*", "/no/such/a.log"),
            ("/no/[a].log", "/no/[a].log"),
            ("/no/[a].log", "/no/a.log"),
            ("/no/**/*.log", "/no/a.log"),
            ("/no/**/*.log", "/no/such/dir/a.log"),
            ("/no/.*", "/no/.a"),
        ] {
            assert!(names(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("/no/such/a.log", "/no/such/a.log.1"),
            ("/no/such/a.log", "/no/such"),
            ("/no/*.log", "/no/such/a.log"),
            ("/no/*", "/no/a.gz"),
            ("/no/*", "/no/.a"),
            ("/no/**/*.log", "/no/.such/a.log"),
        ] {
            assert!(!names(pattern, path), "{pattern} {path}");
        }
    }
}
