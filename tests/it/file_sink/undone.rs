//! Regression: a batch that was intended and not written, behind which a shorter one comes.
//!
//! Scenario: the agent is killed between an intent and its write, or in the middle of the write.
//! After the next start the batch is another one, because it ends where the file ended at that
//! moment; the agent is killed again before that batch's positions are in the journal.
//!
//! Bug: an intent in the journal said that the sink's intent before it had been carried out, also
//! across a restart; and the rotation of an output took over the positions of the last intent, made
//! or not. So lines counted as written that no output held: the difference of the two batches.
//!
//! Fix: what an intent says of the one before it holds within one process. Of the run before,
//! recovery settles the last intent, and the first one of a process says that it begins anew.

use crate::support::{Dir, Logweir, Plan};

use super::aside::whole;
use super::{last_line, wait_end};

/// Copies `app.log` with batches of so many lines until a file of `blocks` times 512 bytes may not
/// grow any more: the write behind that ends the process, as a kill would at that moment.
#[track_caller]
fn run_into_the_limit(dir: &Dir, blocks: u64, sink: &str) {
    let config = dir.copy_config(sink);
    let script = format!(r#"ulimit -c 0; ulimit -f {blocks}; exec "$@""#);
    let args = ["run", "-c", config.to_str().unwrap()];
    let mut agent = Logweir::shell(dir, &script, args).start();
    agent.wait_idle_or_end();
    let ended = agent.wait();
    assert_eq!(ended.code, 128 + 25, "SIGXFSZ: {}", ended.stderr);
}

/// Starts without a limit, and compares the whole output.
#[track_caller]
fn expect_exact(dir: &Dir, sink: &str, before: &str, plan: &Plan) {
    let agent = Logweir::run(dir, &dir.copy_config(sink)).start();
    let text = plan.text();
    wait_end(&dir.path("out.log"), last_line(&text));
    agent.kill();
    let expected = format!("{before}{text}");
    assert!(
        whole(dir, "out.log") == expected.as_bytes(),
        "{} bytes instead of {}",
        whole(dir, "out.log").len(),
        expected.len()
    );
}

/// A file of lines, and an output that is as long as the limit of `blocks`.
fn scene(blocks: usize) -> (Dir, String, Plan) {
    let dir = Dir::new();
    let before = format!("{}\n", "x".repeat(511)).repeat(blocks);
    dir.write("out.log", &before);
    let plan = Plan::new(dir.path("app.log"), 1_000);
    plan.write();
    (dir, before, plan)
}

#[test]
fn a_shorter_batch_does_not_confirm_a_longer_one_that_was_never_written() {
    let (dir, before, plan) = scene(128);

    for lines in [200, 100, 150, 50] {
        run_into_the_limit(&dir, 128, &format!("batch = {{ lines = {lines} }}"));
    }

    assert_eq!(dir.read("out.log"), before.as_bytes());
    expect_exact(&dir, "", &before, &plan);
}

#[test]
fn a_shorter_batch_does_not_confirm_a_longer_one_that_was_torn() {
    let (dir, _, plan) = scene(0);

    for lines in [900, 700, 800] {
        run_into_the_limit(&dir, 128, &format!("batch = {{ lines = {lines} }}"));
        assert_eq!(dir.size("out.log"), 128 * 512, "nothing was torn");
    }

    expect_exact(&dir, "", "", &plan);
}

#[test]
fn rotation_does_not_confirm_a_batch_that_was_never_written() {
    let (dir, before, plan) = scene(32);
    run_into_the_limit(&dir, 32, "batch = { lines = 200 }");

    // The output is put aside; the first batch of the new one is torn.
    let sink = "batch = { lines = 150 }\nrotate = { size = \"8KiB\", keep = 10000 }";
    run_into_the_limit(&dir, 32, sink);

    assert_eq!(dir.size("out.log"), 32 * 512, "nothing was torn");
    expect_exact(&dir, sink, &before, &plan);
}
