//! Which sink writes to which file: two sinks in one file would write into each other's batches,
//! and after a crash neither could tell what is its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A file, by device and inode number.
type Id = (u64, u64);

/// The files that are open to be written. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Claims(Arc<Mutex<HashMap<Id, Owner>>>);

#[derive(Debug)]
struct Owner {
    sink: Arc<str>,
    /// How often it has the file open, by several paths.
    claims: usize,
}

/// A sink's claim to a file, for as long as it lives.
#[derive(Debug)]
pub struct Claim {
    all: Claims,
    id: Id,
}

impl Claims {
    /// Claims a file for `sink`.
    ///
    /// # Errors
    /// The name of the sink that has it.
    pub fn claim(&self, id: Id, sink: &Arc<str>) -> Result<Claim, Arc<str>> {
        let mut owners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = owners.entry(id).or_insert_with(|| Owner {
            sink: Arc::clone(sink),
            claims: 0,
        });
        if owner.sink != *sink {
            return Err(Arc::clone(&owner.sink));
        }
        owner.claims += 1;
        Ok(Claim {
            all: self.clone(),
            id,
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut owners = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(owner) = owners.get_mut(&self.id) {
            owner.claims -= 1;
            if owner.claims == 0 {
                owners.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_one_sinks_until_it_lets_go() {
        let claims = Claims::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());

        let first = claims.claim((1, 2), &a).unwrap();
        let second = claims.claim((1, 2), &a).unwrap();
        assert_eq!(claims.claim((1, 2), &b).unwrap_err(), a);
        assert!(claims.claim((1, 3), &b).is_ok());

        drop(first);
        assert_eq!(claims.claim((1, 2), &b).unwrap_err(), a);
        drop(second);
        assert!(claims.claim((1, 2), &b).is_ok());
    }
}
