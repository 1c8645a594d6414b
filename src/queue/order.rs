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

use std::collections::VecDeque;
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
    /// Lines that stay together, in order: their time, and how many they are.
    groups: VecDeque<(i64, u32)>,
    since: Instant,
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
    }

    /// Takes in a chunk of a source.
    pub(super) fn push(&mut self, source: usize, chunk: Chunk, now: Instant) {
        let cx = TimeContext {
            zone: self.zone.clone(),
            now_ns: chunk.time_ns,
        };
        let is_finite = self.order.is_finite;
        let lanes = &mut self.sources[source].lanes;
        let at = lanes.iter().position(|it| it.stream == chunk.origin.stream);
        let at = at.unwrap_or_else(|| {
            lanes.retain(|it| !it.waiting.is_empty() || now - it.spoke < FORGET_AFTER);
            lanes.push(Lane::new(chunk.origin.stream.clone(), now));
            lanes.len() - 1
        });
        lanes[at].push(chunk, &cx, (is_finite, now));
    }

    /// The next lines that can be let go, or when to ask again; neither where only news of a source
    /// can change anything.
    pub(super) fn pop(&mut self, now: Instant) -> Result<Chunk, Option<Instant>> {
        let Some(head) = self.head() else {
            return Err(None);
        };
        let limit = self.limit(head, now);
        let (source, lane) = head;
        let lane = &mut self.sources[source].lanes[lane];
        let taken = lane.take(limit.time);
        if let Some((time, chunk)) = taken {
            self.released = self.released.max(time);
            return Ok(chunk);
        }
        Err(limit.wake)
    }

    /// The next lines, whoever might have earlier ones: no more will come.
    pub(super) fn pop_any(&mut self) -> Option<Chunk> {
        for source in &mut self.sources {
            source.state = State::Closed;
        }
        self.pop(Instant::now()).ok()
    }

    /// The stream with the earliest line.
    fn head(&self) -> Option<(usize, usize)> {
        let lanes = self.sources.iter().enumerate().flat_map(|(at, source)| {
            let lanes = source.lanes.iter().enumerate();
            lanes.filter_map(move |(lane, it)| Some((it.head()?, (at, lane))))
        });
        lanes.min().map(|(_, place)| place)
    }

    /// How far the lines at the head can go.
    fn limit(&self, head: (usize, usize), now: Instant) -> Limit {
        let mut strict = i64::MAX;
        let mut windowed = i64::MAX;
        for (at, source) in self.sources.iter().enumerate() {
            let is_others = |lane: usize| (at, lane) != head;
            let others = || {
                source
                    .lanes
                    .iter()
                    .enumerate()
                    .filter(|(lane, _)| is_others(*lane))
            };
            for (lane, time) in others().filter_map(|(lane, it)| Some((lane, it.head()?))) {
                // Of equal times the first source's comes first.
                let is_after = (at, lane) > head;
                strict = strict.min(if is_after {
                    time
                } else {
                    time.saturating_sub(1)
                });
            }
            let quiet = others()
                .filter(|(_, it)| it.waiting.is_empty())
                .map(|(_, it)| it.last);
            let quiet = if source.lanes.is_empty() {
                Some(i64::MIN)
            } else {
                quiet.min()
            };
            match self.waits_for(source) {
                Waits::Strictly => strict = strict.min(quiet.unwrap_or(i64::MAX)),
                Waits::Window => windowed = windowed.min(quiet.unwrap_or(i64::MAX)),
                Waits::Not => {}
            }
        }
        let lane = &self.sources[head.0].lanes[head.1];
        let since = lane.waiting.front().map_or(now, |it| it.since);
        let is_over = now >= since + self.order.window;
        // What is late goes at once.
        let windowed = windowed.max(self.released);
        if is_over || windowed >= strict {
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

    /// Whether lines of others wait for a source of which nothing waits here.
    fn waits_for(&self, source: &Source) -> Waits {
        let State::Open { behind, starving } = source.state else {
            return Waits::Not;
        };
        let waiting = source
            .lanes
            .iter()
            .filter(|it| !it.waiting.is_empty())
            .count();
        let wanted = if self.order.is_finite {
            behind.max(1)
        } else {
            behind
        };
        if waiting >= wanted {
            return Waits::Window.unless(self.order.is_finite);
        }
        // Its own lines take up the room that it wants: they must go first.
        if starving > 0 && waiting > 0 {
            return Waits::Not;
        }
        Waits::Strictly
    }
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
        Some(first.0)
    }

    fn push(&mut self, chunk: Chunk, cx: &TimeContext, (is_finite, now): (bool, Instant)) {
        let mut groups: VecDeque<(i64, u32)> = VecDeque::new();
        let mut n_without: u32 = 0;
        for line in chunk.lines.iter() {
            let own = line.time_ns.or_else(|| own_time(line.text, cx));
            match (own, groups.back_mut()) {
                (Some(time), Some(last)) if last.0 == time => last.1 += 1,
                (Some(time), _) => groups.push_back((time, 1)),
                (None, Some(last)) => last.1 += 1,
                (None, None) => n_without += 1,
            }
        }
        if n_without > 0 {
            let first = groups.front().map(|it| it.0);
            let time = match first {
                // They go on with what came before.
                _ if self.is_timed => self.last,
                Some(time) => time,
                None if is_finite => i64::MIN,
                None => chunk.time_ns,
            };
            groups.push_front((time, n_without));
            self.is_timed |= first.is_some();
        } else {
            self.is_timed = true;
        }
        self.last = groups.back().map_or(self.last, |it| it.0);
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
        let (mut n_lines, mut greatest) = (0, i64::MIN);
        while let Some((time, n)) = first.groups.front()
            && *time <= limit
        {
            n_lines += n;
            greatest = greatest.max(*time);
            first.groups.pop_front();
        }
        if n_lines == 0 {
            return None;
        }
        let chunk = if first.groups.is_empty() {
            self.waiting.pop_front()?.chunk
        } else {
            first.chunk.split_front(n_lines)
        };
        Some((greatest, chunk))
    }
}
