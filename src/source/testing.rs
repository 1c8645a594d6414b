//! What tests of network sources share: a source between a real socket and a queue.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{Outlet, RecordRules, SourceConfig, SourceContext, SourceKind};
use crate::blocking::Crew;
use crate::checkpoint::{Checkpoints, to_record};
use crate::model::{CursorKey, Position, StreamKey};
use crate::notes::{FirstFailure, Notes};
use crate::queue::{Receiver, bounded};
use crate::telemetry::SourceCounters;

/// No test waits longer for anything.
const LIMIT: Duration = Duration::from_secs(10);

pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future)
        .await
        .expect("comes within 10 s")
}

/// Checkpoints in a folder of their own, in which the stream of `http://ADDRESS/logs` stands somewhere; and
/// what it is called there.
pub(super) fn standing_at(
    address: &str,
    position: &Position,
) -> (tempfile::TempDir, Checkpoints, CursorKey) {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::open(folder.path()).unwrap();
    let key = CursorKey {
        source: "app".into(),
        stream: StreamKey::new(format!("http://{address}/logs")),
        sink: "out".into(),
    };
    let cursors = to_record(&key, position).into_iter().collect();
    checkpoints.register(Vec::new(), cursors).unwrap();
    (folder, checkpoints, key)
}

/// What a test sees of a source.
pub(super) struct Seen {
    pub(super) receiver: Receiver,
    pub(super) counters: Arc<SourceCounters>,
    pub(super) first_attempt: oneshot::Receiver<Result<(), FirstFailure>>,
    pub(super) shutdown: CancellationToken,
}

impl Seen {
    /// The next lines, one chunk's; each settled.
    pub(super) async fn chunk(&mut self) -> Vec<String> {
        let chunk = within(self.receiver.recv()).await.expect("the source runs");
        let texts = chunk
            .lines
            .iter()
            .map(|line| String::from_utf8_lossy(line.text).into_owned())
            .collect();
        let _ = chunk.ack.settle();
        texts
    }

    /// The next `count` lines.
    pub(super) async fn lines(&mut self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.len() < count {
            lines.extend(self.chunk().await);
        }
        lines
    }
}

/// A source named `app` whose one sink holds `budget_bytes`, and what is seen of it.
pub(super) fn source(
    kind: SourceKind,
    budget_bytes: usize,
    checkpoints: Checkpoints,
) -> (impl Future<Output = Result<(), super::SourceError>>, Seen) {
    source_with(RecordRules::default(), kind, budget_bytes, checkpoints)
}

/// The same with rules for its records.
pub(super) fn source_with(
    records: RecordRules,
    kind: SourceKind,
    budget_bytes: usize,
    checkpoints: Checkpoints,
) -> (impl Future<Output = Result<(), super::SourceError>>, Seen) {
    let config = SourceConfig {
        name: "app".into(),
        labels: Arc::from([]),
        line_bytes_max: 1024,
        records,
        spool: None,
        kind,
    };
    source_of(config, (budget_bytes, u32::MAX), checkpoints)
}

/// A source whose one sink holds so many bytes, and takes so many lines in a chunk.
pub(super) fn source_of(
    config: SourceConfig,
    (budget_bytes, chunk_lines): (usize, u32),
    checkpoints: Checkpoints,
) -> (impl Future<Output = Result<(), super::SourceError>>, Seen) {
    let (queue, receiver) = bounded(budget_bytes);
    let (first_attempt, attempt) = oneshot::channel();
    let shutdown = CancellationToken::new();
    let counters = Arc::<SourceCounters>::default();
    let cx = SourceContext {
        outlets: vec![Outlet {
            sink: "out".into(),
            sender: queue.sender(),
            share_bytes: budget_bytes,
            chunk_bytes: 1 << 20,
            chunk_lines,
            pace: Duration::ZERO,
        }],
        checkpoints,
        crew: Crew::default(),
        counters: Arc::clone(&counters),
        own_files: Arc::default(),
        notes: Notes::silent(),
        denials: super::Denials::default(),
        credentials: Arc::from("no credentials were sent"),
        first_attempt,
        shutdown: shutdown.clone(),
        inlet: None,
    };
    let seen = Seen {
        receiver,
        counters,
        first_attempt: attempt,
        shutdown,
    };
    (super::run(config, cx), seen)
}

/// Runs a source beside a test; the source must not end before it.
pub(super) async fn beside<T>(
    source: impl Future<Output = Result<(), super::SourceError>>,
    test: impl Future<Output = T>,
) -> T {
    tokio::select! {
        biased;
        done = test => done,
        ended = source => panic!("the source ended: {ended:?}"),
    }
}

pub(super) async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// Takes the next connection and reads the head of its request, in lower case.
pub(super) async fn accept(listener: &TcpListener) -> (TcpStream, String) {
    let (mut stream, _) = within(listener.accept()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(stream.read_u8()).await.unwrap());
    }
    (stream, String::from_utf8(head).unwrap().to_lowercase())
}

pub(super) async fn write(stream: &mut TcpStream, bytes: impl AsRef<[u8]>) {
    within(stream.write_all(bytes.as_ref())).await.unwrap();
}
