//! How a delivery can fail, classified where the failure is born.

use std::time::Duration;

/// Why a payload was not delivered, and so what happens next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// It may work later: the same payload is tried again, for ever.
    #[error("{cause}")]
    Retryable {
        /// What happened.
        cause: String,
        /// The delay that the peer asked for.
        after: Option<Duration>,
    },
    /// The set-up is wrong, not the data: said loudly, tried again slowly.
    #[error("{cause}")]
    Paused {
        /// What happened, and what to do.
        cause: String,
    },
    /// The body is too large for the peer: it is halved.
    #[error("{cause}")]
    TooLarge {
        /// What happened.
        cause: String,
    },
    /// The peer refuses the body and has stored none of it: it is bisected until the lines that
    /// are to blame stand alone.
    #[error("{cause}")]
    Unacceptable {
        /// The HTTP status.
        status: u16,
        /// What happened.
        cause: String,
    },
    /// The peer refuses every line of the body for good.
    #[error("{cause}")]
    Rejected {
        /// The HTTP status.
        status: u16,
        /// What happened.
        cause: String,
    },
    /// The peer has stored some lines of the body, refuses others for good, and does not say which:
    /// all of them are set aside, and none is sent again.
    #[error("{cause}")]
    PartlyRejected {
        /// The HTTP status.
        status: u16,
        /// How many it refuses, where it says so.
        lines: Option<u64>,
        /// What happened.
        cause: String,
    },
    /// The peer says of each line what became of it. What is not named here is stored.
    #[error("{}", .0.retry)]
    Items(Box<Items>),
    /// The sink can never go on.
    #[error("{cause}")]
    Fatal {
        /// What happened.
        cause: String,
    },
    /// Nobody wants more: the reader is gone, or the limit is reached.
    #[error("the reader wants no more")]
    Ended {
        /// So many lines of the body, from its front, are the sink's all the same.
        owned: u64,
    },
}

/// What became of the lines of a body that were not stored. Lines are numbered from 0 as they stand
/// in the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Items {
    /// Lines to be sent again, in ascending order; all others are settled.
    pub failed: Vec<u64>,
    /// How and when they are sent again: [`SinkError::Retryable`] or [`SinkError::Paused`].
    pub retry: SinkError,
    /// Lines that are refused for good, in ascending order.
    pub rejected: Vec<Refused>,
}

/// One line that a peer refuses for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its number in the body.
    pub line: u64,
    /// The status of this line.
    pub status: u16,
    /// Why.
    pub reason: String,
}

/// Why delivery ended before everything was settled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The sink can never go on.
    #[error("{0}")]
    Fatal(String),
    /// Nobody wants more.
    #[error("the reader wants no more")]
    Ended,
    /// The process is draining and the last attempt failed.
    #[error("not delivered before the end: {0}")]
    GaveUp(String),
}
