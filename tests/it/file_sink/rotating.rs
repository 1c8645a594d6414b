//! Rotation of outputs by time, and how many of them are kept.

use crate::support::{Dir, Logweir, PATIENCE, Plan, within};

use super::aside::{aside, wait_compressed, whole};

#[test]
fn outputs_are_rotated_by_time_compressed_and_the_oldest_deleted() {
    let dir = Dir::new();
    let config = dir.copy_config("rotate = { every = \"1s\", keep = 2, compress = true }");
    let plan = Plan {
        per_second: 400,
        ..Plan::new(dir.path("app.log"), 2_400)
    };
    let agent = Logweir::run(&dir, &config).start();

    let writer = plan.start();
    let deleted = || agent.said().matches("rotated output is deleted").count();
    within("two deletions", 3 * PATIENCE, || {
        (deleted() >= 2).then_some(())
    });
    writer.wait(3 * PATIENCE);
    let text = plan.text();
    super::wait_end(&dir.path("out.log"), super::last_line(&text));
    within("two files to be kept", PATIENCE, || {
        (aside(&dir, "out.log").len() == 2).then_some(())
    });
    wait_compressed(&dir, "out.log");
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let kept = whole(&dir, "out.log");
    // A second of lines is in each of them, more or less.
    assert!(
        kept.len() > 400 * 121 && kept.len() < text.len(),
        "{} bytes",
        kept.len()
    );
    assert!(
        text.as_bytes().ends_with(&kept),
        "what is kept is not the end of the input"
    );
}

#[test]
fn what_is_kept_holds_for_the_files_of_earlier_runs() {
    let dir = Dir::new();
    let config = |keep| {
        let rotate = format!("rotate = {{ size = \"4KiB\", keep = {keep} }}");
        dir.copy_config(&format!("batch = {{ lines = 20 }}\n{rotate}"))
    };
    let plan = Plan::new(dir.path("app.log"), 1_000);
    plan.write();
    let agent = Logweir::run(&dir, &config(1_000)).start();
    let text = plan.text();
    super::wait_end(&dir.path("out.log"), super::last_line(&text));
    agent.kill();
    let before = aside(&dir, "out.log");
    assert!(before.len() >= 20, "only {} rotations", before.len());

    let agent = Logweir::run(&dir, &config(3)).start();
    within("three files to be kept", PATIENCE, || {
        (aside(&dir, "out.log").len() == 3).then_some(())
    });
    agent.kill();

    assert_eq!(aside(&dir, "out.log"), before[before.len() - 3..]);
}
