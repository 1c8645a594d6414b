//! The example configuration says what is true.

use std::path::Path;

use super::load_text;
use crate::config::Config;
use crate::config::diagnostics::Color;
use crate::sink::SinkKind;
use crate::source::SourceKind;
use crate::source::health::HealthConfig;

/// The example, with or without its settings that are not in force.
fn example(all: bool) -> String {
    let text = include_str!("../../../agent.toml.example");
    let setting = |line: &&str| {
        line.strip_prefix('#')
            .is_some_and(|rest| !rest.starts_with([' ', '#']) && !rest.is_empty())
    };
    let lines = text.lines().map(|line| {
        if all && setting(&line) {
            &line[1..]
        } else {
            line
        }
    });
    let text = lines.fold(String::new(), |text, line| text + line + "\n");
    ["token", "billing-token"].iter().fold(text, |text, file| {
        text.replace(&format!("/etc/logweir/{file}}}"), "/etc/token}")
    })
}

#[test]
fn the_example_is_accepted_as_it_is() {
    let (config, warnings) =
        load_text(&example(false)).unwrap_or_else(|found| panic!("{}", found.render(Color::Never)));

    assert!(warnings.is_empty(), "{}", warnings.render(Color::Never));
    assert_eq!((config.sources.len(), config.sinks.len()), (1, 1));
    assert_eq!(config.agent.state, Path::new("target/example-state"));
}

#[test]
fn every_setting_of_the_example_exists() {
    let text = example(true);

    let (config, warnings) =
        load_text(&text).unwrap_or_else(|found| panic!("{}", found.render(Color::Never)));

    assert!(warnings.is_empty(), "{}", warnings.render(Color::Never));
    assert_eq!((config.sources.len(), config.sinks.len()), (11, 10));
}

#[test]
fn commented_defaults_of_the_example_are_the_defaults() {
    let (all, _) = load_text(&example(true)).unwrap();
    let short = "[source]\na = \"a\"\nbilling = \"http://h\"\npush = \"ws://h\"\norders_api = \"poll+http://h\"\nremote = \"range+http://h\"\n[sink]\nout = \"stdout\"\nmerged = \"b\"\ncollector = \"https://h\"\n";
    let (short, _) = load_text(short).unwrap();

    for default in &short.sinks {
        let shown = all
            .sinks
            .iter()
            .find(|sink| sink.name == default.name)
            .unwrap();
        assert_eq!(shown.batch, default.batch, "{}", shown.name);
        assert_eq!(shown.memory_bytes, default.memory_bytes, "{}", shown.name);
        if let (SinkKind::Http(shown), SinkKind::Http(default)) = (&shown.kind, &default.kind) {
            assert_eq!(shown.retry, default.retry);
            assert_eq!(
                (
                    shown.timeout,
                    shown.connect_timeout,
                    shown.concurrency,
                    shown.compression
                ),
                (
                    default.timeout,
                    default.connect_timeout,
                    default.concurrency,
                    default.compression
                )
            );
        }
    }
    files_are_as_by_default(&all, &short);
    network_sources_are_as_by_default(&all, &short);
    assert_eq!(all.agent.shutdown, short.agent.shutdown);
    assert_eq!(all.agent.log, short.agent.log);
    assert_eq!(all.agent.memory_bytes, short.agent.memory_bytes);
}

#[track_caller]
fn files_are_as_by_default(all: &Config, short: &Config) {
    let source = all
        .sources
        .iter()
        .find(|source| &*source.name == "app")
        .unwrap();
    let (SourceKind::File(shown), SourceKind::File(default)) =
        (&source.kind, &short.sources[0].kind)
    else {
        panic!("files")
    };
    assert_eq!(source.line_bytes_max, short.sources[0].line_bytes_max);
    assert_eq!(shown.start, default.start);
    assert_eq!(shown.rotate_grace, default.rotate_grace);
    assert_eq!(shown.forget_after, default.forget_after);
}

#[track_caller]
fn network_sources_are_as_by_default(all: &Config, short: &Config) {
    for default in &short.sources[1..] {
        let shown = all
            .sources
            .iter()
            .find(|source| source.name == default.name)
            .unwrap();
        match (&shown.kind, &default.kind) {
            (SourceKind::Stream(shown), SourceKind::Stream(default)) => assert_eq!(
                (shown.framing, shown.idle, shown.network.connect_timeout),
                (
                    default.framing,
                    default.idle,
                    default.network.connect_timeout
                )
            ),
            (SourceKind::WebSocket(shown), SourceKind::WebSocket(default)) => {
                assert_eq!(
                    (shown.ping, shown.dead_after),
                    (default.ping, default.dead_after)
                );
            }
            (SourceKind::Poll(shown), SourceKind::Poll(default)) => {
                assert_eq!(
                    (shown.interval, shown.timeout, shown.concurrency),
                    (default.interval, default.timeout, default.concurrency)
                );
                assert_eq!(
                    (&shown.method, shown.pages_max, shown.body_bytes_max),
                    (&default.method, default.pages_max, default.body_bytes_max)
                );
            }
            (SourceKind::Range(shown), SourceKind::Range(default)) => {
                assert_eq!(shown.interval, default.interval);
            }
            kinds => panic!("{kinds:?}"),
        }
    }
    let services = all.sources.iter().find(|it| &*it.name == "services");
    let SourceKind::Health(shown) = &services.unwrap().kind else {
        panic!("services")
    };
    let default = HealthConfig::of_urls(Vec::new());
    assert_eq!(
        (shown.interval, shown.timeout, shown.concurrency),
        (default.interval, default.timeout, default.concurrency)
    );
    assert_eq!((&shown.expect, shown.emit), (&default.expect, default.emit));
}
