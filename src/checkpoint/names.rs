//! Names as the journal's lines hold them, read without a copy in between; those that line after
//! line repeats are read once. Of 100,000 known files there are half a million names, nearly all of
//! which are those of one source and one sink.
//!
//! Pure: no I/O, no clock.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserializer, Error, Visitor};

/// Sources and sinks that are remembered: a journal of more is read as well, with more copies.
const REMEMBERED: usize = 4;

thread_local! {
    /// The last names that lines repeated, the last one first.
    static LAST: RefCell<Vec<Arc<str>>> = const { RefCell::new(Vec::new()) };
}

/// A name of its own: an id or a path.
pub(super) fn unique<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<str>, D::Error> {
    from.deserialize_str(Name { is_repeated: false })
}

/// The name of a source or a sink.
pub(super) fn repeated<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<str>, D::Error> {
    from.deserialize_str(Name { is_repeated: true })
}

struct Name {
    is_repeated: bool,
}

impl Visitor<'_> for Name {
    type Value = Arc<str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Arc<str>, E> {
        Ok(match self.is_repeated {
            true => LAST.with_borrow_mut(|last| the_one(last, name)),
            false => name.into(),
        })
    }
}

/// The copy of a name that is remembered, which becomes the first.
fn the_one(last: &mut Vec<Arc<str>>, name: &str) -> Arc<str> {
    match last.iter().position(|known| **known == *name) {
        Some(at) => last[..=at].rotate_right(1),
        None => {
            last.truncate(REMEMBERED - 1);
            last.insert(0, name.into());
        }
    }
    Arc::clone(&last[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_names_are_one_copy_each() {
        let mut last = Vec::new();
        let mut read = |name| the_one(&mut last, name);
        let names = ["a", "b", "c", "d"];
        let first = names.map(&mut read);
        for (name, known) in names.iter().zip(&first) {
            assert!(Arc::ptr_eq(&read(name), known), "{name}");
        }
        let fifth = read("e");
        assert_eq!(&*fifth, "e");
        assert!(Arc::ptr_eq(&read("d"), &first[3]));
        assert!(!Arc::ptr_eq(&read("a"), &first[0]), "it was the oldest");
        assert_eq!(last.len(), REMEMBERED);
    }
}
