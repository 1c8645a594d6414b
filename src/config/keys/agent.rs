//! The keys of the process.

use super::{Key, Shape, bare, key};

/// The keys of `[agent]`.
pub const AGENT: &[Key] = &[
    bare(
        "state",
        Shape::Text,
        "Where positions are kept; by default $STATE_DIRECTORY, else /var/lib/logweir for root and \
         $XDG_STATE_HOME/logweir or ~/.local/state/logweir for others.",
    ),
    key(
        "memory",
        Shape::Size,
        "\"8MiB\"",
        "Bytes in flight per sink, from the read to the acknowledgement.",
    ),
    key(
        "order",
        Shape::Duration(Some("off")),
        "\"off\"",
        "Merge by time: how long lines wait for earlier ones of other streams.",
    ),
    key(
        "shutdown",
        Shape::Duration(None),
        "\"20s\"",
        "How long the end may take to deliver what is in flight.",
    ),
    key(
        "log",
        Shape::Text,
        "\"info\"",
        "off, error, warn, info, debug or trace, or a list such as \"info,logweir::sink=debug\".",
    ),
];
