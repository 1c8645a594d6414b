//! Values that must never be shown, and how URLs are shown without them.
//!
//! Pure: no I/O, no clock.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// A resolved secret. `Debug` masks it and there is no `Display`, so that it cannot reach a log
/// line, an error or a printed config by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    value: String,
    /// What it was put together from, where files are among it.
    parts: Option<Arc<[SecretPart]>>,
    /// Where a person gave it, for example `${env:TOKEN}`.
    place: Option<Arc<str>>,
}

/// A part of a secret.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretPart {
    /// What does not change.
    Text(String),
    /// What a file held, which may be replaced while the program runs.
    File(PathBuf),
}

impl Secret {
    /// Wraps a resolved value.
    pub fn new(value: impl Into<String>) -> Self {
        let value = value.into();
        Self {
            value,
            parts: None,
            place: None,
        }
    }

    /// Wraps a value that was put together from `parts`.
    pub fn from_parts(value: String, parts: Vec<SecretPart>) -> Self {
        let any_file = parts.iter().any(|it| matches!(it, SecretPart::File(_)));
        let parts = any_file.then(|| parts.into());
        Self {
            value,
            parts,
            place: None,
        }
    }

    /// The same with the place where a person gave it, as it may be shown to them.
    pub fn given_by(mut self, place: Option<&str>) -> Self {
        self.place = place.map(Arc::from);
        self
    }

    /// Where a person gave it; `None`: it stands in plain text where it is used.
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// The same with a text before it, such as the name of an authentication scheme.
    pub fn after(&self, before: &str) -> Self {
        let parts = self.parts.iter().flat_map(|parts| parts.iter().cloned());
        let before_it = std::iter::once(SecretPart::Text(before.to_owned()));
        Self::from_parts(
            format!("{before}{}", self.value),
            before_it.chain(parts).collect(),
        )
        .given_by(self.place())
    }

    /// The value itself, for the request that needs it and nothing else.
    pub fn expose(&self) -> &str {
        &self.value
    }

    /// What it was put together from; empty where no file is among it.
    pub fn parts(&self) -> &[SecretPart] {
        self.parts.as_deref().unwrap_or_default()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Debug for SecretPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A URL without its userinfo, query and fragment, where secrets hide.
pub fn shown_url(url: &str) -> String {
    let url = &url[..url.find(['?', '#']).unwrap_or(url.len())];
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let authority_end = rest.find('/').unwrap_or(rest.len());
    match rest[..authority_end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_url_has_no_userinfo_and_no_query() {
        let cases = [
            ("https://u:p@host/a/b?token=x#f", "https://host/a/b"),
            ("https://host", "https://host"),
            ("https://host/a@b", "https://host/a@b"),
            ("http://u:p@host?x=y", "http://host"),
        ];
        for (url, shown) in cases {
            assert_eq!(shown_url(url), shown);
        }
    }

    #[test]
    fn debug_masks_a_secret() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "***");
    }
}
