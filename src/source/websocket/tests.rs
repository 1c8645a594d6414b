//! WebSockets over real sockets.

use std::time::Duration;

use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_async, accept_hdr_async};

use super::*;
use crate::checkpoint::Checkpoints;
use crate::http::Proxy;
use crate::secret::Secret;
use crate::source::SourceKind;
use crate::source::testing::{Seen, accept, beside, listen, source, within, write};

const BUDGET_BYTES: usize = 1 << 20;

fn socket(config: WebSocketConfig) -> (impl Future<Output = Result<(), SourceError>>, Seen) {
    source(
        SourceKind::WebSocket(config),
        BUDGET_BYTES,
        Checkpoints::none(),
    )
}

fn at(address: &str) -> WebSocketConfig {
    WebSocketConfig::of_url(format!("ws://{address}/feed"))
}

async fn upgrade(listener: &TcpListener) -> WebSocketStream<TcpStream> {
    let (stream, _) = within(listener.accept()).await.unwrap();
    within(accept_async(stream)).await.unwrap()
}

async fn say(server: &mut WebSocketStream<TcpStream>, text: &str) {
    within(server.send(text.into())).await.unwrap();
}

#[tokio::test]
async fn a_subscription_is_sent_after_every_connect() {
    let (listener, address) = listen().await;
    let send = vec![Secret::new("subscribe"), Secret::new("more")];
    let (source, mut seen) = socket(WebSocketConfig {
        send,
        ..at(&address)
    });

    beside(source, async {
        for round in ["one", "two"] {
            let mut server = upgrade(&listener).await;
            assert_eq!(
                within(server.next()).await.unwrap().unwrap(),
                "subscribe".into()
            );
            assert_eq!(within(server.next()).await.unwrap().unwrap(), "more".into());
            say(&mut server, round).await;
            say(&mut server, "{\n\"a\": 1\n}").await;
            within(server.send(Message::Binary("x\ny".into())))
                .await
                .unwrap();

            assert_eq!(seen.lines(4).await, [round, "{ \"a\": 1 }", "x", "y"]);
        }
    })
    .await;
    assert_eq!(seen.counters.reconnects.get(), 1);
}

#[tokio::test]
async fn a_close_frame_and_a_torn_connection_lead_to_a_new_one() {
    let (listener, address) = listen().await;
    let (source, mut seen) = socket(at(&address));

    beside(source, async {
        let mut closing = upgrade(&listener).await;
        say(&mut closing, "one").await;
        let frame = CloseFrame {
            code: 1001.into(),
            reason: "going away".into(),
        };
        within(closing.close(Some(frame))).await.unwrap();
        let (mut torn, _) = accept(&listener).await;
        write(&mut torn, "HTTP/1.1 500 Internal Server Error\r\n\r\n").await;
        drop(torn);
        let mut good = upgrade(&listener).await;
        say(&mut good, "two").await;

        assert_eq!(seen.lines(2).await, ["one", "two"]);
    })
    .await;
}

#[tokio::test]
async fn pings_are_answered_and_sent() {
    let (listener, address) = listen().await;
    let ping = Duration::from_millis(20);
    let (source, mut seen) = socket(WebSocketConfig {
        ping,
        ..at(&address)
    });

    beside(source, async {
        let mut server = upgrade(&listener).await;
        within(server.send(Message::Ping("p".into())))
            .await
            .unwrap();
        let (mut pinged, mut ponged) = (false, false);
        while !(pinged && ponged) {
            match within(server.next()).await.unwrap().unwrap() {
                Message::Ping(_) => pinged = true,
                Message::Pong(text) => ponged = text == "p",
                other => panic!("{other:?}"),
            }
        }
        say(&mut server, "still here").await;

        assert_eq!(seen.lines(1).await, ["still here"]);
    })
    .await;
}

#[tokio::test]
async fn a_server_that_gives_no_sign_of_life_is_given_up() {
    let (listener, address) = listen().await;
    let config = WebSocketConfig {
        ping: Duration::from_millis(10),
        dead_after: Duration::from_millis(50),
        ..at(&address)
    };
    let (source, mut seen) = socket(config);

    beside(source, async {
        // It is not read, so that nothing answers.
        let _silent = upgrade(&listener).await;
        let mut good = upgrade(&listener).await;
        say(&mut good, "here").await;

        assert_eq!(seen.lines(1).await, ["here"]);
    })
    .await;
}

#[tokio::test]
async fn a_message_that_is_too_large_costs_the_connection_and_is_counted() {
    let (listener, address) = listen().await;
    let (source, mut seen) = socket(at(&address));

    beside(source, async {
        let mut server = upgrade(&listener).await;
        say(&mut server, "one").await;
        assert_eq!(seen.lines(1).await, ["one"]);
        say(&mut server, &"x".repeat(1025)).await;
        let mut server = upgrade(&listener).await;
        say(&mut server, "two").await;

        assert_eq!(seen.lines(1).await, ["two"]);
    })
    .await;
    assert_eq!(seen.counters.dropped.get(), 1);
}

/// A frame's head: how it is fragmented, and the length that it claims.
fn frame_head(first: u8, len: u64) -> Vec<u8> {
    [&[first, 127][..], &len.to_be_bytes()].concat()
}

#[tokio::test]
async fn a_frame_of_a_gibibyte_and_fragments_without_end_cost_the_connection() {
    const TEXT: u8 = 0x01;
    const CONTINUED: u8 = 0x00;
    let fragment = [frame_head(CONTINUED, 500), vec![b'x'; 500]].concat();
    let endless = [
        frame_head(TEXT, 500),
        vec![b'x'; 500],
        fragment.clone(),
        fragment,
    ]
    .concat();
    for bytes in [frame_head(TEXT | 0x80, 1 << 30), endless] {
        let (listener, address) = listen().await;
        let (source, mut seen) = socket(at(&address));

        beside(source, async {
            let mut server = upgrade(&listener).await;
            within(server.get_mut().write_all(&bytes)).await.unwrap();
            let mut server = upgrade(&listener).await;
            say(&mut server, "two").await;

            assert_eq!(seen.lines(1).await, ["two"]);
        })
        .await;
        assert_eq!(seen.counters.dropped.get(), 1);
    }
}

#[tokio::test]
async fn any_frame_is_a_sign_of_life_and_no_extension_is_offered() {
    let (listener, address) = listen().await;
    // No ping is due, so that nothing but the server's own frames keeps the link.
    let config = WebSocketConfig {
        ping: Duration::from_millis(999),
        dead_after: Duration::from_secs(1),
        subprotocols: vec!["logs.v1".to_owned()],
        ..at(&address)
    };
    let (source, mut seen) = socket(config);

    beside(source, async {
        let (stream, _) = within(listener.accept()).await.unwrap();
        let mut server = within(accept_hdr_async(stream, offered)).await.unwrap();
        // Longer than the limit in all, and each time far from it.
        for _ in 0..8 {
            tokio::time::sleep(Duration::from_millis(150)).await;
            within(server.send(Message::Pong("unasked".into())))
                .await
                .unwrap();
        }
        say(&mut server, "still here").await;

        assert_eq!(seen.lines(1).await, ["still here"]);
    })
    .await;
    assert_eq!(seen.counters.reconnects.get(), 0);
}

/// Compression is an extension that the library does not know; it must not be offered then.
#[expect(clippy::result_large_err, reason = "the library's own type")]
fn offered(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let headers = request.headers();
    assert!(!headers.contains_key("sec-websocket-extensions"));
    assert_eq!(headers["sec-websocket-protocol"], "logs.v1");
    assert!(
        headers["user-agent"]
            .to_str()
            .unwrap()
            .starts_with("logweir/")
    );
    let chosen = "logs.v1".parse().unwrap();
    response
        .headers_mut()
        .insert("sec-websocket-protocol", chosen);
    Ok(response)
}

#[tokio::test]
async fn a_proxy_is_asked_for_a_tunnel() {
    let (proxy, proxy_address) = listen().await;
    let mut config = WebSocketConfig::of_url("ws://user:pa%3Ass@feed.invalid:81/feed");
    let url = format!("http://me:s3cret@{proxy_address}");
    config.network.proxy = Proxy::Url(Secret::new(url));
    let (source, mut seen) = socket(config);

    beside(source, async {
        let (mut refusing, head) = accept(&proxy).await;
        let tunnel = "connect feed.invalid:81 http/1.1\r\nhost: feed.invalid:81\r\n";
        assert!(head.starts_with(tunnel), "{head}");
        let credentials = "proxy-authorization: basic bwu6cznjcmv0\r\n";
        assert!(head.contains(credentials), "{head}");
        write(&mut refusing, "HTTP/1.1 502 Bad Gateway\r\n\r\n").await;
        drop(refusing);

        let (mut stream, _) = accept(&proxy).await;
        write(&mut stream, "HTTP/1.1 200 Connection established\r\n\r\n").await;
        let mut server = within(accept_async(stream)).await.unwrap();
        say(&mut server, "through").await;

        assert_eq!(seen.lines(1).await, ["through"]);
    })
    .await;
    let told = seen.first_attempt.await.unwrap().unwrap_err().trouble;
    assert_eq!(
        told,
        "cannot read app: proxy 127.0.0.1: HTTP 502 Bad Gateway"
    );
}

#[tokio::test]
async fn a_flood_into_a_dead_sink_is_not_read_and_not_lost() {
    let (listener, address) = listen().await;
    // Back-pressure lasts longer than the link may be silent.
    let config = WebSocketConfig {
        ping: Duration::from_millis(50),
        dead_after: Duration::from_millis(200),
        ..at(&address)
    };
    let (source, mut seen) = socket(config);
    let text = "x".repeat(1000);
    const N_MESSAGES: usize = 64_000;

    beside(source, async {
        let mut server = upgrade(&listener).await;
        let mut sent = 0;
        while sent < N_MESSAGES {
            let message = Message::Text(text.as_str().into());
            let sending = timeout(Duration::from_millis(500), server.feed(message));
            if sending.await.is_err() {
                break;
            }
            sent += 1;
        }
        assert!(sent < N_MESSAGES / 2, "all of {sent} messages were read");
        let charged = seen.counters.bytes.get();
        assert!(
            charged < 2 * BUDGET_BYTES as u64,
            "{charged} bytes in flight"
        );
        assert!(listener.accept().now_or_never().is_none(), "it reconnected");

        let (flushed, lines) = tokio::join!(within(server.flush()), seen.lines(sent));
        flushed.unwrap();
        assert!(lines.iter().all(|line| *line == text));
    })
    .await;
    assert_eq!(seen.counters.reconnects.get(), 0);
}

#[tokio::test]
async fn a_server_that_speaks_no_websocket_is_told() {
    let cases = [
        (
            "401 Unauthorized",
            "cannot read app: 401 Unauthorized (no credentials were sent)",
        ),
        (
            "200 OK",
            "cannot read app: HTTP 200 OK: this is no WebSocket",
        ),
    ];
    for (status, expected) in cases {
        let (listener, address) = listen().await;
        let (source, seen) = socket(at(&address));

        let told = beside(source, async {
            let (mut server, head) = accept(&listener).await;
            assert!(head.contains("upgrade: websocket"), "{head}");
            write(
                &mut server,
                format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"),
            )
            .await;
            within(seen.first_attempt).await.unwrap()
        })
        .await;

        let told = told.unwrap_err().trouble;
        assert!(told.starts_with(expected), "{told}");
    }
}
