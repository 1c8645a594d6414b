//! The keys of sinks.

use super::{CREDENTIALS, Key, Kind, Shape, bare, key, of_format};

const BATCH_BYTES: Key = key(
    "bytes",
    Shape::Size,
    "\"1MiB\"",
    "It is closed before it would have more.",
);

const fn batch_lines(most: u64, default: &'static str) -> Key {
    key(
        "lines",
        Shape::Count(1, most),
        default,
        "And before it would have more of these.",
    )
}

const fn batch_linger(default: &'static str) -> Key {
    key(
        "linger",
        Shape::Duration(None),
        default,
        "How long its first line waits.",
    )
}

/// `batch` where the collector is Datadog.
pub const DATADOG_BATCH: Key = key(
    "batch",
    Shape::Table(&[
        BATCH_BYTES,
        batch_lines(1_000, "1000"),
        batch_linger("\"250ms\""),
    ]),
    "{ bytes = \"1MiB\", lines = 1000, linger = \"250ms\" }",
    "When a batch is closed.",
);

/// Every kind of sink.
pub const SINKS: &[Kind] = &[
    Kind {
        name: "stdout",
        place: "",
        about: "Standard output.",
        groups: &[STDOUT_FORMAT, ORIGIN, LOCAL_BATCH, COMMON],
    },
    Kind {
        name: "file",
        place: "path",
        about: "A file that is appended to.",
        groups: &[FILE, FILE_FORMAT, ORIGIN, LOCAL_BATCH, COMMON],
    },
    Kind {
        name: "http",
        place: "url",
        about: "An HTTP collector.",
        groups: &[HTTP, FORMATS, CREDENTIALS, HTTP_ORIGIN, HTTP_BATCH, COMMON],
    },
];

const COMMON: &[Key] = &[
    key(
        "from",
        Shape::List,
        "[\"*\"]",
        "Which sources feed it: names, globs, and \"!name\" for all but that one.",
    ),
    bare(
        "memory",
        Shape::Size,
        "Bytes in flight; by default what [agent] says.",
    ),
    bare(
        "max_line",
        Shape::Size,
        "Longer lines are cut and marked; by default they are as long as the source lets them be, \
         and 256KiB where a collector takes no more.",
    ),
];

const ORIGIN: &[Key] = &[
    key(
        "meta",
        Shape::List,
        "[]",
        "Keys about the origin in each JSON line: host, file, offset, labels.",
    ),
    FIELDS,
];

const HTTP_ORIGIN: &[Key] = &[
    key(
        "meta",
        Shape::List,
        "[\"host\", \"file\", \"offset\", \"labels\"]",
        "Keys about the origin in each JSON line.",
    ),
    FIELDS,
];

const FIELDS: Key = key(
    "fields",
    Shape::Map,
    "{}",
    "Other names for the keys that logweir sets, for example { time = \"@timestamp\" }.",
);

const STDOUT_FORMAT: &[Key] = &[bare(
    "format",
    Shape::Choice(&["raw", "json", "text"]),
    "What a line looks like; by default text on a terminal and json in a pipe.",
)];

const FILE_FORMAT: &[Key] = &[key(
    "format",
    Shape::Choice(&["raw", "json"]),
    "\"json\"",
    "What a line looks like.",
)];

const LOCAL_BATCH: &[Key] = &[key(
    "batch",
    Shape::Table(&[
        BATCH_BYTES,
        batch_lines(1_000_000_000, "1000000"),
        batch_linger("\"0ms\""),
    ]),
    "{ bytes = \"1MiB\", lines = 1000000, linger = \"0ms\" }",
    "When a batch is closed.",
)];

const HTTP_BATCH: &[Key] = &[key(
    "batch",
    Shape::Table(&[
        BATCH_BYTES,
        batch_lines(1_000_000_000, "10000"),
        batch_linger("\"250ms\""),
    ]),
    "{ bytes = \"1MiB\", lines = 10000, linger = \"250ms\" }",
    "When a batch is closed.",
)];

const FILE: &[Key] = &[
    bare(
        "path",
        Shape::Text,
        "{source}, {host} and {date:%Y-%m-%d} in it stand for what they name; each combination is a \
         file of its own.",
    ),
    key(
        "fsync",
        Shape::Choice(&["never", "interval", "batch"]),
        "\"interval\"",
        "When written bytes are forced to disk; interval: once a second.",
    ),
    bare(
        "rotate",
        Shape::Table(ROTATE),
        "When it is renamed and a new one begun.",
    ),
    key(
        "mode",
        Shape::Text,
        "\"0640\"",
        "Permissions of a new file, octal.",
    ),
];

const ROTATE: &[Key] = &[
    bare("size", Shape::Size, "Before it would be larger."),
    bare(
        "every",
        Shape::Duration(None),
        "When it was begun so long ago.",
    ),
    key(
        "keep",
        Shape::Count(1, 100_000),
        "7",
        "How many renamed files stay.",
    ),
    key(
        "compress",
        Shape::Flag,
        "false",
        "Renamed files become .gz.",
    ),
];

const HTTP: &[Key] = &[
    bare(
        "url",
        Shape::Text,
        "Used as it is written; one without a path gets the format's.",
    ),
    key(
        "format",
        Shape::Choice(&[
            "raw",
            "json",
            "json_array",
            "elasticsearch",
            "loki",
            "otlp",
            "splunk",
            "datadog",
            "kafka",
        ]),
        "\"json\"",
        "What a request looks like.",
    ),
    key(
        "compression",
        Shape::Text,
        "\"none\"",
        "\"none\", \"gzip\" (level 2), \"gzip:1\" to \"gzip:9\", \"zstd\" (level 1), \"zstd:1\" to \
         \"zstd:19\".",
    ),
    key(
        "concurrency",
        Shape::Count(1, 256),
        "1",
        "Requests in flight at once; 1 keeps the order of lines.",
    ),
    key(
        "timeout",
        Shape::Duration(None),
        "\"30s\"",
        "For the whole of one request.",
    ),
    key(
        "connect_timeout",
        Shape::Duration(None),
        "\"10s\"",
        "For connecting alone.",
    ),
    key(
        "retry",
        Shape::Table(&[
            key(
                "base",
                Shape::Duration(None),
                "\"500ms\"",
                "The first delay is at most so long.",
            ),
            key(
                "max",
                Shape::Duration(None),
                "\"30s\"",
                "And each later one.",
            ),
        ]),
        "{ base = \"500ms\", max = \"30s\" }",
        "Refused connections and busy answers are retried for ever, after random delays.",
    ),
    bare(
        "dead_letter",
        Shape::Text,
        "A file for lines that the collector refuses for good; by default \
         <state>/rejected/<sink>.ndjson.",
    ),
    bare(
        "proxy",
        Shape::Text,
        "A proxy's URL, or \"off\"; by default what the environment says.",
    ),
];

const FORMATS: &[Key] = &[
    of_format(
        &["elasticsearch", "splunk"],
        "index",
        Shape::Text,
        "An index or data stream; Splunk's default is the token's.",
    ),
    of_format(
        &["loki"],
        "labels",
        Shape::List,
        "Which keys are labels of a stream; by default source, host and the source's own labels.",
    ),
    of_format(&["loki"], "tenant", Shape::Text, "X-Scope-OrgID."),
    of_format(
        &["otlp"],
        "resource",
        Shape::Map,
        "Attributes of the resource; service.name is the source's name by default.",
    ),
    of_format(
        &["otlp"],
        "encoding",
        Shape::Choice(&["protobuf", "json"]),
        "How a request is written; protobuf by default.",
    ),
    of_format(
        &["splunk", "datadog"],
        "token",
        Shape::Secret,
        "The collector's token.",
    ),
    of_format(
        &["splunk"],
        "sourcetype",
        Shape::Text,
        "By default the token's.",
    ),
];
