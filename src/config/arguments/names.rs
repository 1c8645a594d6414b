//! Names of sources that were not given one.

use std::path::Path;
use std::sync::Arc;

use reqwest::Url;

use super::super::location::is_name;
use super::{ArgumentError, GLOB};
use crate::source::stream::StreamConfig;
use crate::source::websocket::WebSocketConfig;
use crate::source::{SourceConfig, SourceKind};

/// A file's stem, or the name of the last folder that is no glob.
pub(super) fn default_name(path: &str, many: bool) -> String {
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
pub(super) fn valid(text: &str) -> Option<String> {
    let fitting = |it: char| it.is_ascii_alphanumeric() || "_.-".contains(it);
    let name: String = text
        .chars()
        .map(|it| if fitting(it) { it } else { '_' })
        .take(64)
        .collect();
    is_name(&name).then_some(name)
}

pub(super) fn make_distinct(sources: &mut [SourceConfig], given: &[bool]) -> Vec<ArgumentError> {
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
        | SourceKind::WebSocket(WebSocketConfig { url, .. }) => of_url(name, url)?,
        SourceKind::Health(health) => of_url(name, health.urls.first()?.expose())?,
        SourceKind::Range(range) => of_url(name, &range.url)?,
        SourceKind::Poll(poll) => of_url(name, poll.urls.first()?.expose())?,
        SourceKind::Stdin(_) => return None,
    };
    valid(&longer).map(Arc::from)
}

/// A host's name with its port or the end of the path.
fn of_url(name: &str, url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let last = || url.path_segments()?.rfind(|it| !it.is_empty());
    let port = url.port().map(|port| port.to_string());
    Some(format!("{name}-{}", port.as_deref().or_else(last)?))
}
