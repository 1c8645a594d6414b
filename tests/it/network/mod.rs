//! Network sources against servers, their own and others': cut, killed, flooded and refused.

mod api;
mod cable;
mod chunks;
mod demo;
mod denied;
mod health;
mod hostile;
mod many;
pub(crate) mod peer;
mod pipe;
mod pressure;
mod remote;
pub(crate) mod server;
mod sse;
mod stream;
pub(crate) mod tls;
mod websocket;

use serde_json::Value;

use crate::support::Dir;

/// The whole lines of a file as JSON objects; fails on the first that is none.
#[track_caller]
fn records(ndjson: &[u8]) -> Vec<Value> {
    let end = ndjson
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |last| last + 1);
    let text = std::str::from_utf8(&ndjson[..end]).expect("JSON is UTF-8");
    let parse = |line: &str| match serde_json::from_str(line) {
        Ok(record @ Value::Object(_)) => record,
        other => panic!("not one JSON object but {other:?}: {line}"),
    };
    text.lines().map(parse).collect()
}

/// What follows `word` on the lines of a peer's log that begin with it.
pub(crate) fn logged(dir: &Dir, word: &str) -> Vec<String> {
    let log = String::from_utf8(dir.read("log")).expect("the log is text");
    let end = log.rfind('\n').map_or(0, |last| last + 1);
    let lines = log[..end].lines();
    lines
        .filter_map(|line| line.strip_prefix(word))
        .map(|rest| rest.trim_start().to_owned())
        .collect()
}
