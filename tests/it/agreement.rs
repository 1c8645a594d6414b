//! `check` is honest: what it passes, `run` starts with; what `run` refuses, it refuses, in the same
//! words. Tried with every fixture, and with configurations made of the example by chance.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use crate::support::{Agent, Dir, Logweir, PATIENCE, Rng, within};

/// What `${env:NAME}` finds.
const VARIABLES: [(&str, &str); 2] = [("TOKEN", "t0ken"), ("REGION", "eu-1")];

/// Values that are right somewhere and wrong elsewhere. None is a path outside of the directory.
const VALUES: [&str; 44] = [
    "5",
    "-1",
    "0",
    "true",
    "false",
    "[]",
    "{}",
    "\"\"",
    "[\"*\"]",
    "[5]",
    "{ max = 5 }",
    "1.5",
    "\"0B\"",
    "\"1B\"",
    "\"64MiB\"",
    "\"65MiB\"",
    "\"99999999999TiB\"",
    "\"0ms\"",
    "\"1h 30m\"",
    "\"99999999999d\"",
    "\"off\"",
    "\"auto\"",
    "\"end\"",
    "\"-1h\"",
    "\"json\"",
    "\"raw\"",
    "\"loki\"",
    "\"cri\"",
    "\"batch\"",
    "\"gzip:99\"",
    "\"zstd:3\"",
    "\"leading\"",
    "\"file\"",
    "\"http\"",
    "\"stdin\"",
    "\"[\"",
    "['(']",
    "{ start = '(' }",
    "\"${env:NOWHERE}\"",
    "\"${env:TOKEN}\"",
    "\"${file:nowhere}\"",
    "\"${cred:nowhere}\"",
    "\"http://127.0.0.1:9\"",
    "\"ftp://127.0.0.1/\"",
];

/// The text with all paths in `dir`.
fn localized(text: &str, dir: &Dir) -> String {
    let here = dir.text("");
    ["/var/lib/", "/var/log/", "/srv/", "/etc/"]
        .iter()
        .fold(text.to_owned(), |text, place| {
            text.replace(&format!("\"{place}"), &format!("\"{here}{place}"))
                .replace(&format!(":{place}"), &format!(":{here}{place}"))
        })
}

/// `check` or `run` of `agent.toml` in `dir`, which is where it stands.
fn command(dir: &Dir, name: &str, credentials: &str) -> Logweir {
    let script = format!("cd '{}' && exec \"$@\"", dir.text(""));
    let start = Logweir::shell(dir, &script, [name, "-c", "agent.toml"]);
    let state = dir.text("default-state");
    VARIABLES
        .iter()
        .fold(start, |start, (name, value)| start.env(name, value))
        .env("STATE_DIRECTORY", &state)
        .env("CREDENTIALS_DIRECTORY", credentials)
}

/// What `run` says and its exit code where it refuses to start; `None`: it started.
fn refusal(mut agent: Agent) -> Option<(i32, String)> {
    let refused = within("run to start or to refuse", PATIENCE, || {
        match agent.status() {
            Some(_) => Some(true),
            None => agent.is_listening().then_some(false),
        }
    });
    if !refused {
        // What is in flight is nobody's: the second one ends at once.
        agent.signal(Signal::TERM);
        if agent.status().is_none() {
            agent.signal(Signal::TERM);
        }
    }
    let ended = agent.wait();
    let said = ended.stderr;
    (ended.code == 78 || said.contains("can never go on")).then_some((ended.code, said))
}

/// Compares what both say of one configuration; true where it is good.
#[track_caller]
fn agree(text: &str, name: &str) -> bool {
    let (of_check, of_run) = (Dir::new(), Dir::new());
    // The same paths for both.
    let text = localized(text, &of_check);
    for dir in [&of_check, &of_run] {
        dir.write("agent.toml", &text);
    }
    fs::create_dir_all(of_check.path("etc/logweir")).expect("makes a folder");
    for secret in ["token", "billing-token", "password", "secret"] {
        of_check.write(&format!("etc/logweir/{secret}"), "s3cret\n");
    }
    let credentials = of_check.text("etc/logweir");

    let checked = command(&of_check, "check", &credentials).ended();
    let refused = refusal(command(&of_run, "run", &credentials).start());

    match (checked.code, refused) {
        (0, None) => true,
        (78, Some((78, said))) if said == checked.stderr => false,
        (code, refused) => panic!(
            "{name}: check exits with {code}:\n{}\nrun: {refused:?}\n\n{text}",
            checked.stderr
        ),
    }
}

/// Every configuration in a folder of fixtures.
fn fixtures(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/config")
        .join(folder);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("fixtures") {
        let path = entry.expect("a fixture").path();
        if path.extension().is_some_and(|it| it == "toml") {
            let text = fs::read_to_string(&path).expect("reads a fixture");
            found.push((path.display().to_string(), text));
        }
    }
    found.sort();
    found
}

#[test]
fn what_is_good_starts_and_what_is_bad_is_refused_in_the_same_words() {
    let (good, bad) = (fixtures("good"), fixtures("bad"));
    assert!(good.len() >= 5 && bad.len() >= 40);

    for (name, text) in &bad {
        assert!(!agree(text, name), "{name} is good");
    }
    for (name, text) in &good {
        agree(text, name);
    }
}

/// The example with some of what it leaves out, and some of it changed.
fn made(example: &str, rng: &mut Rng) -> String {
    let values: Vec<&str> = example
        .lines()
        .filter_map(|line| Some(line.split_once('=')?.1.trim()))
        .collect();
    let (mut lines, mut is_on) = (Vec::new(), true);
    for line in example.lines() {
        let bare = line.trim_start_matches('#');
        let is_prose = line.starts_with("# ") || line == "#" || line.is_empty();
        if is_prose || (line.starts_with("##") || line.starts_with("#tls")) && rng.chance(85) {
            continue;
        }
        if bare.starts_with('[') {
            is_on = bare == line || rng.chance(30);
        }
        // Without these there is not much of a source or a sink.
        let is_needed = [
            "[", "url", "path", "type", "format", "index", "token", "state",
        ]
        .iter()
        .any(|word| bare.starts_with(word));
        if is_on && (bare == line || is_needed || rng.chance(50)) {
            lines.push(bare.trim_start().to_owned());
        }
    }
    for _ in 0..rng.below(0..3) {
        let at = rng.below(0..lines.len() as u64) as usize;
        let Some((key, _)) = lines[at]
            .split_once('=')
            .filter(|(key, _)| !key.starts_with("state"))
        else {
            continue;
        };
        let own = VALUES[rng.below(0..VALUES.len() as u64) as usize];
        let other = values[rng.below(0..values.len() as u64) as usize];
        lines[at] = match rng.below(0..10) {
            0 => continue,
            1 => format!("{}x = {own}", key.trim()),
            2..7 => format!("{key}= {own}"),
            _ => format!("{key}= {other}"),
        };
    }
    lines.join("\n") + "\n"
}

#[test]
fn check_and_run_agree_about_what_chance_makes_of_the_example() {
    let n_made = match std::env::var_os("LOGWEIR_TEST_LONG") {
        Some(_) => 2_000,
        None => 100,
    };
    let mut rng = Rng::printed("made configurations");
    let example = include_str!("../../agent.toml.example");
    let mut n_good = 0;

    for n in 0..n_made {
        let text = made(example, &mut rng.fork());
        n_good += u32::from(agree(&text, &format!("configuration {n}")));
    }

    eprintln!("{n_good} of {n_made} were good");
    assert!(n_good > n_made / 20 && n_good < n_made, "{n_good}");
}
