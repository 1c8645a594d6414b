//! Files that the real logrotate rotates.

use crate::support::{Directives, Plan, Rotation, has_tool};

use super::{Order, Scene};

/// A copy of a file that logrotate rotates every `every` lines, 4,000 lines a second, with and without
/// kills.
#[track_caller]
fn trial(directives: Directives, pattern: &str, every: u64) {
    let test = format!("logrotate {directives:?} {pattern}");
    if !has_tool(&test, "logrotate") {
        return;
    }
    for kills in [0, 6] {
        let mut scene = Scene::new(pattern, "");
        if pattern != "app.log" && kills > 0 {
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
}

#[test]
fn its_renames_are_exact_through_kills() {
    trial(Directives::Create, "app.log", 400);
    trial(Directives::NoCreate, "app.log*", 400);
}

#[test]
fn its_compression_is_exact_through_kills() {
    trial(Directives::Compress, "app.log", 400);
    trial(Directives::Compress, "app.log*", 400);
    trial(Directives::DelayCompress, "app.log", 400);
}

#[test]
fn its_copies_are_exact_through_kills() {
    trial(Directives::CopyTruncate, "app.log", 900);
    trial(Directives::CopyTruncateCompress, "app.log*", 900);
}

#[test]
fn its_dates_are_exact_through_kills() {
    trial(Directives::DateExt, "app.log", 4_500);
    trial(Directives::DateExtCompress, "app*.log*", 4_500);
}

#[test]
fn its_other_directory_is_exact_through_kills() {
    trial(Directives::OldDir, "**/app.log*", 400);
}
