//! Numbers in decimal digits, eight at a time.
//!
//! Pure: no I/O, no clock.

/// Digits of the largest `u64`, rounded up to whole groups of eight.
const DIGITS_MAX: usize = 24;
/// Ten to the power of a group's length.
const GROUP: u64 = 100_000_000;
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// A number as digits, without a leading zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decimal {
    text: [u8; DIGITS_MAX],
    start: usize,
}

impl Decimal {
    #[inline]
    pub(super) fn of(mut value: u64) -> Self {
        let mut text = [b'0'; DIGITS_MAX];
        let mut start = DIGITS_MAX;
        loop {
            let digits = eight_digits(value % GROUP);
            value /= GROUP;
            start -= 8;
            text[start..start + 8].copy_from_slice(&(digits | ZEROS).to_le_bytes());
            if value == 0 {
                // A zero has one digit.
                let leading = (digits.trailing_zeros() / 8).min(7);
                start += leading as usize;
                return Self { text, start };
            }
        }
    }

    #[inline]
    pub(super) fn digits(&self) -> &[u8] {
        &self.text[self.start..]
    }
}

/// Appends a number in decimal digits.
#[inline]
pub(super) fn append_decimal(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(Decimal::of(value).digits());
}

/// The digits of a number below 10^8 as the values of eight bytes, the first digit lowest.
///
/// All lanes are divided at once: by 10^4 into two lanes of 32 bits, each by 100 into two of 16, each
/// by 10 into two of 8. The reciprocals are exact for what a lane can hold.
#[inline]
fn eight_digits(value: u64) -> u64 {
    debug_assert!(value < GROUP);
    let fours = (value / 10_000) | ((value % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | ((fours - 100 * hundreds) << 16);
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | ((twos - 10 * tens) << 8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_around_every_power_of_ten() {
        let powers = (0..20).map(|exponent| 10_u64.pow(exponent));
        for power in powers.chain([1 << 63]) {
            for value in [power - 1, power, power + 1, u64::MAX - power, u64::MAX] {
                assert_eq!(Decimal::of(value).digits(), value.to_string().as_bytes());
            }
        }
    }

    #[test]
    fn every_lane_divides_exactly() {
        for four in 0..10_000 {
            let value = four * 10_000 + (9_999 - four);
            assert_eq!(Decimal::of(value).digits(), value.to_string().as_bytes());
        }
    }

    proptest! {
        #[test]
        fn agrees_with_std(value: u64, bits in 0..64) {
            let mut out = b"n=".to_vec();
            append_decimal(&mut out, value >> bits);

            prop_assert_eq!(out, format!("n={}", value >> bits).into_bytes());
        }
    }
}
