//! Random ids and seeds from the system.

/// A random 128-bit id in hexadecimal.
///
/// # Panics
/// If the system has no randomness, which Linux's `getrandom(2)` rules out once it has booted.
pub fn id() -> String {
    let (high, low) = (seed(), seed());
    format!("{high:016x}{low:016x}")
}

/// A random seed. Panics as [`id`] does.
pub fn seed() -> u64 {
    getrandom::u64().expect("getrandom(2) works once the system has booted")
}
