//! Where an API stands: its cursor, what a page that has not changed is recognised by, and which
//! records came last. All of it is one position, saved when what came with it was delivered.
//!
//! No I/O, no clock.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use super::known::Known;
use crate::model::Position;

/// Where an API stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Place {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cursor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unchanged: Option<Unchanged>,
    /// Records that were new so far, over all runs: tells which of two places is the older one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) n_records: u64,
    /// The hashes of the last ids, sixteen digits each.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    ids: String,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// How a server is asked whether a page is still as it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Unchanged {
    /// Which page: a hash of its URL, which may hold a secret.
    pub(super) page: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) modified: Option<String>,
}

/// A hash that stays the same from version to version: it is saved.
pub(super) fn hash(text: &str) -> u64 {
    XxHash3_64::oneshot(text.as_bytes())
}

impl Place {
    /// Reads a saved place; what cannot be read is none.
    pub(super) fn read(token: &str) -> Self {
        serde_json::from_str(token).unwrap_or_default()
    }

    /// True where there is nothing to go on from.
    pub(super) fn is_nowhere(&self) -> bool {
        self.cursor.is_none() && self.unchanged.is_none() && self.ids.is_empty()
    }

    pub(super) fn position(&self) -> Position {
        let cursor = serde_json::to_string(self).unwrap_or_default();
        Position::Token {
            cursor: Arc::from(cursor),
            skip: 0,
        }
    }

    /// Notes which ids are the last ones.
    pub(super) fn set_ids(&mut self, known: &Known) {
        self.ids = known.saved().map(|id| format!("{id:016x}")).collect();
    }

    pub(super) fn known(&self) -> Known {
        let digits = self.ids.as_bytes().chunks_exact(16);
        let id = |it| u64::from_str_radix(std::str::from_utf8(it).ok()?, 16).ok();
        Known::of(digits.filter_map(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_saved_and_read() {
        let known = Known::of([7, u64::MAX].into_iter());
        let mut place = Place {
            cursor: Some("a \"b\"".to_owned()),
            unchanged: Some(Unchanged {
                page: hash("http://h"),
                etag: Some("\"x\"".to_owned()),
                modified: None,
            }),
            ..Place::default()
        };
        place.set_ids(&known);
        let Position::Token { cursor, .. } = place.position() else {
            panic!("a token")
        };

        let read = Place::read(&cursor);

        assert_eq!(read, place);
        let mut known = read.known();
        assert!(!known.see(7) && !known.see(u64::MAX) && known.see(8));
        assert_eq!(Place::read("of another version"), Place::default());
    }
}
