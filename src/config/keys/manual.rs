//! agent.toml(5).

use super::{AGENT, Key, Kind, Page, SINKS, SOURCES, Shape};

/// The manual page of the configuration.
pub fn manual() -> String {
    let mut page = Page::new("AGENT.TOML", "5", env!("CARGO_PKG_VERSION"));
    page.section("Name");
    page.text("agent.toml - the configuration of logweir");
    page.section("Synopsis");
    page.text("/etc/logweir/agent.toml, /etc/logweir/conf.d/*.toml");
    page.section("Description");
    page.text(
        "The files are read together, in the order of their names. Sources and sinks have names of \
         1 to 64 of A-Z a-z 0-9 _ . -, which are labels and keys of saved positions. A source that no \
         sink takes is an error, as is every key that is not listed here.",
    );
    page.text(
        "Durations and sizes are strings with units: \"250ms\", \"1h 30m\", \"2d\"; \"512B\", \"64KiB\", \
         \"1MB\". Inside string values, and nowhere else, these are looked up: ${env:NAME}, \
         ${env:NAME:-default}, ${file:/path} and ${cred:name} (systemd's LoadCredential=); $${ are the \
         characters ${.",
    );
    page.verbatim(EXAMPLE);
    page.section("Sources");
    page.text("[source] NAME = \"path, glob, folder, URL or -\", or a table [source.NAME]:");
    SOURCES.iter().for_each(|kind| kinds_keys(&mut page, kind));
    page.section("Sinks");
    page.text("[sink] NAME = \"path, stdout or URL\", or a table [sink.NAME]:");
    SINKS.iter().for_each(|kind| kinds_keys(&mut page, kind));
    page.section("Agent");
    AGENT.iter().for_each(|key| describe(&mut page, "", key));
    page.section("See also");
    page.text("logweir(1), systemd.exec(5)");
    page.finish()
}

const EXAMPLE: &str = "[source]
nginx = \"/var/log/nginx/*.log\"

[sink.collector]
url = \"https://collector.internal/ingest\"
bearer = \"${file:/etc/logweir/token}\"
";

fn kinds_keys(page: &mut Page, kind: &Kind) {
    page.text(&format!("type = \"{}\": {}", kind.name, kind.about));
    kind.keys().for_each(|key| describe(page, "", key));
}

fn describe(page: &mut Page, before: &str, key: &Key) {
    let name = format!("{before}{}", key.name);
    let mut text = key.about.to_owned();
    if !key.formats.is_empty() {
        text.push_str(&format!(" Only with format {}.", key.formats.join(" or ")));
    }
    let inner = match key.shape {
        Shape::Table(keys) | Shape::TextOrTable(keys) | Shape::ChoiceOrTable(_, keys) => keys,
        _ => &[],
    };
    if let (Some(default), []) = (key.default, inner) {
        text.push_str(&format!(" Default: {default}"));
    }
    page.item(&format!("{name} = {}", words(key.shape)), &text);
    let before = format!("{name}.");
    inner.iter().for_each(|key| describe(page, &before, key));
}

/// What a value can be, in short.
fn words(shape: Shape) -> String {
    match shape {
        Shape::Text => "\"text\"".to_owned(),
        Shape::Secret => "\"${…}\"".to_owned(),
        Shape::Size => "\"size\"".to_owned(),
        Shape::Duration(None) => "\"duration\"".to_owned(),
        Shape::Duration(Some(word)) => format!("\"duration\" | \"{word}\""),
        Shape::Count(min, max) => format!("{min} … {max}"),
        Shape::Flag => "true | false".to_owned(),
        Shape::Choice(words) => choice(words),
        Shape::Texts => "\"text\" | [\"text\", …]".to_owned(),
        Shape::List => "[\"text\", …]".to_owned(),
        Shape::Map | Shape::SecretMap => "{ name = \"text\", … }".to_owned(),
        Shape::Table(_) => "{ … }".to_owned(),
        Shape::TextOrTable(_) => "\"text\" | { … }".to_owned(),
        Shape::ChoiceOrTable(words, _) => format!("{} | {{ … }}", choice(words)),
    }
}

fn choice(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    quoted.join(" | ")
}
