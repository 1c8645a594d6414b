//! The sink that `tail --to` names.

use std::path::Path;
use std::sync::Arc;

use reqwest::Url;

use super::super::agent::default_state;
use super::super::environment::ProcessEnvironment;
use super::super::location::Location;
use super::super::sink::of_location;
use crate::outputs::Template;
use crate::secret::shown_url;
use crate::sink::SinkConfig;

/// Bytes in flight to it.
const MEMORY_BYTES: usize = 8 << 20;

/// Reads a path or URL as a sink that takes the sources `from`, with every default of a service's.
///
/// # Errors
/// Why it is no place to write to; nothing of it that may be secret is shown.
pub fn sink_from_argument(text: &str, from: Vec<Arc<str>>) -> Result<SinkConfig, String> {
    let mut sink = match Location::of(text) {
        Location::Http => {
            let url = Url::parse(text).map_err(|error| format!("{}: {error}", shown_url(text)))?;
            let rejected = default_state(&ProcessEnvironment)
                .ok_or("there is no place for what is refused: $HOME is not set")?
                .join("rejected/to.ndjson");
            of_location::http(url.into(), rejected)
        }
        Location::Path if text.is_empty() || text.ends_with('/') => {
            return Err(format!("`{text}`: must name a file"));
        }
        Location::Path if Path::new(text).is_dir() => {
            return Err(format!("`{text}`: is a directory; name a file in it"));
        }
        Location::Path => {
            let path = Template::parse(text).map_err(|error| format!("`{text}`: {error}"))?;
            of_location::file(path)
        }
        Location::Stdin => return Err("`-`: standard output is written anyway".to_owned()),
        _ => {
            return Err(format!(
                "`{}`: a path, or an http:// or https:// URL",
                shown_url(text)
            ));
        }
    };
    sink.from = from;
    sink.memory_bytes = MEMORY_BYTES;
    Ok(sink)
}
