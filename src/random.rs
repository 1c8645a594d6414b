//! Random ids and seeds from the system.

/// A random 128-bit id in hexadecimal.
///
/// # Panics
/// If the system has no randomness, which Linux's `getrandom(2)` rules out once it has booted.
pub fn id() -> String {
    format!("{:032x}", bits())
}

/// 128 random bits. Panics as [`id`] does.
pub fn bits() -> u128 {
    u128::from(seed()) << 64 | u128::from(seed())
}

/// A random seed. Panics as [`id`] does.
pub fn seed() -> u64 {
    getrandom::u64().expect("getrandom(2) works once the system has booted")
}
