//! Reads when an X.509 certificate expires (RFC 5280 §4.1), and nothing else of it.
//!
//! No I/O, no clock.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The end of a certificate's validity, in seconds since 1970; `None` where it cannot be read.
pub(super) fn not_after(der: &[u8]) -> Option<i64> {
    let (_, certificate, _) = element(der).filter(|it| it.0 == SEQUENCE)?;
    let (_, mut rest, _) = element(certificate).filter(|it| it.0 == SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        rest = element(rest)?.2;
    }
    // Serial number, signature algorithm, issuer; then the validity.
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (_, validity, _) = element(rest).filter(|it| it.0 == SEQUENCE)?;
    let (_, _, rest) = element(validity)?;
    let (tag, time, _) = element(rest)?;
    seconds(tag, std::str::from_utf8(time).ok()?)
}

/// One element of DER: its tag, its content, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits.iter().fold(0, |sum, it| sum << 8 | usize::from(*it));
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`; two digits of a year mean 1950 to 2049.
fn seconds(tag: u8, text: &str) -> Option<i64> {
    let digits = text.strip_suffix('Z')?;
    let full = match (tag, digits.len()) {
        (UTC_TIME, 12) if digits < "50" => format!("20{digits}"),
        (UTC_TIME, 12) => format!("19{digits}"),
        (GENERALIZED_TIME, 14) => digits.to_owned(),
        _ => return None,
    };
    let time = DateTime::strptime("%Y%m%d%H%M%S", full).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn certificates_say_when_they_expire() {
        for (year, expected) in [
            (2026, 1_798_675_200),
            (2049, 2_524_521_600),
            (2060, 2_871_676_800),
        ] {
            let mut params = CertificateParams::new(["a.internal".to_owned()]).unwrap();
            params.not_after = date_time_ymd(year, 12, 31);
            let key = KeyPair::generate().unwrap();
            let certificate = params.self_signed(&key).unwrap();

            assert_eq!(not_after(certificate.der()), Some(expected), "{year}");
        }
    }

    #[test]
    fn what_is_no_certificate_says_nothing() {
        assert_eq!(not_after(b""), None);
        assert_eq!(not_after(&[SEQUENCE, 0x82, 0xff, 0xff, 1]), None);
        assert_eq!(not_after(&[SEQUENCE, 0x80, 0, 0]), None);
    }
}
