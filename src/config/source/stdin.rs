//! Makes the source that reads standard input; it has no keys of its own.

use crate::source::stdin::{Input, StdinConfig};

pub(super) fn of_stdin() -> StdinConfig {
    StdinConfig {
        input: Input::Stdin,
    }
}
