//! Merging by time: lines of several streams come out in the order of their times.
//!
//! A line's time is the one that it carries itself; a line without one belongs to the line before it
//! in its stream and stays with it. Lines of one stream keep their order, whatever their times say.
//! Ties go by the order of the sources, then by the order in which lines came.
//!
//! - Between live streams a line is let go when every other one has passed its time, or when it has
//!   waited for the window: a quiet stream, or a source that cannot be reached, costs others no more
//!   than that.
//! - A source that is behind (it reads what is there already, or it ends by itself) is waited for
//!   without a window.
//! - A line that is late, behind one that was let go, is let go at once.
//!
//! Pure but for the sources' progress: `now` is an argument.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;

use super::Chunk;
use super::progress::{Progress, State};
use crate::framing::{TimeContext, own_time};
use crate::model::StreamKey;

/// A stream that was quiet for so long is forgotten; when it speaks again, it is a new one.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// How lines are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// How long a line waits for earlier ones of other streams.
    pub window: Duration,
    /// True where every source ends by itself: each is waited for until it has.
    pub is_finite: bool,
}

/// Puts chunks into order.
#[derive(Debug)]
pub(super) struct Merger {
    order: Order,
    sources: Vec<Source>,
    zone: TimeZone,
    /// The greatest time that was let go.
    released: i64,
    /// The first line of each lane where some wait: with many files a look at each of them for every
    /// line would be most of the work.
    heads: BinaryHeap<Reverse<Head>>,
    /// How far those hold others back of which nothing waits; `None`: to be found out anew, for a
    /// chunk came, a lane ran empty or a source said something.
    quiet: Option<Quiet>,
}

/// A line's time, and the source and the lane that it waits in.
type Head = (i64, (usize, usize));

/// Up to which times lines can pass those of which nothing waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Quiet {
    /// Without a window: who is behind.
    strict: i64,
    /// Within the window.
    windowed: i64,
}

#[derive(Debug)]
struct Source {
    progress: Arc<Progress>,
    /// As it was before the queue was last emptied: what it said then has come.
    state: State,
    lanes: Vec<Lane>,
}

/// One stream of a source.
#[derive(Debug)]
struct Lane {
    stream: StreamKey,
    waiting: VecDeque<Waiting>,
    /// The time of the last line that came.
    last: i64,
    /// Whether a line of it ever carried a time.
    is_timed: bool,
    spoke: Instant,
}

/// A chunk, or what is left of it.
#[derive(Debug)]
struct Waiting {
    chunk: Chunk,
    /// Lines that stay together, in order.
    groups: VecDeque<Group>,
    since: Instant,
}

/// Lines of one time that stay together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Group {
    time: i64,
    n_lines: u32,
    n_bytes: u32,
}

/// How far lines can be let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limit {
    /// The greatest time.
    time: i64,
    /// When a window ends that holds something back.
    wake: Option<Instant>,
}

impl Merger {
    pub(super) fn new(order: Order) -> Self {
        Self {
            order,
            sources: Vec::new(),
            zone: TimeZone::system(),
            released: i64::MIN,
            heads: BinaryHeap::new(),
            quiet: None,
        }
    }

    /// Looks how far the sources are, new ones among them. To be called before the queue is emptied: what a source sent
    /// before it said that it has ended is then in there.
    pub(super) fn look(&mut self, sources: &[Arc<Progress>]) {
        for progress in &sources[self.sources.len()..] {
            self.sources.push(Source {
                state: State::default(),
                progress: Arc::clone(progress),
                lanes: Vec::new(),
            });
        }
        for source in &mut self.sources {
            source.state = source.progress.state();
        }
        self.quiet = None;
    }

    /// Takes in a chunk of a source.
    pub(super) fn push(&mut self, source: usize, chunk: Chunk, now: Instant) {
        let cx = TimeContext {
            zone: self.zone.clone(),
            now_ns: chunk.time_ns,
        };
        let is_finite = self.order.is_finite;
        let at = self.lane_of(source, &chunk.origin.stream, now);
        let lane = &mut self.sources[source].lanes[at];
        let had_none = lane.waiting.is_empty();
        lane.push(chunk, &cx, (is_finite, now));
        if had_none && let Some(time) = lane.head() {
            self.heads.push(Reverse((time, (source, at))));
        }
        self.quiet = None;
    }

    /// The lane of a stream, made where there is none yet.
    fn lane_of(&mut self, source: usize, stream: &StreamKey, now: Instant) -> usize {
        let lanes = &mut self.sources[source].lanes;
        if let Some(at) = lanes.iter().position(|it| it.stream == *stream) {
            return at;
        }
        let n_lanes = lanes.len();
        lanes.retain(|it| !it.waiting.is_empty() || now - it.spoke < FORGET_AFTER);
        let at = lanes.len();
        lanes.push(Lane::new(stream.clone(), now));
        if at < n_lanes {
            self.find_heads();
        }
        at
    }

    fn find_heads(&mut self) {
        let lanes = self.sources.iter().enumerate().flat_map(|(at, source)| {
            let lanes = source.lanes.iter().enumerate();
            lanes.filter_map(move |(lane, it)| Some(Reverse((it.head()?, (at, lane)))))
        });
        self.heads = lanes.collect();
    }

    /// The next lines that can be let go, or when to ask again; neither where only news of a source
    /// can change anything.
    pub(super) fn pop(&mut self, now: impl Fn() -> Instant) -> Result<Chunk, Option<Instant>> {
        let Some(Reverse(first)) = self.heads.pop() else {
            return Err(None);
        };
        let (source, lane) = first.1;
        let limit = self.limit(first.1, now);
        let lane = &mut self.sources[source].lanes[lane];
        let taken = lane.take(limit.time);
        match lane.head() {
            Some(time) => self.heads.push(Reverse((time, first.1))),
            // Now it is one of those that others may wait for.
            None => self.quiet = None,
        }
        if let Some((time, chunk)) = taken {
            self.released = self.released.max(time);
            return Ok(chunk);
        }
        Err(limit.wake)
    }

    /// The next lines, whoever might have earlier ones: no more will come.
    pub(super) fn pop_any(&mut self) -> Option<Chunk> {
        for source in &mut self.sources {
            if source.state != State::Closed {
                (source.state, self.quiet) = (State::Closed, None);
            }
        }
        self.pop(Instant::now).ok()
    }

    /// How far the lines at the head can go, which is no longer among the heads.
    fn limit(&mut self, head: (usize, usize), now: impl Fn() -> Instant) -> Limit {
        let quiet = *self
            .quiet
            .get_or_insert_with(|| quiet(&self.sources, self.order));
        // Of equal times the first source's comes first. Those behind the second head are later, or as
        // late and further back.
        let others = self.heads.peek().map(|Reverse((time, place))| {
            if *place > head {
                *time
            } else {
                time.saturating_sub(1)
            }
        });
        let strict = quiet.strict.min(others.unwrap_or(i64::MAX));
        // What is late goes at once.
        let windowed = quiet.windowed.max(self.released);
        if windowed >= strict {
            return Limit {
                time: strict,
                wake: None,
            };
        }
        let lane = &self.sources[head.0].lanes[head.1];
        let now = now();
        let since = lane.waiting.front().map_or(now, |it| it.since);
        if now >= since + self.order.window {
            Limit {
                time: strict,
                wake: None,
            }
        } else {
            Limit {
                time: windowed,
                wake: Some(since + self.order.window),
            }
        }
    }
}

/// How far those hold others back of which nothing waits. It takes time linear in the lanes.
fn quiet(sources: &[Source], order: Order) -> Quiet {
    let mut found = Quiet {
        strict: i64::MAX,
        windowed: i64::MAX,
    };
    for source in sources {
        let silent = source.lanes.iter().filter(|it| it.waiting.is_empty());
        let passed = if source.lanes.is_empty() {
            i64::MIN
        } else {
            silent.map(|it| it.last).min().unwrap_or(i64::MAX)
        };
        match waits_for(source, order) {
            Waits::Strictly => found.strict = found.strict.min(passed),
            Waits::Window => found.windowed = found.windowed.min(passed),
            Waits::Not => {}
        }
    }
    found
}

/// Whether lines of others wait for a source of which nothing waits here.
fn waits_for(source: &Source, order: Order) -> Waits {
    let State::Open { behind, starving } = source.state else {
        return Waits::Not;
    };
    let waiting = source
        .lanes
        .iter()
        .filter(|it| !it.waiting.is_empty())
        .count();
    let wanted = if order.is_finite {
        behind.max(1)
    } else {
        behind
    };
    if waiting >= wanted {
        return Waits::Window.unless(order.is_finite);
    }
    // Its own lines take up the room that it wants: they must go first.
    if starving > 0 && waiting > 0 {
        return Waits::Not;
    }
    Waits::Strictly
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    Strictly,
    Window,
    Not,
}

impl Waits {
    fn unless(self, is_needless: bool) -> Self {
        if is_needless { Self::Not } else { self }
    }
}

impl Lane {
    fn new(stream: StreamKey, now: Instant) -> Self {
        Self {
            stream,
            waiting: VecDeque::new(),
            last: i64::MIN,
            is_timed: false,
            spoke: now,
        }
    }

    /// The time of its first line that waits.
    fn head(&self) -> Option<i64> {
        let first = self.waiting.front()?.groups.front()?;
        Some(first.time)
    }

    fn push(&mut self, chunk: Chunk, cx: &TimeContext, (is_finite, now): (bool, Instant)) {
        let mut groups: VecDeque<Group> = VecDeque::new();
        let (mut n_without, mut bytes_without) = (0, 0);
        for line in chunk.lines.iter() {
            let own = line.time_ns.or_else(|| own_time(line.text, cx));
            let n_bytes = u32::try_from(line.text.len() + 1).expect("a chunk is below 4 GiB");
            match (own, groups.back_mut()) {
                (Some(time), last) if last.as_ref().is_none_or(|it| it.time != time) => {
                    let n_lines = 1;
                    groups.push_back(Group {
                        time,
                        n_lines,
                        n_bytes,
                    });
                }
                (_, Some(last)) => {
                    last.n_lines += 1;
                    last.n_bytes += n_bytes;
                }
                (_, None) => {
                    n_without += 1;
                    bytes_without += n_bytes;
                }
            }
        }
        if n_without > 0 {
            let first = groups.front().map(|it| it.time);
            let time = match first {
                // They go on with what came before.
                _ if self.is_timed => self.last,
                Some(time) => time,
                None if is_finite => i64::MIN,
                None => chunk.time_ns,
            };
            groups.push_front(Group {
                time,
                n_lines: n_without,
                n_bytes: bytes_without,
            });
            self.is_timed |= first.is_some();
        } else {
            self.is_timed = true;
        }
        self.last = groups.back().map_or(self.last, |it| it.time);
        self.spoke = now;
        self.waiting.push_back(Waiting {
            chunk,
            groups,
            since: now,
        });
    }

    /// The lines at the head of the first chunk up to `limit`, and the greatest time among them.
    fn take(&mut self, limit: i64) -> Option<(i64, Chunk)> {
        let first = self.waiting.front_mut()?;
        let (mut n_lines, mut n_bytes, mut greatest) = (0, 0, i64::MIN);
        while let Some(group) = first.groups.pop_front_if(|it| it.time <= limit) {
            n_lines += group.n_lines;
            n_bytes += group.n_bytes as usize;
            greatest = greatest.max(group.time);
        }
        if n_lines == 0 {
            return None;
        }
        let chunk = if first.groups.is_empty() {
            self.waiting.pop_front()?.chunk
        } else {
            first.chunk.split_front(n_lines, n_bytes)
        };
        Some((greatest, chunk))
    }
}
