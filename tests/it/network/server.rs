//! Servers of a few lines, for one connection each: whatever the test writes into it.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

/// Where a server of threads listens; the threads end with their connections.
pub(crate) struct Server(u16);

impl Server {
    /// Answers every connection by `answer` in a thread of its own.
    pub(super) fn start(answer: impl Fn(TcpStream) + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listens");
        let port = listener.local_addr().expect("has an address").port();
        thread::spawn(move || {
            for socket in listener.incoming() {
                let (socket, answer) = (socket.expect("accepts"), answer.clone());
                thread::spawn(move || answer(socket));
            }
        });
        Self(port)
    }

    /// Streams the response body that `write` makes, until the reader has gone.
    pub(super) fn stream(
        write: impl Fn(&mut TcpStream) -> std::io::Result<()> + Clone + Send + 'static,
    ) -> Self {
        Self::stream_of("200 OK", write)
    }

    /// The same with another status than 200.
    pub(super) fn stream_of(
        status: &'static str,
        write: impl Fn(&mut TcpStream) -> std::io::Result<()> + Clone + Send + 'static,
    ) -> Self {
        Self::start(move |mut socket| {
            socket.set_nodelay(true).expect("sets an option");
            read_head(&socket);
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
            );
            // An `Err` is a reader that has gone.
            let _ = socket
                .write_all(head.as_bytes())
                .and_then(|()| write(&mut socket));
        })
    }

    pub(crate) fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://127.0.0.1:{}{path}", self.0)
    }
}

/// Reads a request up to its body.
fn read_head(socket: &TcpStream) {
    let mut lines = BufReader::new(socket).lines();
    let end = lines.find(|line| line.as_ref().is_ok_and(String::is_empty));
    end.expect("a request").expect("a request");
}
