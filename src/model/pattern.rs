//! A regular expression that can be compared, as configurations are.
//!
//! Pure: no I/O, no clock.

use regex::bytes::Regex;

/// A regular expression over bytes. Matching takes time linear in the text, whatever it says.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

/// What is wrong with an expression, in a few words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(String);

impl Unusable {
    fn of(error: &regex::Error) -> Self {
        if let regex::Error::CompiledTooBig(limit) = error {
            return Self(format!(
                "it repeats too much: compiled it takes more than {} MiB",
                limit >> 20
            ));
        }
        // The whole of it shows the expression again, over several lines.
        let error = error.to_string();
        let why = error.lines().last().unwrap_or_default();
        Self(why.strip_prefix("error: ").unwrap_or(why).to_owned())
    }
}

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn new(text: &str) -> Result<Self, Unusable> {
        Regex::new(text)
            .map(Self)
            .map_err(|error| Unusable::of(&error))
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// True where it matches anywhere in `text`.
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.0.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}
