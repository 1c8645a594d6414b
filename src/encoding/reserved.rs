//! The keys that only the collector sets, and what a record's own keys of that name become.
//!
//! Pure: no I/O, no clock.

use std::sync::Arc;

use super::scan::hex4;

/// How many keys only the collector sets.
pub(super) const KEYS: usize = 11;

/// Those keys, as indices of [`Fields`].
pub(super) const TIME: usize = 0;
pub(super) const SOURCE: usize = 1;
pub(super) const MSG: usize = 2;
pub(super) const HOST: usize = 3;
pub(super) const FILE: usize = 4;
pub(super) const OFFSET: usize = 5;
pub(super) const LABELS: usize = 6;
pub(super) const TRUNCATED: usize = 7;
pub(super) const EVENT: usize = 8;
pub(super) const STREAM: usize = 9;
pub(super) const B64: usize = 10;

const DEFAULTS: [&str; KEYS] = [
    "_time",
    "_source",
    "_msg",
    "_host",
    "_file",
    "_offset",
    "_labels",
    "_truncated",
    "_event",
    "_stream",
    "_b64",
];

const SUFFIX: &str = "_orig";

/// Suffixes on one name at most. A bound, because a line of nothing but `_time` keys would grow by
/// all of them for each key.
const SUFFIXES_MAX: u32 = 8;

/// Longest name of a key that only the collector sets.
const NAME_BYTES_MAX: usize = 64;

/// Longest name with all its suffixes.
const KEY_BYTES_MAX: usize = NAME_BYTES_MAX + SUFFIXES_MAX as usize * SUFFIX.len();

/// What the keys are called that only the collector sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields([Arc<str>; KEYS]);

impl Default for Fields {
    fn default() -> Self {
        Self(DEFAULTS.map(Arc::from))
    }
}

/// Why a key cannot be called so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAField {
    /// There is no such key.
    Unknown,
    /// The name is empty, too long, or holds other characters than `A-Z a-z 0-9 _ . @ -`.
    Name,
}

impl Fields {
    /// The keys that can be renamed: those of a record without their underscore.
    pub fn keys() -> impl Iterator<Item = &'static str> {
        DEFAULTS.iter().map(|name| &name[1..])
    }

    /// Calls `key` (such as `time`) `name`.
    ///
    /// # Errors
    /// [`NotAField`]; nothing is changed then.
    pub fn rename(&mut self, key: &str, name: &str) -> Result<(), NotAField> {
        let index = Self::keys().position(|it| it == key);
        let index = index.ok_or(NotAField::Unknown)?;
        let is_allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'@' | b'-');
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(is_allowed) {
            return Err(NotAField::Name);
        }
        self.0[index] = name.into();
        Ok(())
    }

    /// The key whose name another one has, once all are renamed; `None` where all is well.
    pub fn clash(&self) -> Option<&'static str> {
        let base = |name: &str| {
            let mut name = name;
            while let Some(shorter) = name.strip_suffix(SUFFIX) {
                name = shorter;
            }
            name.to_owned()
        };
        let bases: Vec<String> = self.0.iter().map(|name| base(name)).collect();
        let twice = (0..KEYS).find(|at| bases[..*at].contains(&bases[*at]))?;
        Some(&DEFAULTS[twice][1..])
    }

    /// The name at one of this module's indices.
    pub(super) fn name(&self, index: usize) -> &str {
        &self.0[index]
    }
}

/// The names, ready to be compared with the keys of records.
#[derive(Clone, Debug)]
pub(super) struct Reserved {
    fields: Fields,
    /// True for every byte that a reserved name, or an escaped one, begins with.
    begins: [bool; 256],
}

/// The keys of one record that are reserved names, or reserved names with suffixes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OwnKeys {
    /// For each reserved name, bit *n* tells that it occurs with *n* suffixes.
    seen: [u16; KEYS],
    is_any_reserved: bool,
}

impl Reserved {
    pub(super) fn new(fields: &Fields) -> Self {
        let mut begins = [false; 256];
        begins[usize::from(b'\\')] = true;
        for name in &fields.0 {
            begins[usize::from(name.as_bytes()[0])] = true;
        }
        Self {
            fields: fields.clone(),
            begins,
        }
    }

    /// True where `key` may be reserved: nearly every key ends here.
    #[inline]
    pub(super) fn may_be(&self, key: &[u8]) -> bool {
        key.first()
            .is_some_and(|byte| self.begins[usize::from(*byte)])
    }

    /// Notes one top-level key that may be reserved as it stands in the record, between its quotes.
    pub(super) fn note(&self, own: &mut OwnKeys, key: &[u8]) {
        if let Some(name) = self.reserved(key) {
            own.seen[name.index] |= 1 << name.suffixes;
            own.is_any_reserved |= name.suffixes == 0;
        }
    }

    /// Reads a key as it stands in a record, between its quotes.
    fn reserved(&self, key: &[u8]) -> Option<Name> {
        let mut buffer = [0; KEY_BYTES_MAX];
        let key = if key.contains(&b'\\') {
            unescape(key, &mut buffer)?
        } else {
            key
        };
        self.fields.0.iter().enumerate().find_map(|(index, name)| {
            let mut rest = key.strip_prefix(name.as_bytes())?;
            let mut suffixes = 0;
            while !rest.is_empty() && suffixes <= SUFFIXES_MAX {
                rest = rest.strip_prefix(SUFFIX.as_bytes())?;
                suffixes += 1;
            }
            (suffixes <= SUFFIXES_MAX).then_some(Name { index, suffixes })
        })
    }

    /// Appends the new name of `key` and returns true, or returns false where it keeps its name.
    pub(super) fn append(&self, renames: &Renames, out: &mut Vec<u8>, key: &[u8]) -> bool {
        match self.reserved(key) {
            Some(Name { index, suffixes: 0 }) => {
                out.extend_from_slice(self.fields.name(index).as_bytes());
                for _ in 0..renames.suffixes[index] {
                    out.extend_from_slice(SUFFIX.as_bytes());
                }
                true
            }
            _ => false,
        }
    }
}

impl OwnKeys {
    /// True where a key is a reserved name and has to be renamed.
    pub(super) fn is_any_reserved(&self) -> bool {
        self.is_any_reserved
    }

    /// The new names, or `None` where one is not free with 8 suffixes either.
    pub(super) fn renames(&self) -> Option<Renames> {
        let mut suffixes = [0; KEYS];
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
    suffixes: [u32; KEYS],
}

/// A reserved name with `_orig` so and so many times after it.
struct Name {
    index: usize,
    suffixes: u32,
}

/// Resolves the escapes of a key. `None` where it does not fit the buffer or is not ASCII.
pub(super) fn unescape<'a>(key: &[u8], buffer: &'a mut [u8]) -> Option<&'a [u8]> {
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
        let reserved = Reserved::new(&Fields::default());
        let mut own = OwnKeys::default();
        let may_be = keys.iter().filter(|key| reserved.may_be(key.as_bytes()));
        may_be.for_each(|key| reserved.note(&mut own, key.as_bytes()));
        let renames = own.renames()?;
        let rename = |key: &&str| {
            let mut out = Vec::new();
            let is_renamed = reserved.append(&renames, &mut out, key.as_bytes());
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
        for name in DEFAULTS {
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

    #[test]
    fn names_can_be_given_and_must_differ() {
        let mut fields = Fields::default();

        fields.rename("time", "@timestamp").unwrap();
        assert_eq!(fields.clash(), None);
        assert_eq!(fields.name(TIME), "@timestamp");
        assert_eq!(fields.rename("tiem", "t"), Err(NotAField::Unknown));
        assert_eq!(fields.rename("time", "a b"), Err(NotAField::Name));
        assert_eq!(fields.rename("time", ""), Err(NotAField::Name));
        fields.rename("msg", "_source_orig").unwrap();
        assert_eq!(fields.clash(), Some("msg"));
    }
}
