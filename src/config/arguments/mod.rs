//! SOURCE strings of the command line, `[NAME=]LOCATION`, as sources.

mod apart;
mod names;
mod one;
mod sink;
#[cfg(test)]
mod tests;

pub use apart::{Apart, apart};
pub use one::source_from_location;
pub use sink::sink_from_argument;

use std::path::PathBuf;

use reqwest::Url;
use thiserror::Error;

use super::location::is_name;
use crate::http::{Network, Verify};
use crate::secret::Secret;
use crate::source::file::{Follow, Start};
use crate::source::{RecordRules, SourceConfig, SourceKind};
use names::make_distinct;

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
    /// How records are made and which are kept.
    pub records: RecordRules,
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
    /// Whether certificates are looked at.
    pub verify: Verify,
    /// User and password by host, as a netrc file holds them.
    pub netrc: Vec<NetrcEntry>,
}

/// User and password for one host.
#[derive(Clone, Debug, PartialEq)]
pub struct NetrcEntry {
    /// The host; `None`: every other one.
    pub host: Option<String>,
    /// The user.
    pub user: String,
    /// The password.
    pub password: Secret,
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
    /// A URL of an unknown kind.
    #[error(
        "`{location}`: has an unknown scheme; there are http://, https://, ws:// and wss://, and \
         sse+, lines+, poll+ and range+ before http:// or https://"
    )]
    UnknownScheme {
        /// The location, without secrets.
        location: String,
    },
    /// Nothing at all.
    #[error("a SOURCE is empty; it is a path, a glob, a URL or - for standard input")]
    Empty,
    /// A path that cannot be one.
    #[error("`{path}`: {trouble}")]
    Path {
        /// As given.
        path: String,
        /// For example "is not a valid glob".
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

/// The URL of a source over the network.
fn first_url(kind: &SourceKind) -> Option<String> {
    match kind {
        SourceKind::Stream(it) => Some(it.url.clone()),
        SourceKind::WebSocket(it) => Some(it.url.clone()),
        SourceKind::Range(it) => Some(it.url.clone()),
        SourceKind::Poll(it) => Some(it.urls.first()?.expose().to_owned()),
        SourceKind::Health(it) => Some(it.urls.first()?.expose().to_owned()),
        SourceKind::File(_) | SourceKind::Stdin(_) => None,
    }
}

fn network_of(kind: &mut SourceKind) -> Option<&mut Network> {
    match kind {
        SourceKind::Health(it) => Some(&mut it.network),
        SourceKind::Poll(it) => Some(&mut it.network),
        SourceKind::Range(it) => Some(&mut it.network),
        SourceKind::Stream(it) => Some(&mut it.network),
        SourceKind::WebSocket(it) => Some(&mut it.network),
        SourceKind::File(_) | SourceKind::Stdin(_) => None,
    }
}

/// Gives a source over the network what the command says about it.
fn equip(source: &mut SourceConfig, network: &NetworkOptions) {
    let name = &source.name;
    let url = first_url(&source.kind);
    let Some(own_network) = network_of(&mut source.kind) else {
        return;
    };
    let own = network
        .headers
        .iter()
        .filter(|it| it.source.as_deref().is_none_or(|source| *source == **name));
    let credentials = &mut own_network.credentials;
    credentials.headers = own.map(|it| (it.name.clone(), it.value.clone())).collect();
    credentials.bearer.clone_from(&network.bearer);
    own_network.tls.ca.clone_from(&network.ca);
    own_network.tls.verify = network.verify;
    let has_own = credentials.bearer.is_some()
        || credentials
            .headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    if !has_own {
        credentials.basic = url.and_then(|url| network.login(&url));
    }
}

impl NetworkOptions {
    /// What the netrc file says about the host of `url`.
    fn login(&self, url: &str) -> Option<(String, Secret)> {
        let url = Url::parse(url).ok()?;
        let host = url.host_str()?;
        let is_for = |entry: &&NetrcEntry| entry.host.as_deref().is_none_or(|it| it == host);
        let entry = self.netrc.iter().find(is_for)?;
        Some((entry.user.clone(), entry.password.clone()))
    }
}

fn headers_for_nobody(sources: &[SourceConfig], network: &NetworkOptions) -> Vec<ArgumentError> {
    let is_network =
        |kind: &SourceKind| !matches!(kind, SourceKind::File(_) | SourceKind::Stdin(_));
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
