//! Outputs of what cannot be read again: of a torn write whole lines stay.

use std::fs::File;

use crate::support::{Dir, Logweir, Plan, read};

#[test]
fn of_a_torn_write_of_a_stream_only_the_torn_line_goes() {
    let dir = Dir::new();
    let plan = Plan::new(dir.path("in.log"), 5_000);
    plan.write();
    let config = dir.config(
        "[source.in]\ntype = \"stdin\"\n\n\
         [sink.out]\npath = \"{dir}/out.log\"\nformat = \"raw\"\n",
    );
    let script = r#"ulimit -c 0; ulimit -f 128; exec "$@""#;
    let run = |script| {
        let args = ["run", "-c", config.to_str().unwrap()];
        let input = File::open(dir.path("in.log")).unwrap();
        Logweir::shell(&dir, script, args).stdin(input)
    };

    let ended = run(script).ended();
    assert_eq!(ended.code, 128 + 25, "SIGXFSZ: {}", ended.stderr);
    let torn = dir.read("out.log");
    assert!(
        !torn.ends_with(b"\n") && torn.len() == 128 * 512,
        "nothing was torn"
    );
    dir.write("in.log", "the end\n");
    let ended = run(r#"exec "$@""#).ended();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let whole = memchr::memrchr(b'\n', &torn).unwrap() + 1;
    let expected = [&torn[..whole], b"the end\n"].concat();
    assert!(dir.read("out.log") == expected, "whole lines are missing");
    let cut = dir.files_below("state/cut");
    assert_eq!(cut.len(), 1, "{cut:?}");
    assert!(
        read(&cut[0]) == torn[whole..],
        "the torn line was not saved"
    );
    assert!(
        ended.stderr.contains(cut[0].to_str().unwrap()),
        "{}",
        ended.stderr
    );
}
