//! A scripted HTTP collector on loopback that records everything and forgets nothing.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, sockopt};

use super::http::{self, Request};
use super::oracle::Oracle;
use super::script::{Answer, Delivery, Reading, Script};
use super::wait::{pass, poll, within};

/// What a collector can do besides its script.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// A request whose `Idempotency-Key` was stored before is not stored again.
    pub(crate) honour_keys: bool,
    /// Requests are kept whole; else their bodies only go to the oracle.
    pub(crate) keep_bodies: bool,
    /// What the bodies hold.
    pub(crate) body: Body,
}

/// What the bodies hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// NDJSON with `_msg`.
    Json,
    /// The lines themselves.
    Raw,
    /// What the oracle does not look at.
    Opaque,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            honour_keys: true,
            keep_bodies: true,
            body: Body::Json,
        }
    }
}

impl Settings {
    /// For raw bodies.
    pub(crate) fn raw() -> Self {
        Self {
            body: Body::Raw,
            ..Self::default()
        }
    }

    /// For many lines: bodies are judged and forgotten.
    pub(crate) fn bulk() -> Self {
        Self {
            keep_bodies: false,
            ..Self::default()
        }
    }
}

/// A request and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) request: Request,
    /// The status that was sent; 0 where the connection was reset instead.
    pub(crate) status: u16,
    /// True where its lines were stored by this request.
    pub(crate) stored: bool,
}

/// A port that refuses connections until the collector listens on it, and is nobody else's.
pub(crate) struct ReservedPort {
    socket: OwnedFd,
    address: SocketAddr,
}

impl ReservedPort {
    /// Takes a free port.
    pub(crate) fn new() -> Self {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)
            .expect("makes a socket");
        let any = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        rustix::net::bind(&socket, &any).expect("binds a socket");
        let address = rustix::net::getsockname(&socket).expect("has an address");
        let address = address.try_into().expect("an internet address");
        Self { socket, address }
    }

    /// The URL of `path` on it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Listens with a queue for one, and fills it: whoever comes next waits for ever.
    pub(crate) fn full(self) -> (Self, Vec<TcpStream>) {
        const WAITING_MAX: usize = 8;
        rustix::net::listen(&self.socket, 0).expect("listens");
        let soon = Duration::from_millis(200);
        let waiting = std::iter::from_fn(|| TcpStream::connect_timeout(&self.address, soon).ok());
        let waiting = waiting.take(WAITING_MAX).collect();
        (self, waiting)
    }

    /// Starts a collector on it.
    pub(crate) fn listen(self, settings: Settings, script: impl Script + 'static) -> Collector {
        rustix::net::listen(&self.socket, 128).expect("listens");
        let listener = TcpListener::from(self.socket);
        let shared = Arc::new(Shared {
            settings,
            state: Mutex::new(State {
                script: Box::new(script),
                outcomes: Vec::new(),
                stored_keys: HashSet::new(),
                oracle: Oracle::default(),
                open: HashMap::new(),
                held: false,
                stopping: false,
            }),
            changed: Condvar::new(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepting));
        Collector {
            address: self.address,
            shared,
        }
    }
}

/// A running collector; it stops when dropped.
pub(crate) struct Collector {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    script: Box<dyn Script>,
    outcomes: Vec<Outcome>,
    stored_keys: HashSet<String>,
    oracle: Oracle,
    open: HashMap<usize, TcpStream>,
    held: bool,
    stopping: bool,
}

impl Collector {
    /// Starts one on a free port.
    pub(crate) fn start(settings: Settings, script: impl Script + 'static) -> Self {
        ReservedPort::new().listen(settings, script)
    }

    /// Starts one that takes everything.
    pub(crate) fn willing() -> Self {
        Self::start(Settings::default(), |_: &Request| Answer::ok())
    }

    /// The URL of `path` on it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Everything that was asked so far.
    pub(crate) fn outcomes(&self) -> Vec<Outcome> {
        self.shared.lock().outcomes.clone()
    }

    /// Number of requests so far, whatever became of them.
    pub(crate) fn n_requests(&self) -> usize {
        self.shared.lock().outcomes.len()
    }

    /// The stored requests so far.
    pub(crate) fn stored(&self) -> Vec<Request> {
        let outcomes = self.outcomes();
        outcomes
            .into_iter()
            .filter(|one| one.stored)
            .map(|one| one.request)
            .collect()
    }

    /// All stored bodies in one, in order.
    pub(crate) fn stored_bytes(&self) -> Vec<u8> {
        let state = self.shared.lock();
        let stored = state.outcomes.iter().filter(|one| one.stored);
        stored
            .flat_map(|one| one.request.body.iter().copied())
            .collect()
    }

    /// Looks at what the oracle has seen of the stored bodies.
    pub(crate) fn oracle<T>(&self, look: impl FnOnce(&Oracle) -> T) -> T {
        look(&self.shared.lock().oracle)
    }

    /// Waits until `n_lines` different lines of `writer` are stored.
    #[track_caller]
    pub(crate) fn wait_lines(&self, writer: u32, n_lines: u64, limit: Duration) {
        let arrived = || self.oracle(|oracle| oracle.distinct(writer));
        if poll(limit, || (arrived() >= n_lines).then_some(())).is_none() {
            let report = self.oracle(|oracle| oracle.report(&[(writer, n_lines)]));
            panic!("waited {limit:?} in vain at the collector: {report}");
        }
    }

    /// Waits until so many requests came, and returns what became of all of them.
    #[track_caller]
    pub(crate) fn wait_requests(&self, n_requests: usize, limit: Duration) -> Vec<Outcome> {
        within(
            &format!("{n_requests} requests at the collector"),
            limit,
            || (self.n_requests() >= n_requests).then(|| self.outcomes()),
        )
    }

    /// Replaces the script.
    pub(crate) fn script(&self, script: impl Script + 'static) {
        self.shared.lock().script = Box::new(script);
    }

    /// Stops reading and answering, without closing anything.
    pub(crate) fn hold(&self) {
        self.shared.lock().held = true;
    }

    /// Goes on where [`Collector::hold`] stopped.
    pub(crate) fn release(&self) {
        self.shared.lock().held = false;
        self.shared.changed.notify_all();
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stopping = true;
        for stream in state.open.values() {
            // A connection that is closed already has nothing to shut down.
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(state);
        self.shared.changed.notify_all();
        // Wakes the accepting thread, which then sees that it must end.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panics in a look at the state must not hide its own message.
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn wait_while_held(&self) -> io::Result<()> {
        let mut state = self.lock();
        while state.held && !state.stopping {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        if state.stopping {
            Err(io::Error::other("the collector stops"))
        } else {
            Ok(())
        }
    }

    fn record(&self, state: &mut State, mut request: Request, status: u16, stored: bool) {
        if stored {
            match self.settings.body {
                Body::Json => state.oracle.json(&request.body),
                Body::Raw => state.oracle.raw(&request.body),
                Body::Opaque => {}
            }
        }
        if !self.settings.keep_bodies {
            request.body = Vec::new();
        }
        state.outcomes.push(Outcome {
            request,
            status,
            stored,
        });
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for (connection, stream) in listener.incoming().enumerate() {
        let Ok(stream) = stream else { continue };
        let mut state = shared.lock();
        if state.stopping {
            return;
        }
        state.open.insert(
            connection,
            stream.try_clone().expect("a second handle of a socket"),
        );
        drop(state);
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            // An `Err` is a client that went away in the middle, which tests cause on purpose.
            let _ = serve(&mut stream, connection, &shared);
            // The socket is closed, or reset, when the last of its two handles is gone.
            shared.lock().open.remove(&connection);
        });
    }
}

fn serve(stream: &mut BufReader<TcpStream>, connection: usize, shared: &Shared) -> io::Result<()> {
    stream.get_ref().set_nodelay(true)?;
    loop {
        shared.wait_while_held()?;
        let Some(mut request) = http::read_head(stream, connection)? else {
            return Ok(());
        };
        let reading = shared.lock().script.reading(&request);
        let mut pace = |bytes: usize| {
            shared.wait_while_held()?;
            match reading {
                Reading::Whole => Ok(64 << 10),
                Reading::Slow { bytes, pause } => {
                    pass(pause);
                    Ok(bytes)
                }
                Reading::ResetAfter(limit) if bytes < limit => Ok(limit - bytes),
                Reading::ResetAfter(_) => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
            }
        };
        if let Err(error) = http::read_body(stream, &mut request, &mut pace) {
            if matches!(reading, Reading::ResetAfter(_)) {
                shared.record(&mut shared.lock(), request, 0, false);
                return reset(stream.get_ref());
            }
            return Err(error);
        }
        shared.wait_while_held()?;
        let answer = decide(shared, request);
        if !give(stream.get_mut(), &answer)? {
            return Ok(());
        }
    }
}

/// Asks the script, stores and records; one request at a time, so that the order is known.
fn decide(shared: &Shared, request: Request) -> Answer {
    let mut state = shared.lock();
    let answer = state.script.answer(&request);
    let key = request.key().to_owned();
    let known = shared.settings.honour_keys && state.stored_keys.contains(&key);
    let stored = answer.stored && !known;
    if stored && !key.is_empty() {
        state.stored_keys.insert(key);
    }
    let status = match answer.delivery {
        Delivery::Lost | Delivery::Dropped => 0,
        _ => answer.status,
    };
    shared.record(&mut state, request, status, stored);
    answer
}

/// Sends an answer; true where the connection stays open.
fn give(stream: &mut TcpStream, answer: &Answer) -> io::Result<bool> {
    let head = http::head(answer.status, &answer.headers, answer.body.len());
    match answer.delivery {
        Delivery::Lost => return reset(stream).map(|()| false),
        Delivery::Dropped => return Ok(false),
        Delivery::Chunked => {
            stream.write_all(&http::chunked(answer.status, &answer.headers, &answer.body))?;
            return Ok(true);
        }
        Delivery::AfterHints => stream.write_all(b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n")?,
        Delivery::Half => {
            stream.write_all(&head)?;
            stream.write_all(&answer.body[..answer.body.len() / 2])?;
            return reset(stream).map(|()| false);
        }
        Delivery::After(delay) => pass(delay),
        Delivery::SlowBody(_) | Delivery::Whole | Delivery::ThenClose => {}
    }
    stream.write_all(&head)?;
    if let Delivery::SlowBody(delay) = answer.delivery {
        pass(delay);
    }
    stream.write_all(&answer.body)?;
    Ok(answer.delivery != Delivery::ThenClose)
}

/// Makes the close of a connection an RST instead of a FIN.
fn reset(stream: &TcpStream) -> io::Result<()> {
    Ok(sockopt::set_socket_linger(stream, Some(Duration::ZERO))?)
}

mod tests {
    use std::io::Read;

    use super::*;

    fn ask(collector: &Collector, request: &[u8]) -> io::Result<String> {
        let mut stream = TcpStream::connect(collector.address)?;
        stream.write_all(request)?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn bodies_are_stored_once_per_key() {
        let collector = Collector::start(Settings::raw(), |_: &Request| Answer::ok().body("yes"));
        let plain = b"POST /a HTTP/1.1\r\nIdempotency-Key: k\r\nContent-Length: 2\r\n\r\na\n";
        let chunked = b"POST /a HTTP/1.1\r\nExpect: 100-continue\r\n\
            Transfer-Encoding: chunked\r\n\r\n1\r\nb\r\n1\r\n\n\r\n0\r\n\r\n";

        let answers =
            [plain.as_slice(), chunked, plain].map(|request| ask(&collector, request).unwrap());

        let yes = "HTTP/1.1 200 Scripted\r\nContent-Length: 3\r\n\r\nyes";
        assert_eq!(
            answers,
            [yes, &format!("HTTP/1.1 100 Continue\r\n\r\n{yes}"), yes]
        );
        assert_eq!(collector.stored_bytes(), b"a\nb\n");
        assert_eq!(collector.n_requests(), 3);
    }

    #[test]
    fn a_lost_answer_is_stored_and_reset() {
        let collector = Collector::start(Settings::raw(), |_: &Request| {
            Answer::ok().delivered(Delivery::Lost)
        });

        let answer = ask(
            &collector,
            b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\na\n",
        );

        assert_eq!(answer.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(collector.outcomes()[0].status, 0);
        assert_eq!(collector.stored_bytes(), b"a\n");
    }

    #[test]
    fn a_reserved_port_refuses_until_it_listens() {
        let reserved = ReservedPort::new();
        let refused = TcpStream::connect(reserved.address).unwrap_err();
        let collector = reserved.listen(Settings::raw(), |_: &Request| Answer::refuse(503));

        let answer = ask(&collector, b"GET / HTTP/1.1\r\n\r\n").unwrap();

        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(collector.stored().is_empty());
    }
}
