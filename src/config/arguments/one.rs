//! One SOURCE string as a source.

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::Url;

use super::super::location::{Location, path_trouble, without_framing};
use super::super::source::{LINE_BYTES, of_paths};
use super::names::{default_name, valid};
use super::{ArgumentError, ArgumentOptions, GLOB, split};
use crate::framing::Multiline;
use crate::secret::{Secret, shown_url};
use crate::source::file::{FileConfig, Follow, Label};
use crate::source::poll::PollConfig;
use crate::source::range::RangeConfig;
use crate::source::stdin::{Input, StdinConfig};
use crate::source::stream::{Framing, StreamConfig};
use crate::source::websocket::WebSocketConfig;
use crate::source::{Ends, SourceConfig, SourceKind};

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
    let shown = || shown_url(location);
    let (default_name, kind) = match Location::of(location) {
        Location::Path => path(location, name, options)?,
        Location::Stdin => {
            let input = Input::Stdin;
            ("stdin".to_owned(), SourceKind::Stdin(StdinConfig { input }))
        }
        Location::Http => stream(location, Framing::Auto, options.follow)?,
        Location::Framed(framing) => stream(location, framing, options.follow)?,
        Location::Poll => poll(location, options.follow)?,
        Location::Range => range(location, options.follow)?,
        Location::WebSocket => websocket(location, options.follow)?,
        Location::UnknownScheme => {
            let location = shown();
            return Err(ArgumentError::UnknownScheme { location });
        }
    };
    let mut records = options.records.clone();
    if matches!(kind, SourceKind::WebSocket(_)) {
        // Its messages come whole.
        records.multiline = Multiline::Off;
    }
    Ok(SourceConfig {
        name: Arc::from(name.map_or(default_name, str::to_owned)),
        labels: Arc::from([]),
        line_bytes_max: LINE_BYTES,
        records,
        spool: None,
        kind,
    })
}

/// Files, or what is read like standard input; and a name for it.
fn path(
    location: &str,
    name: Option<&str>,
    options: &ArgumentOptions,
) -> Result<(String, SourceKind), ArgumentError> {
    if let Some(input) = pipe(location, options.follow) {
        let kind = SourceKind::Stdin(StdinConfig { input });
        return Ok((default_name(location, false), kind));
    }
    if location.is_empty() {
        return Err(ArgumentError::Empty);
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
    let files = FileConfig {
        start: options.start,
        follow: options.follow,
        label,
        ..of_paths(vec![location.to_owned()])
    };
    Ok((default_name(location, many), SourceKind::File(files)))
}

/// An API, and its host's name.
fn poll(location: &str, follow: Follow) -> Result<(String, SourceKind), ArgumentError> {
    let url = without_framing(location);
    let config = PollConfig {
        ends: match follow {
            Follow::Forever => Ends::Never,
            Follow::UntilEnd => Ends::WithFirstConnection,
        },
        ..PollConfig::of_urls(vec![Secret::new(url)])
    };
    Ok((host(url, location)?, SourceKind::Poll(Box::new(config))))
}

/// A remote file, and its host's name.
fn range(location: &str, follow: Follow) -> Result<(String, SourceKind), ArgumentError> {
    let url = without_framing(location);
    let config = RangeConfig {
        ends: match follow {
            Follow::Forever => Ends::Never,
            Follow::UntilEnd => Ends::WithFirstConnection,
        },
        ..RangeConfig::of_url(url)
    };
    Ok((host(url, location)?, SourceKind::Range(config)))
}

/// A WebSocket, and its host's name.
fn websocket(location: &str, follow: Follow) -> Result<(String, SourceKind), ArgumentError> {
    let config = WebSocketConfig {
        ends: match follow {
            Follow::Forever => Ends::Never,
            Follow::UntilEnd => Ends::WithFirstConnection,
        },
        ..WebSocketConfig::of_url(location)
    };
    Ok((host(location, location)?, SourceKind::WebSocket(config)))
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
