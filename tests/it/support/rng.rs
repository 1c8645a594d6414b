//! Chance from a printed seed, so that a failure can be repeated.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A splitmix64 generator.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// Starts from `LOGWEIR_TEST_SEED`, else from the clock, and prints the seed: the harness shows
    /// it when the test fails.
    pub(crate) fn printed(test: &str) -> Self {
        let seed = match std::env::var("LOGWEIR_TEST_SEED") {
            Ok(seed) => seed.parse().expect("LOGWEIR_TEST_SEED is a number"),
            Err(_) => {
                let now = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .expect("after 1970");
                u64::from(now.subsec_nanos()) ^ now.as_secs()
            }
        };
        eprintln!("{test}: repeat with LOGWEIR_TEST_SEED={seed}");
        Self(seed)
    }

    /// Starts from a known seed.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// A generator of its own for a part of the test, so that the parts do not disturb each other.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number in `range`, which is not empty.
    pub(crate) fn below(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    /// True in `percent` of a hundred cases.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(0..100) < percent
    }

    /// A time of `range` milliseconds.
    pub(crate) fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.below(range))
    }
}
