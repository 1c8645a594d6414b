//! What is said of the keys is what the readers take.

use std::collections::BTreeSet;

use super::{OPTIONS, cases, load_case, load_text};
use crate::config::diagnostics::Color;
use crate::config::keys::{AGENT, Kind, SINKS, SOURCES, schema};
use crate::config::{Blame, ConfigInput, defaults, effective, load};

/// The keys that a reader names when it meets one that it does not know.
fn keys_of_reader(config: &str) -> BTreeSet<String> {
    let found = load_text(config).expect_err("it has an unknown key");
    let note = found
        .iter()
        .flat_map(|one| &one.notes)
        .find_map(|note| note.strip_prefix("keys of ")?.split_once(": "))
        .unwrap_or_else(|| panic!("{}", found.render(Color::Never)));
    note.1.split(", ").map(str::to_owned).collect()
}

fn keys_of(kind: &Kind) -> BTreeSet<String> {
    let names = kind.keys().map(|key| key.name.to_owned());
    names.chain(["type".to_owned()]).collect()
}

#[test]
fn every_key_that_is_read_is_described_and_the_reverse() {
    let place = |kind: &Kind| match kind.place {
        "" => String::new(),
        "path" => "path = \"/a\"\n".to_owned(),
        place if kind.name == "websocket" => format!("{place} = \"ws://h/\"\n"),
        place => format!("{place} = \"http://h/\"\n"),
    };
    for kind in SOURCES {
        let head = format!(
            "[source.x]\ntype = \"{}\"\n{}unknown = 1\n",
            kind.name,
            place(kind)
        );

        assert_eq!(
            keys_of_reader(&head),
            keys_of(kind),
            "source of type {}",
            kind.name
        );
    }
    for kind in SINKS {
        // `token` is read for the formats that have it.
        let format = if kind.name == "http" {
            "format = \"splunk\"\n"
        } else {
            ""
        };
        let head = format!(
            "[sink.x]\ntype = \"{}\"\n{}{format}unknown = 1\n",
            kind.name,
            place(kind)
        );

        assert_eq!(
            keys_of_reader(&head),
            keys_of(kind),
            "sink of type {}",
            kind.name
        );
    }
    let agent: BTreeSet<String> = AGENT.iter().map(|key| key.name.to_owned()).collect();
    assert_eq!(keys_of_reader("[agent]\nunknown = 1\n"), agent);
}

#[test]
fn defaults_are_what_a_configuration_without_them_has() {
    let mut table = String::new();
    let all = defaults();
    let tables: Vec<&str> = all.split("\n[").skip(1).collect();
    for text in tables {
        table.push_str(&format!("[{text}\n"));
    }
    let places = [
        ("[source.file]\n", "path = \"/a\"\n"),
        ("[source.stream]\n", "url = \"http://h/\"\n"),
        ("[source.websocket]\n", "url = \"ws://h/\"\n"),
        ("[source.poll]\ntype = \"poll\"\n", "url = \"http://h/\"\n"),
        (
            "[source.range]\ntype = \"range\"\n",
            "url = \"http://h/\"\n",
        ),
        (
            "[source.health]\ntype = \"health\"\n",
            "url = \"http://h/\"\n",
        ),
        ("[sink.file]\n", "path = \"/b\"\n"),
        ("[sink.http]\n", "url = \"http://h/\"\n"),
    ];
    let mut short = String::new();
    for (head, place) in places {
        table = table.replace(head, &format!("{head}{place}"));
        short.push_str(&format!("{head}{place}"));
    }
    for (head, kind) in [("[source.stdin]\n", "stdin"), ("[sink.stdout]\n", "stdout")] {
        short.push_str(&format!("{head}type = \"{kind}\"\n"));
    }
    let load = |text: &str| {
        let (mut config, _) =
            load_text(text).unwrap_or_else(|found| panic!("{}", found.render(Color::Never)));
        config.sources.sort_by(|a, b| a.name.cmp(&b.name));
        config.sinks.sort_by(|a, b| a.name.cmp(&b.name));
        config
            .sources
            .iter_mut()
            .for_each(|it| it.name = it.name.clone());
        for sink in &mut config.sinks {
            sink.from.sort();
        }
        config
    };

    let (long, short) = (load(&table), load(&short));

    assert_eq!(long.agent, short.agent);
    assert_eq!(long.sources, short.sources);
    for (long, short) in long.sinks.iter().zip(&short.sinks) {
        // Standard output's format depends on what it is; asking for keys asks for JSON.
        if &*long.name != "stdout" {
            assert_eq!(long, short);
        }
    }
}

#[test]
fn the_effective_configuration_means_the_same() {
    for path in cases("good") {
        if path.is_dir() {
            continue;
        }
        let (config, _) =
            load_case(&path).unwrap_or_else(|found| panic!("{}", found.render(Color::Never)));
        let input = ConfigInput::File(path.clone());

        for blame in [Blame::Nobody, Blame::Everyone] {
            let (text, _) = effective(std::slice::from_ref(&input), OPTIONS, blame).unwrap();
            let again = ConfigInput::Text {
                name: "effective".to_owned(),
                text: text.clone(),
            };
            let (again, _) = load(&[again], OPTIONS)
                .unwrap_or_else(|found| panic!("{}\n{text}", found.render(Color::Never)));

            // Plain secrets are blotted out, as `Debug` does it; those in URLs it shows.
            if !text.contains("**") {
                let (again, config) = (format!("{again:#?}"), format!("{config:#?}"));
                assert_eq!(again, config, "{}\n{text}", path.display());
            }
        }
    }
}

#[test]
fn blame_names_file_and_line() {
    let input = ConfigInput::Text {
        name: "agent.toml".to_owned(),
        text: "[source]\napp = \"/a\"\n[sink.out]\nurl = \"https://h/\"\nbearer = \"hunter2\"\n\
               batch = { lines = 5 }\n[agent]\nstate = \"/s\"\n"
            .to_owned(),
    };

    let (text, _) = effective(&[input], OPTIONS, Blame::Everyone).unwrap();

    let line = |key: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{key} = ")));
        line.unwrap_or_default()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(line("path"), "path = \"/a\" # agent.toml:2");
    assert_eq!(line("start"), "start = \"beginning\" # default");
    assert_eq!(line("bearer"), "bearer = \"*******\" # agent.toml:5");
    assert_eq!(
        line("batch"),
        "batch = { bytes = \"1MiB\", lines = 5, linger = \"250ms\" } # agent.toml:6"
    );
    assert_eq!(line("state"), "state = \"/s\" # agent.toml:8");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn the_schema_is_json_and_knows_every_kind() {
    let schema: serde_json::Value = serde_json::from_str(&schema()).unwrap();

    let any =
        &schema["properties"]["source"]["patternProperties"]["^[A-Za-z0-9_.-]{1,64}$"]["anyOf"];
    let titles: Vec<&str> = any
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|it| it["title"].as_str())
        .collect();
    assert_eq!(titles.len(), SOURCES.len());
    assert_eq!(any[1]["properties"]["max_line"]["type"], "string");
}
