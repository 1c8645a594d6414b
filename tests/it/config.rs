//! `check`, and what a bad configuration looks like to the person who wrote it.

use std::fs;

use crate::support::{Dir, Ended, Logweir};

/// `logweir check -c` of a configuration with `{dir}` replaced.
#[track_caller]
fn check(toml: &str) -> Ended {
    let dir = Dir::new();
    let config = dir.bare_config(toml);
    Logweir::new(&dir, ["check", "-c", config.to_str().unwrap()]).ended()
}

#[test]
fn the_example_passes() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/agent.toml.example");

    let ended = Logweir::new(&Dir::new(), ["check", "--no-env", "-c", example]).ended();

    ended.failed(0, &[]);
}

#[test]
fn the_example_names_every_kind_of_source_and_sink_that_exists() {
    let example = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/agent.toml.example"));
    let example = example.expect("the example is there");

    for table in ["[source", "[sink", "[agent]"] {
        assert!(example.contains(table), "no {table} in agent.toml.example");
    }
}

#[test]
fn an_unknown_key_is_shown_at_its_place_with_a_suggestion() {
    let ended = check(
        "[source.app]\npath = \"{dir}/app.log\"\nstrat = \"end\"\n\n[sink]\nout = \"stdout\"\n",
    );

    ended.failed(
        78,
        &[
            "error: unknown key `strat` in source `app`\n",
            "agent.toml:3:1\n",
            "\n 3 | strat = \"end\"\n",
            "^^^^^ did you mean `start`?\n",
            "note: keys of a file source: ",
        ],
    );
}

#[test]
fn every_error_is_reported_not_only_the_first() {
    let ended = check(
        "[source.app]\npath = \"{dir}/app.log\"\nmax_line = \"0B\"\nnonsense = 1\n\n\
         [sink.out]\npath = \"{dir}/out.log\"\nformat = \"yaml\"\nbatch = { linger = 5 }\n",
    );

    ended.failed(78, &["max_line", "0B", "nonsense", "yaml", "linger"]);
    assert!(
        ended.stderr.matches("error: ").count() >= 4,
        "{}",
        ended.stderr
    );
}

#[test]
fn run_with_a_bad_configuration_ends_before_it_does_anything() {
    let dir = Dir::new();
    dir.write("app.log", "one\n");
    let config = dir.config(
        "[source.app]\npath = \"{dir}/app.log\"\nintervl = \"5s\"\n\n\
         [sink]\nout = \"{dir}/out.log\"\n",
    );

    let ended = Logweir::run(&dir, &config).ended();

    ended.failed(78, &["unknown key `intervl` in source `app`"]);
    assert!(!dir.path("out.log").exists() && !dir.path("state").exists());
}

#[test]
fn a_missing_configuration_is_named() {
    let dir = Dir::new();

    let ended = Logweir::run(&dir, &dir.path("nowhere.toml")).ended();

    ended.failed(78, &[&dir.text("nowhere.toml"), "o such file"]);
}

#[test]
fn a_syntax_error_is_shown_at_its_place() {
    let ended = check("[source]\napp = \"{dir}/app.log\n");

    ended.failed(78, &["agent.toml:2:"]);
}

#[test]
fn a_source_that_no_sink_takes_is_an_error() {
    let ended = check(
        "[source]\napp = \"{dir}/app.log\"\nother = \"{dir}/other.log\"\n\n\
         [sink.out]\npath = \"{dir}/out.log\"\nfrom = [\"app\"]\n",
    );

    ended.failed(78, &["error: ", "other"]);
}

#[test]
fn a_bare_number_as_a_duration_is_refused_with_a_hint() {
    let ended = check(
        "[agent]\nshutdown = 20\n\n[source]\napp = \"{dir}/app.log\"\n\n[sink]\nout = \"stdout\"\n",
    );

    ended.failed(78, &["shutdown", "20s"]);
}

#[test]
fn missing_references_are_reported_all_at_once() {
    let ended = check(
        "[source]\napp = \"{dir}/app.log\"\n\n[sink.out]\nurl = \"http://127.0.0.1:1/\"\n\
         headers = { A = \"${env:NO_SUCH_A}\", B = \"${env:NO_SUCH_B}\" }\n",
    );

    ended.failed(78, &["NO_SUCH_A", "NO_SUCH_B"]);
}

#[test]
fn more_in_flight_than_memory_is_an_error() {
    let ended = check(
        "[source]\napp = \"{dir}/app.log\"\n\n[sink.out]\nurl = \"http://127.0.0.1:1/\"\n\
         batch = { bytes = \"4MiB\" }\nconcurrency = 4\n",
    );

    ended.failed(78, &["batch", "concurrency", "memory"]);
}

#[test]
fn a_good_configuration_passes() {
    let ended = check("[source]\napp = \"{dir}/app.log\"\n\n[sink]\nout = \"stdout\"\n");

    ended.failed(0, &[]);
}

// Scenario: a collector's `tls.ca` is not there. Bug: `check` passed it, and `run` refused to start; a
// source's was found out when it was first read, and the source ended. Fix: the files are read with the
// configuration, and a missing one is shown at its place.
#[test]
fn a_certificate_that_is_not_there_is_shown_at_its_place() {
    let toml = "[source]\na = \"{dir}/a.log\"\n\n[sink.web]\nurl = \"https://127.0.0.1\"\n\
                tls = { ca = \"{dir}/ca.pem\" }\n";

    let ended = check(toml);

    ended.failed(
        78,
        &[
            "sink `web`: tls.ca",
            "ca.pem",
            "agent.toml:6:14",
            "may logweir read it?",
        ],
    );
}
