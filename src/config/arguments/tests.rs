//! SOURCE strings in, sources out.

use super::*;
use crate::filter::Filter;
use crate::framing::Multiline;
use crate::source::file::Label;
use crate::source::stream::Framing;
use crate::source::{Ends, Selection};

const OPTIONS: ArgumentOptions = ArgumentOptions {
    start: Start::LastLines(10),
    records: RULES,
    follow: Follow::Forever,
    network: NetworkOptions {
        headers: Vec::new(),
        bearer: None,
        ca: None,
        verify: Verify::Certificate,
        netrc: Vec::new(),
    },
};

const RULES: RecordRules = RecordRules {
    container: None,
    multiline: Multiline::Off,
    time: None,
    filter: Filter {
        include: Vec::new(),
        exclude: Vec::new(),
    },
    selection: Selection {
        level: None,
        times: None,
    },
};

fn one(argument: &str) -> Result<(String, String, Label), String> {
    let source = source_from_location(argument, &OPTIONS).map_err(|error| error.to_string())?;
    let SourceKind::File(files) = source.kind else {
        panic!("no files")
    };
    assert_eq!(files.start, OPTIONS.start);
    Ok((source.name.to_string(), files.paths.join(" "), files.label))
}

#[test]
fn a_source_has_the_name_that_was_given_or_its_stem() {
    let cases = [
        ("/var/log/app.log", "app", "/var/log/app.log", Label::Source),
        (
            "web=/var/log/app.log",
            "web",
            "/var/log/app.log",
            Label::Source,
        ),
        ("web=/var/log/*.log", "web", "/var/log/*.log", Label::Source),
        ("/var/log/*.log", "log", "/var/log/*.log", Label::FileStem),
        ("/var/*/x/*.log", "var", "/var/*/x/*.log", Label::FileStem),
        ("*.log", "files", "*.log", Label::FileStem),
        (".", "files", ".", Label::FileStem),
        ("src", "src", "src", Label::FileStem),
        ("./a=b.log", "a_b", "./a=b.log", Label::Source),
        ("a b.log", "a_b", "a b.log", Label::Source),
    ];
    for (argument, name, path, label) in cases {
        assert_eq!(
            one(argument),
            Ok((name.to_owned(), path.to_owned(), label)),
            "{argument}"
        );
    }
}

#[test]
fn what_is_no_source_is_named_without_secrets() {
    let cases = [
        (
            "https://u:p@h:x/x?t=s",
            "`https://h:x/x`: invalid port number",
        ),
        (
            "ftp://h",
            "`ftp://h`: has an unknown scheme; there are http://, https://, ws:// and wss://, and \
             sse+, lines+, poll+ and range+ before http:// or https://",
        ),
        (
            "",
            "a SOURCE is empty; it is a path, a glob, a URL or - for standard input",
        ),
        (
            "x=",
            "a SOURCE is empty; it is a path, a glob, a URL or - for standard input",
        ),
        (
            "a.xz",
            "`a.xz`: cannot be decompressed: .gz and .zst files can",
        ),
        ("[.log", "`[.log`: is not a valid glob"),
    ];
    for (argument, message) in cases {
        assert_eq!(one(argument), Err(message.to_owned()), "{argument}");
    }
}

#[test]
fn names_are_made_distinct() {
    let arguments = [
        "/a/app.log",
        "/b/app.log",
        "app=/c/x.log",
        "/d/x/web.log",
        "/e/x/web.log",
    ];
    let arguments = arguments.map(str::to_owned);

    let sources = sources_from_arguments(&arguments, &OPTIONS).unwrap();

    let names: Vec<&str> = sources.iter().map(|source| &*source.name).collect();
    assert_eq!(names, ["a-app", "b-app", "app", "x-web", "x-web-2"]);
}

#[test]
fn urls_are_streams_and_websockets_named_by_their_hosts() {
    let arguments = [
        "https://u:p@orders.internal/logs?t=s",
        "sse+http://127.0.0.1:81/x",
        "http://127.0.0.1:82/x",
        "e=wss://h/f",
        "ws://[::1]:9/feed",
        "-",
        "poll+https://api.internal/logs",
        "range+http://files.internal/app.log",
    ];
    let arguments = arguments.map(str::to_owned);

    let sources = sources_from_arguments(&arguments, &OPTIONS).unwrap();

    let names: Vec<&str> = sources.iter().map(|source| &*source.name).collect();
    let expected = [
        "orders.internal",
        "127.0.0.1-81",
        "127.0.0.1-82",
        "e",
        "__1",
        "stdin",
        "api.internal",
        "files.internal",
    ];
    assert_eq!(names, expected);
    let SourceKind::Stream(forced) = &sources[1].kind else {
        panic!("a stream")
    };
    assert_eq!(
        (forced.url.as_str(), forced.framing),
        ("http://127.0.0.1:81/x", Framing::Sse)
    );
    assert_eq!(forced.ends, Ends::WithFiniteResponse);
}

#[test]
fn headers_go_to_the_sources_that_they_are_for() {
    let arguments = ["a=http://a", "b=ws://b", "c.log"].map(str::to_owned);
    let header = |source: Option<&str>, name: &str| HeaderOption {
        source: source.map(str::to_owned),
        name: name.to_owned(),
        value: Secret::new("v"),
    };
    let with = |headers| {
        let network = NetworkOptions {
            headers,
            ..NetworkOptions::default()
        };
        sources_from_arguments(&arguments, &ArgumentOptions { network, ..OPTIONS })
    };

    let mut sources = with(vec![header(None, "X-All"), header(Some("b"), "X-B")]).unwrap();
    let mut names = |index: usize| -> Vec<String> {
        let network = network_of(&mut sources[index].kind).unwrap();
        network
            .credentials
            .headers
            .iter()
            .map(|it| it.0.clone())
            .collect()
    };
    assert_eq!(names(0), ["X-All"]);
    assert_eq!(names(1), ["X-All", "X-B"]);
    assert_eq!(with(vec![header(Some("c"), "X")]).unwrap_err().len(), 1);
}

#[test]
fn every_mistake_is_found() {
    let bad = ["", "ftp://h", "ok.log"].map(str::to_owned);
    let twice = ["a=x.log", "a=y.log"].map(str::to_owned);

    assert_eq!(sources_from_arguments(&bad, &OPTIONS).unwrap_err().len(), 2);
    assert_eq!(
        sources_from_arguments(&twice, &OPTIONS).unwrap_err(),
        [ArgumentError::SameName {
            name: "a".to_owned()
        }]
    );
}
