//! A flood that nobody takes: memory stays flat and the sender is made to wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::server::Server;
use crate::support::{Dir, Logweir, PATIENCE, ReservedPort, within};

/// TARGETS: at most 32 MB resident whatever the peers do, of which 8 are the release program's.
const PEAK_KIB_MAX: u64 = 24 << 10;
const MEMORY_BYTES: u64 = 2 << 20;
/// What the kernel keeps of one connection on loopback: 4 MiB to send and 6 MiB received
/// (tcp(7): tcp_wmem, tcp_rmem).
const SOCKET_BYTES: u64 = 10 << 20;

#[test]
fn a_websocket_flood_into_a_dead_sink_waits_in_the_socket() {
    let dir = Dir::new();
    let port = ReservedPort::new();
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    let server = Server::start(move |socket| {
        let socket = tokio_tungstenite::tungstenite::accept(socket);
        let mut socket = socket.expect("a handshake");
        let message = "x".repeat(1_000);
        // The end is the end of logweir.
        while socket.send(message.clone().into()).is_ok() {
            counted.fetch_add(message.len() as u64, Ordering::Relaxed);
        }
    });
    let config = dir.config(&format!(
        r#"
        [source]
        flood = "{}"

        [sink.dead]
        url = "{}"
        memory = "2MiB"
        batch = {{ bytes = "256KiB" }}
        retry = {{ base = "100ms", max = "1s" }}
        "#,
        server.url("ws", "/"),
        port.url("/")
    ));

    let agent = Logweir::run(&dir, &config).start();
    within("the flood", PATIENCE, || {
        (sent.load(Ordering::Relaxed) > MEMORY_BYTES).then_some(())
    });
    let mut last = (0, Instant::now());
    within("the sender to wait", 2 * PATIENCE, || {
        let now = sent.load(Ordering::Relaxed);
        if now != last.0 {
            last = (now, Instant::now());
        }
        (last.1.elapsed() > Duration::from_secs(1)).then_some(())
    });
    let (bytes, peak_kib) = (sent.load(Ordering::Relaxed), agent.peak_kib());

    eprintln!("{bytes} bytes were taken, {peak_kib} KiB resident at most");
    assert!(peak_kib <= PEAK_KIB_MAX, "{peak_kib} KiB");
    assert!(bytes <= MEMORY_BYTES + SOCKET_BYTES, "{bytes} bytes");

    let ended = agent.stop();

    let stalled = ended.stderr.split("stalled_s=\"").nth(1);
    let stalled = stalled.and_then(|rest| rest.split('"').next()?.parse::<f64>().ok());
    assert!(stalled.is_some_and(|it| it >= 1.0), "{}", ended.stderr);
}
