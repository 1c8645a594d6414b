//! Bytes of one response on their way to becoming lines, in the response's framing.

use std::time::Instant;

use crate::framing::{
    DockerFrames, Framer, Pool, RecordLimits, Recording, SeqBuffer, SseBuffer, Start,
};
use crate::model::{Lines, StdStream};
use crate::source::fanout::JOIN_BYTES;
use crate::source::quiet::{self, Patience, Quiet, Waiting};

/// Why bytes cannot be taken in.
const NO_FRAMES: &str = "this is no multiplexed stream of Docker (a container with a terminal \
                         sends plain lines: framing = \"lines\")";

/// Bytes of one response on their way to becoming lines.
#[derive(Debug)]
pub(super) enum Intake {
    Lines(Track),
    Docker(Box<Docker>),
    Sse(SseBuffer),
    Seq(SeqBuffer),
}

/// Lines of one stream, and what waits to be one.
#[derive(Debug)]
pub(super) struct Track {
    framer: Framer,
    quiet: Quiet,
    patience: Patience,
}

/// The two outputs of a container.
#[derive(Debug)]
pub(super) struct Docker {
    frames: DockerFrames,
    tracks: [(StdStream, Track); 2],
    last: usize,
    ready: Vec<Lines>,
}

/// What has waited long enough, and in which track.
pub(super) type Due = (usize, Waiting);

impl Track {
    /// Makes one that stands at stream offset `offset`.
    pub(super) fn new(
        pool: &Pool,
        recording: &Recording,
        offset: u64,
        line_bytes_max: usize,
    ) -> Self {
        let limits = RecordLimits {
            line_bytes_max,
            records: usize::MAX,
            bytes: JOIN_BYTES,
        };
        let start = Start {
            offset,
            ..Start::default()
        };
        Self {
            framer: Framer::new(pool.clone(), start, recording, limits),
            quiet: Quiet::default(),
            patience: Patience {
                record: recording.timeout(),
                line: None,
            },
        }
    }
}

impl Intake {
    /// Two tracks of which each is like the other.
    pub(super) fn docker(tracks: [Track; 2]) -> Self {
        let [out, err] = tracks;
        Self::Docker(Box::new(Docker {
            frames: DockerFrames::default(),
            tracks: [(StdStream::Stdout, out), (StdStream::Stderr, err)],
            last: 0,
            ready: Vec::new(),
        }))
    }

    /// Takes bytes in.
    ///
    /// # Errors
    /// They cannot be what the framing says.
    pub(super) fn extend(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        match self {
            Self::Lines(track) => track.framer.extend(bytes),
            Self::Sse(buffer) => buffer.extend(bytes),
            Self::Seq(buffer) => buffer.extend(bytes),
            Self::Docker(docker) => return docker.extend(bytes),
        }
        Ok(())
    }

    /// Every whole line, in parts; not of server-sent events, which have a place of their own.
    pub(super) fn take(&mut self) -> Vec<Lines> {
        match self {
            Self::Lines(track) => track.take(),
            Self::Docker(docker) => docker.take(),
            Self::Seq(buffer) => buffer.take().into_iter().collect(),
            Self::Sse(_) => Vec::new(),
        }
    }

    /// What is left at the end of a response.
    pub(super) fn finish(&mut self) -> Vec<Lines> {
        match self {
            Self::Lines(track) => track.finish(),
            Self::Docker(docker) => {
                let mut all = docker.take();
                for (stream, track) in &mut docker.tracks {
                    all.extend(track.finish().iter().map(|it| it.with_stream(*stream)));
                }
                all
            }
            Self::Seq(buffer) => {
                buffer.finish();
                buffer.take().into_iter().collect()
            }
            Self::Sse(_) => Vec::new(),
        }
    }

    /// Lines so far that were not in the format that they should have.
    pub(super) fn take_unparsed(&mut self) -> u64 {
        match self {
            Self::Lines(track) => track.framer.take_unparsed(),
            Self::Docker(docker) => {
                let tracks = docker.tracks.iter_mut();
                tracks.map(|(_, track)| track.framer.take_unparsed()).sum()
            }
            Self::Seq(buffer) => buffer.take_unparsed(),
            Self::Sse(_) => 0,
        }
    }

    /// Stream offset of the next byte.
    pub(super) fn read_offset(&self) -> u64 {
        match self {
            Self::Lines(track) => track.framer.read_offset(),
            Self::Docker(docker) => {
                let tracks = docker.tracks.iter();
                tracks
                    .map(|(_, it)| it.framer.read_offset())
                    .max()
                    .unwrap_or(0)
            }
            Self::Sse(buffer) => buffer.read_offset(),
            Self::Seq(buffer) => buffer.read_offset(),
        }
    }

    /// What has waited long enough now, and otherwise when something will have.
    pub(super) fn look(&mut self) -> (Option<Due>, Option<Instant>) {
        let now = Instant::now();
        let (mut due, mut next) = (None, None::<Instant>);
        for (index, track) in self.tracks().enumerate() {
            let (waiting, until) = track.quiet.look(&track.framer, track.patience, now);
            due = due.or(waiting.map(|waiting| (index, waiting)));
            next = match (next, until) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        (due, next)
    }

    /// Takes what has waited long enough.
    pub(super) fn take_due(&mut self, (index, waiting): Due) -> Option<Lines> {
        let is_docker = matches!(self, Self::Docker(_));
        let track = self.tracks().nth(index)?;
        let lines = quiet::take(&mut track.framer, waiting)?.lines?;
        let stream = [StdStream::Stdout, StdStream::Stderr][index];
        Some(if is_docker {
            lines.with_stream(stream)
        } else {
            lines
        })
    }

    fn tracks(&mut self) -> impl Iterator<Item = &mut Track> {
        let (one, two) = match self {
            Self::Lines(track) => (Some(track), None),
            Self::Docker(docker) => (None, Some(docker.tracks.iter_mut().map(|(_, it)| it))),
            Self::Sse(_) | Self::Seq(_) => (None, None),
        };
        one.into_iter().chain(two.into_iter().flatten())
    }
}

impl Track {
    fn take(&mut self) -> Vec<Lines> {
        let mut all = Vec::new();
        while let Some(taken) = self.framer.take() {
            all.extend(taken.lines);
        }
        all
    }

    fn finish(&mut self) -> Vec<Lines> {
        self.framer
            .finish()
            .and_then(|it| it.lines)
            .into_iter()
            .collect()
    }
}

impl Docker {
    fn extend(&mut self, mut bytes: &[u8]) -> Result<(), &'static str> {
        loop {
            let next = self.frames.next(&mut bytes).map_err(|_| NO_FRAMES)?;
            let Some((stream, piece)) = next else {
                return Ok(());
            };
            // What one output wrote before the other comes before it.
            if stream as usize != self.last {
                self.gather();
                self.last = stream as usize;
            }
            self.tracks[self.last].1.framer.extend(piece);
        }
    }

    fn gather(&mut self) {
        let (stream, track) = &mut self.tracks[self.last];
        let lines = track.take();
        self.ready
            .extend(lines.iter().map(|it| it.with_stream(*stream)));
    }

    fn take(&mut self) -> Vec<Lines> {
        self.gather();
        std::mem::take(&mut self.ready)
    }
}
