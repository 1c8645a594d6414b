//! SOURCE strings of the command line, `[NAME=]LOCATION`, as sources.

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::Url;
use thiserror::Error;

use super::location::{Location, is_name, path_trouble, without_framing};
use super::source::{LINE_BYTES, of_paths};
use crate::http::{Credentials, Tls};
use crate::secret::{Secret, shown_url};
use crate::source::file::{FileConfig, Follow, Label, Start};
use crate::source::stdin::{Input, StdinConfig};
use crate::source::stream::{Framing, StreamConfig};
use crate::source::websocket::WebSocketConfig;
use crate::source::{Ends, SourceConfig, SourceKind};

/// Characters that make a path a glob.
const GLOB: [char; 4] = ['*', '?', '[', '{'];

/// What a command says about all of its sources.
#[derive(Clone, Debug, PartialEq)]
pub struct ArgumentOptions {
    /// Where a file's first sight starts.
    pub start: Start,
    /// Whether files are followed.
    pub follow: Follow,
    /// For sources over the network.
    pub network: NetworkOptions,
}

/// What a command says about its sources over the network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetworkOptions {
    /// Extra headers.
    pub headers: Vec<HeaderOption>,
    /// A bearer token.
    pub bearer: Option<Secret>,
    /// Certificates (PEM) to trust beside the system's.
    pub ca: Option<PathBuf>,
}

/// An extra header.
#[derive(Clone, Debug, PartialEq)]
pub struct HeaderOption {
    /// The only source that sends it; `None`: all of them.
    pub source: Option<String>,
    /// The header's name.
    pub name: String,
    /// Its value, which may hold a secret.
    pub value: Secret,
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
    /// A URL that cannot be one.
    #[error("`{location}`: {trouble}")]
    Url {
        /// The location, without secrets.
        location: String,
        /// What is wrong with it.
        trouble: String,
    },
    /// A header for a source that is not there.
    #[error("no source over the network is named `{name}`: its header is for nobody")]
    HeaderForNobody {
        /// As given.
        name: String,
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
    options: &ArgumentOptions,
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
        errors.extend(headers_for_nobody(&sources, &options.network));
        let network = &options.network;
        sources.iter_mut().for_each(|source| equip(source, network));
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
    options: &ArgumentOptions,
) -> Result<SourceConfig, ArgumentError> {
    let (name, location) = split(argument);
    let source = |name: String, kind| SourceConfig {
        name: Arc::from(name),
        labels: Arc::from([]),
        line_bytes_max: LINE_BYTES,
        kind,
    };
    let named = |default: String| name.map_or(default, str::to_owned);
    match Location::of(location) {
        Location::Path => {}
        Location::Stdin => {
            let input = Input::Stdin;
            let kind = SourceKind::Stdin(StdinConfig { input });
            return Ok(source(named("stdin".to_owned()), kind));
        }
        Location::Http => {
            let (host, kind) = stream(location, Framing::Auto, options.follow)?;
            return Ok(source(named(host), kind));
        }
        Location::Framed(framing) => {
            let (host, kind) = stream(location, framing, options.follow)?;
            return Ok(source(named(host), kind));
        }
        Location::WebSocket => {
            let config = WebSocketConfig {
                ends: match options.follow {
                    Follow::Forever => Ends::Never,
                    Follow::UntilEnd => Ends::WithFirstConnection,
                },
                ..WebSocketConfig::of_url(location)
            };
            let kind = SourceKind::WebSocket(config);
            return Ok(source(named(host(location, location)?), kind));
        }
        Location::Later(kind) => {
            return Err(ArgumentError::Later {
                location: shown_url(location),
                kind,
            });
        }
        Location::UnknownScheme => {
            return Err(ArgumentError::UnknownScheme {
                location: shown_url(location),
            });
        }
    }
    if let Some(input) = pipe(location, options.follow) {
        let kind = SourceKind::Stdin(StdinConfig { input });
        return Ok(source(named(default_name(location, false)), kind));
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
    let name = named(default_name(location, many));
    let files = of_paths(vec![location.to_owned()]);
    let files = FileConfig {
        start: options.start,
        follow: options.follow,
        label,
        ..files
    };
    Ok(source(name, SourceKind::File(files)))
}

/// A stream, and its host's name.
fn stream(
    location: &str,
    framing: Framing,
    follow: Follow,
) -> Result<(String, SourceKind), ArgumentError> {
    let url = without_framing(location);
    let config = StreamConfig {
        framing,
        ends: match follow {
            Follow::Forever => Ends::WithFiniteResponse,
            Follow::UntilEnd => Ends::WithFirstConnection,
        },
        ..StreamConfig::of_url(url)
    };
    Ok((host(url, location)?, SourceKind::Stream(config)))
}

fn host(url: &str, location: &str) -> Result<String, ArgumentError> {
    let url = Url::parse(url).map_err(|error| ArgumentError::Url {
        location: shown_url(location),
        trouble: error.to_string(),
    })?;
    let host = url.host_str().unwrap_or_default();
    Ok(valid(host.trim_matches(['[', ']'])).unwrap_or_else(|| "stream".to_owned()))
}

/// FIFOs and devices are read as streams.
fn pipe(path: &str, follow: Follow) -> Option<Input> {
    let kind = std::fs::metadata(path).ok()?.file_type();
    let input = PathBuf::from(path);
    // A pipe without a name of its own, as of `<(command)`, cannot be opened for another writer.
    let is_named = || std::fs::canonicalize(path).is_ok();
    if kind.is_fifo() && follow == Follow::Forever && is_named() {
        Some(Input::Fifo(input))
    } else if kind.is_fifo() || kind.is_char_device() {
        Some(Input::Pipe(input))
    } else {
        None
    }
}

fn network_parts(kind: &mut SourceKind) -> Option<(&mut Credentials, &mut Tls)> {
    match kind {
        SourceKind::Stream(it) => Some((&mut it.credentials, &mut it.tls)),
        SourceKind::WebSocket(it) => Some((&mut it.credentials, &mut it.tls)),
        SourceKind::File(_) | SourceKind::Stdin(_) => None,
    }
}

/// Gives a source over the network what the command says about it.
fn equip(source: &mut SourceConfig, network: &NetworkOptions) {
    let name = &source.name;
    let Some((credentials, tls)) = network_parts(&mut source.kind) else {
        return;
    };
    let own = network
        .headers
        .iter()
        .filter(|it| it.source.as_deref().is_none_or(|source| *source == **name));
    credentials.headers = own.map(|it| (it.name.clone(), it.value.clone())).collect();
    credentials.bearer.clone_from(&network.bearer);
    tls.ca.clone_from(&network.ca);
}

fn headers_for_nobody(sources: &[SourceConfig], network: &NetworkOptions) -> Vec<ArgumentError> {
    let is_network =
        |kind: &SourceKind| matches!(kind, SourceKind::Stream(_) | SourceKind::WebSocket(_));
    let is_there = |name: &str| {
        let mut named = sources.iter().filter(|source| *source.name == *name);
        named.any(|source| is_network(&source.kind))
    };
    let given = network.headers.iter().filter_map(|it| it.source.as_deref());
    given
        .filter(|name| !is_there(name))
        .map(|name| ArgumentError::HeaderForNobody {
            name: name.to_owned(),
        })
        .collect()
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

/// What tells sources of one stem or host apart: a folder, a port, the end of a path.
fn folder_and_name(source: &SourceConfig) -> Option<Arc<str>> {
    let name = &source.name;
    let longer = match &source.kind {
        SourceKind::File(files) => {
            let folder = Path::new(files.paths.first()?).parent()?.file_name()?;
            format!("{}-{name}", folder.to_string_lossy())
        }
        SourceKind::Stream(StreamConfig { url, .. })
        | SourceKind::WebSocket(WebSocketConfig { url, .. }) => {
            let url = Url::parse(url).ok()?;
            let last = || url.path_segments()?.rfind(|it| !it.is_empty());
            let port = url.port().map(|port| port.to_string());
            format!("{name}-{}", port.as_deref().or_else(last)?)
        }
        SourceKind::Stdin(_) => return None,
    };
    valid(&longer).map(Arc::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: ArgumentOptions = ArgumentOptions {
        start: Start::LastLines(10),
        follow: Follow::Forever,
        network: NetworkOptions {
            headers: Vec::new(),
            bearer: None,
            ca: None,
        },
    };

    fn one(argument: &str) -> Result<(String, String, Label), String> {
        let source = source_from_location(argument, &OPTIONS).map_err(|error| error.to_string())?;
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
                "https://u:p@h:x/x?t=s",
                "`https://h:x/x`: invalid port number",
            ),
            (
                "poll+https://h",
                "`poll+https://h`: a poll source is not supported by this version",
            ),
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

        let sources = sources_from_arguments(&arguments, &OPTIONS).unwrap();

        let names: Vec<&str> = sources.iter().map(|source| &*source.name).collect();
        assert_eq!(names, ["a-app", "b-app", "app", "x-web", "x-web-2"]);
    }

    #[test]
    fn urls_are_streams_and_websockets_named_by_their_hosts() {
        let arguments = [
            "https://u:p@orders.internal/logs?t=s",
            "sse+http://127.0.0.1:81/x",
            "http://127.0.0.1:82/x",
            "e=wss://h/f",
            "ws://[::1]:9/feed",
            "-",
        ];
        let arguments = arguments.map(str::to_owned);

        let sources = sources_from_arguments(&arguments, &OPTIONS).unwrap();

        let names: Vec<&str> = sources.iter().map(|source| &*source.name).collect();
        let expected = [
            "orders.internal",
            "127.0.0.1-81",
            "127.0.0.1-82",
            "e",
            "__1",
            "stdin",
        ];
        assert_eq!(names, expected);
        let SourceKind::Stream(forced) = &sources[1].kind else {
            panic!("a stream")
        };
        assert_eq!(
            (forced.url.as_str(), forced.framing),
            ("http://127.0.0.1:81/x", Framing::Sse)
        );
        assert_eq!(forced.ends, Ends::WithFiniteResponse);
    }

    #[test]
    fn headers_go_to_the_sources_that_they_are_for() {
        let arguments = ["a=http://a", "b=ws://b", "c.log"].map(str::to_owned);
        let header = |source: Option<&str>, name: &str| HeaderOption {
            source: source.map(str::to_owned),
            name: name.to_owned(),
            value: Secret::new("v"),
        };
        let with = |headers| {
            let network = NetworkOptions {
                headers,
                ..NetworkOptions::default()
            };
            sources_from_arguments(&arguments, &ArgumentOptions { network, ..OPTIONS })
        };

        let mut sources = with(vec![header(None, "X-All"), header(Some("b"), "X-B")]).unwrap();
        let mut names = |index: usize| -> Vec<String> {
            let (credentials, _) = network_parts(&mut sources[index].kind).unwrap();
            credentials.headers.iter().map(|it| it.0.clone()).collect()
        };
        assert_eq!(names(0), ["X-All"]);
        assert_eq!(names(1), ["X-All", "X-B"]);
        assert_eq!(with(vec![header(Some("c"), "X")]).unwrap_err().len(), 1);
    }

    #[test]
    fn every_mistake_is_found() {
        let bad = ["", "ftp://h", "ok.log"].map(str::to_owned);
        let twice = ["a=x.log", "a=y.log"].map(str::to_owned);

        assert_eq!(sources_from_arguments(&bad, &OPTIONS).unwrap_err().len(), 2);
        assert_eq!(
            sources_from_arguments(&twice, &OPTIONS).unwrap_err(),
            [ArgumentError::SameName {
                name: "a".to_owned()
            }]
        );
    }
}
