//! Streams whose tokens OAuth 2 grants.

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::checkpoint::Checkpoints;
use crate::http::OAuth2;
use crate::secret::Secret;
use crate::source::SourceKind;
use crate::source::testing::{Seen, accept, beside, listen, source, within, write};

const LINES: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n";

fn stream(address: &str, tokens: &str) -> (impl Future<Output = Result<(), SourceError>>, Seen) {
    let mut config = StreamConfig::of_url(format!("http://{address}/logs"));
    config.network.credentials.oauth2 = Some(OAuth2 {
        token_url: format!("http://{tokens}/token"),
        client_id: "an id".to_owned(),
        client_secret: Secret::new("s3cret:"),
        scope: Some("logs read".to_owned()),
    });
    source(SourceKind::Stream(config), 1 << 20, Checkpoints::none())
}

/// The next request for a token: its head and its form.
async fn asked(listener: &TcpListener) -> (TcpStream, String, String) {
    let (mut server, head) = accept(listener).await;
    let length = head.split("content-length: ").nth(1).unwrap();
    let length = length.split("\r\n").next().unwrap().parse().unwrap();
    let mut form = vec![0; length];
    within(server.read_exact(&mut form)).await.unwrap();
    (server, head, String::from_utf8(form).unwrap())
}

async fn answer(mut server: TcpStream, status: &str, body: &str) {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    write(&mut server, [&head, body].concat()).await;
}

async fn grant(listener: &TcpListener, token: &str, seconds: u32) -> String {
    let (server, head, form) = asked(listener).await;
    let body =
        format!(r#"{{"access_token":"{token}","token_type":"bearer","expires_in":{seconds}}}"#);
    answer(server, "200 OK", &body).await;
    assert!(head.starts_with("post /token "), "{head}");
    // base64 of `an%20id:s3cret:` with its last colon encoded, in lower case.
    assert!(
        head.contains("authorization: basic yw4lmjbpzdpzm2nyzxqlm0e="),
        "{head}"
    );
    form
}

#[tokio::test]
async fn a_token_is_granted_used_and_renewed_when_it_is_refused_or_old() {
    let (listener, address) = listen().await;
    let (tokens, tokens_address) = listen().await;
    let (source, mut seen) = stream(&address, &tokens_address);

    beside(source, async {
        let form = grant(&tokens, "one", 3600).await;
        assert_eq!(form, "grant_type=client_credentials&scope=logs%20read");
        let (mut server, head) = accept(&listener).await;
        assert!(head.contains("authorization: bearer one\r\n"), "{head}");
        let refusal = "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        write(&mut server, refusal).await;
        drop(server);

        // Another one is asked for at once; it is old at once, too.
        grant(&tokens, "two", 0).await;
        let (mut server, head) = accept(&listener).await;
        assert!(head.contains("authorization: bearer two\r\n"), "{head}");
        write(&mut server, [LINES, "a line\n"].concat()).await;
        assert_eq!(seen.lines(1).await, ["a line"]);
        drop(server);

        grant(&tokens, "three", 3600).await;
        let (server, head) = accept(&listener).await;
        assert!(head.contains("authorization: bearer three\r\n"), "{head}");
        drop(server);

        // What is fresh is used again.
        let (_server, head) = accept(&listener).await;
        assert!(head.contains("authorization: bearer three\r\n"), "{head}");
    })
    .await;
    assert_eq!(seen.first_attempt.await, Ok(Ok(())));
}

#[tokio::test]
async fn a_server_that_wants_the_secret_in_the_body_gets_it_there() {
    let (listener, address) = listen().await;
    let (tokens, tokens_address) = listen().await;
    let (source, _seen) = stream(&address, &tokens_address);

    beside(source, async {
        let (server, _, _) = asked(&tokens).await;
        answer(server, "401 Unauthorized", r#"{"error":"invalid_client"}"#).await;
        let (server, head, form) = asked(&tokens).await;
        assert!(!head.contains("authorization"), "{head}");
        let ends = "&client_id=an%20id&client_secret=s3cret:";
        assert!(form.ends_with(ends), "{form}");
        answer(server, "200 OK", r#"{"access_token":"one"}"#).await;

        let (_server, head) = accept(&listener).await;
        assert!(head.contains("authorization: bearer one\r\n"), "{head}");
    })
    .await;
}

#[tokio::test]
async fn a_refusal_says_why_and_no_secret() {
    let (_listener, address) = listen().await;
    let (tokens, tokens_address) = listen().await;
    let (source, seen) = stream(&address, &tokens_address);

    let told = beside(source, async {
        for _ in 0..2 {
            let (server, _, _) = asked(&tokens).await;
            let body = r#"{"error":"invalid_client","error_description":"no such client"}"#;
            answer(server, "401 Unauthorized", body).await;
        }
        within(seen.first_attempt).await.unwrap()
    })
    .await;

    let expected = format!(
        "cannot read app: no token from http://{tokens_address}/token: HTTP 401 Unauthorized (are client_id \
         and client_secret right?) invalid_client: no such client"
    );
    assert_eq!(told.unwrap_err().trouble, expected);
}
