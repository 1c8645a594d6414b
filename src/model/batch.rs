//! Batches: several chunks delivered together, and the subsets of their lines that are resent.
//!
//! Generic over the item, so that tests batch `&str` without a runtime; `now` is an argument.
//! Pure: no I/O, no clock.

use std::ops::Range;
use std::time::{Duration, Instant};

/// What an item adds to a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Bytes of its lines.
    pub bytes: usize,
    /// Number of its lines.
    pub lines: u64,
}

/// When a batch is full, and how long its first item may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// A batch is closed before it would exceed this many bytes of lines.
    pub bytes: usize,
    /// A batch is closed before it would exceed this many lines.
    pub lines: u64,
    /// The longest time from a batch's first item until it is closed.
    pub linger: Duration,
}

/// Items that are delivered together, in order.
#[derive(Debug)]
pub struct Batch<T> {
    /// The items, never empty.
    pub items: Vec<T>,
    /// Sum of the items' weights.
    pub weight: Weight,
    /// Counts the batches of one batcher from 0.
    pub number: u64,
}

/// Collects items into batches. An item is never split here: one that is larger than the limits
/// makes a batch of its own, and delivery narrows it by a [`LineSet`].
#[derive(Debug)]
pub struct Batcher<T> {
    limits: BatchLimits,
    items: Vec<T>,
    weight: Weight,
    deadline: Option<Instant>,
    next_number: u64,
}

impl<T> Batcher<T> {
    /// Makes an empty batcher.
    pub fn new(limits: BatchLimits) -> Self {
        Self {
            limits,
            items: Vec::new(),
            weight: Weight::default(),
            deadline: None,
            next_number: 0,
        }
    }

    /// Adds an item. Returns the batch that it closed: the one before it where the item no longer
    /// fits, or the one it filled.
    ///
    /// When an item both closes the batch before it and is full itself, the second batch waits for
    /// [`Batcher::deadline`], which is then already due.
    pub fn push(&mut self, item: T, weight: Weight, now: Instant) -> Option<Batch<T>> {
        let fits = self.weight.bytes + weight.bytes <= self.limits.bytes
            && self.weight.lines + weight.lines <= self.limits.lines;
        let before = if fits { None } else { self.flush() };
        if self.items.is_empty() {
            self.deadline = Some(now + self.limits.linger);
        }
        self.items.push(item);
        self.weight.bytes += weight.bytes;
        self.weight.lines += weight.lines;
        if before.is_some() {
            if self.is_full() {
                self.deadline = Some(now);
            }
            return before;
        }
        if self.is_full() { self.flush() } else { None }
    }

    /// What waits in the open batch.
    pub fn weight(&self) -> Weight {
        self.weight
    }

    /// When the open batch must be flushed; `None` where nothing waits.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Closes and returns the open batch.
    pub fn flush(&mut self) -> Option<Batch<T>> {
        self.deadline = None;
        if self.items.is_empty() {
            return None;
        }
        let number = self.next_number;
        self.next_number += 1;
        Some(Batch {
            items: std::mem::take(&mut self.items),
            weight: std::mem::take(&mut self.weight),
            number,
        })
    }

    fn is_full(&self) -> bool {
        self.weight.bytes >= self.limits.bytes || self.weight.lines >= self.limits.lines
    }
}

/// Some of a batch's lines, numbered from 0 across all its items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineSet {
    /// Every line.
    All,
    /// A contiguous part: what halving and bisecting need.
    Range(Range<u64>),
    /// Single lines in ascending order: what a collector's per-item answer needs.
    Items(Vec<u64>),
}

/// A contiguous run of selected lines inside one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Index of the item in its batch.
    pub item: usize,
    /// Lines of that item.
    pub lines: Range<u32>,
}

impl LineSet {
    /// Number of lines named, in a batch of `total` lines.
    pub fn len(&self, total: u64) -> u64 {
        match self {
            LineSet::All => total,
            LineSet::Range(range) => range.end - range.start,
            LineSet::Items(items) => items.len() as u64,
        }
    }

    /// True where no line is named.
    pub fn is_empty(&self, total: u64) -> bool {
        self.len(total) == 0
    }

    /// The first `lines` of them, or all where there are no more.
    pub fn first(&self, lines: u64, total: u64) -> LineSet {
        if lines < self.len(total) {
            self.split_at(lines, total).0
        } else {
            self.clone()
        }
    }

    /// The two halves, the first one at least as long as the second; `None` for fewer than two
    /// lines.
    pub fn halve(&self, total: u64) -> Option<(LineSet, LineSet)> {
        let len = self.len(total);
        (len >= 2).then(|| self.split_at(len.div_ceil(2), total))
    }

    /// The lines that stand at `places` of this set, which are in ascending order.
    ///
    /// # Panics
    /// If a place is past the last line of [`LineSet::Items`].
    pub fn pick(&self, places: &[u64]) -> LineSet {
        let picked = places.iter().map(|place| match self {
            LineSet::All => *place,
            LineSet::Range(range) => range.start + place,
            LineSet::Items(items) => items[usize::try_from(*place).expect("an index")],
        });
        LineSet::Items(picked.collect())
    }

    /// Parts of at most `most` lines each, in order.
    pub fn parts(&self, most: u64, total: u64) -> Vec<LineSet> {
        let mut parts = Vec::new();
        let mut rest = self.clone();
        while rest.len(total) > most {
            let (part, after) = rest.split_at(most, total);
            parts.push(part);
            rest = after;
        }
        parts.push(rest);
        parts
    }

    /// The lines as runs inside items, given each item's number of lines.
    pub fn runs(&self, item_lines: impl Iterator<Item = u32>) -> Vec<Run> {
        let mut runs = Vec::new();
        let mut wanted = self.ranges();
        let mut range = wanted.next();
        let mut start = 0_u64;
        for (item, lines) in item_lines.enumerate() {
            let end = start + u64::from(lines);
            while let Some(want) = &range {
                let (from, to) = (want.start.max(start), want.end.min(end));
                if from < to {
                    let inside = |at: u64| u32::try_from(at - start).expect("within one item");
                    runs.push(Run {
                        item,
                        lines: inside(from)..inside(to),
                    });
                }
                if want.end > end {
                    break;
                }
                range = wanted.next();
            }
            start = end;
        }
        runs
    }

    /// Contiguous ranges in ascending order.
    fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        match self {
            LineSet::All => ranges.push(0..u64::MAX),
            LineSet::Range(range) => ranges.push(range.clone()),
            LineSet::Items(items) => {
                for item in items {
                    match ranges.last_mut() {
                        Some(last) if last.end == *item => last.end += 1,
                        _ => ranges.push(*item..*item + 1),
                    }
                }
            }
        }
        ranges.into_iter()
    }

    fn split_at(&self, lines: u64, total: u64) -> (LineSet, LineSet) {
        match self {
            LineSet::All => (LineSet::Range(0..lines), LineSet::Range(lines..total)),
            LineSet::Range(range) => {
                let middle = range.start + lines;
                (
                    LineSet::Range(range.start..middle),
                    LineSet::Range(middle..range.end),
                )
            }
            LineSet::Items(items) => {
                let (left, right) = items.split_at(usize::try_from(lines).expect("an index"));
                (
                    LineSet::Items(left.to_vec()),
                    LineSet::Items(right.to_vec()),
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINGER: Duration = Duration::from_millis(250);

    fn batcher(bytes: usize, lines: u64) -> Batcher<&'static str> {
        Batcher::new(BatchLimits {
            bytes,
            lines,
            linger: LINGER,
        })
    }

    fn weight(text: &str) -> Weight {
        Weight {
            bytes: text.len(),
            lines: 1,
        }
    }

    #[test]
    fn a_full_batch_is_closed_by_the_item_that_fills_it() {
        let (mut batcher, now) = (batcher(6, 10), Instant::now());

        assert!(batcher.push("abc", weight("abc"), now).is_none());
        let batch = batcher
            .push("def", weight("def"), now)
            .expect("six bytes are a batch");

        assert_eq!(batch.items, ["abc", "def"]);
        assert_eq!(batch.weight, Weight { bytes: 6, lines: 2 });
        assert_eq!(batcher.deadline(), None);
    }

    #[test]
    fn an_item_that_does_not_fit_closes_the_batch_before_it() {
        let (mut batcher, now) = (batcher(5, 10), Instant::now());

        batcher.push("abc", weight("abc"), now);
        let batch = batcher
            .push("defghi", weight("defghi"), now)
            .expect("the first is closed");

        assert_eq!(batch.items, ["abc"]);
        assert_eq!(
            batcher.deadline(),
            Some(now),
            "the second is full and due at once"
        );
        assert_eq!(batcher.flush().expect("waiting").items, ["defghi"]);
    }

    #[test]
    fn linger_runs_from_the_first_item() {
        let (mut batcher, now) = (batcher(100, 10), Instant::now());

        batcher.push("a", weight("a"), now);
        batcher.push("b", weight("b"), now + Duration::from_millis(100));

        assert_eq!(batcher.deadline(), Some(now + LINGER));
    }

    #[test]
    fn batches_are_numbered() {
        let (mut batcher, now) = (batcher(1, 10), Instant::now());

        let numbers: Vec<u64> = ["a", "b", "c"]
            .into_iter()
            .map(|text| {
                batcher
                    .push(text, weight(text), now)
                    .expect("each is full")
                    .number
            })
            .collect();

        assert_eq!(numbers, [0, 1, 2]);
    }

    #[test]
    fn runs_of_single_items_are_joined_inside_a_chunk_only() {
        let set = LineSet::Items(vec![1, 2, 3, 5]);

        let runs = set.runs([3, 3].into_iter());

        let run = |item, lines| Run { item, lines };
        assert_eq!(runs, [run(0, 1..3), run(1, 0..1), run(1, 2..3)]);
    }

    fn expand(set: &LineSet, counts: &[u32]) -> Vec<u64> {
        let starts: Vec<u64> = counts
            .iter()
            .scan(0, |sum, count| {
                let start = *sum;
                *sum += u64::from(*count);
                Some(start)
            })
            .collect();
        set.runs(counts.iter().copied())
            .into_iter()
            .flat_map(|run| run.lines.map(|line| (run.item, line)).collect::<Vec<_>>())
            .map(|(item, line)| starts[item] + u64::from(line))
            .collect()
    }

    proptest! {
        #[test]
        fn halves_and_parts_name_each_line_once_in_order(
            counts in prop::collection::vec(0..6_u32, 1..6),
            picks in prop::collection::vec(any::<bool>(), 30),
            most in 1..7_u64,
        ) {
            let total: u64 = counts.iter().map(|count| u64::from(*count)).sum();
            let picked: Vec<u64> = (0..total).filter(|line| picks[*line as usize]).collect();
            let (from, to) = (total / 3, total);

            for set in [LineSet::All, LineSet::Range(from..to), LineSet::Items(picked)] {
                let whole = expand(&set, &counts);
                prop_assert_eq!(whole.len() as u64, set.len(total));

                let parts = set.parts(most, total);
                let joined: Vec<u64> = parts.iter().flat_map(|p| expand(p, &counts)).collect();
                prop_assert_eq!(&joined, &whole);
                prop_assert!(parts.iter().all(|part| part.len(total) <= most));

                let places: Vec<u64> = (0..set.len(total)).filter(|it| it % most == 0).collect();
                let expected: Vec<u64> = places.iter().map(|it| whole[*it as usize]).collect();
                prop_assert_eq!(expand(&set.pick(&places), &counts), expected);

                if let Some((left, right)) = set.halve(total) {
                    let joined = [expand(&left, &counts), expand(&right, &counts)].concat();
                    prop_assert_eq!(&joined, &whole);
                    prop_assert!(left.len(total) - right.len(total) <= 1);
                }
            }
        }
    }
}
