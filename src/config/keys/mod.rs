//! Every key of the configuration: its shape, its default and what it means.
//!
//! What is printed about the configuration comes from here: its defaults, its JSON Schema, its
//! manual page, its effective form. The readers of the keys stand in `config::source`,
//! `config::sink` and `config::agent`; a test holds the two together.

mod agent;
mod manual;
mod page;
mod schema;
mod sink;
mod source;

pub use agent::AGENT;
pub use manual::manual;
pub use page::Page;
pub use schema::schema;
pub use sink::{DATADOG_BATCH, SINKS};
pub use source::SOURCES;

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What its value can be.
    pub shape: Shape,
    /// As TOML; `None`: it has none.
    pub default: Option<&'static str>,
    /// What it means, in one or two sentences.
    pub about: &'static str,
    /// For which formats of a sink; empty: for all.
    pub formats: &'static [&'static str],
}

/// What a value can be.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Any string.
    Text,
    /// A string that is shown to nobody.
    Secret,
    /// A number of bytes with its unit.
    Size,
    /// A time span with its unit; `Some` is a word that can stand instead.
    Duration(Option<&'static str>),
    /// A whole number from one to the other.
    Count(u64, u64),
    /// True or false.
    Flag,
    /// One of several words.
    Choice(&'static [&'static str]),
    /// A string or a list of strings.
    Texts,
    /// A list of strings.
    List,
    /// A table whose keys are free.
    Map,
    /// The same, with values that are shown to nobody.
    SecretMap,
    /// A table.
    Table(&'static [Key]),
    /// A string, or a table.
    TextOrTable(&'static [Key]),
    /// One of several words, or a table.
    ChoiceOrTable(&'static [&'static str], &'static [Key]),
}

/// The keys of one kind of source or sink.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// As `type` names it.
    pub name: &'static str,
    /// The key without which it is nothing; empty: there is none.
    pub place: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Its keys, in groups.
    pub groups: &'static [&'static [Key]],
}

impl Kind {
    /// Its keys but `type`.
    pub fn keys(&self) -> impl Iterator<Item = &'static Key> {
        self.groups.iter().copied().flatten()
    }
}

/// A text as TOML writes it.
pub fn basic_string(text: &str) -> String {
    let json = serde_json::to_string(text).unwrap_or_default();
    // The only character that JSON lets stand and TOML does not.
    json.replace('\u{7f}', "\\u007f")
}

const fn key(name: &'static str, shape: Shape, default: &'static str, about: &'static str) -> Key {
    Key {
        name,
        shape,
        default: Some(default),
        about,
        formats: &[],
    }
}

/// A key without a default.
const fn bare(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key {
        name,
        shape,
        default: None,
        about,
        formats: &[],
    }
}

/// A key that only some formats have.
const fn of_format(
    formats: &'static [&'static str],
    name: &'static str,
    shape: Shape,
    about: &'static str,
) -> Key {
    Key {
        name,
        shape,
        default: None,
        about,
        formats,
    }
}

/// Who a request is from, and whom it trusts: the same for sources and sinks.
const CREDENTIALS: &[Key] = &[
    bare("headers", Shape::SecretMap, "Extra headers."),
    bare("basic", Shape::Table(BASIC), "User and password."),
    bare(
        "bearer",
        Shape::Secret,
        "A bearer token. At most one of these authenticates.",
    ),
    bare(
        "oauth2",
        Shape::Table(OAUTH2),
        "A token from an OAuth 2.0 server, renewed before it ends.",
    ),
    bare("tls", Shape::Table(TLS), "Whom to trust, and what to show."),
];

const BASIC: &[Key] = &[
    bare("user", Shape::Text, "The user."),
    bare("password", Shape::Secret, "The password."),
];

const OAUTH2: &[Key] = &[
    bare("token_url", Shape::Text, "Where tokens are."),
    bare("client_id", Shape::Text, "Who asks."),
    bare("client_secret", Shape::Secret, "And with what."),
    bare("scope", Shape::Text, "For what."),
];

const TLS: &[Key] = &[
    bare(
        "ca",
        Shape::Text,
        "Certificates (PEM) to trust beside the system's.",
    ),
    bare(
        "cert",
        Shape::Text,
        "A client's certificate (PEM); needs `key`.",
    ),
    bare("key", Shape::Text, "Its key (PEM)."),
    key(
        "verify",
        Shape::Flag,
        "true",
        "With false nobody's certificate is looked at, and whoever is in between reads everything.",
    ),
];
