//! What a person is told about connections: once per event, not per attempt.
//!
//! In `tail` these are short lines on stderr, in `run` events of the log. No note shows a secret:
//! whoever writes one passes no URL with userinfo or query.

use std::fmt;
use std::time::Duration;

use tracing::{info, warn};

use crate::terminal;

/// Tells a person about connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Notes(Voice);

#[derive(Clone, Copy, Debug)]
enum Voice {
    Terminal,
    Silent,
    Log,
}

/// Something that happened to a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note<'a> {
    /// A connection stands.
    Connected {
        /// How its bytes are read: `SSE`, `lines`, `WebSocket`.
        how: &'a str,
    },
    /// A connection that stood has ended, and will be made again.
    Cut {
        /// For example `closed 1006` or `connection reset`.
        cause: &'a str,
        /// How long it stood.
        after: Duration,
        /// When it is tried again.
        retry: Duration,
        /// Where the source goes on; `None`: what is sent meanwhile is missed.
        resume: Option<&'a str>,
    },
    /// No connection could be made; it is tried for ever.
    Unreachable {
        /// What the system or the peer said.
        cause: &'a str,
        /// When it is tried again.
        retry: Duration,
    },
    /// The peer refuses for a reason that only a person can end, such as a wrong token.
    Refused {
        /// For example `401 Unauthorized (is the token right?)`.
        cause: &'a str,
        /// When it is tried again.
        retry: Duration,
    },
    /// The peer wants other credentials, and there is nobody to renew them: it is not tried again.
    GivenUp {
        /// For example `401 Unauthorized`.
        cause: &'a str,
        /// Where the credentials come from, for example `token from ${env:TOKEN}; is it set?`.
        hint: Option<&'a str>,
    },
    /// The source has ended by itself.
    Ended {
        /// For example `response complete`.
        cause: &'a str,
    },
    /// Something else to know, in one sentence.
    Hint {
        /// The sentence, without a full stop.
        text: &'a str,
    },
}

impl Notes {
    /// Short lines on stderr, as `tail` shows them.
    pub fn terminal() -> Self {
        Self(Voice::Terminal)
    }

    /// Nothing at all (`tail --quiet`).
    pub fn silent() -> Self {
        Self(Voice::Silent)
    }

    /// Events of the log, as `run` writes them.
    pub fn log() -> Self {
        Self(Voice::Log)
    }

    /// Tells one note about `source`.
    pub fn tell(&self, source: &str, note: &Note) {
        match self.0 {
            Voice::Silent => {}
            Voice::Terminal => terminal::note(&Shown { source, note }.to_string()),
            Voice::Log => log(source, note),
        }
    }

    /// Tells that a source could not be read at the start.
    pub fn cannot_read(&self, failure: &FirstFailure) {
        match self.0 {
            Voice::Silent => {}
            Voice::Terminal => terminal::note(&format!("! {failure}")),
            Voice::Log => warn!("{failure}"),
        }
    }
}

/// How the first attempt to read a source failed, in one sentence that names the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstFailure {
    /// For example `cannot read web: no answer`.
    pub trouble: String,
    /// Whether it is tried again, unless nothing else can be read.
    pub is_retried: bool,
}

impl FirstFailure {
    /// What passes by itself; it is tried for ever.
    pub fn passing(source: &str, cause: &str) -> Self {
        Self {
            trouble: format!("cannot read {source}: {cause}"),
            is_retried: true,
        }
    }

    /// The source has ended by it.
    pub fn final_one(source: &str, cause: &str) -> Self {
        Self {
            is_retried: false,
            ..Self::passing(source, cause)
        }
    }

    /// The peer wants other credentials.
    pub fn denied(source: &str, note: &Note) -> Self {
        let note = Shown { source, note }.to_string();
        Self {
            trouble: note.trim_start_matches("! ").to_owned(),
            is_retried: false,
        }
    }
}

impl fmt::Display for FirstFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let then = if self.is_retried {
            "; trying again"
        } else {
            ""
        };
        write!(f, "{}{then}", self.trouble)
    }
}

/// A note as one line for a terminal.
#[derive(Debug)]
pub struct Shown<'a> {
    /// The source's name.
    pub source: &'a str,
    /// The note.
    pub note: &'a Note<'a>,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.source;
        match self.note {
            Note::Connected { how } => write!(f, "+ {name} connected ({how})"),
            Note::Cut {
                cause,
                after,
                retry,
                resume,
            } => {
                let (after, retry) = (Span(*after), Span(*retry));
                write!(f, "~ {name} {cause} after {after}; retry in {retry}")?;
                resume.map_or(Ok(()), |from| write!(f, ", resume from {from}"))
            }
            Note::Unreachable { cause, retry } => {
                write!(f, "~ {name} {cause}; retry in {}", Span(*retry))
            }
            Note::Refused { cause, retry } => {
                write!(f, "! {name} {cause}; next try in {}", Span(*retry))
            }
            Note::GivenUp { cause, hint } => {
                write!(f, "! {name} {cause}: not retrying")?;
                hint.map_or(Ok(()), |hint| write!(f, " ({hint})"))
            }
            Note::Ended { cause } => write!(f, "- {name} ended: {cause}"),
            Note::Hint { text } => write!(f, "! {name} {text}"),
        }
    }
}

fn log(source: &str, note: &Note) {
    match note {
        Note::Connected { how } => info!(source, how, "connected"),
        Note::Cut {
            cause,
            after,
            retry,
            resume,
        } => {
            let (after, retry) = (Span(*after), Span(*retry));
            warn!(source, cause, %after, %retry, resume, "connection ended");
        }
        Note::Unreachable { cause, retry } => {
            warn!(source, cause, retry = %Span(*retry), "cannot connect");
        }
        Note::Refused { cause, retry } => {
            tracing::error!(source, cause, retry = %Span(*retry), "refused");
        }
        Note::GivenUp { cause, hint } => {
            tracing::error!(source, cause, hint, "refused: not tried again");
        }
        Note::Ended { cause } => info!(source, cause, "ended"),
        Note::Hint { text } => warn!(source, "{text}"),
    }
}

/// A duration as people say it: `250ms`, `2s`, `3m02s`, `3h12m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
            (0, 0, 0) => write!(f, "{}ms", self.0.as_millis()),
            (0, 0, seconds) => write!(f, "{seconds}s"),
            (0, minutes, seconds) => write!(f, "{minutes}m{seconds:02}s"),
            (hours, minutes, _) => write!(f, "{hours}h{minutes:02}m"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_short_lines() {
        let seconds = Duration::from_secs;
        let cases = [
            (Note::Connected { how: "SSE" }, "+ a connected (SSE)"),
            (
                Note::Cut {
                    cause: "closed 1006",
                    after: seconds(11_520),
                    retry: seconds(2),
                    resume: Some("17"),
                },
                "~ a closed 1006 after 3h12m; retry in 2s, resume from 17",
            ),
            (
                Note::Unreachable {
                    cause: "connection refused",
                    retry: Duration::from_millis(250),
                },
                "~ a connection refused; retry in 250ms",
            ),
            (
                Note::Refused {
                    cause: "401 Unauthorized",
                    retry: seconds(182),
                },
                "! a 401 Unauthorized; next try in 3m02s",
            ),
            (
                Note::GivenUp {
                    cause: "401 Unauthorized",
                    hint: Some("token from ${env:TOKEN}; is it set?"),
                },
                "! a 401 Unauthorized: not retrying (token from ${env:TOKEN}; is it set?)",
            ),
            (
                Note::Ended {
                    cause: "end of input",
                },
                "- a ended: end of input",
            ),
            (
                Note::Hint {
                    text: "the clock of the server differs",
                },
                "! a the clock of the server differs",
            ),
        ];
        for (note, shown) in cases {
            let note = Shown {
                source: "a",
                note: &note,
            };
            assert_eq!(note.to_string(), shown);
        }
    }
}
