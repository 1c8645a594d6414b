//! Sinks of a place alone, with every default.

use std::path::PathBuf;

use super::{KindName, default_batch, file, format, http};
use crate::outputs::Template;
use crate::sink::{SinkConfig, SinkKind};

/// What is refused for good goes to `rejected`.
pub(in crate::config) fn http(url: String, rejected: PathBuf) -> SinkConfig {
    let mut config = http::of_url(url);
    config.dead_letter = Some(rejected);
    let line_bytes_max = http::line_bytes_max(&config);
    SinkConfig {
        line_bytes_max,
        ..of_kind(KindName::Http, SinkKind::Http(Box::new(config)))
    }
}

pub(in crate::config) fn file(path: Template) -> SinkConfig {
    of_kind(KindName::File, SinkKind::File(file::of_path(path)))
}

fn of_kind(name: KindName, kind: SinkKind) -> SinkConfig {
    SinkConfig {
        name: "to".into(),
        from: Vec::new(),
        format: format::default(name),
        line_bytes_max: None,
        batch: default_batch(name),
        memory_bytes: 0,
        kind,
    }
}
