//! What each protocol asks of a request: paths, headers, and how much answer there can be.
//!
//! Pure: no I/O, no clock.

use reqwest::Url;

/// What a collector speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Any HTTP server that takes lines: NDJSON or raw.
    Lines,
    /// Any HTTP server that takes a JSON array.
    Array,
    /// Elasticsearch and OpenSearch.
    Elasticsearch,
    /// Loki.
    Loki,
    /// OpenTelemetry, as protobuf.
    OtlpProtobuf,
    /// OpenTelemetry, as JSON.
    OtlpJson,
    /// Splunk's HTTP Event Collector.
    Splunk,
    /// Datadog's intake.
    Datadog,
    /// Kafka's REST Proxy.
    Kafka,
}

/// What `filter_path` leaves of an answer to `_bulk`: without it, ten thousand lines are answered by
/// megabytes that nobody reads.
const BULK_FILTER: (&str, &str) = ("filter_path", "errors,items.*.error,items.*.status");

impl Protocol {
    /// The path for a URL that has none.
    fn default_path(self) -> Option<&'static str> {
        match self {
            Self::Loki => Some("/loki/api/v1/push"),
            Self::OtlpProtobuf | Self::OtlpJson => Some("/v1/logs"),
            Self::Splunk => Some("/services/collector/event"),
            Self::Datadog => Some("/api/v2/logs"),
            Self::Lines | Self::Array | Self::Elasticsearch | Self::Kafka => None,
        }
    }

    /// What the body is.
    pub(super) fn content_type(self, is_raw: bool) -> &'static str {
        match self {
            _ if is_raw => "text/plain",
            Self::Lines | Self::Elasticsearch => "application/x-ndjson",
            Self::Array | Self::Loki | Self::OtlpJson | Self::Splunk | Self::Datadog => {
                "application/json"
            }
            Self::OtlpProtobuf => "application/x-protobuf",
            Self::Kafka => "application/vnd.kafka.json.v2+json",
        }
    }

    /// What the answer should be, where that is not obvious.
    pub(super) fn accept(self) -> Option<&'static str> {
        match self {
            Self::Kafka => Some("application/vnd.kafka.v2+json"),
            _ => None,
        }
    }

    /// True where 2xx alone does not say that all lines are stored.
    pub(super) fn answers_in_body(self) -> bool {
        match self {
            Self::Elasticsearch
            | Self::OtlpProtobuf
            | Self::OtlpJson
            | Self::Splunk
            | Self::Kafka => true,
            Self::Lines | Self::Array | Self::Loki | Self::Datadog => false,
        }
    }

    /// How much of an answer is read.
    pub(super) fn answer_bytes_max(self, lines: u64) -> usize {
        /// Enough for a reason, and to use the connection again.
        const BASE: usize = 64 << 10;
        /// An error of a document quotes what is wrong with it.
        const PER_LINE: usize = 8 << 10;
        const MOST: usize = 64 << 20;
        match self {
            Self::Elasticsearch | Self::Kafka => {
                let lines = usize::try_from(lines).unwrap_or(usize::MAX);
                BASE.saturating_add(PER_LINE.saturating_mul(lines))
                    .min(MOST)
            }
            _ => BASE,
        }
    }

    /// Completes a configured URL: the format's path where there is none, and `/_bulk`.
    pub fn complete(self, url: &mut Url) {
        if self == Self::Elasticsearch {
            let path = url.path().trim_end_matches('/').to_owned();
            if !path.ends_with("/_bulk") {
                url.set_path(&format!("{path}/_bulk"));
            }
            if !url.query_pairs().any(|(name, _)| name == BULK_FILTER.0) {
                let (name, value) = BULK_FILTER;
                // As it is written everywhere: a comma and an asterisk need no escape.
                let pair = format!("{name}={value}");
                let query = match url.query() {
                    Some(query) if !query.is_empty() => format!("{query}&{pair}"),
                    _ => pair,
                };
                url.set_query(Some(&query));
            }
        } else if url.path() == "/"
            && let Some(path) = self.default_path()
        {
            url.set_path(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_completed_only_where_nothing_is_said() {
        let filter = "filter_path=errors,items.*.error,items.*.status";
        let bulk = |rest: &str| format!("https://h{rest}?{filter}");
        let cases = [
            (Protocol::Lines, "https://h", "https://h/".to_owned()),
            (Protocol::Lines, "https://h/a?b", "https://h/a?b".to_owned()),
            (Protocol::Elasticsearch, "https://h", bulk("/_bulk")),
            (Protocol::Elasticsearch, "https://h/_bulk", bulk("/_bulk")),
            (Protocol::Elasticsearch, "https://h/i/", bulk("/i/_bulk")),
            (
                Protocol::Elasticsearch,
                "https://h/i/_bulk?pipeline=p",
                format!("https://h/i/_bulk?pipeline=p&{filter}"),
            ),
            (
                Protocol::Elasticsearch,
                "https://h?filter_path=errors",
                "https://h/_bulk?filter_path=errors".to_owned(),
            ),
            (
                Protocol::Loki,
                "https://h/",
                "https://h/loki/api/v1/push".to_owned(),
            ),
            (
                Protocol::Loki,
                "https://h/push",
                "https://h/push".to_owned(),
            ),
            (
                Protocol::OtlpProtobuf,
                "https://h:4318",
                "https://h:4318/v1/logs".to_owned(),
            ),
            (
                Protocol::Splunk,
                "https://h?x=y",
                "https://h/services/collector/event?x=y".to_owned(),
            ),
            (
                Protocol::Datadog,
                "https://h",
                "https://h/api/v2/logs".to_owned(),
            ),
        ];
        for (protocol, url, expected) in cases {
            let mut url = Url::parse(url).unwrap();

            protocol.complete(&mut url);

            assert_eq!(url.as_str(), expected);
        }
    }
}
