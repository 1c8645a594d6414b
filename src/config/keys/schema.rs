//! The JSON Schema of the configuration, for editors that complete TOML by it.

use serde_json::{Map, Value, json};

use super::{AGENT, Key, Kind, SINKS, SOURCES, Shape};

/// A name of a source or sink.
const NAME: &str = "^[A-Za-z0-9_.-]{1,64}$";

/// What is looked up.
const REFERENCE: &str = r"\$\{(env|file|cred):";

/// The schema, draft 7: what Taplo and other editors of TOML read.
pub fn schema() -> String {
    let entries = |kinds: &[Kind], about: &str| {
        let mut any = vec![json!({ "type": "string" })];
        any.extend(kinds.iter().map(of_kind));
        json!({
            "type": "object",
            "description": about,
            "patternProperties": { NAME: { "anyOf": any } },
            "additionalProperties": false,
        })
    };
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "logweir's agent.toml",
        "type": "object",
        "properties": {
            "source": entries(SOURCES, "Where lines come from: a path, glob, folder or URL, or a table."),
            "sink": entries(SINKS, "Where lines go: a path, \"stdout\" or a URL, or a table."),
            "agent": table(AGENT.iter()),
        },
        "additionalProperties": false,
    });
    format!("{schema:#}\n")
}

fn of_kind(kind: &Kind) -> Value {
    let mut table = table(kind.keys());
    table["title"] = json!(format!("type = \"{}\"", kind.name));
    table["description"] = json!(kind.about);
    let of_type = json!({ "type": "string", "enum": [kind.name], "description": "What it is." });
    table["properties"]["type"] = of_type;
    let required = if kind.place.is_empty() {
        "type"
    } else {
        kind.place
    };
    table["required"] = json!([required]);
    if kind.keys().any(|key| key.name == "urls") {
        // Either will do, and the reader says what is missing.
        table["required"] = json!([]);
    }
    table
}

fn table<'k>(keys: impl Iterator<Item = &'k Key>) -> Value {
    let properties: Map<String, Value> =
        keys.map(|key| (key.name.to_owned(), of_key(key))).collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn of_key(key: &Key) -> Value {
    let mut value = of_shape(key.shape);
    let mut about = key.about.to_owned();
    if let Some(default) = key.default {
        about.push_str(&format!(" Default: {default}"));
    }
    value["description"] = json!(about);
    value
}

fn of_shape(shape: Shape) -> Value {
    let text = || json!({ "type": "string" });
    let unit =
        |pattern: &str| json!({ "type": "string", "pattern": format!("{pattern}|{REFERENCE}") });
    let words = |words: &[&str]| json!({ "anyOf": [{ "type": "string", "enum": words }, { "type": "string", "pattern": REFERENCE }] });
    match shape {
        Shape::Text | Shape::Secret => text(),
        Shape::Size => unit(r"^\s*[0-9.]+\s*([KMGTkmgt][Ii]?)?[Bb]\s*$"),
        Shape::Duration(None) => unit(r"[a-zµ]"),
        Shape::Duration(Some(word)) => unit(&format!("[a-zµ]|^{word}$")),
        Shape::Count(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::Choice(choice) => words(choice),
        Shape::Texts => json!({ "anyOf": [text(), { "type": "array", "items": text() }] }),
        Shape::List => json!({ "type": "array", "items": text() }),
        Shape::Map | Shape::SecretMap => {
            json!({ "type": "object", "additionalProperties": text() })
        }
        Shape::Table(keys) => table(keys.iter()),
        Shape::TextOrTable(keys) => json!({ "anyOf": [text(), table(keys.iter())] }),
        Shape::ChoiceOrTable(choice, keys) => {
            json!({ "anyOf": [words(choice), table(keys.iter())] })
        }
    }
}
