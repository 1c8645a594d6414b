//! Asks a collector whether it would take lines, without giving it any: for `check --connect`.

use std::time::Instant;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use reqwest::{Method, Url};

use super::answer::reason;
use super::{HttpConfig, Protocol, requester};
use crate::http::describe_status;

/// What is asked, and which statuses are good beside 2xx.
struct Question {
    method: Method,
    url: Url,
    /// Of what is posted: nothing that could be stored.
    body: Option<(&'static str, &'static [u8])>,
    good: &'static [u16],
    /// What such a good status means.
    remark: &'static str,
}

impl Question {
    fn of(protocol: Protocol, mut url: Url) -> Self {
        let post = |url, content_type, body| Self {
            method: Method::POST,
            url,
            body: Some((content_type, body)),
            good: &[],
            remark: "",
        };
        let get = |url| Self {
            method: Method::GET,
            url,
            body: None,
            good: &[],
            remark: "",
        };
        let json = "application/json";
        match protocol {
            Protocol::Elasticsearch => {
                let path = url.path().trim_end_matches("/_bulk").to_owned();
                let has_index = !path.is_empty();
                url.set_path(if has_index { &path } else { "/" });
                url.set_query(None);
                Self {
                    good: if has_index { &[404] } else { &[] },
                    remark: "the index is not there yet",
                    ..get(url)
                }
            }
            Protocol::Kafka => get(url),
            Protocol::OtlpProtobuf => post(url, "application/x-protobuf", b""),
            Protocol::OtlpJson => post(url, json, b"{\"resourceLogs\":[]}"),
            // Both refuse an empty request, but not before they looked who asks.
            Protocol::Loki => Self {
                good: &[400, 422],
                ..post(url, json, b"{\"streams\":[]}")
            },
            Protocol::Splunk => Self {
                good: &[400],
                ..post(url, json, b"")
            },
            Protocol::Datadog => Self {
                good: &[400],
                ..post(url, json, b"[]")
            },
            // What such a server does with an empty body is not known.
            Protocol::Lines | Protocol::Array => Self {
                method: Method::HEAD,
                good: &[400, 404, 405, 406, 411, 415, 422, 501],
                remark: "which it need not know",
                ..get(url)
            },
        }
    }
}

/// Reaches a collector with everything that a batch would be sent with. Returns a line about how it
/// went.
///
/// # Errors
/// A line about what is wrong.
pub async fn probe(config: &HttpConfig) -> Result<String, String> {
    let requester =
        requester(config, HeaderMap::new()).map_err(|error| format!("cannot be used: {error}"))?;
    let question = Question::of(config.protocol, requester.url.clone());
    let method = question.method.clone();
    let private = requester.private.get().await;
    let private = private.map_err(|trouble| trouble.cause().to_owned())?;
    let mut request = requester
        .client
        .request(question.method, question.url)
        .timeout(requester.timeout)
        .headers(private);
    if let Some((content_type, body)) = question.body {
        request = request.header(CONTENT_TYPE, content_type).body(body);
    }
    if let Some(accept) = config.protocol.accept() {
        request = request.header(ACCEPT, accept);
    }
    let begun = Instant::now();
    let response = request
        .send()
        .await
        .map_err(|error| requester.cause_of(&error))?;
    let took = begun.elapsed().as_millis();
    let status = response.status().as_u16();
    let known = format!("{method} is answered by");
    if response.status().is_success() {
        return Ok(format!("reached: {known} {status} in {took} ms"));
    }
    if question.good.contains(&status) {
        let remark = if question.remark.is_empty() {
            String::new()
        } else {
            format!(" ({})", question.remark)
        };
        return Ok(format!("reached: {known} {status} in {took} ms{remark}"));
    }
    let body = response.bytes().await.unwrap_or_default();
    let said = describe_status(status, &reason(&body));
    Err(format!("{known} {said}"))
}
