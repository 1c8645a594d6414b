//! WebSockets over real sockets.

use std::time::Duration;

use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_async};

use super::*;
use crate::checkpoint::Checkpoints;
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
        ("401 Unauthorized", "app: HTTP 401 Unauthorized"),
        ("200 OK", "app: HTTP 200 OK: this is no WebSocket"),
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

        let told = told.unwrap_err();
        assert!(told.starts_with(expected), "{told}");
    }
}
