//! Servers written by others, in Python: started, killed and started again on the same port.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use rustix::net::{AddressFamily, SocketType, sockopt};

use super::logged;
use crate::support::{Dir, PATIENCE, within};

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/net");

/// The Python that has the packages of tests/requirements.txt.
///
/// `None` where there is none, which is said loudly, and is a failure in CI.
pub(crate) fn python(test: &str) -> Option<&'static str> {
    static FOUND: OnceLock<Option<String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let program = "import aiohttp, opentelemetry.proto, sys, websockets; print(sys.executable)";
        let output = Command::new("python3").args(["-c", program]).output();
        let output = output.ok().filter(|output| output.status.success())?;
        Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
    });
    if found.is_none() {
        let text = format!("SKIPPED: {test}: needs `pip install -r tests/requirements.txt`");
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "{text}"
        );
        eprintln!("{text}");
    }
    found.as_deref()
}

/// A port that only our servers can listen on, and that refuses while none does.
pub(crate) struct Port {
    number: u16,
    _held: OwnedFd,
}

impl Port {
    /// Takes a free port.
    pub(crate) fn new() -> Self {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)
            .expect("makes a socket");
        // Whoever listens sets this, too; others cannot take the port.
        sockopt::set_socket_reuseport(&socket, true).expect("shares a port");
        let any = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        rustix::net::bind(&socket, &any).expect("binds a socket");
        let address = rustix::net::getsockname(&socket).expect("has an address");
        let address = SocketAddr::try_from(address).expect("an internet address");
        Self {
            number: address.port(),
            _held: socket,
        }
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

/// A running server; killed when dropped.
pub(crate) struct Peer(Child);

impl Peer {
    /// `python SCRIPT PORT DIR ARGS…`, once it listens.
    #[track_caller]
    pub(crate) fn start(python: &str, script: &str, port: &Port, dir: &Dir, args: &[&str]) -> Self {
        let before = logged(dir, "ready").len();
        let child = Command::new(python)
            .arg(format!("{SCRIPTS}/{script}"))
            .args([&port.number.to_string(), &dir.text("")])
            .args(args)
            .stdin(Stdio::null())
            .spawn()
            .expect("starts Python");
        let peer = Self(child);
        within("the server to listen", PATIENCE, || {
            (logged(dir, "ready").len() > before).then_some(())
        });
        peer
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // An `Err` is a process that ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
