//! The keys of sources.

use super::{CREDENTIALS, Key, Kind, Shape, bare, key};

/// Every kind of source.
pub const SOURCES: &[Kind] = &[
    Kind {
        name: "file",
        place: "path",
        about: "Files, followed by name through rotation.",
        groups: &[FILE, RECORDS],
    },
    Kind {
        name: "stream",
        place: "url",
        about: "One long HTTP response, read as it arrives: lines or server-sent events.",
        groups: &[URL, STREAM, NETWORK, CREDENTIALS, RECORDS, SPOOLED],
    },
    Kind {
        name: "websocket",
        place: "url",
        about: "A WebSocket: a message that is one JSON value is one line, other text splits at \
                newlines.",
        groups: &[URL, WEBSOCKET, NETWORK, CREDENTIALS, RECORDS, SPOOLED],
    },
    Kind {
        name: "poll",
        place: "url",
        about: "An API, asked again and again: each element of a list is one line.",
        groups: &[URLS, POLL, NETWORK, CREDENTIALS, RECORDS, SPOOLED],
    },
    Kind {
        name: "range",
        place: "url",
        about: "A file on a server that grows, asked for from where it was left.",
        groups: &[URL, RANGE, NETWORK, CREDENTIALS, RECORDS, SPOOLED],
    },
    Kind {
        name: "health",
        place: "url",
        about: "The health of services: a line for each change.",
        groups: &[URLS, HEALTH, NETWORK, CREDENTIALS, RECORDS, SPOOLED],
    },
    Kind {
        name: "stdin",
        place: "",
        about: "Standard input.",
        groups: &[RECORDS, SPOOLED],
    },
];

const RECORDS: &[Key] = &[
    key(
        "parse",
        Shape::Choice(&["none", "json", "cri", "docker"]),
        "\"none\"",
        "What each line is wrapped in; of json only the time is taken.",
    ),
    bare(
        "time",
        Shape::Text,
        "Where a record's own time is: a JSON pointer, or \"leading\".",
    ),
    key(
        "multiline",
        Shape::ChoiceOrTable(&["off", "auto"], MULTILINE),
        "\"off\"",
        "Lines that are one record: \"auto\" for stack traces, or patterns.",
    ),
    key(
        "include",
        Shape::Texts,
        "[]",
        "Only records that match one of these are kept.",
    ),
    key(
        "exclude",
        Shape::Texts,
        "[]",
        "Records that match one of these are dropped; it wins.",
    ),
    key(
        "max_line",
        Shape::Size,
        "\"1MiB\"",
        "Longer lines are cut and marked; 1B to 64MiB.",
    ),
    key("labels", Shape::Map, "{}", "Go under `_labels`."),
];

const SPOOLED: &[Key] = &[bare(
    "spool",
    Shape::Table(SPOOL),
    "Keeps lines on disk until every sink has them.",
)];

const SPOOL: &[Key] = &[
    bare(
        "max",
        Shape::Size,
        "What it may take on disk; at least four times max_line.",
    ),
    key(
        "full",
        Shape::Choice(&["block", "drop_oldest", "drop_newest"]),
        "\"block\"",
        "What happens then: the source is not read, the oldest lines are given up, or what comes is \
         dropped.",
    ),
];

const MULTILINE: &[Key] = &[
    bare("start", Shape::Text, "What matches begins a record."),
    bare("continue", Shape::Text, "What matches continues one."),
    key(
        "negate",
        Shape::Flag,
        "false",
        "Turns the one pattern around.",
    ),
    key(
        "timeout",
        Shape::Duration(None),
        "\"1s\"",
        "A record that gets no line for so long is complete.",
    ),
    key(
        "max_lines",
        Shape::Count(1, 100_000),
        "500",
        "More begin a new one.",
    ),
    bare(
        "max_bytes",
        Shape::Size,
        "More begin a new one; by default what max_line says.",
    ),
];

const FILE: &[Key] = &[
    bare(
        "path",
        Shape::Texts,
        "Paths, globs and folders; `*` never matches `/`.",
    ),
    key(
        "exclude_path",
        Shape::Texts,
        "[]",
        "Globs of files that are left out.",
    ),
    key(
        "start",
        Shape::Text,
        "\"beginning\"",
        "Where a file starts that is there when it is seen for the first time: \"beginning\", \"end\", \
         or a time ago such as \"-1h\". A saved position wins.",
    ),
    bare(
        "ignore_older",
        Shape::Duration(None),
        "Files that nobody wrote to for so long are read from their end.",
    ),
    bare(
        "encoding",
        Shape::Text,
        "What the bytes mean: \"utf-16le\", \"utf-16be\" or a charset that is compatible with ASCII.",
    ),
    key(
        "partial",
        Shape::Duration(Some("off")),
        "\"off\"",
        "How long the last line waits for its newline while the file is quiet.",
    ),
    key(
        "rotate_grace",
        Shape::Duration(None),
        "\"30s\"",
        "How long a renamed or deleted file is still read after its end was reached.",
    ),
    key(
        "watch",
        Shape::Choice(&["auto", "events", "poll"]),
        "\"auto\"",
        "How changes are noticed.",
    ),
    key(
        "forget_after",
        Shape::Duration(None),
        "\"30d\"",
        "How long the position of a file that is gone is remembered.",
    ),
];

const URL: &[Key] = &[bare("url", Shape::Text, "Used as it is written.")];

const URLS: &[Key] = &[
    bare("url", Shape::Text, "Used as it is written."),
    bare(
        "urls",
        Shape::Texts,
        "Several of them: a list, or \"file:PATH\" with one a line.",
    ),
];

const NETWORK: &[Key] = &[
    key(
        "connect_timeout",
        Shape::Duration(None),
        "\"10s\"",
        "For connecting alone, TLS included.",
    ),
    bare(
        "proxy",
        Shape::Text,
        "A proxy's URL, or \"off\"; by default what the environment says.",
    ),
];

const POLL: &[Key] = &[
    key(
        "interval",
        Shape::Duration(None),
        "\"5s\"",
        "From one round to the next.",
    ),
    key(
        "timeout",
        Shape::Duration(None),
        "\"30s\"",
        "For one request and all of its answer.",
    ),
    key(
        "concurrency",
        Shape::Count(1, 10_000),
        "8",
        "Requests in flight at once.",
    ),
    key(
        "method",
        Shape::Choice(&["GET", "POST", "PUT"]),
        "\"GET\"",
        "How it is asked.",
    ),
    bare("body", Shape::Secret, "What is sent with POST and PUT."),
    key(
        "records",
        Shape::Text,
        "\"\"",
        "JSON pointer to the list; empty: the document itself.",
    ),
    bare(
        "cursor",
        Shape::Table(CURSOR),
        "What is sent to get only what is new.",
    ),
    bare(
        "next",
        Shape::TextOrTable(NEXT),
        "Where the next page is: \"link\" or a JSON pointer.",
    ),
    key(
        "max_pages",
        Shape::Count(1, 1_000_000),
        "1000",
        "Pages of one round.",
    ),
    bare(
        "dedupe",
        Shape::Text,
        "JSON pointer to what tells a record from another.",
    ),
    key(
        "max_body",
        Shape::Size,
        "\"16MiB\"",
        "A longer answer is refused.",
    ),
];

const CURSOR: &[Key] = &[
    bare("from", Shape::Text, "JSON pointer to it in an answer."),
    bare(
        "param",
        Shape::Text,
        "The parameter of the URL that it is sent in,",
    ),
    bare("header", Shape::Text, "or the header."),
    bare("start", Shape::Text, "What is sent at first."),
];

const NEXT: &[Key] = &[
    bare("from", Shape::Text, "JSON pointer to a URL or token,"),
    bare(
        "param",
        Shape::Text,
        "and the parameter that a token is sent in;",
    ),
    bare("page", Shape::Text, "or the parameter of a page's number,"),
    bare("offset", Shape::Text, "or that of how many records came."),
    bare(
        "start",
        Shape::Count(0, 4_294_967_295),
        "The first page or offset.",
    ),
];

const RANGE: &[Key] = &[key(
    "interval",
    Shape::Duration(None),
    "\"1s\"",
    "From one look to the next.",
)];

const HEALTH: &[Key] = &[
    key(
        "interval",
        Shape::Duration(None),
        "\"30s\"",
        "From one check of a service to the next.",
    ),
    key(
        "timeout",
        Shape::Duration(None),
        "\"5s\"",
        "For the whole of one check.",
    ),
    key(
        "concurrency",
        Shape::Count(1, 10_000),
        "64",
        "Checks at once.",
    ),
    key(
        "method",
        Shape::Choice(&["GET", "HEAD", "OPTIONS", "POST"]),
        "\"GET\"",
        "How it is asked.",
    ),
    key("expect", Shape::Texts, "\"200-399\"", "Good statuses."),
    bare(
        "body_match",
        Shape::Text,
        "What the body must match somewhere in its beginning.",
    ),
    key(
        "emit",
        Shape::Choice(&["changes", "all"]),
        "\"changes\"",
        "Which checks become lines.",
    ),
];

const STREAM: &[Key] = &[
    key(
        "framing",
        Shape::Choice(&["auto", "lines", "sse", "json_seq", "docker"]),
        "\"auto\"",
        "How bytes become lines; auto: as the content type says.",
    ),
    key(
        "idle",
        Shape::Duration(Some("off")),
        "\"off\"",
        "No data for so long: it connects anew.",
    ),
    bare(
        "resume",
        Shape::Table(RESUME),
        "How the server is asked to replay by time.",
    ),
];

const RESUME: &[Key] = &[
    bare(
        "param",
        Shape::Text,
        "The parameter of the URL that the time is sent in.",
    ),
    bare(
        "from",
        Shape::Text,
        "JSON pointer to a record's time, or \"leading\".",
    ),
];

const WEBSOCKET: &[Key] = &[
    key(
        "send",
        Shape::Texts,
        "[]",
        "Messages sent after every connect.",
    ),
    key(
        "subprotocols",
        Shape::Texts,
        "[]",
        "Subprotocols that are offered.",
    ),
    key(
        "ping",
        Shape::Duration(Some("off")),
        "\"20s\"",
        "How often a ping is sent.",
    ),
    key(
        "dead_after",
        Shape::Duration(Some("off")),
        "\"60s\"",
        "A connection without any answer for so long is made anew.",
    ),
    bare(
        "max_message",
        Shape::Size,
        "A longer message ends the connection; by default what max_line says.",
    ),
];
