//! Compression of whole bodies.
//!
//! Pure: no I/O, no clock.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

/// Compresses `body` as one gzip member.
///
/// `level` is 0 (stored) to 9 (smallest); what is above counts as 9. The header names no time and no
/// file, so equal bodies give equal bytes.
pub fn gzip(body: &[u8], level: u32) -> Vec<u8> {
    // Log lines shrink to a tenth or so; the vector grows where they do not.
    let out = Vec::with_capacity(body.len() / 8 + 64);
    let mut encoder = GzEncoder::new(out, Compression::new(level.min(9)));
    encoder
        .write_all(body)
        .and_then(|()| encoder.finish())
        .expect("writing to a vector cannot fail")
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn gzip_gives_the_body_back() {
        let body = b"GET /index.html 200\n".repeat(1000);

        for level in [0, 1, 2, 9, 50] {
            let packed = gzip(&body, level);

            let mut unpacked = Vec::new();
            flate2::read::GzDecoder::new(&packed[..])
                .read_to_end(&mut unpacked)
                .unwrap();
            assert_eq!(unpacked, body);
            assert!(level == 0 || packed.len() < body.len() / 20);
        }
    }

    #[test]
    fn equal_bodies_give_equal_bytes() {
        assert_eq!(gzip(b"one\n", 2), gzip(b"one\n", 2));
        assert_eq!(&gzip(b"", 2)[..8], b"\x1f\x8b\x08\0\0\0\0\0");
    }
}
