//! `${env:X}`, `${env:X:-default}`, `${file:/p}` and `${cred:name}` inside string values.
//!
//! They are resolved after parsing, so that no value can change the structure of a file.

use std::env::VarError;
use std::ops::Range;
use std::path::Path;

use super::cx::{Cx, References};
use crate::secret::SecretPart;

/// Where a text comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// All of it stands in the file.
    Literal,
    /// Part of it was looked up.
    Reference,
    /// Part of it is unknown: it must not be judged.
    Placeholder,
}

/// A string value with its references resolved.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) value: String,
    pub(super) span: Range<usize>,
    pub(super) from: From,
    /// What `value` was put together from.
    pub(super) parts: Vec<SecretPart>,
    /// The first reference in it, without a default.
    pub(super) reference: Option<String>,
    /// References to files that every user may read.
    pub(super) world_readable: Vec<(Range<usize>, String)>,
}

/// What a reference looks its value up with.
#[derive(Clone, Copy)]
enum Scheme {
    Env,
    File,
    Cred,
}

const SCHEMES: [(&str, Scheme); 3] = [
    ("${env:", Scheme::Env),
    ("${file:", Scheme::File),
    ("${cred:", Scheme::Cred),
];

const PLACEHOLDER: &str = "placeholder";

/// Resolves the references of `raw`, the value at `span`; `owner` names it in messages.
pub(super) fn resolve(raw: &str, span: Range<usize>, owner: &str, cx: &mut Cx) -> Text {
    let mut text = Text {
        value: String::new(),
        span,
        from: From::Literal,
        parts: Vec::new(),
        reference: None,
        world_readable: Vec::new(),
    };
    let mut rest = raw;
    // Where the search for the next reference's place goes on.
    let mut cursor = text.span.start;
    while let Some(at) = rest.find('$') {
        text.push(&rest[..at]);
        rest = &rest[at..];
        if let Some(escaped) = rest.strip_prefix("$${") {
            text.push("${");
            rest = escaped;
            continue;
        }
        let Some((prefix, scheme)) = SCHEMES.iter().find(|(it, _)| rest.starts_with(it)) else {
            text.push("$");
            rest = &rest[1..];
            continue;
        };
        let length = rest.find('}').map_or(rest.len(), |end| end + 1);
        let place = place_of(&rest[..length], cursor, &text.span, cx);
        cursor = place.end.min(text.span.end);
        if let Some(body) = rest[prefix.len()..length].strip_suffix('}') {
            look_up(*scheme, body, &Reference { place, owner }, &mut text, cx);
        } else {
            text.from = From::Placeholder;
            cx.error(place, format!("{owner}: a reference is not closed"))
                .label("`}` is missing; write `$${` for the characters themselves");
        }
        rest = &rest[length..];
    }
    text.push(rest);
    text
}

impl Text {
    /// Adds what stays as it is.
    fn push(&mut self, text: &str) {
        if !text.is_empty() {
            self.value.push_str(text);
            self.parts.push(SecretPart::Text(text.to_owned()));
        }
    }
}

/// One reference, for messages.
struct Reference<'a> {
    place: Range<usize>,
    owner: &'a str,
}

/// The place of a reference in the file: the value's where the reference is written with escapes.
fn place_of(reference: &str, cursor: usize, whole: &Range<usize>, cx: &Cx) -> Range<usize> {
    cx.text
        .get(cursor..whole.end)
        .and_then(|text| text.find(reference))
        .map_or_else(
            || whole.clone(),
            |at| cursor + at..cursor + at + reference.len(),
        )
}

fn look_up(scheme: Scheme, body: &str, at: &Reference, text: &mut Text, cx: &mut Cx) {
    let (name, default) = match scheme {
        Scheme::Env => body
            .split_once(":-")
            .map_or((body, None), |(name, it)| (name, Some(it))),
        Scheme::File | Scheme::Cred => (body, None),
    };
    if text.reference.is_none() {
        let scheme = match scheme {
            Scheme::Env => "env",
            Scheme::File => "file",
            Scheme::Cred => "cred",
        };
        text.reference = Some(format!("${{{scheme}:{name}}}"));
    }
    let found = if name.is_empty() {
        Err(Missing::new(
            "a reference names nothing",
            "for example ${env:NAME}",
        ))
    } else if cx.references == References::Placeholders {
        default
            .map(str::to_owned)
            .map_or(Ok(None), |it| Ok(Some(it)))
    } else {
        let value = match scheme {
            Scheme::Env => variable(name, default, cx),
            Scheme::File => file(Path::new(name), at, text, cx),
            Scheme::Cred => credential(name, at, text, cx),
        };
        value.map(Some)
    };
    match found {
        Ok(Some(value)) => {
            // A file's part was noted where it was read.
            match scheme {
                Scheme::Env => text.push(&value),
                Scheme::File | Scheme::Cred => text.value.push_str(&value),
            }
            if text.from == From::Literal {
                text.from = From::Reference;
            }
        }
        Ok(None) => {
            text.value.push_str(PLACEHOLDER);
            text.from = From::Placeholder;
        }
        Err(missing) => {
            text.from = From::Placeholder;
            cx.error(
                at.place.clone(),
                format!("{}: {}", at.owner, missing.message),
            )
            .label(missing.hint);
        }
    }
}

/// Why a reference has no value, and what to do about it.
struct Missing {
    message: String,
    hint: String,
}

impl Missing {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: hint.into(),
        }
    }
}

/// An empty variable counts as unset for a default, as in a shell.
fn variable(name: &str, default: Option<&str>, cx: &Cx) -> Result<String, Missing> {
    match (cx.environment.var(name), default) {
        (Ok(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Ok(value), _) => Ok(value),
        (Err(VarError::NotPresent), Some(default)) => Ok(default.to_owned()),
        (Err(VarError::NotPresent), None) => Err(Missing::new(
            format!("environment variable `{name}` is not set"),
            format!("set it, or give a default: ${{env:{name}:-…}}"),
        )),
        (Err(VarError::NotUnicode(_)), _) => Err(Missing::new(
            format!("environment variable `{name}` is not UTF-8"),
            "its value cannot be used",
        )),
    }
}

fn file(path: &Path, at: &Reference, text: &mut Text, cx: &Cx) -> Result<String, Missing> {
    let file = cx.environment.file(path).map_err(|error| {
        Missing::new(
            format!("cannot read `{}`", path.display()),
            error.to_string(),
        )
    })?;
    if file.world_readable {
        text.world_readable
            .push((at.place.clone(), path.display().to_string()));
    }
    text.parts.push(SecretPart::File(path.to_path_buf()));
    let value = file.text.strip_suffix('\n').unwrap_or(&file.text);
    Ok(value.strip_suffix('\r').unwrap_or(value).to_owned())
}

fn credential(name: &str, at: &Reference, text: &mut Text, cx: &Cx) -> Result<String, Missing> {
    if name.contains('/') || name == "." || name == ".." {
        return Err(Missing::new(
            format!("`{name}` is not a credential's name"),
            "a name without `/`; a path is written ${file:/path}",
        ));
    }
    let folder = cx.environment.var("CREDENTIALS_DIRECTORY").map_err(|_| {
        Missing::new(
            format!("credential `{name}` cannot be looked up: $CREDENTIALS_DIRECTORY is not set"),
            format!("systemd sets it for units with LoadCredential={name}:/path"),
        )
    })?;
    file(&Path::new(&folder).join(name), at, text, cx)
}
