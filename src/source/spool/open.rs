//! What the last run left of a spool: its segments, where the last good record ends, and where each sink
//! stands.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

use super::files::{Folder, OnDisk, set_aside};
use super::outage::Outage;
use super::read::scan;
use super::state::{Cursor, Segment, State, Tokens, place_of, position_of};
use super::write::Writer;
use super::{Inner, STREAM_PREFIX, Signals, SpoolConfig, stream_of};
use crate::backoff::Backoff;
use crate::checkpoint::{Checkpoints, to_record};
use crate::model::{CursorKey, Ledger, Watcher};
use crate::segment::{Place, SpoolId};
use crate::source::SourceContext;
use crate::telemetry::SourceCounters;

/// Delays while the disk does not let it be opened.
const REFUSED_BASE: Duration = Duration::from_millis(200);
const REFUSED_MAX: Duration = Duration::from_secs(5);

/// What is needed to open a spool.
#[derive(Clone)]
struct Opening {
    source: Arc<str>,
    config: SpoolConfig,
    folder: Folder,
    sinks: Vec<Arc<str>>,
    checkpoints: Checkpoints,
    counters: Arc<SourceCounters>,
    signals: Arc<Signals>,
}

/// Opens a spool; tries until the disk lets it, or until told to stop (`None`).
pub(super) async fn open(
    source: &Arc<str>,
    config: SpoolConfig,
    state: &Path,
    cx: &SourceContext,
) -> Option<Inner> {
    let opening = Opening {
        source: Arc::clone(source),
        config,
        folder: Folder::of_source(state, source),
        sinks: cx.outlets.iter().map(|it| it.sink.clone()).collect(),
        checkpoints: cx.checkpoints.clone(),
        counters: Arc::clone(&cx.counters),
        signals: Arc::default(),
    };
    let mut backoff = Backoff::new(REFUSED_BASE, REFUSED_MAX, crate::random::seed());
    let mut is_told = false;
    let (id, writer, state) = loop {
        let attempt = opening.clone();
        let opened = spawn_blocking(move || attempt.open()).await;
        match opened.unwrap_or_else(|bug| Err(io::Error::other(bug))) {
            Ok(opened) => break opened,
            Err(error) if !std::mem::replace(&mut is_told, true) => error!(
                %source, path = %opening.folder.path().display(), %error,
                "the spool cannot be opened: its source waits, and it is tried again until it can"
            ),
            Err(_) => {}
        }
        tokio::select! {
            () = cx.shutdown.cancelled() => return None,
            () = tokio::time::sleep(backoff.next(None)) => {}
        }
    };
    if is_told {
        info!(%source, "the spool is open: its source starts");
    }
    opening.checkpoints.cover(&writer.file());
    Some(Inner {
        source: opening.source,
        config,
        folder: opening.folder,
        id,
        checkpoints: opening.checkpoints,
        counters: opening.counters,
        shutdown: cx.shutdown.clone(),
        writer: Arc::new(tokio::sync::Mutex::new(writer)),
        state: Mutex::new(state),
        outage: Mutex::new(Outage::default()),
        signals: opening.signals,
    })
}

impl Opening {
    fn open(&self) -> io::Result<(SpoolId, Writer, State)> {
        self.folder.make()?;
        self.folder.take_spare();
        let mut on_disk = self.usable()?;
        let id = on_disk.last().map(|it| it.head.id);
        let id = id.unwrap_or_else(|| SpoolId::new(crate::random::bits()));
        self.forget_others(id)?;
        let known = self.checkpoints.positions(&self.source, &stream_of(id));
        let known: Vec<_> = known
            .iter()
            .filter_map(|(sink, at)| Some((sink, place_of(at)?)))
            .collect();
        let highest = known.iter().map(|(_, at)| *at).max_by_key(|it| it.offset);
        let scanned = on_disk.last().map(|last| self.scan(last)).transpose()?;
        let (end, tokens) = scanned.unwrap_or_default();
        let highest_at = highest.unwrap_or_default();
        let spool = (&self.folder, id, self.config.max_bytes);
        let writer = match on_disk.pop() {
            // An offset is never used twice: after a power cut the journal can know of more.
            Some(last) if highest_at.offset <= end.offset => {
                let file = OpenOptions::new().read(true).write(true).open(&last.path)?;
                Writer::go_on(spool, (file, last.head.start), end)
            }
            last => {
                let start = Place {
                    offset: end.offset.max(highest_at.offset),
                    line: end.line.max(highest_at.line),
                };
                on_disk.extend(last);
                Writer::begin(spool, start, &tokens)?
            }
        };
        let mut segments = segments(&on_disk, &writer);
        let first = segments[0].start;
        let place = |sink: &Arc<str>| {
            let own = known.iter().find(|(known, _)| *known == sink);
            self.place(sink, own.map(|(_, at)| *at), highest, first)
        };
        let places: Vec<Place> = self.sinks.iter().map(place).collect();
        self.free(&mut segments, &places);
        let cursors = self.cursors(id, &places)?;
        let state = State {
            segments,
            cursors,
            tokens,
            has_ended: false,
        };
        Ok((id, writer, state))
    }

    /// The segments of the spool that the last one is of; others are set aside.
    fn usable(&self) -> io::Result<Vec<OnDisk>> {
        let (mut good, bad) = self.folder.list()?;
        for (path, reason) in bad {
            set_aside(&self.source, &path, &reason.to_string())?;
        }
        let Some(id) = good.last().map(|it| it.head.id) else {
            return Ok(good);
        };
        for other in good.iter().filter(|it| it.head.id != id) {
            set_aside(&self.source, &other.path, "it is of another spool")?;
        }
        good.retain(|it| it.head.id == id);
        Ok(good)
    }

    /// Forgets spools of which nothing is there any more.
    fn forget_others(&self, id: SpoolId) -> io::Result<()> {
        let own = stream_of(id);
        for stream in self.checkpoints.unfiled_streams(&self.source) {
            if stream == own || !stream.as_str().starts_with(STREAM_PREFIX) {
                continue;
            }
            warn!(
                source = %self.source, spool = %stream, path = %self.folder.path().display(),
                "a spool that was written before is gone: what was not delivered of it is lost"
            );
            self.checkpoints.forget(&self.source, stream.as_str())?;
        }
        Ok(())
    }

    /// Where the last segment's last good record ends, and where each stream goes on. What is torn behind
    /// it is cut off.
    fn scan(&self, last: &OnDisk) -> io::Result<(Place, Tokens)> {
        let (end, tokens) = scan(last)?;
        let start = last.head.start.offset;
        if end.offset < start + last.len {
            warn!(
                source = %self.source, path = %last.path.display(),
                bytes = start + last.len - end.offset,
                "the spool ends in a torn record, which is cut off"
            );
            let file = OpenOptions::new().write(true).open(&last.path)?;
            file.set_len(end.offset - start)?;
        }
        Ok((end, tokens))
    }

    /// Where a sink begins. One that is new to the spool begins where the others are.
    fn place(
        &self,
        sink: &Arc<str>,
        own: Option<Place>,
        highest: Option<Place>,
        first: Place,
    ) -> Place {
        let place = match (own, highest) {
            (Some(own), _) => own,
            (None, Some(highest)) => {
                info!(
                    source = %self.source, %sink, offset = highest.offset,
                    "new sink: it starts where the others are in the spool"
                );
                highest
            }
            (None, None) => first,
        };
        if place.offset >= first.offset {
            return place;
        }
        let lines = first.line.saturating_sub(place.line);
        if lines > 0 {
            self.counters.dropped.add(lines);
            warn!(
                source = %self.source, %sink, lines,
                "lines of the spool are gone that this sink had not settled when the process ended: they \
                 were given up, or somebody removed them"
            );
        }
        first
    }

    /// Removes what every sink has. What cannot be removed only takes room.
    fn free(&self, segments: &mut VecDeque<Segment>, places: &[Place]) {
        while segments.len() > 1
            && places.iter().all(|it| it.offset >= segments[0].end.offset)
            && self.folder.remove(segments[0].start.offset).is_ok()
        {
            segments.pop_front();
        }
    }

    /// The sinks' cursors, which the journal knows from now on: so none is taken for a new one later.
    fn cursors(&self, id: SpoolId, places: &[Place]) -> io::Result<Vec<Cursor>> {
        let (mut cursors, mut records) = (Vec::new(), Vec::new());
        let signals = Arc::clone(&self.signals);
        let watcher = Watcher::new(move || signals.settled.notify_one());
        for (sink, place) in self.sinks.iter().zip(places) {
            let key = Arc::new(CursorKey {
                source: Arc::clone(&self.source),
                stream: stream_of(id),
                sink: Arc::clone(sink),
            });
            let position = position_of(*place);
            records.extend(to_record(&key, &position));
            cursors.push(Cursor {
                sink: Arc::clone(sink),
                ledger: Ledger::watched(key, position, watcher.clone()),
                at: *place,
                is_aligned: false,
                is_closed: false,
            });
        }
        self.checkpoints.register(Vec::new(), records)?;
        Ok(cursors)
    }
}

/// What is on disk and what is written to, each up to where the next one begins at most.
fn segments(on_disk: &[OnDisk], writer: &Writer) -> VecDeque<Segment> {
    let mut next = writer.start();
    let mut segments = VecDeque::from([Segment {
        start: next,
        end: writer.end(),
        file: Some(writer.file()),
    }]);
    for it in on_disk.iter().rev() {
        let start = it.head.start;
        segments.push_front(Segment {
            start,
            end: Place {
                offset: (start.offset + it.len).min(next.offset),
                line: next.line,
            },
            file: None,
        });
        next = start;
    }
    segments
}
