//! What holds for json whatever the lines are.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use jiff::tz::TimeZone;
use proptest::collection::vec;
use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::*;
use crate::model::{Record, StreamKey};

const RESERVED: [&str; 11] = [
    "_time",
    "_source",
    "_msg",
    "_host",
    "_file",
    "_offset",
    "_labels",
    "_truncated",
    "_event",
    "_stream",
    "_b64",
];

/// The members of an object in order, duplicates included, each value as it is spelled.
struct Members(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    members.push((key, value.get().to_owned()));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

fn members(line: &[u8]) -> Vec<(String, String)> {
    let Members(members) = serde_json::from_slice(line).unwrap();
    members
}

/// Asks serde_json whether `text` is one object. `None`: it cannot tell, because a number is valid
/// JSON but too large for it.
fn is_object(text: &[u8]) -> Option<bool> {
    match serde_json::from_slice::<serde_json::Map<_, _>>(text) {
        Ok(_) => Some(true),
        Err(error) if error.to_string().contains("number out of range") => None,
        Err(_) => Some(false),
    }
}

fn encode(meta: Meta, lines: &Lines) -> Vec<u8> {
    let encoder = Encoder::new(&Format::json(meta), "host", TimeZone::UTC);
    let origin = Origin {
        source: "the \"source\"".into(),
        stream: StreamKey::new("1"),
        path: Some("/var/log/a.log".into()),
        labels: Arc::new([("env".into(), "prod".into())]),
    };
    let mut out = Vec::new();
    let piece = Piece {
        origin: &origin,
        time_ns: 1_795_371_948_999_999_990,
        lines: lines.clone(),
        is_replayable: true,
    };
    encoder.append(&mut out, &[piece]);
    out
}

fn records(texts: &[(Vec<u8>, bool)]) -> Lines {
    let mut bytes = Vec::new();
    let mut records = Vec::new();
    for (text, truncated) in texts {
        bytes.extend_from_slice(text);
        bytes.push(b'\n');
        let end = u32::try_from(bytes.len()).unwrap();
        records.push(Record {
            end,
            offset: 5,
            truncated: *truncated,
            ..Record::default()
        });
    }
    Lines::from_records(bytes.into(), records.into())
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,2})?",
        "(true|false|null)",
        string(),
    ];
    leaf.prop_recursive(4, 20, 4, |inner| {
        let array = (vec(inner.clone(), 0..4), space())
            .prop_map(|(items, space)| format!("[{space}{}{space}]", items.join(",")));
        prop_oneof![array, object_of(inner)]
    })
}

fn string() -> impl Strategy<Value = String> {
    let char =
        "([a-z ]{0,9}|\\\\[\"\\\\/bfnrt]|\\\\u00[0-9a-fA-F]{2}|\\\\ud83d\\\\udca7|ż|💧|_|[{}:,])";
    let chars = format!("\"({char}){{0,4}}\"");
    proptest::string::string_regex(&chars).unwrap()
}

fn key() -> impl Strategy<Value = String> {
    let escaped = |name: &str| format!("\\u005f{}", &name[1..]);
    let reserved = (
        prop::sample::select(&RESERVED[..]),
        any::<bool>(),
        0..3_usize,
    )
        .prop_map(move |(name, is_escaped, suffixes)| {
            let name = if is_escaped {
                escaped(name)
            } else {
                name.to_owned()
            };
            format!("\"{name}{}\"", "_orig".repeat(suffixes))
        });
    prop_oneof![3 => string(), 1 => reserved]
}

fn space() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&["", "", " ", "\n  ", "\t", "\r\n"][..])
}

fn object_of(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (vec((key(), value), 0..5), space(), space()).prop_map(|(members, one, two)| {
        let members: Vec<_> = members
            .iter()
            .map(|(key, value)| format!("{one}{key}{two}:{one}{value}{two}"))
            .collect();
        format!("{two}{{{two}{}{one}}}{two}", members.join(","))
    })
}

fn object() -> impl Strategy<Value = String> {
    object_of(value())
}

/// A valid object with a few bytes changed, added or taken away.
fn nearly_object() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        3 => prop::sample::select(&b"{}[]\",:\\ue+-.019tfn \n\x00\x1f"[..]),
        1 => any::<u8>(),
    ];
    let change = (any::<prop::sample::Index>(), 0..3_u8, byte);
    (object(), vec(change, 0..3)).prop_map(|(text, changes)| {
        let mut text = text.into_bytes();
        for (at, what, byte) in changes {
            let at = at.index(text.len() + 1);
            match what {
                0 => text.insert(at, byte),
                _ if at == text.len() => {}
                1 => text[at] = byte,
                _ => drop(text.remove(at)),
            }
        }
        text
    })
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let plain = "[ -~]{0,80}".prop_map(String::into_bytes);
    prop_oneof![
        any::<Vec<u8>>(),
        plain,
        nearly_object(),
        object().prop_map(String::into_bytes)
    ]
}

/// The name that a record's own key gets.
fn expected_name(name: &str, own: &[(String, String)]) -> String {
    let mut renamed = name.to_owned();
    if RESERVED.contains(&name) {
        while RESERVED.contains(&&renamed[..]) || own.iter().any(|(key, _)| *key == renamed) {
            renamed += "_orig";
        }
    }
    renamed
}

proptest! {
    #[test]
    fn every_line_becomes_one_object(texts in vec((line(), any::<bool>()), 0..20), offset: bool) {
        let meta = Meta { host: true, file: true, offset, labels: offset };

        let out = encode(meta, &records(&texts));

        prop_assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), texts.len());
        prop_assert!(std::str::from_utf8(&out).is_ok());
        for (line, (text, truncated)) in out.split(|byte| *byte == b'\n').zip(&texts) {
            prop_assert_ne!(is_object(line), Some(false));
            let members = members(line);
            let times = |name: &str| members.iter().filter(|(key, _)| key == name).count();
            prop_assert_eq!(&members[0].0, "_time");
            prop_assert_eq!(&members[1], &("_source".into(), r#""the \"source\"""#.into()));
            for name in RESERVED {
                prop_assert!(times(name) <= 1, "{name} is there twice");
            }
            prop_assert_eq!(times("_truncated") == 1, *truncated);
            if times("_msg") == 1 {
                let text = text.strip_suffix(b"\r").unwrap_or(text);
                let shown: String = serde_json::from_str(&members.last().unwrap().1).unwrap();
                prop_assert_eq!(shown, String::from_utf8_lossy(text));
            }
        }
    }

    #[test]
    fn untouched_lines_become_as_many_objects(text: Vec<u8>) {
        let text = [&text[..], b"\n"].concat();
        let count = u32::try_from(text.iter().filter(|byte| **byte == b'\n').count()).unwrap();

        let out = encode(Meta::default(), &Lines::untouched(Bytes::from(text), count, 0));

        let lines: Vec<_> = out.trim_ascii_end().split(|byte| *byte == b'\n').collect();
        prop_assert_eq!(lines.len(), count as usize);
        prop_assert!(lines.iter().all(|line| is_object(line) == Some(true)));
    }

    #[test]
    fn objects_keep_all_their_members(text in object()) {
        let own = members(text.as_bytes());

        let out = encode(Meta::default(), &records(&[(text.into_bytes(), false)]));

        let expected: Vec<_> = own
            .iter()
            .map(|(key, value)| (expected_name(key, &own), value.replace(['\n', '\r'], " ")))
            .collect();
        prop_assert_eq!(&members(&out)[2..], expected);
    }

    #[test]
    fn scanner_and_serde_json_agree(text in nearly_object()) {
        if let (Ok(_), Some(expected)) = (std::str::from_utf8(&text), is_object(&text)) {
            prop_assert_eq!(scan::object(&text, |_| ()).is_some(), expected);
        }
    }
}
