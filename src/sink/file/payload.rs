//! A batch as it will stand in one or several files.
//!
//! Pure: no I/O, no clock.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::sums::Foretold;
use crate::checkpoint::{CursorRecord, Span, to_record};
use crate::model::{Batch, Position};
use crate::outputs::{Template, Values};
use crate::queue::Chunk;
use crate::sink::body::{Bodies, Body};

/// A batch's writes, in the order in which they are made.
#[derive(Debug)]
pub struct Payload {
    pub(super) writes: Vec<Write>,
}

/// What one file gets of a batch.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) path: PathBuf,
    pub(super) body: Body,
    /// Its checksums, where it can be foretold where it begins.
    pub(super) foretold: Option<Foretold>,
    /// What can be read again; `None`: everything.
    pub(super) replayable: Option<Vec<Span>>,
    /// Where each cursor stands once it is written.
    pub(super) after: Vec<CursorRecord>,
}

/// Encodes a batch. Its date is that of its first line.
pub(super) fn encode(
    bodies: &Bodies,
    batch: &Batch<Chunk>,
    path: &Template,
    host: &str,
) -> Payload {
    let time_ns = batch.items.first().map_or(0, |chunk| chunk.time_ns);
    let expand = |source: &str| {
        path.expand(Values {
            source,
            host,
            time_ns,
        })
    };
    if !path.has_source() {
        let chunks: Vec<&Chunk> = batch.items.iter().collect();
        let write = write(bodies, &chunks, expand(""));
        return Payload {
            writes: vec![write],
        };
    }
    let mut by_source: HashMap<&str, usize> = HashMap::new();
    let mut groups: Vec<(&str, Vec<&Chunk>)> = Vec::new();
    for chunk in &batch.items {
        let source = &*chunk.origin.source;
        let at = *by_source.entry(source).or_insert_with(|| {
            groups.push((source, Vec::new()));
            groups.len() - 1
        });
        groups[at].1.push(chunk);
    }
    let one = |(source, chunks): (&str, Vec<&Chunk>)| write(bodies, &chunks, expand(source));
    Payload {
        writes: groups.into_iter().map(one).collect(),
    }
}

fn write(bodies: &Bodies, chunks: &[&Chunk], path: PathBuf) -> Write {
    let (body, ends) = bodies.encode_chunks(chunks);
    Write {
        path,
        foretold: None,
        replayable: replayable(chunks, &ends),
        after: cursors_after(chunks),
        body,
    }
}

/// Where each cursor stands once all of its chunks are written.
fn cursors_after(chunks: &[&Chunk]) -> Vec<CursorRecord> {
    let mut last: HashMap<_, usize> = HashMap::new();
    let mut order = Vec::new();
    for (at, chunk) in chunks.iter().enumerate() {
        if last.insert(Arc::as_ptr(chunk.ack.key()), at).is_none() {
            order.push(Arc::as_ptr(chunk.ack.key()));
        }
    }
    let chunks = order.into_iter().map(|key| chunks[last[&key]]);
    chunks
        .filter_map(|chunk| to_record(chunk.ack.key(), chunk.ack.end()))
        .collect()
}

/// Which bytes can be read again, where that is not all of them: files are there to be read, and a
/// server that was given a token may or may not send the same again.
fn replayable(chunks: &[&Chunk], ends: &[u64]) -> Option<Vec<Span>> {
    let of_file = |chunk: &Chunk| matches!(chunk.ack.end(), Position::File { .. });
    if chunks.iter().all(|chunk| of_file(chunk)) {
        return None;
    }
    let mut spans: Vec<Span> = Vec::new();
    let mut from = 0;
    for (chunk, &to) in chunks.iter().zip(ends) {
        if of_file(chunk)
            && let Some(cursor) = to_record(chunk.ack.key(), chunk.ack.end())
        {
            let same = |span: &&mut Span| {
                let known = &span.cursor;
                span.to == from && known.stream == cursor.stream && known.source == cursor.source
            };
            match spans.last_mut().filter(same) {
                Some(span) => (span.to, span.cursor) = (to, cursor),
                None => spans.push(Span { from, to, cursor }),
            }
        }
        from = to;
    }
    Some(spans)
}
