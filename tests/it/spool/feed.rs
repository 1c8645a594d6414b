//! A server that says each line once, to whoever is connected, and repeats nothing.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use tokio_tungstenite::tungstenite::{self, WebSocket};

use crate::support::{PATIENCE, within};

/// What a server speaks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Speaks {
    Http,
    WebSocket,
}

enum Connection {
    Http(TcpStream),
    WebSocket(Box<WebSocket<TcpStream>>),
}

impl Connection {
    fn accept(socket: TcpStream, speaks: Speaks) -> Option<Self> {
        socket.set_nodelay(true).ok()?;
        match speaks {
            Speaks::WebSocket => Some(Self::WebSocket(Box::new(tungstenite::accept(socket).ok()?))),
            Speaks::Http => {
                let mut lines = BufReader::new(&socket).lines();
                lines
                    .find(|line| line.as_ref().is_ok_and(String::is_empty))?
                    .ok()?;
                let head =
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n";
                (&socket).write_all(head.as_bytes()).ok()?;
                Some(Self::Http(socket))
            }
        }
    }

    fn say(&mut self, lines: &[String]) -> bool {
        match self {
            Self::Http(socket) => {
                let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
                socket.write_all(text.as_bytes()).is_ok()
            }
            Self::WebSocket(socket) => {
                let mut lines = lines.iter();
                lines.all(|line| socket.write(line.clone().into()).is_ok())
                    && socket.flush().is_ok()
            }
        }
    }
}

struct Shared {
    /// The last connection, until it turns out to be dead, and how many there were.
    current: Mutex<(Option<Connection>, usize)>,
    changed: Condvar,
}

/// A server of one connection at a time.
pub(super) struct Feed {
    port: u16,
    speaks: Speaks,
    shared: Arc<Shared>,
}

impl Feed {
    pub(super) fn start(speaks: Speaks) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listens");
        let port = listener.local_addr().expect("has an address").port();
        let shared = Arc::new(Shared {
            current: Mutex::new((None, 0)),
            changed: Condvar::new(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for socket in listener.incoming() {
                let socket = socket.expect("accepts");
                if let Some(connection) = Connection::accept(socket, speaks) {
                    let mut current = accepting.current.lock().expect("nobody panicked");
                    *current = (Some(connection), current.1 + 1);
                    accepting.changed.notify_all();
                }
            }
        });
        Self {
            port,
            speaks,
            shared,
        }
    }

    pub(super) fn url(&self) -> String {
        let scheme = match self.speaks {
            Speaks::Http => "http",
            Speaks::WebSocket => "ws",
        };
        format!("{scheme}://127.0.0.1:{}/", self.port)
    }

    /// Says lines to the next connection that takes them; returns which one that was. Lines that a
    /// connection took may still be lost with it.
    #[track_caller]
    pub(super) fn say(&self, lines: &[String]) -> usize {
        let mut current = self.shared.current.lock().expect("nobody panicked");
        loop {
            let waiting = self
                .shared
                .changed
                .wait_timeout_while(current, PATIENCE, |it| it.0.is_none());
            let timed_out;
            (current, timed_out) = waiting.expect("nobody panicked");
            assert!(!timed_out.timed_out(), "nobody connects");
            let number = current.1;
            if current.0.as_mut().is_some_and(|it| it.say(lines)) {
                return number;
            }
            current.0 = None;
        }
    }

    /// Waits until there is another connection than the first `n`.
    #[track_caller]
    pub(super) fn wait_connected(&self, n: usize) {
        within("a new connection", PATIENCE, || {
            (self.connection() > n).then_some(())
        });
    }

    /// The number of the last connection.
    pub(super) fn connection(&self) -> usize {
        self.shared.current.lock().expect("nobody panicked").1
    }
}
