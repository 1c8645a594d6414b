//! Files that rotation compresses: at once, later, as copies, while logweir does not look. A pattern that
//! names the log alone must do, and one that names the compressed files, too, must read nothing twice.

use std::fs;

use rustix::process::Signal;

use crate::support::{Dated, Packer, Packs, Plan, Rotation};

use super::{Order, Scene};

const HOW: [(Packer, Packs); 4] = [
    (Packer::Gzip, Packs::AtOnce),
    (Packer::Gzip, Packs::Later),
    (Packer::Zstd, Packs::AtOnce),
    (Packer::Zstd, Packs::Later),
];

/// Reads a hundred lines; then six times a hundred are written and rotated while logweir is killed,
/// or `paused`.
#[track_caller]
fn rotated_unseen(pattern: &str, rotation: Rotation, paused: bool) {
    let scene = Scene::new(pattern, "");
    let all = Plan::new(scene.dir.path("app.log"), 900);
    let part = |from, n_lines| Plan {
        from,
        n_lines,
        ..all.clone()
    };
    part(0, 100).write();
    let agent = scene.start();
    scene.expect(&agent, part(0, 100).text());
    let agent = if paused {
        agent.signal(Signal::STOP);
        Some(agent)
    } else {
        agent.kill();
        None
    };

    let unseen = Plan {
        // Generations are told apart by their times.
        per_second: 2_500,
        rotation,
        ..part(100, 600)
    };
    unseen.write();
    let agent = match agent {
        Some(agent) => {
            agent.signal(Signal::CONT);
            agent
        }
        None => scene.start(),
    };
    scene.expect(&agent, part(0, 700).text());
    agent.kill();

    part(700, 200).write();
    let agent = scene.start();
    scene.finish(agent, &all);
}

#[test]
fn generations_that_were_compressed_while_stopped_are_read_oldest_first() {
    for (packer, when) in HOW {
        for pattern in ["app.log", "app.log*"] {
            let rotation = Rotation::Packed {
                every: 100,
                packer,
                when,
            };
            rotated_unseen(pattern, rotation, false);
        }
    }
}

#[test]
fn generations_that_were_compressed_between_two_looks_are_read_oldest_first() {
    for (packer, when) in HOW {
        rotated_unseen(
            "app.log",
            Rotation::Packed {
                every: 100,
                packer,
                when,
            },
            true,
        );
    }
}

#[test]
fn compressed_generations_with_dates_are_read_oldest_first() {
    for names in [Dated::BeforeExtension, Dated::AfterDash, Dated::AfterDot] {
        for packer in [Packer::Gzip, Packer::Zstd] {
            let rotation = Rotation::PackedDated {
                every: 100,
                packer,
                names,
            };
            rotated_unseen("app.log", rotation, false);
            rotated_unseen("app.log", rotation, true);
        }
    }
}

#[test]
fn compressed_copies_of_a_truncated_file_are_read_oldest_first() {
    for packer in [Packer::Gzip, Packer::Zstd] {
        let rotation = Rotation::Packed {
            every: 100,
            packer,
            when: Packs::Copy,
        };
        for paused in [false, true] {
            rotated_unseen("app.log", rotation, paused);
        }
    }
}

// What was rotated before the first sight of a path is nobody's: not even when it is compressed later.
// Regression: a packer gives what it made the time of its original when it is done. Looked at before
// that (2 of 80 runs beside others) it counted as a file that had come unseen. As long as the original
// is there, the time of that one counts now. (Leaving the other one out meanwhile lost the order of
// lines, and had some twice: it may be done, and the original gone, before the directory is listed
// again.)
#[test]
fn what_was_compressed_before_the_first_sight_is_not_read() {
    let scene = Scene::new("app.log", "");
    let old = Plan {
        writer: 2,
        ..Plan::new(scene.dir.path("app.log.1"), 100)
    };
    old.write();
    fs::rename(scene.dir.path("app.log.1"), scene.dir.path("app.log.2")).unwrap();
    Packer::Gzip.pack(&scene.dir.path("app.log.2"));
    Plan {
        writer: 3,
        ..old.clone()
    }
    .write();
    // Its times must tell that it is older: those of files have steps of some milliseconds.
    crate::support::pass(std::time::Duration::from_secs(3));
    let plan = Plan {
        rotation: Rotation::Packed {
            every: 100,
            packer: Packer::Gzip,
            when: Packs::Later,
        },
        per_second: 1_000,
        ..scene.plan(300)
    };
    let agent = scene.start();
    plan.write();

    scene.finish(agent, &plan);
}

/// A copy of a file that is rotated and compressed 4,000 lines a second, through kills.
#[track_caller]
fn trial(test: &str, pattern: &str, rotation: Rotation, kills: u64) {
    let mut scene = Scene::new(pattern, "");
    if pattern != "app.log" && kills > 0 {
        scene.order = Order::OfEachFile;
    }
    let plan = Plan {
        per_second: 4_000,
        torn: true,
        rotation,
        ..scene.plan(6_000)
    };

    scene.trial(test, &plan, kills);
}

#[test]
fn compression_at_once_loses_nothing_to_kills() {
    for packer in [Packer::Gzip, Packer::Zstd] {
        let when = Packs::AtOnce;
        trial(
            "at once",
            "app.log",
            Rotation::Packed {
                every: 400,
                packer,
                when,
            },
            8,
        );
    }
}

#[test]
fn compression_at_the_next_turn_loses_nothing_to_kills() {
    let (packer, when) = (Packer::Gzip, Packs::Later);
    trial(
        "later",
        "app.log",
        Rotation::Packed {
            every: 400,
            packer,
            when,
        },
        8,
    );
}

#[test]
fn compressed_copies_lose_nothing_to_kills() {
    let (packer, when) = (Packer::Gzip, Packs::Copy);
    trial(
        "copies",
        "app.log",
        Rotation::Packed {
            every: 900,
            packer,
            when,
        },
        8,
    );
}

#[test]
fn compressed_files_that_a_glob_names_are_read_once_through_kills() {
    for when in [Packs::AtOnce, Packs::Later] {
        let packer = Packer::Gzip;
        trial(
            "glob",
            "app.log*",
            Rotation::Packed {
                every: 400,
                packer,
                when,
            },
            8,
        );
    }
}

#[test]
fn compression_without_kills_is_exact() {
    for when in [Packs::AtOnce, Packs::Later, Packs::Copy] {
        for pattern in ["app.log", "app.log*"] {
            let packer = Packer::Gzip;
            trial(
                "no kills",
                pattern,
                Rotation::Packed {
                    every: if when == Packs::Copy { 900 } else { 300 },
                    packer,
                    when,
                },
                0,
            );
        }
    }
}
