//! What one service has to say: line after line at its own pace.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::lines::Dice;

/// The lines of one service. Every line is known by its number, so that it can be sent again.
#[derive(Clone, Debug)]
pub(super) struct Feed {
    started: Instant,
    seed: u64,
    interval: Duration,
    line: fn(&mut Dice, u64) -> String,
}

impl Feed {
    /// About `per_second` lines that `line` makes of chance and their number.
    pub(super) fn new(seed: u64, per_second: f64, line: fn(&mut Dice, u64) -> String) -> Self {
        Self {
            started: Instant::now(),
            seed,
            interval: Duration::from_secs_f64(1.0 / per_second),
            line,
        }
    }

    /// The number of the line that belongs to this moment.
    pub(super) fn now(&self) -> u64 {
        (self.started.elapsed().as_secs_f64() / self.interval.as_secs_f64()) as u64
    }

    /// Waits until line `n` is due, and returns it. Cancel safe.
    pub(super) async fn line(&self, n: u64) -> String {
        let mut dice = Dice::new(self.seed ^ n.rotate_left(20));
        // Nobody writes logs to the beat of a clock; still, each line has its own interval.
        let late = if n == 0 { 0.0 } else { 0.9 * dice.unit() };
        let due = self.interval.mul_f64(n as f64 + late);
        sleep_until(self.started + due).await;
        (self.line)(&mut dice, n)
    }
}
