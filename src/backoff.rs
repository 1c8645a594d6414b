//! Delays between retries: full jitter from a seed, capped, for ever. It never sleeps itself.
//!
//! Pure: no I/O, no clock.

use std::time::Duration;

/// Computes delays: the n-th is drawn evenly from zero to `base` × 2^n, at most `max`.
///
/// Source: "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015), the "full jitter" rule.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    attempt: u32,
    seed: u64,
}

impl Backoff {
    /// Starts at attempt 0. Equal seeds give equal delays.
    pub fn new(base: Duration, max: Duration, seed: u64) -> Self {
        Self {
            base,
            max,
            attempt: 0,
            seed,
        }
    }

    /// The delay before the next attempt. What the peer asked for (`Retry-After`) is the least
    /// delay, capped by `max` as well.
    pub fn next(&mut self, asked: Option<Duration>) -> Duration {
        let ceiling = self
            .base
            .saturating_mul(1 << self.attempt.min(20))
            .min(self.max);
        self.attempt = self.attempt.saturating_add(1);
        let drawn = ceiling.mul_f64(self.fraction());
        drawn.max(asked.unwrap_or_default()).min(self.max)
    }

    /// A delay for trouble that only a person can end: between half of `max` and `max`.
    pub fn longest(&mut self) -> Duration {
        self.attempt = self.attempt.saturating_add(1);
        self.max.mul_f64(0.5 + self.fraction() / 2.0)
    }

    /// A time that differs from `around` by a tenth of it at most.
    pub fn spread(&mut self, around: Duration) -> Duration {
        around.mul_f64(0.9 + self.fraction() / 5.0)
    }

    /// Changes the first ceiling, as far as `max` allows: the peer knows what it can bear.
    pub fn set_base(&mut self, base: Duration) {
        self.base = base.min(self.max);
    }

    /// Attempts since the last success.
    pub fn attempts(&self) -> u32 {
        self.attempt
    }

    /// Notes a success: the next failure starts from `base` again.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }

    /// A number in [0, 1), by SplitMix64 (Steele, Lea and Flood, 2014).
    fn fraction(&mut self) -> f64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_millis(500);
    const MAX: Duration = Duration::from_secs(30);

    #[test]
    fn delays_stay_under_their_ceiling_and_spread_over_it() {
        for seed in 0..200 {
            let mut backoff = Backoff::new(BASE, MAX, seed);
            for attempt in 0..40 {
                let ceiling = BASE.saturating_mul(1 << attempt.min(20)).min(MAX);
                assert!(backoff.next(None) <= ceiling);
            }
        }
        let first: Vec<Duration> = (0..200)
            .map(|seed| Backoff::new(BASE, MAX, seed).next(None))
            .collect();
        assert!(first.iter().any(|delay| *delay < BASE / 4));
        assert!(first.iter().any(|delay| *delay > BASE * 3 / 4));
    }

    #[test]
    fn what_the_peer_asked_for_is_honoured_up_to_the_cap() {
        let mut backoff = Backoff::new(BASE, MAX, 1);

        assert!(backoff.next(Some(Duration::from_secs(20))) >= Duration::from_secs(20));
        assert_eq!(backoff.next(Some(Duration::from_secs(86_400))), MAX);
    }

    #[test]
    fn a_success_starts_over() {
        let mut backoff = Backoff::new(BASE, MAX, 1);
        for _ in 0..10 {
            backoff.next(None);
        }

        backoff.reset();

        assert!(backoff.next(None) <= BASE);
    }
}
