//! README.md: its configurations are good, and its examples are run and say what is shown.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::Signal;

use crate::support::{Answer, Collector, Dir, Logweir, PATIENCE, Request, Settings, within};

const README: &str = include_str!("../../README.md");

/// The fenced blocks of one language.
fn blocks(language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = README.lines();
    while let Some(line) = lines.next() {
        let Some(found) = line.strip_prefix("```").filter(|it| !it.is_empty()) else {
            continue;
        };
        let body = lines.by_ref().take_while(|line| *line != "```");
        let body: String = body.map(|line| format!("{line}\n")).collect();
        if found == language {
            blocks.push(body);
        }
    }
    blocks
}

/// What is typed at a prompt, and what is shown below it.
#[derive(Debug)]
struct Example {
    command: String,
    shown: String,
}

/// All of them: a command stands after `$ `, what is shown goes on to an empty line or the next one.
fn examples() -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    for block in blocks("console") {
        let mut is_open = false;
        for line in block.lines() {
            if let Some(command) = line.strip_prefix("$ ") {
                examples.push(Example {
                    command: command.to_owned(),
                    shown: String::new(),
                });
                is_open = true;
            } else if let Some(example) = examples.last_mut().filter(|_| is_open) {
                example.shown += line;
                example.shown.push('\n');
            }
        }
    }
    examples
}

/// Examples that no test runs, and why.
const NOT_RUN: [(&str, &str); 4] = [
    (
        "cargo run --release --locked -- demo      # see it work: 8 live sources on this machine, merged",
        "it compiles a release; what it then does is run by network::demo",
    ),
    (
        "cargo test --locked                       # the tests, kills and restarts included",
        "it is what runs this",
    ),
    (
        "cargo bench --bench end_to_end",
        "it measures for minutes; .ci/run compiles it",
    ),
    (
        "LOGWEIR_BENCH_MB=1000 cargo bench --bench end_to_end",
        "the same",
    ),
];

/// The one command that ends when it is told to; [`the_service_runs_as_shown`] does.
const SERVICE: &str = "logweir run -c agent.toml";

/// The commands of a pipeline. A `|` in single quotes is somebody else's.
fn stages(pipeline: &str) -> Vec<&str> {
    let mut is_quoted = false;
    let ends_stage = move |c: char| {
        is_quoted ^= c == '\'';
        c == '|' && !is_quoted
    };
    pipeline.split(ends_stage).map(str::trim).collect()
}

/// The programs of a pipeline that a shell does not find.
fn missing_programs(pipeline: &str) -> Vec<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let exists = |program: &str| {
        program == "logweir"
            || std::env::split_paths(&path).any(|dir| Path::new(&dir).join(program).is_file())
    };
    let programs = stages(pipeline).into_iter();
    programs
        .filter_map(|stage| stage.split_whitespace().next())
        .filter(|program| !exists(program))
        .map(str::to_owned)
        .collect()
}

/// Runs a command line where `cargo test` stands, in the repository's root: all that it says.
fn said(command: &str, dir: &Dir) -> (i32, String) {
    let script = format!("bin=$1; logweir() {{ \"$bin\" \"$@\"; }}; {{ {command}; }} 2>&1");
    let ended = Logweir::shell(dir, &script, [""; 0]).ended();
    (
        ended.code,
        String::from_utf8_lossy(&ended.stdout).into_owned(),
    )
}

/// What differs from one run to the next, replaced by words.
fn plain(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, word) in [
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", "TIME"),
        (r"\d\d:\d\d:\d\d\.\d{3} │", "TIME │"),
        (r"state=\S+", "state=STATE"),
        (r"\d+ dropped, \d+m?s", "N dropped, SPAN"),
        (r#"(lines|retries|after_s|stalled_s)="?[\d.]+"#, "$1=N"),
    ] {
        let pattern = regex::Regex::new(pattern).expect("a good pattern");
        text = pattern.replace_all(&text, word).into_owned();
    }
    text
}

/// Fails unless `said` is what is `shown`, where `…` stands for a part of a line. The summary on
/// standard error need not be shown.
#[track_caller]
fn compare(command: &str, shown: &str, said: &str) {
    let (shown, said) = (plain(shown.trim_end()), plain(said.trim_end()));
    let shows_summary = shown.lines().any(|line| line.starts_with("= "));
    let said: Vec<&str> = said
        .lines()
        .filter(|line| shows_summary || !line.starts_with("= "))
        .collect();
    let fits = |shown: &str, said: &str| match shown.split_once('…') {
        Some((begin, end)) => said.starts_with(begin) && said.ends_with(end),
        None => shown == said,
    };
    let is_same =
        shown.lines().count() == said.len() && shown.lines().zip(&said).all(|(a, b)| fits(a, b));
    assert!(
        is_same,
        "$ {command}\nREADME.md shows:\n{shown}\nit says:\n{}",
        said.join("\n")
    );
}

#[test]
fn its_configurations_are_good() {
    let configurations: Vec<_> = blocks("toml")
        .into_iter()
        .filter(|block| block.contains("[source"))
        .collect();
    assert!(!configurations.is_empty());

    for configuration in configurations {
        let dir = Dir::new();
        let path = dir.write("agent.toml", &configuration);
        let script = format!("exec \"$@\" <'{}'", path.display());
        let args = ["check", "--no-env", "--deny-warnings", "-c", "-"];

        let ended = Logweir::shell(&dir, &script, args).ended();

        assert_eq!(ended.code, 0, "{configuration}\n{}", ended.stderr);
    }
}

#[test]
fn its_examples_say_what_is_shown() {
    let mut not_run = Vec::new();
    for example in examples() {
        let command = &*example.command;
        if let Some(found) = NOT_RUN.iter().find(|(it, _)| *it == command) {
            eprintln!("not run: $ {command}: {}", found.1);
            not_run.push(*found);
            continue;
        }
        if command.contains("-c agent.toml") {
            continue;
        }
        let missing = missing_programs(command);
        if !missing.is_empty() {
            eprintln!("not run, {missing:?} is not installed: $ {command}");
            continue;
        }

        let (code, said) = said(command, &Dir::new());

        assert_eq!(code, 0, "$ {command}\n{said}");
        compare(command, &example.shown, &said);
    }
    assert_eq!(not_run, NOT_RUN, "what is not run is another than is said");
}

/// The first configuration of the text, with what it names below `dir`.
fn service(dir: &Dir, url: &str) -> String {
    let configurations = blocks("toml");
    let configuration = configurations.first().expect("a configuration");
    let folder = dir.text("");
    let mut text = configuration.clone();
    for (path, own) in [
        ("/var/log/nginx/", format!("{folder}nginx/")),
        ("/srv/app/log/", format!("{folder}app/")),
        ("/etc/logweir/token", format!("{folder}token")),
        ("/var/log/logweir/", format!("{folder}out/")),
        ("https://collector.internal/ingest", url.to_owned()),
    ] {
        assert!(text.contains(path), "{path} is not in\n{text}");
        text = text.replace(path, &own);
    }
    let token = dir.write("token", "t0ken\n");
    fs::set_permissions(token, Permissions::from_mode(0o600)).expect("chmod");
    text
}

/// The examples whose command is that.
fn shown_of(command: &str) -> Vec<String> {
    let fitting = examples().into_iter().filter(|it| it.command == command);
    fitting.map(|it| it.shown).collect()
}

#[test]
fn its_checks_say_what_is_shown() {
    let command = "logweir check -c agent.toml";
    let [good, bad] = &shown_of(command)[..] else {
        panic!("two examples of it were there");
    };
    let dir = Dir::new();
    let within = format!("cd '{}' && {command}", dir.path("").display());
    let mistaken = "[source.app]\npath = \"/srv/app/*.log\"\nstrat = \"end\"\n\n[sink.collector]\n\
                    url = \"https://collector.internal/ingest\"\nbatch = { linger = 5 }\n";

    dir.write(
        "agent.toml",
        service(&dir, "https://collector.internal/ingest"),
    );
    let (code, said_good) = said(&within, &dir);
    let other = Dir::new();
    other.write("agent.toml", mistaken);
    let (bad_code, said_bad) = said(&within.replace(&dir.text(""), &other.text("")), &other);

    assert_eq!((code, bad_code), (0, 78), "{said_good}{said_bad}");
    compare(command, good, &said_good);
    compare(command, bad, &said_bad);
}

#[test]
fn the_service_runs_as_shown() {
    let [shown] = &shown_of(SERVICE)[..] else {
        panic!("one example of it was there");
    };
    let mut n_asked = 0;
    let collector = Collector::start(Settings::default(), move |_: &Request| {
        n_asked += 1;
        if n_asked == 1 {
            Answer::refuse(503).body("")
        } else {
            Answer::ok()
        }
    });
    let dir = Dir::new();
    for name in ["nginx/access.log", "app/app.log"] {
        fs::create_dir_all(dir.path(name).parent().expect("a folder")).expect("makes a folder");
        dir.write(name, "one\ntwo\n");
    }
    let state = format!("\n[agent]\nstate = \"{}\"\n", dir.text("state"));
    let config = dir.write(
        "agent.toml",
        service(&dir, &collector.url("/ingest")) + &state,
    );

    let agent = Logweir::run(&dir, &config).start();
    agent.wait_said(&["delivered again"]);
    within("both logs", PATIENCE, || {
        (collector.stored_bytes().len() > 200).then_some(())
    });
    agent.signal(Signal::INT);
    let ended = agent.wait();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    // What the terminal shows of the key, and what it says of a collector without TLS.
    let shown = shown.replace("^C\n", "");
    compare(SERVICE, &shown, &ended.stderr);
    assert_eq!(
        fs::read(dir.path("out/all.log"))
            .expect("the archive")
            .len(),
        16
    );
}

#[test]
fn its_links_lead_somewhere() {
    let targets = README
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let headings: Vec<String> = README
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|heading| heading.to_lowercase().replace(' ', "-"))
        .collect();

    for target in targets {
        let found = match target.strip_prefix('#') {
            Some(heading) => headings.iter().any(|it| it == heading),
            None => Path::new(env!("CARGO_MANIFEST_DIR")).join(target).exists(),
        };
        assert!(found, "README.md links to {target}");
    }
}
