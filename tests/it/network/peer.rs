//! Servers written by others, in Python and for Node: started, killed and started again on the same port.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdin, Command, Stdio};
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
        let packages = "aiohttp, openmock, opentelemetry.proto, uvicorn, websockets";
        let program = format!("import {packages}, sys; print(sys.executable)");
        let output = Command::new("python3").args(["-c", &program]).output();
        let output = output.ok().filter(|output| output.status.success())?;
        Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
    });
    found_or_said(found, test, "`pip install -r tests/requirements.txt`")
}

/// A Node that has the packages of tests/package.json, which NODE_PATH names in CI.
///
/// `None` where there is none, which is said loudly, and is a failure in CI.
pub(crate) fn node(test: &str) -> Option<&'static str> {
    static FOUND: OnceLock<Option<String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let program = "require('ws'); require.resolve('wscat/package.json'); \
                       console.log(process.execPath)";
        let output = Command::new("node").args(["-e", program]).output();
        let output = output.ok().filter(|output| output.status.success())?;
        Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
    });
    let needs = "`npm install` in a DIR with tests/package.json, and NODE_PATH=DIR/node_modules";
    found_or_said(found, test, needs)
}

/// Where nginx is. `None`: nowhere, which is said loudly, and is a failure in CI.
pub(crate) fn nginx(test: &str) -> Option<&'static str> {
    static FOUND: OnceLock<Option<String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let mut paths = ["nginx", "/usr/sbin/nginx"].into_iter();
        let found = paths.find(|path| {
            let version = Command::new(path).arg("-v").stderr(Stdio::null()).status();
            version.is_ok_and(|status| status.success())
        });
        found.map(str::to_owned)
    });
    found_or_said(found, test, "nginx (apt-get install nginx-light)")
}

fn found_or_said<'a>(found: &'a Option<String>, test: &str, needs: &str) -> Option<&'a str> {
    if found.is_none() {
        let text = format!("SKIPPED: {test}: needs {needs}");
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
    /// Absent: anybody could take it.
    _held: Option<OwnedFd>,
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
            _held: Some(socket),
        }
    }

    /// The same port for servers that share it with nobody.
    pub(crate) fn released(self) -> Self {
        Self {
            _held: None,
            ..self
        }
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

/// A running server; killed when dropped.
pub(crate) struct Peer(Child);

impl Peer {
    /// `program SCRIPT PORT DIR ARGS…`, once it listens; the program is Python or Node.
    #[track_caller]
    pub(crate) fn start(
        program: &str,
        script: &str,
        port: &Port,
        dir: &Dir,
        args: &[&str],
    ) -> Self {
        let before = logged(dir, "ready").len();
        let child = Command::new(program)
            .arg(format!("{SCRIPTS}/{script}"))
            .args([&port.number.to_string(), &dir.text("")])
            .args(args)
            .stdin(Stdio::null())
            .spawn()
            .expect("starts a server");
        let peer = Self(child);
        within("the server to listen", PATIENCE, || {
            (logged(dir, "ready").len() > before).then_some(())
        });
        peer
    }

    /// A server that a person would type into, `wscat --listen`, and its keyboard. It does not say when
    /// it listens; what it is sent goes to `screen` in `dir`.
    #[track_caller]
    pub(crate) fn wscat(node: &str, port: &Port, dir: &Dir) -> (Self, ChildStdin) {
        let screen = std::fs::File::create(dir.path("screen")).expect("makes a file");
        let program = "require(require.resolve('wscat/package.json').replace('package.json', \
                       'bin/wscat'))";
        let mut child = Command::new(node)
            .args(["-e", program, "wscat", "--no-color", "--listen"])
            .arg(port.number().to_string())
            .stdin(Stdio::piped())
            .stdout(screen)
            .spawn()
            .expect("starts a server");
        let keyboard = child.stdin.take().expect("it is piped");
        (Self(child), keyboard)
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
