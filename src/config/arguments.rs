//! SOURCE strings of the command line, `[NAME=]LOCATION`, as sources.

use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

use super::location::{Location, is_name, path_trouble};
use super::source::{LINE_BYTES, of_paths};
use crate::secret::shown_url;
use crate::source::file::{FileConfig, Follow, Label, Start};
use crate::source::{SourceConfig, SourceKind};

/// Characters that make a path a glob.
const GLOB: [char; 4] = ['*', '?', '[', '{'];

/// What a command says about all of its sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArgumentOptions {
    /// Where a file's first sight starts.
    pub start: Start,
    /// Whether files are followed.
    pub follow: Follow,
}

/// Why a SOURCE string names no source; nothing of it that may be secret is shown.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ArgumentError {
    /// A kind of source that is described and does not exist yet.
    #[error("`{location}`: a {kind} source is not supported by this version")]
    Later {
        /// The location, without secrets.
        location: String,
        /// The kind that it means.
        kind: &'static str,
    },
    /// A URL of an unknown kind.
    #[error("`{location}`: has an unknown scheme")]
    UnknownScheme {
        /// The location, without secrets.
        location: String,
    },
    /// No path, or one that cannot be.
    #[error("`{path}`: {trouble}")]
    Path {
        /// As given.
        path: String,
        /// For example "must not be empty".
        trouble: &'static str,
    },
    /// Two sources of one name.
    #[error("two sources are named `{name}`")]
    SameName {
        /// As given.
        name: String,
    },
}

/// Reads all SOURCE strings of a command. Names that were not given are made distinct: equal stems
/// get their folder's name in front, then numbers.
///
/// # Errors
/// One for each string that names no source, and for each name that was given twice.
pub fn sources_from_arguments(
    arguments: &[String],
    options: ArgumentOptions,
) -> Result<Vec<SourceConfig>, Vec<ArgumentError>> {
    let mut sources: Vec<SourceConfig> = Vec::new();
    let mut errors = Vec::new();
    for argument in arguments {
        match source_from_location(argument, options) {
            Ok(source) => sources.push(source),
            Err(error) => errors.push(error),
        }
    }
    // Names that were given come first, for they cannot give way.
    let given: Vec<bool> = arguments.iter().map(|it| split(it).0.is_some()).collect();
    if errors.is_empty() {
        errors.extend(make_distinct(&mut sources, &given));
    }
    if errors.is_empty() {
        Ok(sources)
    } else {
        Err(errors)
    }
}

/// Reads one SOURCE string. Without NAME, a path is named by its stem, and a glob or folder by its
/// folder, while its lines are labelled by the stems of their files.
///
/// # Errors
/// [`ArgumentError`] if it names no source that this version knows.
pub fn source_from_location(
    argument: &str,
    options: ArgumentOptions,
) -> Result<SourceConfig, ArgumentError> {
    let (name, location) = split(argument);
    let later = |kind| ArgumentError::Later {
        location: shown_url(location),
        kind,
    };
    match Location::of(location) {
        Location::Path => {}
        Location::Http => return Err(later("stream")),
        Location::Stdin => return Err(later("stdin")),
        Location::Later(kind) => return Err(later(kind)),
        Location::UnknownScheme => {
            return Err(ArgumentError::UnknownScheme {
                location: shown_url(location),
            });
        }
    }
    if let Some(trouble) = path_trouble(location) {
        return Err(ArgumentError::Path {
            path: location.to_owned(),
            trouble,
        });
    }
    let many = location.contains(GLOB) || Path::new(location).is_dir();
    let label = if many && name.is_none() {
        Label::FileStem
    } else {
        Label::Source
    };
    let name = name.map_or_else(|| default_name(location, many), str::to_owned);
    let files = of_paths(vec![location.to_owned()]);
    let files = FileConfig {
        start: options.start,
        follow: options.follow,
        label,
        ..files
    };
    Ok(SourceConfig {
        name: Arc::from(name),
        labels: Arc::from([]),
        line_bytes_max: LINE_BYTES,
        kind: SourceKind::File(files),
    })
}

/// NAME, if what stands before the first `=` can be one, and LOCATION.
fn split(argument: &str) -> (Option<&str>, &str) {
    match argument.split_once('=') {
        Some((name, location)) if is_name(name) => (Some(name), location),
        _ => (None, argument),
    }
}

/// A file's stem, or the name of the last folder that is no glob.
fn default_name(path: &str, many: bool) -> String {
    let path = Path::new(path);
    let name = if many {
        let plain = |part: &&Path| !part.to_string_lossy().contains(GLOB);
        path.ancestors().find(plain).and_then(Path::file_name)
    } else {
        path.file_stem()
    };
    name.and_then(|name| valid(&name.to_string_lossy()))
        .unwrap_or_else(|| "files".to_owned())
}

/// The text with `_` for what a name cannot hold; `None` if nothing is left.
fn valid(text: &str) -> Option<String> {
    let fitting = |it: char| it.is_ascii_alphanumeric() || "_.-".contains(it);
    let name: String = text
        .chars()
        .map(|it| if fitting(it) { it } else { '_' })
        .take(64)
        .collect();
    is_name(&name).then_some(name)
}

fn make_distinct(sources: &mut [SourceConfig], given: &[bool]) -> Vec<ArgumentError> {
    let mut errors = Vec::new();
    let mut taken: Vec<Arc<str>> = Vec::new();
    for source in sources
        .iter()
        .zip(given)
        .filter(|(_, given)| **given)
        .map(|(it, _)| it)
    {
        if taken.contains(&source.name) {
            errors.push(ArgumentError::SameName {
                name: source.name.to_string(),
            });
        }
        taken.push(source.name.clone());
    }
    let stems: Vec<Arc<str>> = sources.iter().map(|source| source.name.clone()).collect();
    for (index, source) in sources
        .iter_mut()
        .enumerate()
        .filter(|(index, _)| !given[*index])
    {
        let shared = stems.iter().filter(|stem| **stem == source.name).count() > 1;
        let with_folder = if shared {
            folder_and_name(source)
        } else {
            None
        };
        let first = with_folder.unwrap_or_else(|| stems[index].clone());
        let mut name = first.clone();
        let mut number = 2;
        while taken.contains(&name) {
            let short: String = first.chars().take(58).collect();
            name = Arc::from(format!("{short}-{number}"));
            number += 1;
        }
        taken.push(name.clone());
        source.name = name;
    }
    errors
}

/// "folder-stem" for a source of one path.
fn folder_and_name(source: &SourceConfig) -> Option<Arc<str>> {
    let SourceKind::File(files) = &source.kind else {
        return None;
    };
    let folder = Path::new(files.paths.first()?).parent()?.file_name()?;
    valid(&format!("{}-{}", folder.to_string_lossy(), source.name)).map(Arc::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: ArgumentOptions = ArgumentOptions {
        start: Start::LastLines(10),
        follow: Follow::Forever,
    };

    fn one(argument: &str) -> Result<(String, String, Label), String> {
        let source = source_from_location(argument, OPTIONS).map_err(|error| error.to_string())?;
        let SourceKind::File(files) = source.kind else {
            panic!("no files")
        };
        assert_eq!(files.start, OPTIONS.start);
        Ok((source.name.to_string(), files.paths.join(" "), files.label))
    }

    #[test]
    fn a_source_has_the_name_that_was_given_or_its_stem() {
        let cases = [
            ("/var/log/app.log", "app", "/var/log/app.log", Label::Source),
            (
                "web=/var/log/app.log",
                "web",
                "/var/log/app.log",
                Label::Source,
            ),
            ("web=/var/log/*.log", "web", "/var/log/*.log", Label::Source),
            ("/var/log/*.log", "log", "/var/log/*.log", Label::FileStem),
            ("/var/*/x/*.log", "var", "/var/*/x/*.log", Label::FileStem),
            ("*.log", "files", "*.log", Label::FileStem),
            (".", "files", ".", Label::FileStem),
            ("src", "src", "src", Label::FileStem),
            ("./a=b.log", "a_b", "./a=b.log", Label::Source),
            ("a b.log", "a_b", "a b.log", Label::Source),
        ];
        for (argument, name, path, label) in cases {
            assert_eq!(
                one(argument),
                Ok((name.to_owned(), path.to_owned(), label)),
                "{argument}"
            );
        }
    }

    #[test]
    fn what_is_no_source_is_named_without_secrets() {
        let cases = [
            (
                "https://u:p@h/x?t=s",
                "`https://h/x`: a stream source is not supported by this version",
            ),
            (
                "e=wss://h/f",
                "`wss://h/f`: a websocket source is not supported by this version",
            ),
            (
                "poll+https://h",
                "`poll+https://h`: a poll source is not supported by this version",
            ),
            ("-", "`-`: a stdin source is not supported by this version"),
            ("ftp://h", "`ftp://h`: has an unknown scheme"),
            ("", "``: must not be empty"),
            ("x=", "``: must not be empty"),
            (
                "a.gz",
                "`a.gz`: compressed files are not supported by this version",
            ),
            ("[.log", "`[.log`: is not a valid glob"),
        ];
        for (argument, message) in cases {
            assert_eq!(one(argument), Err(message.to_owned()), "{argument}");
        }
    }

    #[test]
    fn names_are_made_distinct() {
        let arguments = [
            "/a/app.log",
            "/b/app.log",
            "app=/c/x.log",
            "/d/x/web.log",
            "/e/x/web.log",
        ];
        let arguments = arguments.map(str::to_owned);

        let sources = sources_from_arguments(&arguments, OPTIONS).unwrap();

        let names: Vec<&str> = sources.iter().map(|source| &*source.name).collect();
        assert_eq!(names, ["a-app", "b-app", "app", "x-web", "x-web-2"]);
    }

    #[test]
    fn every_mistake_is_found() {
        let bad = ["", "-", "ok.log"].map(str::to_owned);
        let twice = ["a=x.log", "a=y.log"].map(str::to_owned);

        assert_eq!(sources_from_arguments(&bad, OPTIONS).unwrap_err().len(), 2);
        assert_eq!(
            sources_from_arguments(&twice, OPTIONS).unwrap_err(),
            [ArgumentError::SameName {
                name: "a".to_owned()
            }]
        );
    }
}
