//! Help, manual pages and completions: `fixtures/cli` holds what they look like.
//!
//! `UPDATE_FIXTURES=1 cargo test --test it cli` writes it anew; read it before committing.

use std::path::Path;

use crate::support::{Dir, Logweir, has_tool};

const COMMANDS: [&str; 7] = [
    "tail",
    "run",
    "check",
    "config",
    "demo",
    "completions",
    "man",
];

/// What a command prints that ends well.
#[track_caller]
fn printed(args: &[&str]) -> String {
    let printed = Logweir::new(&Dir::new(), args).ended().good();
    String::from_utf8(printed).expect("text is UTF-8")
}

#[track_caller]
fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/cli")
        .join(name);
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        std::fs::write(&path, text).expect("writes a fixture");
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        text == expected,
        "{} differs; UPDATE_FIXTURES=1 writes it anew:\n{text}",
        path.display()
    );
}

#[test]
fn help_is_short_with_examples_first_and_long_on_request() {
    compare("help.txt", &printed(&["-h"]));
    for command in COMMANDS {
        let short = printed(&[command, "-h"]);
        let long = printed(&[command, "--help"]);

        assert!(long.len() >= short.len(), "{command}");
        let examples = short.find("Examples:").unwrap_or(0);
        assert!(examples < short.find("Usage:").expect("a usage"), "{short}");
        compare(&format!("{command}-short.txt"), &short);
        compare(&format!("{command}-long.txt"), &long);
    }
}

#[test]
fn defaults_and_schema_are_as_they_were_read() {
    compare("defaults.toml", &printed(&["config", "--defaults"]));
    compare("schema.json", &printed(&["config", "--schema"]));
}

#[test]
fn the_version_is_that_of_the_crate() {
    assert_eq!(
        printed(&["-V"]),
        concat!("logweir ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn manual_pages_are_good_roff() {
    let test = "manual_pages_are_good_roff";
    let pages = [printed(&["man"]), printed(&["man", "agent.toml"])];
    assert!(pages[0].contains("\\-\\-order") && pages[1].contains("ignore_older"));
    if !has_tool(test, "groff") {
        return;
    }

    for page in pages {
        let dir = Dir::new();
        dir.write("page", &page);
        let script = format!("groff -man -Tutf8 -ww '{}'", dir.text("page"));
        let ended = Logweir::shell(&dir, &script, [""; 0]).ended();

        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
        assert!(ended.stdout.len() > 4_000, "{} bytes", ended.stdout.len());
    }
}

#[test]
fn shells_can_read_their_completions() {
    for (shell, check) in [
        ("bash", "bash -n"),
        ("zsh", "zsh -n"),
        ("fish", "fish --no-execute"),
    ] {
        let script = printed(&["completions", shell]);
        for word in ["tail", "cursor-file", "print-config", "no-follow"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
        if !has_tool("shells_can_read_their_completions", shell) {
            continue;
        }
        let dir = Dir::new();
        dir.write("script", &script);
        let check = format!("{check} '{}'", dir.text("script"));
        let ended = Logweir::shell(&dir, &check, [""; 0]).ended();

        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{shell}");
    }
}

#[test]
fn bash_completes_flags_and_values() {
    if !has_tool("bash_completes_flags_and_values", "bash") {
        return;
    }
    let dir = Dir::new();
    dir.write("script", printed(&["completions", "bash"]));
    let script = format!(
        r#"bash -c '. "{}"; COMP_WORDS=(logweir tail --cur); COMP_CWORD=2
           _logweir logweir --cur tail; printf "%s\n" "${{COMPREPLY[@]}}"'"#,
        dir.text("script")
    );

    let ended = Logweir::shell(&dir, &script, [""; 0]).ended();

    assert_eq!(String::from_utf8_lossy(&ended.good()), "--cursor-file\n");
}
