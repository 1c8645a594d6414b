//! Exactly once from file to file, through `kill -9` at random times from a printed seed: with our
//! own rotation, with several outputs, with several sources, with input that is rotated meanwhile.

use std::path::Path;
use std::process::Child;
use std::time::Duration;

use super::aside::{aside, wait_compressed, whole};
use crate::support::{Agent, Dir, Logweir, Oracle, Plan, Rng, Rotation, pass, poll, within};

/// How long writing the rest may take after the last kill.
pub(super) const DRAIN: Duration = Duration::from_secs(40);

/// How many kills, and how many lines of each writer.
fn extent() -> (u64, u64) {
    match std::env::var_os("LOGWEIR_TEST_LONG") {
        Some(_) => (300, 400_000),
        None => (20, 16_000),
    }
}

/// A torn writer that needs some seconds.
fn plan(dir: &Dir, writer: u32, rotation: Rotation) -> Plan {
    Plan {
        writer,
        per_second: 4_000,
        torn: true,
        rotation,
        ..Plan::new(dir.path(&format!("app{writer}.log")), extent().1)
    }
}

/// Starts and kills the agent until the writers have ended and it happened often enough; then starts
/// it once more. Half of the kills come early: at the start much is settled.
fn kill_in_a_loop(test: &str, dir: &Dir, config: &Path, writers: &mut [Child]) -> Agent {
    let mut rng = Rng::printed(test);
    let mut kills = 0;
    loop {
        let agent = Logweir::run(dir, config).start();
        let early = rng.chance(50);
        pass(rng.millis(if early { 5..60 } else { 20..400 }));
        let mut writers = writers.iter_mut();
        let writes = writers.any(|it| it.try_wait().expect("waits for a writer").is_none());
        if kills >= extent().0 && !writes {
            eprintln!("{test}: {kills} kills");
            return agent;
        }
        agent.kill();
        kills += 1;
    }
}

/// Waits until `outputs` hold `wanted` bytes together and ends the agent.
#[track_caller]
fn finish(agent: Agent, wanted: usize, outputs: impl Fn() -> usize) {
    let arrived = poll(DRAIN, || (outputs() >= wanted).then_some(()));
    let ended = agent.stop();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        arrived.is_some(),
        "{} of {wanted} bytes in {DRAIN:?}",
        outputs()
    );
}

/// `app.log` to `out.log` with `sink` beside the usual keys: the output, and what was put aside of
/// it, are the input.
#[track_caller]
fn copy_trial(test: &str, sink: &str, rotation: Rotation) -> Dir {
    let dir = Dir::new();
    let batch = "batch = { lines = 200, linger = \"5ms\" }";
    let config = dir.copy_config(&format!("{batch}\n{sink}"));
    let plan = Plan {
        path: dir.path("app.log"),
        ..plan(&dir, 1, rotation)
    };

    let agent = kill_in_a_loop(test, &dir, &config, &mut [plan.process()]);
    let input = plan.text();
    let size = || -> usize {
        // Compressed files are read when there is nothing left to come.
        let current = dir.read("out.log");
        let ends = !current.is_empty() && input.as_bytes().ends_with(&current);
        if ends {
            input.len()
        } else {
            current.len().min(input.len() - 1)
        }
    };
    within("the last line", DRAIN, || {
        (size() == input.len()).then_some(())
    });
    if sink.contains("compress = true") {
        wait_compressed(&dir, "out.log");
    }
    finish(agent, input.len(), size);

    let output = whole(&dir, "out.log");
    let mut oracle = Oracle::default();
    oracle.raw(&output);
    oracle.report(&[(1, plan.n_lines)]).expect_exact();
    assert!(output == input.as_bytes(), "the copy differs");
    dir
}

#[test]
fn a_plain_copy_is_exact() {
    copy_trial("plain", "", Rotation::None);
}

#[test]
fn a_rotated_copy_is_exact() {
    let rotate = "rotate = { size = \"64KiB\", keep = 10000 }";

    let dir = copy_trial("rotated", rotate, Rotation::None);

    let n_aside = aside(&dir, "out.log").len();
    assert!(n_aside >= 20, "only {n_aside} rotations");
}

#[test]
fn a_compressed_copy_is_exact() {
    let rotate = "rotate = { size = \"32KiB\", keep = 10000, compress = true }";

    let dir = copy_trial("compressed", rotate, Rotation::None);

    let n_aside = aside(&dir, "out.log").len();
    assert!(n_aside >= 40, "only {n_aside} rotations");
}

#[test]
fn a_rotated_copy_of_rotated_input_is_exact() {
    let rotate = "rotate = { size = \"64KiB\", keep = 10000, compress = true }";

    copy_trial("both rotated", rotate, Rotation::Rename { every: 2_000 });
}

#[test]
fn a_copy_by_batches_on_disk_is_exact() {
    let sink = "fsync = \"batch\"\nrotate = { size = \"64KiB\", keep = 10000 }";

    copy_trial("fsync by batch", sink, Rotation::None);
}

#[test]
fn an_output_for_each_source_is_exact() {
    let dir = Dir::new();
    let sources = [1, 2, 3].map(|n| format!("app{n} = \"{{dir}}/app{n}.log\"\n"));
    let config = dir.config(&format!(
        "[source]\n{}\n[sink.out]\npath = \"{{dir}}/out/{{source}}/{{date:%Y}}.log\"\n\
         format = \"raw\"\nbatch = {{ lines = 600, linger = \"5ms\" }}\n\
         rotate = {{ size = \"96KiB\", keep = 10000 }}\n",
        sources.concat()
    ));
    let plans = [1, 2, 3].map(|n| plan(&dir, n, Rotation::None));
    let mut writers = plans.each_ref().map(Plan::process);

    let agent = kill_in_a_loop("an output for each source", &dir, &config, &mut writers);

    // The year may end while this runs.
    let output = |n: u32| -> Vec<u8> {
        let bytes = dir.files_below(&format!("out/app{n}"));
        let mut names: Vec<String> = bytes
            .iter()
            .map(|it| it.file_name().unwrap().to_str().unwrap()[..8].to_owned())
            .collect();
        names.sort();
        names.dedup();
        let one = |name: &String| whole(&dir, &format!("out/app{n}/{name}"));
        names.iter().flat_map(one).collect()
    };
    let inputs = plans.each_ref().map(Plan::text);
    let wanted = inputs.iter().map(String::len).sum();
    finish(agent, wanted, || (1..=3).map(|n| output(n).len()).sum());
    for (plan, input) in plans.iter().zip(&inputs) {
        assert!(
            output(plan.writer) == input.as_bytes(),
            "copy {}",
            plan.writer
        );
    }
}

#[test]
fn several_sources_into_one_file_are_each_exact() {
    let dir = Dir::new();
    let config = dir.config(
        "[source]\na = \"{dir}/app1.log\"\nb = \"{dir}/app[23].log\"\n\n\
         [sink.out]\npath = \"{dir}/out.log\"\nformat = \"raw\"\n\
         batch = { lines = 300, linger = \"5ms\" }\nrotate = { size = \"128KiB\", keep = 10000 }\n",
    );
    let plans = [1, 2, 3].map(|n| plan(&dir, n, Rotation::None));
    let mut writers = plans.each_ref().map(Plan::process);

    let agent = kill_in_a_loop("several into one", &dir, &config, &mut writers);

    let wanted = plans.iter().map(|plan| plan.text().len()).sum();
    finish(agent, wanted, || whole(&dir, "out.log").len());
    let mut oracle = Oracle::default();
    oracle.raw(&whole(&dir, "out.log"));
    oracle
        .report(&plans.each_ref().map(|plan| (plan.writer, plan.n_lines)))
        .expect_exact();
}
