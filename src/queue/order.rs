//! Merging by time: lines of several streams come out in the order of their times.
//!
//! A line's time is the one that it carries itself; a line without one belongs to the line before it
//! in its stream and stays with it. Lines of one stream keep their order, whatever their times say.
//! Ties go by the order of the sources, then by the order in which lines came.
//!
//! - Between live streams a line is let go when every other one has passed its time, or when it has
//!   waited for the window: a quiet stream, or a source that cannot be reached, costs others no more
//!   than that.
//! - A stream that is behind (what is there already is being read), and a source that ends by itself,
//!   are waited for without a window. So is a source of which is not known yet what is behind there.
//! - A line that is late, behind one that was let go, is let go at once.
//!
//! Pure but for the sources' progress: `now` is an argument.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;

use super::Chunk;
use super::lane::Lane;
use super::progress::{Progress, Room, State};
use crate::framing::TimeContext;
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

/// A source, and a lane of it.
type Place = (usize, usize);

/// A line's time and where it waits: lines go in this order.
type Head = (i64, Place);

/// Up to where lines can pass those of which nothing waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Quiet {
    /// Without a window: the earliest line that somebody who is behind may still have.
    strict: Head,
    /// Within the window, a time.
    windowed: i64,
}

#[derive(Debug)]
struct Source {
    progress: Arc<Progress>,
    /// As it was before the queue was last emptied: what it said then has come.
    state: State,
    lanes: Vec<Lane>,
    /// True where one of its streams is behind, and it is not known which.
    some_is_behind: bool,
    /// Which lane a stream has.
    by_stream: HashMap<StreamKey, usize>,
}

/// How far lines can be let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limit {
    /// The greatest time; `None`: not at all.
    time: Option<i64>,
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

    /// Looks how far the sources are, new ones among them. To be called before the queue is emptied:
    /// what a source sent before it said that it has ended is then in there.
    pub(super) fn look(&mut self, sources: &[Arc<Progress>], now: Instant) {
        for progress in &sources[self.sources.len()..] {
            self.sources.push(Source {
                state: State::default(),
                progress: Arc::clone(progress),
                lanes: Vec::new(),
                some_is_behind: false,
                by_stream: HashMap::new(),
            });
        }
        self.sources.iter_mut().for_each(|it| it.look(now));
        self.quiet = None;
    }

    /// Takes in a chunk of a source.
    pub(super) fn push(&mut self, source: usize, chunk: Chunk, now: Instant) {
        let cx = TimeContext {
            zone: self.zone.clone(),
            now_ns: chunk.time_ns,
        };
        let is_finite = self.order.is_finite;
        let (at, has_moved) = self.sources[source].lane_of(&chunk.origin.stream, now);
        if has_moved {
            self.find_heads();
        }
        let lane = &mut self.sources[source].lanes[at];
        let had_none = lane.is_silent();
        lane.push(chunk, &cx, (is_finite, now));
        if had_none && let Some(time) = lane.head() {
            self.heads.push(Reverse((time, (source, at))));
        }
        self.quiet = None;
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
        let taken = limit.time.and_then(|time| lane.take(time));
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
            if !source.state.is_closed() {
                (source.state, self.quiet) = (State::Closed, None);
            }
        }
        self.pop(Instant::now).ok()
    }

    /// How far the lines at the head can go, which is no longer among the heads.
    fn limit(&mut self, head: Place, now: impl Fn() -> Instant) -> Limit {
        let quiet = *self
            .quiet
            .get_or_insert_with(|| quiet(&self.sources, self.order));
        // Those behind the second head are later, or as late and further back.
        let others = self.heads.peek().map(|Reverse(others)| *others);
        let (time, place) = others.map_or(quiet.strict, |it| it.min(quiet.strict));
        let strict = if head < place {
            Some(time)
        } else {
            time.checked_sub(1)
        };
        // What is late goes at once.
        let windowed = Some(quiet.windowed.max(self.released));
        if windowed >= strict {
            return Limit {
                time: strict,
                wake: None,
            };
        }
        let lane = &self.sources[head.0].lanes[head.1];
        let now = now();
        let ends = lane.since().unwrap_or(now) + self.order.window;
        let has_waited = now >= ends;
        Limit {
            time: if has_waited { strict } else { windowed },
            wake: (!has_waited).then_some(ends),
        }
    }
}

/// How far those hold others back of which nothing waits. It takes time linear in the lanes.
fn quiet(sources: &[Source], order: Order) -> Quiet {
    let mut found = Quiet {
        strict: (i64::MAX, (usize::MAX, 0)),
        windowed: i64::MAX,
    };
    for (number, source) in sources.iter().enumerate() {
        if source.state.is_closed() {
            continue;
        }
        if order.is_finite {
            found.wait_for(source.passed(), (number, 0));
        } else {
            source.hold(number, &mut found);
        }
    }
    found
}

impl Quiet {
    /// Notes that a lane may have further lines of `time` or later.
    fn wait_for(&mut self, time: i64, place: Place) {
        self.strict = self.strict.min((time, place));
    }
}

impl Source {
    fn look(&mut self, now: Instant) {
        let before = std::mem::replace(&mut self.state, self.progress.state());
        let State::Open { behind, .. } = &self.state else {
            return;
        };
        if let State::Open { behind: known, .. } = before
            && Arc::ptr_eq(&known, behind)
        {
            return;
        }
        let behind = Arc::clone(behind);
        self.lanes.iter_mut().for_each(|it| it.behind = None);
        self.some_is_behind = behind.iter().any(|it| it.key.is_none());
        for stream in &*behind {
            let Some(key) = &stream.key else { continue };
            let at = match self.by_stream.get(key) {
                Some(at) => *at,
                None => self.add_lane(key, now),
            };
            self.lanes[at].behind = (!stream.is_over).then_some(stream.room);
        }
    }

    /// The lane of a stream, made where there is none yet; true where others have moved for that.
    fn lane_of(&mut self, stream: &StreamKey, now: Instant) -> (usize, bool) {
        // What is read one after the other is one stream, whatever its parts are called.
        if self.progress.is_sequence() && !self.lanes.is_empty() {
            return (0, false);
        }
        if let Some(at) = self.by_stream.get(stream) {
            return (*at, false);
        }
        // It may have been announced since, among others: their order is that of the lanes.
        self.look(now);
        if let Some(at) = self.by_stream.get(stream) {
            return (*at, false);
        }
        let n_lanes = self.lanes.len();
        self.lanes
            .retain(|it| !it.is_silent() || it.behind.is_some() || now - it.spoke < FORGET_AFTER);
        let has_moved = self.lanes.len() < n_lanes;
        if has_moved {
            let lanes = self.lanes.iter().enumerate();
            self.by_stream = lanes.map(|(at, it)| (it.stream.clone(), at)).collect();
        }
        (self.add_lane(stream, now), has_moved)
    }

    fn add_lane(&mut self, stream: &StreamKey, now: Instant) -> usize {
        let at = self.lanes.len();
        self.lanes.push(Lane::new(stream.clone(), now));
        self.by_stream.insert(stream.clone(), at);
        at
    }

    /// Up to which time others can pass it that wait for one of its streams: while nothing of any
    /// waits, it is not known when the next line is from.
    fn passed(&self) -> i64 {
        if self.lanes.iter().any(|it| !it.is_silent()) {
            return i64::MAX;
        }
        let last = self.lanes.iter().map(|it| it.last).min();
        last.unwrap_or(i64::MIN)
    }

    /// Narrows how far others can pass by what is known of a source that goes on.
    fn hold(&self, number: usize, found: &mut Quiet) {
        let State::Open {
            starving, looks, ..
        } = &self.state
        else {
            return;
        };
        if self.lanes.is_empty() {
            found.windowed = i64::MIN;
        }
        if *looks {
            found.wait_for(i64::MIN, (0, 0));
        }
        if self.some_is_behind {
            found.wait_for(self.passed(), (number, 0));
        }
        let has_waiting = self.lanes.iter().any(|it| !it.is_silent());
        for (at, lane) in self.lanes.iter().enumerate() {
            match lane.behind {
                _ if !lane.is_silent() => {}
                // Its source's own lines take up the room that it wants: they must go first.
                Some(Room::Shared) if *starving > 0 && has_waiting => {}
                Some(_) => found.wait_for(lane.last, (number, at)),
                // It was announced in vain.
                None if lane.last == i64::MIN => {}
                None => found.windowed = found.windowed.min(lane.last),
            }
        }
    }
}
