//! README.md: its configurations are good, and its examples end well. Their output is for people.

use std::path::Path;

use crate::support::{Dir, Logweir};

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

/// What is typed at a prompt: lines after `$ `, with the lines that a backslash joins to them.
fn commands() -> Vec<String> {
    let mut commands = Vec::new();
    for block in blocks("console") {
        let block = block.replace("\\\n", " ");
        let typed = block.lines().filter_map(|line| line.strip_prefix("$ "));
        commands.extend(typed.map(str::to_owned));
    }
    commands
}

/// Commands of the binary that need nothing but this repository.
fn examples() -> Vec<String> {
    let of_repository = |command: &String| {
        command.starts_with("logweir ")
            && (command.contains("fixtures/") || command.contains("agent.toml.example"))
    };
    commands().into_iter().filter(of_repository).collect()
}

/// The commands of a pipeline. A `|` in single quotes is somebody else's.
fn stages(pipeline: &str) -> Vec<&str> {
    let mut is_quoted = false;
    let ends_stage = move |c: char| {
        is_quoted ^= c == '\'';
        c == '|' && !is_quoted
    };
    pipeline.split(ends_stage).map(str::trim).collect()
}

/// True where a shell finds every program of a pipeline behind the first.
fn is_runnable(pipeline: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let exists = |program: &str| {
        std::env::split_paths(&path).any(|dir| Path::new(&dir).join(program).is_file())
    };
    let stages = stages(pipeline);
    let others = stages.iter().skip(1);
    others
        .filter_map(|stage| stage.split_whitespace().next())
        .all(exists)
}

/// Runs a command line in the repository's root, where `cargo test` stands.
#[track_caller]
fn run(command: &str) {
    let dir = Dir::new();
    let script = format!("bin=$1; logweir() {{ \"$bin\" \"$@\"; }}; {command}");

    let ended = Logweir::shell(&dir, &script, [""; 0]).ended();

    assert_eq!(ended.code, 0, "$ {command}\n{}", ended.stderr);
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
fn its_examples_end_well() {
    let examples = examples();
    assert!(examples.len() >= 5, "{examples:?}");

    for example in &examples {
        // A shell says how the last program of a pipeline ended: the first one is asked alone.
        run(stages(example)[0]);
        if is_runnable(example) {
            run(example);
        } else {
            eprintln!("not run, a program of it is not installed: {example}");
        }
    }
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
