//! `logweir check --connect`: reaches every sink and every source, and says in one line each how it
//! went.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use reqwest::StatusCode;
use rustix::fs::{Access, access};

use crate::config::Config;
use crate::http::{Ask, Endpoint, Network, describe_status, parsed_url};
use crate::outputs::{Template, Values};
use crate::secret::{Secret, shown_url};
use crate::sink::http::probe;
use crate::sink::{SinkConfig, SinkKind};
use crate::source::{SourceConfig, SourceKind};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was found out about one place: a line, good or bad.
type Finding = Result<String, String>;

/// Reaches everything at once; the lines are in the order of the configuration, sources first.
pub(super) async fn reach(config: &Config) -> Vec<Finding> {
    let sources = join_all(config.sources.iter().map(source));
    let sinks = join_all(config.sinks.iter().map(sink));
    let (sources, sinks) = tokio::join!(sources, sinks);
    let state = named("state", &config.agent.state.display().to_string(), {
        writable(&config.agent.state)
    });
    sources.into_iter().chain(sinks).chain([state]).collect()
}

async fn sink(sink: &SinkConfig) -> Finding {
    let subject = format!("sink `{}`", sink.name);
    match &sink.kind {
        SinkKind::Stdout => named(&subject, "stdout", Ok("nothing to reach".to_owned())),
        SinkKind::File(file) => {
            let paths = todays(&file.path, &sink.from);
            let found: Result<Vec<String>, String> = paths.iter().map(|it| output(it)).collect();
            let shown: Vec<String> = paths.iter().map(|it| it.display().to_string()).collect();
            // One answer is enough where all are the same.
            let found = found.map(|mut all| {
                all.dedup();
                all.join(", ")
            });
            named(&subject, &shown.join(", "), found)
        }
        SinkKind::Http(http) => {
            let found = tokio::time::timeout(PATIENCE, probe(http)).await;
            let found = found.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")));
            named(&subject, &shown_url(&http.url), found)
        }
    }
}

/// The files that a sink would write now.
fn todays(path: &Template, sources: &[Arc<str>]) -> Vec<PathBuf> {
    let now = jiff::Timestamp::now().as_nanosecond();
    let host = super::host();
    let expand = |source: &str| {
        path.expand(Values {
            source,
            host: &host,
            time_ns: i64::try_from(now).unwrap_or(0),
        })
    };
    if path.has_source() {
        return sources.iter().map(|source| expand(source)).collect();
    }
    vec![expand("")]
}

fn output(path: &Path) -> Finding {
    match std::fs::metadata(path) {
        Ok(_) => may(path, Access::WRITE_OK),
        Err(_) => writable(path.parent().unwrap_or(Path::new("."))),
    }
}

async fn source(source: &SourceConfig) -> Finding {
    let subject = format!("source `{}`", source.name);
    match &source.kind {
        SourceKind::File(files) => {
            let found = files.paths.iter().map(|path| readable(path));
            let found: Result<Vec<String>, String> = found.collect();
            let shown = files.paths.join(", ");
            named(&subject, &shown, found.map(|all| all.join(", ")))
        }
        SourceKind::Stdin(_) => named(&subject, "stdin", Ok("nothing to reach".to_owned())),
        SourceKind::Stream(stream) => one(&subject, &stream.url, &stream.network).await,
        SourceKind::Range(range) => one(&subject, &range.url, &range.network).await,
        SourceKind::Health(health) => several(&subject, &health.urls, &health.network).await,
        SourceKind::Poll(poll) => several(&subject, &poll.urls, &poll.network).await,
        SourceKind::WebSocket(socket) => {
            // A plain request: who asks is looked at before it turns out to be no upgrade.
            let url = socket.url.replacen("ws", "http", 1);
            let found = ask(&url, &socket.network).await;
            named(&subject, &shown_url(&socket.url), found.map(reached))
        }
    }
}

/// Asks one URL of a source.
async fn one(subject: &str, url: &str, network: &Network) -> Finding {
    let found = ask(url, network).await.and_then(|status| match status {
        StatusCode::NOT_FOUND => Err(describe_status(404, "")),
        status => Ok(reached(status)),
    });
    named(subject, &shown_url(url), found)
}

/// Asks every URL of a source; the first that is not good tells.
async fn several(subject: &str, urls: &[Secret], network: &Network) -> Finding {
    for url in urls {
        let found = one(subject, url.expose(), network).await;
        if found.is_err() || urls.len() == 1 {
            return found;
        }
    }
    let all = format!("{} URLs", urls.len());
    named(subject, &all, Ok("all reached".to_owned()))
}

fn named(subject: &str, place: &str, found: Finding) -> Finding {
    let line = |text: String| format!("{subject}: {place}: {text}");
    found.map(line).map_err(line)
}

fn reached(status: StatusCode) -> String {
    format!("reached: GET is answered by {}", status.as_u16())
}

/// Asks for a response and drops it once its head is there.
async fn ask(url: &str, network: &Network) -> Result<StatusCode, String> {
    let prepared =
        parsed_url(url).and_then(|url| Ok((Endpoint::new([&*url.to_string()], network, 1)?, url)));
    let (endpoint, url) = prepared.map_err(|error| format!("cannot be used: {error}"))?;
    let ask = Ask::get(url.clone());
    let response = tokio::time::timeout(PATIENCE, endpoint.send(&url, &ask)).await;
    let response = response.map_err(|_| format!("no answer within {PATIENCE:?}"))?;
    let response = response.map_err(|trouble| trouble.cause().to_owned())?;
    let status = response.status();
    match status.as_u16() {
        401 | 403 | 407 | 500..=599 => Err(describe_status(status.as_u16(), "")),
        _ => Ok(status),
    }
}

/// Looks whether a path can be read now; a pattern only names what may come.
fn readable(path: &str) -> Finding {
    let found = match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => std::fs::read_dir(path).map(|_| "a directory"),
        // A FIFO would wait for a writer.
        Ok(found) if !found.is_file() => Ok("no regular file"),
        Ok(_) => File::open(path).map(|_| "readable"),
        Err(error) => Err(error),
    };
    match found {
        Ok(what) => Ok(what.to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let is_pattern = path.contains(['*', '?', '[', '{']);
            let what = if is_pattern {
                "a pattern"
            } else {
                "not there yet"
            };
            Ok(what.to_owned())
        }
        Err(error) => Err(format!("{path} cannot be read: {error}")),
    }
}

/// Looks whether a folder, or the nearest one above it that exists, can be written to.
fn writable(folder: &Path) -> Finding {
    let mut there = folder;
    while !there.exists() {
        there = match there.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
    }
    may(there, Access::WRITE_OK | Access::EXEC_OK)
}

fn may(path: &Path, what: Access) -> Finding {
    match access(path, what) {
        Ok(()) => Ok("writable".to_owned()),
        Err(error) => Err(format!(
            "{} cannot be written to: {}",
            path.display(),
            io::Error::from(error)
        )),
    }
}
