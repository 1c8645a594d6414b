//! Whole configurations in, whole renderings out: `fixtures/config/{good,bad}/`.
//!
//! `UPDATE_FIXTURES=1 cargo test config` writes the renderings anew; read them before committing.

mod example;
mod keys;
mod network;

use std::env::VarError;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::encoding::{Compression, Format, Meta};
use crate::filter::Filter;
use crate::framing::{Charset, Container, GroupLimits, Multiline, Patterns, Pointer, TimeFrom};
use crate::model::Pattern;
use crate::sink::SinkKind;
use crate::sink::file::{Fsync, Rotate};
use crate::sink::http::Retry;
use crate::source::file::Start;
use crate::source::{RecordRules, SourceKind};

/// What the fixtures' references find.
struct Scripted;

impl Environment for Scripted {
    fn var(&self, name: &str) -> Result<String, VarError> {
        match name {
            "TOKEN" => Ok("t0p-s3cret".to_owned()),
            "EMPTY" => Ok(String::new()),
            "FOLDER" => Ok("/srv/app".to_owned()),
            "INJECTION" => Ok("x\"\nbearer = \"y".to_owned()),
            "CREDENTIALS_DIRECTORY" => Ok("/credentials".to_owned()),
            "HOME" => Ok("/home/logweir".to_owned()),
            _ => Err(VarError::NotPresent),
        }
    }

    fn file(&self, path: &Path) -> io::Result<ReferencedFile> {
        let (text, world_readable) = match path.to_str() {
            Some("/etc/token") => ("f1le-s3cret\n", false),
            Some("/etc/urls") => ("# a\nhttps://c.internal/a\n\nhttps://c.internal/b\n", false),
            Some("/etc/open-token") => ("0pen-s3cret\n", true),
            Some("/credentials/password") => ("cr3d-s3cret", false),
            _ => return Err(io::Error::new(io::ErrorKind::NotFound, "no such file")),
        };
        Ok(ReferencedFile {
            text: text.to_owned(),
            world_readable,
        })
    }

    fn is_root(&self) -> bool {
        false
    }

    fn tls(&self, _: &crate::http::Tls) -> Result<(), crate::http::ClientError> {
        Ok(())
    }
}

const OPTIONS: LoadOptions = LoadOptions {
    references: References::Resolve,
    environment: &Scripted,
};

fn load_text(text: &str) -> Result<(Config, Diagnostics), Diagnostics> {
    let input = ConfigInput::Text {
        name: "agent.toml".to_owned(),
        text: text.to_owned(),
    };
    load(&[input], OPTIONS)
}

fn rendered(result: &Result<(Config, Diagnostics), Diagnostics>) -> String {
    match result {
        Ok((_, warnings)) => warnings.render(Color::Never),
        Err(errors) => errors.render(Color::Never),
    }
}

/// The cases of a folder: files, and folders whose files are merged.
fn cases(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/config")
        .join(kind);
    let mut cases: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir() || path.extension().is_some_and(|it| it == "toml"))
        .collect();
    cases.sort();
    cases
}

fn load_case(path: &Path) -> Result<(Config, Diagnostics), Diagnostics> {
    let mut files = vec![path.to_path_buf()];
    if path.is_dir() {
        files = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
    }
    let inputs: Vec<ConfigInput> = files
        .iter()
        .map(|file| ConfigInput::Text {
            name: file.file_name().unwrap().to_str().unwrap().to_owned(),
            text: fs::read_to_string(file).unwrap(),
        })
        .collect();
    load(&inputs, OPTIONS)
}

/// Compares a rendering with the file beside its case; no file stands for no output.
fn compare(path: &Path, rendering: &str) {
    let beside = path.with_extension("stderr");
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        if rendering.is_empty() {
            let _ = fs::remove_file(&beside);
        } else {
            fs::write(&beside, rendering).unwrap();
        }
    }
    let expected = fs::read_to_string(&beside).unwrap_or_default();
    assert_eq!(rendering, expected, "{}", path.display());
}

#[test]
fn good_configurations_load_with_the_expected_warnings() {
    for case in cases("good") {
        let result = load_case(&case);

        let rendering = rendered(&result);
        assert!(result.is_ok(), "{}:\n{rendering}", case.display());
        compare(&case, &rendering);
    }
}

#[test]
fn bad_configurations_are_refused_with_the_expected_errors() {
    let cases = cases("bad");
    assert!(cases.len() >= 30, "only {} bad configurations", cases.len());

    for case in cases {
        let result = load_case(&case);

        assert!(result.is_err(), "{} is accepted", case.display());
        compare(&case, &rendered(&result));
    }
}

#[test]
fn no_rendering_shows_a_secret() {
    for case in cases("bad").into_iter().chain(cases("good")) {
        let result = load_case(&case);

        let rendering = rendered(&result);
        assert!(
            !rendering.contains("s3cret"),
            "{}:\n{rendering}",
            case.display()
        );
        if let Ok((config, _)) = &result {
            let debug = format!("{:?} {:?}", config.sources, config.sinks);
            assert!(!debug.contains("s3cret"), "{}", case.display());
        }
    }
}

#[test]
fn placeholders_need_no_environment() {
    struct Nothing;
    impl Environment for Nothing {
        fn var(&self, name: &str) -> Result<String, VarError> {
            panic!("${name} was looked up")
        }
        fn file(&self, path: &Path) -> io::Result<ReferencedFile> {
            panic!("{} was read", path.display())
        }
        fn is_root(&self) -> bool {
            false
        }

        fn tls(&self, _: &crate::http::Tls) -> Result<(), crate::http::ClientError> {
            Ok(())
        }
    }
    let options = LoadOptions {
        references: References::Placeholders,
        environment: &Nothing,
    };
    let text = r#"
        [source]
        app = "${env:FOLDER}/*.log"
        [source.b]
        path = ["${file:/name}", "/b"]
        max_line = "${env:MAX}"
        start = "${env:START:-end}"
        labels = { team = "${env:TEAM}" }
        [sink.c]
        url = "${env:URL}"
        bearer = "${cred:token}"
        compression = "${env:COMPRESSION}"
    "#;
    let input = ConfigInput::Text {
        name: "agent.toml".to_owned(),
        text: text.to_owned(),
    };

    let result = load(&[input], options);

    assert!(result.is_ok(), "{}", rendered(&result));
    assert_eq!(rendered(&result), "");
}

#[test]
fn every_key_arrives() {
    let result = load_text(include_str!("../../../fixtures/config/good/every-key.toml"));

    let (config, _) = result.unwrap_or_else(|found| panic!("{}", found.render(Color::Never)));
    assert_eq!(config.agent.state, Path::new("/srv/state"));
    assert_eq!(config.agent.memory_bytes, 16 << 20);
    assert_eq!(config.agent.shutdown, Duration::from_secs(5));
    assert_eq!(config.agent.log, "debug");
    let [app, nginx] = &config.sources[..] else {
        panic!("two sources")
    };
    assert_eq!((&*app.name, &*nginx.name), ("app", "nginx"));
    assert_eq!(app.line_bytes_max, 65_536);
    assert_eq!(app.labels[0], ("team".into(), "core".into()));
    let SourceKind::File(files) = &app.kind else {
        panic!("files")
    };
    assert_eq!(files.paths, ["/srv/app/*.log", "/srv/app/old"]);
    assert_eq!(files.start, Start::Since(Duration::from_secs(36 * 3_600)));
    assert_eq!(files.rotate_grace, Duration::from_secs(90));
    assert_eq!(files.forget_after, Duration::from_secs(7 * 86_400));
    assert_eq!(files.charset, Charset::named("utf-16le").ok());
    assert_eq!(files.partial, Some(Duration::from_secs(5)));
    let pattern = |text| Pattern::new(text).unwrap();
    let patterns = Patterns {
        start: Some(pattern(r"^\d{4}-")),
        continues: Some(pattern(r"^\s")),
        negate: false,
    };
    let limits = GroupLimits {
        timeout: Duration::from_secs(2),
        lines_max: 100,
        bytes_max: Some(16 << 10),
    };
    let records = RecordRules {
        container: Some(Container::Cri),
        multiline: Multiline::Patterns(patterns, limits),
        time: Pointer::new("/at/-1").map(TimeFrom::Pointer),
        filter: Filter {
            include: vec![pattern("ERROR|WARN")],
            exclude: vec![pattern("GET /healthz")],
        },
        ..RecordRules::default()
    };
    assert_eq!(app.records, records);
    assert_eq!(nginx.records, RecordRules::default());
    let [collector, archive, out] = &config.sinks[..] else {
        panic!("three sinks")
    };
    assert_eq!(collector.from, ["app".into()]);
    assert_eq!(archive.from, ["app".into(), "nginx".into()]);
    assert_eq!(out.from, ["nginx".into()]);
    let meta = Meta {
        host: true,
        labels: true,
        ..Meta::default()
    };
    assert_eq!(collector.format, Some(Format::json(meta)));
    assert_eq!(collector.memory_bytes, 4 << 20);
    assert_eq!(collector.batch.bytes, 512 << 10);
    assert_eq!(collector.batch.lines, 500);
    assert_eq!(collector.batch.linger, Duration::from_millis(1_500));
    let SinkKind::Http(http) = &collector.kind else {
        panic!("http")
    };
    assert_eq!(http.url, "https://collector.internal/ingest?tenant=a");
    assert_eq!(http.credentials.headers[0].0, "X-Scope");
    assert_eq!(http.credentials.headers[0].1.expose(), "a ${b} $c");
    assert_eq!(http.credentials.basic.as_ref().unwrap().0, "logweir");
    assert_eq!(
        http.credentials.basic.as_ref().unwrap().1.expose(),
        "cr3d-s3cret"
    );
    assert_eq!(http.compression, Compression::Gzip(6));
    assert_eq!(http.concurrency, 4);
    assert_eq!(http.timeout, Duration::from_secs(10));
    assert_eq!(http.connect_timeout, Duration::from_secs(2));
    let retry = Retry {
        base: Duration::from_millis(100),
        max: Duration::from_secs(60),
    };
    assert_eq!(http.retry, retry);
    assert_eq!(
        http.dead_letter.as_deref(),
        Some(Path::new("/srv/state/rejected.ndjson"))
    );
    assert_eq!(http.tls.ca.as_deref(), Some(Path::new("/etc/ssl/ca.pem")));
    assert_eq!(
        http.tls.cert.as_deref(),
        Some(Path::new("/etc/ssl/client.pem"))
    );
    assert_eq!(
        http.tls.key.as_deref(),
        Some(Path::new("/etc/ssl/client.key"))
    );
    let SinkKind::File(file) = &archive.kind else {
        panic!("file")
    };
    assert_eq!(
        file.path.text(),
        "/var/log/{host}/{source}-{date:%Y-%m-%d}.log"
    );
    assert_eq!((file.fsync, file.mode), (Fsync::Batch, 0o600));
    let rotate = Rotate {
        size: Some(64 << 20),
        every: Some(Duration::from_secs(86_400)),
        keep: 30,
        compress: true,
    };
    assert_eq!(file.rotate, Some(rotate));
    assert_eq!(archive.format, Some(Format::Raw));
    assert_eq!(archive.memory_bytes, 16 << 20);
    assert_eq!((&out.kind, &out.format), (&SinkKind::Stdout, &None));
}

#[test]
fn defaults_are_those_of_the_docs() {
    let text =
        "[source]\na = \"a.log\"\n[sink]\nout = \"stdout\"\nfile = \"b\"\nhttp = \"https://h\"\n";

    let (config, warnings) = load_text(text).unwrap();

    assert!(warnings.is_empty());
    assert_eq!(
        config.agent.state,
        Path::new("/home/logweir/.local/state/logweir")
    );
    assert_eq!(config.agent.memory_bytes, 8 << 20);
    assert_eq!(config.agent.shutdown, Duration::from_secs(20));
    assert_eq!(config.agent.log, "info");
    assert_eq!(config.sources[0].line_bytes_max, 1 << 20);
    let all = Meta {
        host: true,
        file: true,
        offset: true,
        labels: true,
    };
    let expected = [
        ("out", 1_000_000, Duration::ZERO, None),
        (
            "file",
            1_000_000,
            Duration::ZERO,
            Some(Format::json(Meta::default())),
        ),
        (
            "http",
            10_000,
            Duration::from_millis(250),
            Some(Format::json(all)),
        ),
    ];
    for (sink, (name, lines, linger, format)) in config.sinks.iter().zip(expected) {
        assert_eq!(&*sink.name, name);
        assert_eq!((sink.batch.bytes, sink.batch.lines), (1 << 20, lines));
        assert_eq!(sink.batch.linger, linger);
        assert_eq!(sink.format, format);
        assert_eq!(sink.memory_bytes, 8 << 20);
    }
}

#[test]
fn a_value_cannot_change_the_structure() {
    let text =
        "[source.a]\npath = \"a\"\nlabels = { x = \"${env:INJECTION}\" }\n[sink]\no = \"stdout\"\n";

    let (config, _) = load_text(text).unwrap();

    assert_eq!(&*config.sources[0].labels[0].1, "x\"\nbearer = \"y");
}

#[test]
fn a_file_cut_anywhere_neither_panics_nor_shows_a_secret() {
    let texts = [
        include_str!("../../../fixtures/config/good/every-key.toml"),
        include_str!("../../../fixtures/config/good/warnings.toml"),
        include_str!("../../../fixtures/config/bad/names.toml"),
        include_str!("../../../fixtures/config/bad/sink-headers.toml"),
        include_str!("../../../fixtures/config/bad/sink-url.toml"),
        include_str!("../../../fixtures/config/bad/references-malformed.toml"),
    ];
    for text in texts {
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            let rendering = rendered(&load_text(&text[..end]));

            assert!(!rendering.contains("s3cret"), "cut at {end}:\n{rendering}");
        }
    }
}

#[test]
fn colour_changes_nothing_but_the_colour() {
    let found = load_text("[source.a]\npath = \"a\"\nstrat = \"end\"\n").unwrap_err();

    let colored = found.render(Color::Always);

    assert!(colored.contains('\u{1b}'));
    assert_eq!(
        anstream::adapter::strip_str(&colored).to_string(),
        found.render(Color::Never)
    );
}
