//! `tail --print-config`: the same as TOML, for a service.

use std::fmt::Write as _;

use jiff::Zoned;

use super::TailArgs;
use super::select::Selected;
use crate::config::keys::basic_string;
use crate::config::sources_from_arguments;
use crate::framing::Multiline;
use crate::http::{Credentials, Network, Verify};
use crate::secret::Secret;
use crate::source::file::{Follow, Start};
use crate::source::stream::Framing;
use crate::source::{SourceConfig, SourceKind};

/// A configuration that reads the same sources. Secrets become references, and what has no
/// counterpart in a configuration is said in comments.
pub(super) fn config(args: &TailArgs, selected: &Selected) -> Result<String, Vec<String>> {
    let options = super::options(args, selected.clone(), Follow::Forever)?;
    let sources = sources_from_arguments(&args.sources, &options)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let mut out = format!(
        "# What `logweir tail` was asked for, {}.\n",
        Zoned::now().strftime("%Y-%m-%d")
    );
    for (flag, is_given) in [
        ("-l", selected.records.selection.level.is_some()),
        (
            "--since and --until",
            selected.records.selection.times.is_some(),
        ),
        ("-T", args.output.template().is_some()),
        ("--netrc", args.network.netrc),
    ] {
        if is_given {
            let _ = writeln!(out, "# {flag}: has no counterpart in a configuration.");
        }
    }
    for source in &sources {
        table(&mut out, source, args, selected);
    }
    let _ = write!(out, "\n[sink.stdout]\ntype = \"stdout\"\n");
    if let Some(word) = args.output.word() {
        let _ = writeln!(out, "format = \"{word}\"");
    }
    if let Some(to) = &args.more.to {
        let key = if to.contains("://") { "url" } else { "path" };
        let _ = write!(out, "\n[sink.to]\n{key} = {}\n", quoted(to));
    }
    if let Some(order) = args.output.order(sources.len()) {
        let _ = write!(out, "\n[agent]\norder = \"{}ms\"\n", order.as_millis());
    }
    Ok(out)
}

fn table(out: &mut String, source: &SourceConfig, args: &TailArgs, selected: &Selected) {
    let name = &source.name;
    let _ = write!(out, "\n[source.{}]\n", key(name));
    match &source.kind {
        SourceKind::File(file) => {
            let paths: Vec<String> = file.paths.iter().map(|it| quoted(it)).collect();
            let _ = match &paths[..] {
                [path] => writeln!(out, "path = {path}"),
                paths => writeln!(out, "path = [{}]", paths.join(", ")),
            };
            let _ = match (selected.start, args.select.since_span()) {
                (Start::NotBefore(_) | Start::Since(_), Some(span)) => {
                    writeln!(out, "start = \"-{span}\"")
                }
                (Start::Beginning | Start::NotBefore(_) | Start::Since(_) | Start::At(_), _) => {
                    writeln!(out, "start = \"beginning\"")
                }
                (Start::End, _) => writeln!(out, "start = \"end\""),
                (Start::LastLines(n), _) => {
                    writeln!(
                        out,
                        "start = \"end\"  # -n {n}: a service has no such start"
                    )
                }
            };
        }
        SourceKind::Stream(stream) => {
            let framing = match stream.framing {
                Framing::Auto | Framing::JsonSeq | Framing::Docker => "",
                Framing::Lines => "lines+",
                Framing::Sse => "sse+",
            };
            reached(out, name, (framing, &stream.url), &stream.network, args);
        }
        SourceKind::WebSocket(it) => reached(out, name, ("", &it.url), &it.network, args),
        SourceKind::Range(it) => reached(out, name, ("range+", &it.url), &it.network, args),
        SourceKind::Poll(it) => {
            let url = it.urls.first().map_or("", Secret::expose);
            reached(out, name, ("poll+", url), &it.network, args);
        }
        SourceKind::Health(it) => {
            let _ = writeln!(out, "type = \"health\"");
            let url = it.urls.first().map_or("", Secret::expose);
            reached(out, name, ("", url), &it.network, args);
        }
        SourceKind::Stdin(_) => {
            let _ = writeln!(out, "type = \"stdin\"");
        }
    }
    records(out, source);
}

/// The URL as it was given, and what it is reached with.
fn reached(
    out: &mut String,
    name: &str,
    (before, url): (&str, &str),
    network: &Network,
    args: &TailArgs,
) {
    let _ = writeln!(out, "url = {}", quoted(&format!("{before}{url}")));
    credentials(out, name, &network.credentials, args);
    tls(out, &network.tls);
}

fn records(out: &mut String, source: &SourceConfig) {
    let filter = &source.records.filter;
    for (key, patterns) in [("include", &filter.include), ("exclude", &filter.exclude)] {
        if !patterns.is_empty() {
            let patterns: Vec<String> = patterns.iter().map(|it| quoted(it.as_str())).collect();
            let _ = writeln!(out, "{key} = [{}]", patterns.join(", "));
        }
    }
    let _ = match &source.records.multiline {
        Multiline::Off => Ok(()),
        Multiline::Auto(_) => writeln!(out, "multiline = \"auto\""),
        Multiline::Patterns(patterns, _) => {
            let start = patterns.start.as_ref().map_or("", |it| it.as_str());
            writeln!(out, "multiline = {{ start = {} }}", quoted(start))
        }
    };
}

/// Values stay out of it: what could be a secret is a reference.
fn credentials(out: &mut String, source: &str, credentials: &Credentials, args: &TailArgs) {
    let variable = |what: &str| {
        let fitting = |it: char| {
            if it.is_ascii_alphanumeric() {
                it.to_ascii_uppercase()
            } else {
                '_'
            }
        };
        format!("{source}_{what}")
            .chars()
            .map(fitting)
            .collect::<String>()
    };
    if credentials.bearer.is_some() {
        let reference = match args.network.bearer_file() {
            Some(path) => format!("${{file:{path}}}"),
            None => format!("${{env:{}}}", variable("TOKEN")),
        };
        let _ = writeln!(out, "bearer = {}", basic_string(&reference));
    }
    if !credentials.headers.is_empty() {
        let headers = credentials
            .headers
            .iter()
            .map(|(name, _)| format!("{} = \"${{env:{}}}\"", key(name), variable(name)));
        let headers: Vec<String> = headers.collect();
        let _ = writeln!(out, "headers = {{ {} }}", headers.join(", "));
    }
    if let Some((user, _)) = &credentials.basic {
        let _ = writeln!(
            out,
            "basic = {{ user = {}, password = \"${{env:{}}}\" }}",
            quoted(user),
            variable("PASSWORD")
        );
    }
}

fn tls(out: &mut String, tls: &crate::http::Tls) {
    let mut keys = Vec::new();
    if let Some(ca) = &tls.ca {
        keys.push(format!("ca = {}", quoted(&ca.display().to_string())));
    }
    if tls.verify == Verify::Nothing {
        keys.push("verify = false".to_owned());
    }
    if !keys.is_empty() {
        let _ = writeln!(out, "tls = {{ {} }}", keys.join(", "));
    }
}

/// A key of a table, bare where it can be.
fn key(name: &str) -> String {
    let is_bare = name
        .bytes()
        .all(|it| it.is_ascii_alphanumeric() || b"_-".contains(&it));
    if is_bare {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// A text as TOML; what looks like a reference in it is none.
fn quoted(text: &str) -> String {
    basic_string(&text.replace("${", "$${"))
}
