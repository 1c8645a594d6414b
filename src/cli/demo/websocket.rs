//! WebSocket servers that send their log, one message a line.

use futures::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

use super::feed::Feed;

/// Answers until it is dropped.
pub(super) async fn serve(listener: TcpListener, feed: Feed) {
    super::accept(listener, |socket| send(socket, feed.clone())).await;
}

async fn send(socket: TcpStream, feed: Feed) {
    let Ok(mut socket) = accept_async(socket).await else {
        return;
    };
    let mut n = feed.now();
    loop {
        tokio::select! {
            line = feed.line(n) => {
                n += 1;
                if socket.send(Message::text(line)).await.is_err() {
                    return;
                }
            }
            // Pings are answered while we read.
            message = socket.next() => match message {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
        }
    }
}
