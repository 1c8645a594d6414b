//! Paths that cannot be read: said once, and when it is over.

use std::path::Path;

use tracing::{info, warn};

use super::FileSource;

impl FileSource {
    /// Says a trouble with a path once.
    pub(super) fn trouble(&mut self, path: &Path, what: &str) {
        let text = format!("{}: {what}", path.display());
        if self.troubles.get(path) == Some(&text) {
            return;
        }
        // Those of the first look are reported together.
        if self.looked {
            warn!(source = %self.common.name, "cannot read {text}");
        }
        self.troubles.insert(path.to_owned(), text);
    }

    /// Counts what only a person can end.
    pub(super) fn note_refusal(&self, error: &std::io::Error) {
        if error.kind() == std::io::ErrorKind::PermissionDenied {
            self.cx.counters.refused.add(1);
        }
    }

    /// Says that a path can be read again.
    pub(super) fn relief(&mut self, path: &Path) {
        if self.troubles.remove(path).is_some() && self.looked {
            info!(source = %self.common.name, path = %path.display(), "can be read now");
        }
    }
}
