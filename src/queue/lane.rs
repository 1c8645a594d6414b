//! One stream of a source, as the merge sees it: chunks that wait, cut into lines of one time.
//!
//! Pure: `now` is an argument.

use std::collections::VecDeque;
use std::time::Instant;

use super::Chunk;
use super::progress::Room;
use crate::framing::{TimeContext, own_time};
use crate::model::StreamKey;

/// One stream of a source.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) stream: StreamKey,
    /// Whether it is being read to its end, and where it gets room meanwhile.
    pub(super) behind: Option<Room>,
    waiting: VecDeque<Waiting>,
    /// The time of the last line that came.
    pub(super) last: i64,
    /// Whether a line of it ever carried a time.
    is_timed: bool,
    pub(super) spoke: Instant,
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

impl Lane {
    pub(super) fn new(stream: StreamKey, now: Instant) -> Self {
        Self {
            stream,
            behind: None,
            waiting: VecDeque::new(),
            last: i64::MIN,
            is_timed: false,
            spoke: now,
        }
    }

    /// True where nothing of it waits.
    pub(super) fn is_silent(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Since when its first chunk waits.
    pub(super) fn since(&self) -> Option<Instant> {
        self.waiting.front().map(|it| it.since)
    }

    /// The time of its first line that waits.
    pub(super) fn head(&self) -> Option<i64> {
        let first = self.waiting.front()?.groups.front()?;
        Some(first.time)
    }

    pub(super) fn push(
        &mut self,
        chunk: Chunk,
        cx: &TimeContext,
        (is_finite, now): (bool, Instant),
    ) {
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
    pub(super) fn take(&mut self, limit: i64) -> Option<(i64, Chunk)> {
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
