//! Patterns as they are configured: paths, globs and directories to read, and globs to leave out.

use std::ffi::OsString;
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

    /// True where it names one path.
    pub(super) fn is_literal(&self) -> bool {
        self.parts
            .iter()
            .all(|part| matches!(part, Part::Literal(_)))
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
