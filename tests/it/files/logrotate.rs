//! Files that the real logrotate rotates.

use crate::support::{Directives, Plan, Rotation, has_tool};

use super::{Order, Scene};

/// A copy of a file that logrotate rotates every `every` lines, 4,000 lines a second.
#[track_caller]
fn trial(directives: Directives, pattern: &str, every: u64, kills: u64) {
    let test = format!("logrotate {directives:?} {pattern}");
    if !has_tool(&test, "logrotate") {
        return;
    }
    let mut scene = Scene::new(pattern, "");
    let by_name = matches!(
        directives,
        Directives::CopyTruncateCompress | Directives::OldDir
    );
    if pattern != "app.log" && (kills > 0 || by_name) {
        scene.order = Order::OfEachFile;
    }
    let plan = Plan {
        per_second: 4_000,
        torn: true,
        rotation: Rotation::Logrotate { every, directives },
        ..scene.plan(6_000)
    };
    scene.trial(&test, &plan, kills);
}

#[test]
fn its_renames_are_exact_through_kills() {
    for kills in [0, 6] {
        trial(Directives::Create, "app.log", 400, kills);
        trial(Directives::NoCreate, "app.log*", 400, kills);
    }
}

// Compressed ten times a second, and killed as often beside seven others like it, some of a hundred runs
// have a generation out of order, or call lines lost that came from its compressed copy: whether every
// line arrives at a pace that is only absurd is what is asked for with kills.
#[test]
fn its_compression_is_exact_through_kills() {
    for (every, kills) in [(400, 0), (1_500, 6)] {
        trial(Directives::Compress, "app.log", every, kills);
        trial(Directives::Compress, "app.log*", every, kills);
        trial(Directives::DelayCompress, "app.log", every, kills);
    }
}

// Regression: looked at when it was empty, a compressed copy was whole a moment later, and held nothing
// that was known, for nothing was known of its beginning: all of it came twice (3 of 36 runs, six at a
// time). What is judged as whole must begin as it was seen to.
#[test]
fn its_copies_are_exact_through_kills() {
    for kills in [0, 6] {
        trial(Directives::CopyTruncate, "app.log", 900, kills);
        trial(Directives::CopyTruncateCompress, "app.log", 1_500, kills);
    }
    trial(Directives::CopyTruncateCompress, "app.log*", 900, 0);
}

#[test]
fn its_dates_are_exact_through_kills() {
    for kills in [0, 6] {
        trial(Directives::DateExt, "app.log", 4_500, kills);
        trial(Directives::DateExtCompress, "app*.log*", 4_500, kills);
    }
}

// A compressed file is not compared with what was unread of a file in another directory: with kills it
// can come twice.
#[test]
fn its_other_directory_loses_and_doubles_nothing() {
    trial(Directives::OldDir, "**/app.log*", 400, 0);
}
