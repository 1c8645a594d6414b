//! `logweir tail`: what a person at a terminal, or `head`, `jq` and `grep`, see of files.

mod backlog;
mod ending;
mod flush;
mod follow;
mod merge;
mod more;
mod output;
mod select;

use std::path::Path;

use crate::support::{Dir, Logweir};

/// The finished output of `tail --no-follow -n all ARGS… FILE`.
#[track_caller]
fn whole(dir: &Dir, args: &[&str], file: &Path) -> Vec<u8> {
    let file = file.to_str().expect("temporary paths are UTF-8");
    let args = [&["--no-follow", "-n", "all"], args, &[file]].concat();
    Logweir::tail(dir, args).ended().good()
}
