//! The one place where time passes: everything else waits for an event through it.

use std::time::{Duration, Instant};

/// How long an event may take on a busy machine before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Polls `condition` until it yields a value.
///
/// # Panics
/// When it yielded none for `limit`; `what` says what was waited for.
#[track_caller]
pub(crate) fn within<T>(what: &str, limit: Duration, condition: impl FnMut() -> Option<T>) -> T {
    match poll(limit, condition) {
        Some(value) => value,
        None => panic!("waited {limit:?} in vain for: {what}"),
    }
}

/// Polls `condition` until it yields a value; `None` where it yielded none for `limit`.
pub(crate) fn poll<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        let value = condition();
        if value.is_some() || Instant::now() >= end {
            return value;
        }
        tick(Duration::from_millis(5));
    }
}

/// Lets time pass where time itself is what is tested: the pace of a writer, the moment of a kill,
/// the length of an outage, a collector that is slow. Never a substitute for an event.
pub(crate) fn pass(time: Duration) {
    tick(time);
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one clock that every wait goes through"
)]
fn tick(time: Duration) {
    std::thread::sleep(time);
}
