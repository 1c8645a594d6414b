//! What a SOURCE string or a sink's string form names.
//!
//! Pure: no I/O, no clock.

use crate::source::stream::Framing;

/// What a location is, by its look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Location {
    /// A path, a glob or a directory.
    Path,
    /// `http://` or `https://`.
    Http,
    /// `http://` or `https://` with a framing in front.
    Framed(Framing),
    /// `http://` or `https://`, asked again and again.
    Poll,
    /// `http://` or `https://`, a file that grows.
    Range,
    /// `ws://` or `wss://`.
    WebSocket,
    /// `-`
    Stdin,
    /// Something with `://` that nobody knows.
    UnknownScheme,
}

const SCHEMES: [(&str, Location); 12] = [
    ("http", Location::Http),
    ("https", Location::Http),
    ("sse+http", Location::Framed(Framing::Sse)),
    ("sse+https", Location::Framed(Framing::Sse)),
    ("lines+http", Location::Framed(Framing::Lines)),
    ("lines+https", Location::Framed(Framing::Lines)),
    ("poll+http", Location::Poll),
    ("poll+https", Location::Poll),
    ("range+http", Location::Range),
    ("range+https", Location::Range),
    ("ws", Location::WebSocket),
    ("wss", Location::WebSocket),
];

impl Location {
    pub(super) fn of(text: &str) -> Self {
        if text == "-" {
            return Self::Stdin;
        }
        let Some((scheme, _)) = text.split_once("://") else {
            return Self::Path;
        };
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        if !is_scheme {
            return Self::Path;
        }
        let scheme = scheme.to_ascii_lowercase();
        let known = SCHEMES.iter().find(|(known, _)| *known == scheme);
        known.map_or(Self::UnknownScheme, |(_, location)| *location)
    }
}

/// A URL without the framing in front of it.
pub(super) fn without_framing(url: &str) -> &str {
    let scheme = url.find("://").unwrap_or(0);
    url[..scheme].find('+').map_or(url, |plus| &url[plus + 1..])
}

/// True if `name` may name a source or sink: `[A-Za-z0-9_.-]{1,64}`.
pub(super) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// Why a path cannot be one of a file source; `None`: it can.
pub(super) fn path_trouble(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("must not be empty");
    }
    if path.contains('\0') {
        return Some("must not contain a NUL byte");
    }
    if [".bz2", ".xz", ".lz4"].iter().any(|it| path.ends_with(it)) {
        return Some("cannot be decompressed: .gz and .zst files can");
    }
    if globset::GlobBuilder::new(path)
        .literal_separator(true)
        .build()
        .is_err()
    {
        return Some("is not a valid glob");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_told_by_their_look() {
        let cases = [
            ("/var/log/*.log", Location::Path),
            ("app.log", Location::Path),
            ("a b://c", Location::Path),
            ("-", Location::Stdin),
            ("https://h/p", Location::Http),
            ("HTTP://h", Location::Http),
            ("wss://h", Location::WebSocket),
            ("sse+http://h", Location::Framed(Framing::Sse)),
            ("Lines+https://h", Location::Framed(Framing::Lines)),
            ("poll+https://h", Location::Poll),
            ("range+https://h", Location::Range),
            ("ftp://h", Location::UnknownScheme),
        ];
        for (text, location) in cases {
            assert_eq!(Location::of(text), location, "{text}");
        }
    }
}
