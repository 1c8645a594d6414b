//! Places in JSON documents.
//!
//! Pure: no I/O, no clock.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;

use serde::Deserialize as _;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A JSON Pointer (RFC 6901) in which a negative index counts from the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pointer(pub(super) Vec<String>);

impl Pointer {
    /// Reads a pointer; `None` where it does not start with `/`.
    pub fn new(text: &str) -> Option<Self> {
        let names = text.strip_prefix('/')?.split('/');
        Some(Self(
            names
                .map(|name| name.replace("~1", "/").replace("~0", "~"))
                .collect(),
        ))
    }

    /// True where it leads through the first element of a list.
    pub fn is_of_first(&self) -> bool {
        self.0.iter().any(|name| name == "0")
    }

    /// The value at this place of a document, as it is written; `None` where there is none or the
    /// document is no JSON.
    pub fn find_raw<'a>(&self, json: &'a str) -> Option<&'a str> {
        find(&self.0, json)
    }

    /// The text or number at this place of a document.
    pub fn find<'a>(&self, json: &'a str) -> Option<Cow<'a, str>> {
        scalar(self.find_raw(json)?)
    }
}

/// The text of a string, a number or a word as it is written; `None` for everything else.
pub fn scalar(raw: &str) -> Option<Cow<'_, str>> {
    let raw = raw.trim_ascii();
    match raw.as_bytes().first()? {
        b'"' => Some(serde_json::from_str::<Text>(raw).ok()?.0),
        b'{' | b'[' => None,
        _ if raw == "null" => None,
        _ => Some(Cow::Borrowed(raw)),
    }
}

/// The elements of a list, as they are written; `None` where the value is none.
pub fn elements(raw: &str) -> Option<Vec<&str>> {
    let elements: Vec<&RawValue> = serde_json::from_str(raw).ok()?;
    Some(elements.into_iter().map(RawValue::get).collect())
}

/// A string that is borrowed where it holds no escapes; serde's own `Cow` is always owned.
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;
        impl<'de> Visitor<'de> for Borrow {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(Borrow).map(Text)
    }
}

fn find<'a>(names: &[String], json: &'a str) -> Option<&'a str> {
    let mut json = serde_json::Deserializer::from_str(json);
    let found = Find(names).deserialize(&mut json).ok()?;
    // What follows the value is nobody's: a whole document was asked about.
    json.end().ok()?;
    match found? {
        Found::Here(raw) => Some(raw.get()),
        Found::Below(raw, rest) => find(&names[names.len() - rest..], raw.get()),
    }
}

/// Descends to one value and passes over the rest.
#[derive(Clone, Copy)]
struct Find<'p>(&'p [String]);

enum Found<'a> {
    Here(&'a RawValue),
    /// So many names are left below this one.
    Below(&'a RawValue, usize),
}

impl<'de> DeserializeSeed<'de> for Find<'_> {
    type Value = Option<Found<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        if self.0.is_empty() {
            return <&RawValue>::deserialize(deserializer).map(|raw| Some(Found::Here(raw)));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Find<'_> {
    type Value = Option<Found<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (first, rest) = self.0.split_first().expect("there is a name left");
        let mut found = None;
        while let Some(Text(key)) = map.next_key()? {
            if found.is_none() && key == first.as_str() {
                found = map.next_value_seed(Find(rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let (first, rest) = self.0.split_first().expect("there is a name left");
        let index = first.parse::<i64>().ok();
        let from_end = index.map_or(0, |it| usize::try_from(it.unsigned_abs()).unwrap_or(0));
        let (mut at, mut found, mut last) = (0, None, VecDeque::new());
        while let Some(value) = seq.next_element::<&RawValue>()? {
            match index {
                Some(index) if index >= 0 && at == index => found = Some(value),
                Some(..0) => {
                    last.push_back(value);
                    if last.len() > from_end {
                        last.pop_front();
                    }
                }
                _ => {}
            }
            at += 1;
        }
        if last.len() == from_end {
            found = found.or(last.pop_front());
        }
        Ok(found.map(|raw| Found::Below(raw, rest.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#" {"a/b": {"~": 1.50}, "items": [{"id": "x\n1"}, {"id": 2, "more": [
        true, null]}], "next": null, "next": "second"} "#;

    fn found(pointer: &str) -> Option<Cow<'static, str>> {
        Pointer::new(pointer).unwrap().find(DOCUMENT)
    }

    #[test]
    fn values_are_found_where_the_pointer_leads() {
        assert_eq!(found("/a~1b/~0").as_deref(), Some("1.50"));
        assert_eq!(found("/items/0/id").as_deref(), Some("x\n1"));
        assert_eq!(found("/items/-1/id").as_deref(), Some("2"));
        assert_eq!(found("/items/-2/id").as_deref(), Some("x\n1"));
        assert_eq!(found("/items/-1/more/0").as_deref(), Some("true"));
        for nothing in [
            "/items/-3/id",
            "/items/2/id",
            "/items/x",
            "/items",
            "/next",
            "/b",
            "/a~1b/~0/c",
        ] {
            assert_eq!(found(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_document_that_is_no_json_holds_nothing() {
        let pointer = Pointer::new("/a").unwrap();

        assert_eq!(pointer.find("{\"a\": 1} x"), None);
        assert_eq!(pointer.find("{\"a\": 1"), None);
        assert_eq!(Pointer::default().find_raw(" [1] "), Some("[1]"));
    }

    #[test]
    fn elements_are_as_they_are_written() {
        assert_eq!(
            elements(" [1, {\"a\" : 2.0}] "),
            Some(vec!["1", "{\"a\" : 2.0}"])
        );
        assert_eq!(elements("{}"), None);
    }
}
