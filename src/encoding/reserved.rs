//! The keys that only the collector sets, and what a record's own keys of that name become.
//!
//! Pure: no I/O, no clock.

use super::scan::hex4;

/// The keys that only the collector sets. No one is another one and `_orig`.
const RESERVED: [&str; 10] = [
    "_time",
    "_source",
    "_msg",
    "_host",
    "_file",
    "_offset",
    "_labels",
    "_truncated",
    "_event",
    "_b64",
];

const SUFFIX: &str = "_orig";

/// Suffixes on one name at most. A bound, because a line of nothing but `_time` keys would grow by
/// all of them for each key.
const SUFFIXES_MAX: u32 = 8;

/// A little more than the longest reserved name with all its suffixes.
const NAME_BYTES_MAX: usize = 64;

/// The keys of one record that are reserved names, or reserved names with suffixes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OwnKeys {
    /// For each reserved name, bit *n* tells that it occurs with *n* suffixes.
    seen: [u16; RESERVED.len()],
    is_any_reserved: bool,
}

impl OwnKeys {
    /// Notes one top-level key as it stands in the record, between its quotes.
    #[inline]
    pub(super) fn note(&mut self, key: &[u8]) {
        // Nearly every key ends here: the names start with an underscore, perhaps escaped.
        if let Some(b'_' | b'\\') = key.first()
            && let Some(name) = reserved(key)
        {
            self.seen[name.index] |= 1 << name.suffixes;
            self.is_any_reserved |= name.suffixes == 0;
        }
    }

    /// True where a key is a reserved name and has to be renamed.
    pub(super) fn is_any_reserved(&self) -> bool {
        self.is_any_reserved
    }

    /// The new names, or `None` where one is not free with 8 suffixes either.
    pub(super) fn renames(&self) -> Option<Renames> {
        let mut suffixes = [0; RESERVED.len()];
        for (count, seen) in suffixes.iter_mut().zip(self.seen) {
            if seen & 1 == 1 {
                // `seen` with its lowest bits all set names the first free number of suffixes.
                *count = seen.trailing_ones();
                if *count > SUFFIXES_MAX {
                    return None;
                }
            }
        }
        Some(Renames { suffixes })
    }
}

/// What the reserved names of one record become.
#[derive(Clone, Copy, Debug)]
pub(super) struct Renames {
    suffixes: [u32; RESERVED.len()],
}

impl Renames {
    /// Appends the new name of `key` and returns true, or returns false where it keeps its name.
    pub(super) fn append(&self, out: &mut Vec<u8>, key: &[u8]) -> bool {
        match reserved(key) {
            Some(Name { index, suffixes: 0 }) => {
                out.extend_from_slice(RESERVED[index].as_bytes());
                for _ in 0..self.suffixes[index] {
                    out.extend_from_slice(SUFFIX.as_bytes());
                }
                true
            }
            _ => false,
        }
    }
}

/// A reserved name with `_orig` so and so many times after it.
struct Name {
    index: usize,
    suffixes: u32,
}

/// Reads a key as it stands in a record, between its quotes.
fn reserved(key: &[u8]) -> Option<Name> {
    let mut buffer = [0; NAME_BYTES_MAX];
    let key = if key.contains(&b'\\') {
        unescape(key, &mut buffer)?
    } else {
        key
    };
    RESERVED.iter().enumerate().find_map(|(index, name)| {
        let mut rest = key.strip_prefix(name.as_bytes())?;
        let mut suffixes = 0;
        while !rest.is_empty() && suffixes <= SUFFIXES_MAX {
            rest = rest.strip_prefix(SUFFIX.as_bytes())?;
            suffixes += 1;
        }
        (suffixes <= SUFFIXES_MAX).then_some(Name { index, suffixes })
    })
}

/// Resolves the escapes of a key. `None` where it is too long or not ASCII, so no reserved name.
fn unescape<'a>(key: &[u8], buffer: &'a mut [u8; NAME_BYTES_MAX]) -> Option<&'a [u8]> {
    let (mut at, mut length) = (0, 0);
    while let Some(&byte) = key.get(at) {
        let (byte, used) = match (byte, key.get(at + 1)) {
            (b'\\', Some(b'u')) => (u8::try_from(hex4(key, at + 2)?).ok()?, 6),
            // No reserved name holds a character that has another escape.
            (b'\\', _) => return None,
            _ => (byte, 1),
        };
        *buffer.get_mut(length)? = byte;
        length += 1;
        at += used;
    }
    Some(&buffer[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(keys: &[&str]) -> Option<Vec<String>> {
        let mut own = OwnKeys::default();
        keys.iter().for_each(|key| own.note(key.as_bytes()));
        let renames = own.renames()?;
        let rename = |key: &&str| {
            let mut out = Vec::new();
            let is_renamed = renames.append(&mut out, key.as_bytes());
            if is_renamed {
                String::from_utf8(out).unwrap()
            } else {
                (*key).to_owned()
            }
        };
        Some(keys.iter().map(rename).collect())
    }

    #[test]
    fn a_name_moves_to_the_first_free_one() {
        let check = |keys: &[&str], expected: &[&str]| assert_eq!(renamed(keys).unwrap(), expected);

        check(
            &["level", "_other", "_times"],
            &["level", "_other", "_times"],
        );
        check(&["_time"], &["_time_orig"]);
        check(&["_time_orig", "_time"], &["_time_orig", "_time_orig_orig"]);
        check(
            &["_time", "_time_orig_orig"],
            &["_time_orig", "_time_orig_orig"],
        );
        check(
            &[r"_time\u005forig", "_time"],
            &[r"_time\u005forig", "_time_orig_orig"],
        );
        check(&["_source_orig"], &["_source_orig"]);
        check(&["_time", "_msg_orig"], &["_time_orig", "_msg_orig"]);
    }

    #[test]
    fn escaped_names_are_the_names_they_stand_for() {
        let spelled: String = "_truncated"
            .bytes()
            .map(|b| format!("\\u{b:04X}"))
            .collect();

        assert_eq!(renamed(&[&spelled]).unwrap(), ["_truncated_orig"]);
        assert_eq!(renamed(&[r"_\u0074ime"]).unwrap(), ["_time_orig"]);
        assert_eq!(renamed(&[r"_time\n"]).unwrap(), [r"_time\n"]);
        assert_eq!(renamed(&[r"_time\u0174"]).unwrap(), [r"_time\u0174"]);
    }

    #[test]
    fn every_reserved_name_is_renamed() {
        for name in RESERVED {
            assert_eq!(renamed(&[name]).unwrap(), [format!("{name}_orig")]);
        }
    }

    #[test]
    fn suffixes_are_bounded() {
        let with = |count| format!("_time{}", "_orig".repeat(count));
        let mut keys: Vec<String> = (0..8).map(with).collect();
        let borrowed = |keys: &[String]| renamed(&keys.iter().map(|k| &k[..]).collect::<Vec<_>>());

        assert_eq!(borrowed(&keys).unwrap()[0], with(8));
        keys.push(with(8));
        assert_eq!(borrowed(&keys), None);
    }
}
