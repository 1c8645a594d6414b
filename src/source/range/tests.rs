//! Remote files over real sockets.

use std::sync::{Arc, Mutex};

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;
use crate::checkpoint::{Checkpoints, to_record};
use crate::source::SourceKind;
use crate::source::testing::{Seen, beside, listen, source, within, write};

/// A file on a server, and how often it was asked for.
#[derive(Clone, Default)]
struct Remote(Arc<Mutex<State>>, watch::Sender<usize>);

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    has_ranges: bool,
    etag: u32,
    n_sent: usize,
}

impl Remote {
    fn new(text: &str, has_ranges: bool) -> Self {
        let remote = Self::default();
        remote.0.lock().unwrap().has_ranges = has_ranges;
        remote.set(text);
        remote
    }

    fn set(&self, text: &str) {
        let mut state = self.0.lock().unwrap();
        state.bytes = text.as_bytes().to_vec();
        state.etag += 1;
    }

    fn append(&self, text: &str) {
        let mut state = self.0.lock().unwrap();
        state.bytes.extend_from_slice(text.as_bytes());
        state.etag += 1;
    }

    /// Waits until it was asked for `n` times more.
    async fn asked_again(&self, n: usize) {
        let mut asked = self.1.subscribe();
        let before = *asked.borrow();
        let again = asked.wait_for(|it| *it >= before + n);
        within(again).await.unwrap();
    }

    fn n_sent(&self) -> usize {
        self.0.lock().unwrap().n_sent
    }

    fn answer(&self, head: &str) -> Vec<u8> {
        let mut state = self.0.lock().unwrap();
        self.1.send_modify(|it| *it += 1);
        let etag = format!("\"{}\"", state.etag);
        if head.contains(&format!("if-none-match: {etag}\r\n")) {
            return b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n".to_vec();
        }
        let first = head.split("range: bytes=").nth(1);
        let first = first.and_then(|it| it.split('-').next()?.parse::<usize>().ok());
        let total = state.bytes.len();
        let (status, body) = match first.filter(|_| state.has_ranges) {
            Some(first) if first >= total => {
                let status = format!("416 Range Not Satisfiable\r\nContent-Range: bytes */{total}");
                (status, Vec::new())
            }
            Some(first) => {
                let range = format!("bytes {first}-{}/{total}", total - 1);
                let status = format!("206 Partial Content\r\nContent-Range: {range}");
                (status, state.bytes[first..].to_vec())
            }
            None => ("200 OK".to_owned(), state.bytes.clone()),
        };
        state.n_sent += body.len();
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nETag: {etag}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        [head.as_bytes(), &body].concat()
    }
}

/// Serves the file while the test runs.
async fn served<T>(remote: &Remote, listener: &TcpListener, test: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        done = test => done,
        () = async {
            loop {
                let (mut stream, head) = next(listener).await;
                write(&mut stream, remote.answer(&head)).await;
            }
        } => unreachable!("it serves for ever"),
    }
}

/// The next request, however late it comes.
async fn next(listener: &TcpListener) -> (TcpStream, String) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(stream.read_u8()).await.unwrap());
    }
    (stream, String::from_utf8(head).unwrap().to_lowercase())
}

fn followed(address: &str) -> (impl Future<Output = Result<(), SourceError>>, Seen) {
    with_state(address, Checkpoints::none())
}

fn with_state(
    address: &str,
    checkpoints: Checkpoints,
) -> (impl Future<Output = Result<(), SourceError>>, Seen) {
    let kind = SourceKind::Range(RangeConfig {
        interval: Duration::from_millis(10),
        ..RangeConfig::of_url(format!("http://{address}/app.log"))
    });
    source(kind, 1 << 20, checkpoints)
}

fn numbered(range: std::ops::Range<u32>) -> Vec<String> {
    range
        .map(|n| format!("line {n:05} of a file on another machine"))
        .collect()
}

fn text(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[tokio::test]
async fn what_is_appended_arrives_and_nothing_else_is_sent() {
    let (listener, address) = listen().await;
    let lines = numbered(0..2000);
    let remote = Remote::new(&text(&lines[..1000]), true);
    let (source, mut seen) = followed(&address);

    let test = served(&remote, &listener, async {
        assert_eq!(seen.lines(1000).await, lines[..1000]);
        for part in lines[1000..].chunks(100) {
            // A line in the making waits for its end.
            let (last, others) = part.split_last().unwrap();
            remote.append(&text(others));
            remote.append(&last[..10]);
            assert_eq!(seen.lines(99).await, others);
            remote.append(&format!("{}\n", &last[10..]));
            assert_eq!(seen.lines(1).await[0], *last);
        }
        remote.asked_again(5).await;
    });
    beside(source, test).await;

    let total = text(&lines).len();
    let sent = remote.n_sent();
    assert!(
        sent < total + 100 * 600,
        "{sent} bytes were sent for {total}"
    );
}

#[tokio::test]
async fn a_file_that_was_rotated_is_read_from_its_beginning() {
    for has_ranges in [true, false] {
        let (listener, address) = listen().await;
        let lines = numbered(0..100);
        let remote = Remote::new(&text(&lines), has_ranges);
        let (source, mut seen) = followed(&address);

        let test = served(&remote, &listener, async {
            assert_eq!(seen.lines(100).await, lines);
            remote.append("torn");
            remote.asked_again(3).await;
            // Shorter than it was.
            remote.set("one\ntwo\n");
            assert_eq!(seen.lines(3).await, ["torn", "one", "two"]);
            // As long as it was, or longer, and another.
            remote.set("ONE\nTWO\nthree\n");
            assert_eq!(seen.lines(3).await, ["ONE", "TWO", "three"]);
            remote.append("four\n");
            assert_eq!(seen.lines(1).await, ["four"]);
            remote.set("");
            remote.append("last\n");
            assert_eq!(seen.lines(1).await, ["last"]);
        });
        beside(source, test).await;
    }
}

#[tokio::test]
async fn it_goes_on_where_the_checkpoint_stands() {
    let (listener, address) = listen().await;
    let lines = numbered(0..100);
    let remote = Remote::new(&text(&lines[..50]), false);
    let folder = tempfile::tempdir().unwrap();

    let checkpoints = Checkpoints::open(folder.path()).unwrap();
    let (source, mut seen) = with_state(&address, checkpoints.clone());
    let test = served(&remote, &listener, async {
        let mut count = 0;
        while count < 50 {
            let chunk = within(seen.receiver.recv()).await.unwrap();
            count += chunk.lines.count();
            let (key, position) = chunk.ack.settle().unwrap();
            let record = to_record(&key, &position).into_iter().collect();
            checkpoints.register(Vec::new(), record).unwrap();
        }
    });
    beside(source, test).await;
    drop(seen);

    remote.append(&text(&lines[50..]));
    let (source, mut seen) = with_state(&address, checkpoints);
    let test = served(&remote, &listener, seen.lines(50));
    assert_eq!(beside(source, test).await, lines[50..]);
}
