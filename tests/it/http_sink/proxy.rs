//! A collector behind TLS, reached through a proxy that is asked to CONNECT.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::network::server::Server;
use crate::network::tls;
use crate::support::{Agent, Dir, Logweir, PATIENCE, Plan, within};

/// What was seen, request by request.
type Seen = Arc<Mutex<Vec<String>>>;

/// A proxy that opens tunnels to whoever knows its password.
struct Proxy {
    port: u16,
    seen: Seen,
}

/// printf 'me:hunter2' | base64
const CREDENTIALS: &str = "proxy-authorization: basic bwu6ahvudgvymg==";

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        let port = listener.local_addr().expect("has an address").port();
        let seen = Seen::default();
        let heads = Arc::clone(&seen);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, heads) = (client.expect("accepts"), Arc::clone(&heads));
                // An `Err` is a peer that has gone.
                thread::spawn(move || tunnel(client, &heads));
            }
        });
        Self { port, seen }
    }

    fn url(&self, user: &str) -> String {
        format!("http://{user}127.0.0.1:{}", self.port)
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn tunnel(mut client: TcpStream, heads: &Seen) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    heads.lock().unwrap().push(head.clone());
    if !head.contains(CREDENTIALS) {
        return client.write_all(
            b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\
              Content-Length: 0\r\n\r\n",
        );
    }
    let target = head.split(' ').nth(1).unwrap_or_default();
    let server = TcpStream::connect(target)?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let back = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || copy(back.0, back.1));
    copy(client, server)
}

fn copy(mut from: TcpStream, mut to: TcpStream) -> std::io::Result<()> {
    std::io::copy(&mut from, &mut to)?;
    to.shutdown(Shutdown::Write)
}

/// A collector behind TLS; its requests, head and body.
fn collector(dir: &Dir) -> (Server, Seen) {
    let seen = Seen::default();
    let requests = Arc::clone(&seen);
    let (server, _) = tls::server(dir, move |mut socket| {
        while let Some((head, body)) = tls::read_request(&mut socket) {
            requests.lock().unwrap().push(format!("{head}{body}"));
            // An `Err` is a client that has gone: then there is no next request.
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            let _ = socket.flush();
        }
    });
    (server, seen)
}

/// A hundred lines to the collector, with `keys` and these variables.
fn start(dir: &Dir, server: &Server, keys: &str, variables: &[(&str, &str)]) -> (Agent, Plan) {
    let plan = Plan::new(dir.path("app.log"), 100);
    plan.write();
    let config = dir.config(&format!(
        r#"
        [source.app]
        path = "{{dir}}/app.log"

        [sink.out]
        url = "{}"
        bearer = "hunter3"
        tls = {{ ca = "{{dir}}/ca.pem" }}
        batch = {{ lines = 20, linger = "5ms" }}
        retry = {{ base = "10ms", max = "50ms" }}
        {keys}
        "#,
        server.url("https", "/in")
    ));
    let command = Logweir::run(dir, &config);
    let command = variables
        .iter()
        .fold(command, |command, (name, value)| command.env(name, value));
    (command.start(), plan)
}

/// Waits until every line of the plan came, and checks that the collector's credentials did.
#[track_caller]
fn expect_lines(seen: &Seen, plan: &Plan) {
    let n_lines = |requests: &[String]| -> usize {
        let bodies = requests.iter().map(|it| it.split("\r\n\r\n").nth(1));
        bodies
            .map(|it| it.unwrap_or_default().lines().count())
            .sum()
    };
    let requests = within("the lines", 2 * PATIENCE, || {
        let requests = seen.lock().unwrap().clone();
        (n_lines(&requests) as u64 >= plan.n_lines).then_some(requests)
    });
    assert_eq!(n_lines(&requests) as u64, plan.n_lines);
    for request in &requests {
        assert!(
            request.contains("authorization: bearer hunter3"),
            "{request}"
        );
        assert!(!request.contains("proxy-authorization"), "{request}");
    }
}

#[test]
fn https_goes_through_a_tunnel_and_only_the_proxy_sees_its_password() {
    let (dir, proxy) = (Dir::new(), Proxy::start());
    let (server, seen) = collector(&dir);
    let url = proxy.url("me:hunter2@");

    for (keys, variables) in [
        (format!("proxy = \"{url}\""), vec![]),
        (String::new(), vec![("HTTPS_PROXY", url.as_str())]),
        (
            String::new(),
            vec![("ALL_PROXY", url.as_str()), ("NO_PROXY", "elsewhere.test")],
        ),
    ] {
        seen.lock().unwrap().clear();
        proxy.seen.lock().unwrap().clear();
        let dir_of_case = Dir::new();
        dir_of_case.write("ca.pem", dir.read("ca.pem"));

        let (agent, plan) = start(&dir_of_case, &server, &keys, &variables);
        expect_lines(&seen, &plan);
        let ended = agent.stop();

        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert!(!ended.stderr.contains("hunter"), "{}", ended.stderr);
        let heads = proxy.seen();
        assert!(!heads.is_empty(), "{keys}{variables:?}");
        for head in heads {
            let target = server.url("connect", "").replace("://", " ");
            assert!(
                head.starts_with(&format!("{target} http/1.1\r\n")),
                "{head}"
            );
            assert!(head.contains(CREDENTIALS), "{head}");
            assert!(!head.contains("hunter3"), "{head}");
        }
    }
}

#[test]
fn hosts_of_no_proxy_are_reached_directly() {
    let (dir, proxy) = (Dir::new(), Proxy::start());
    let (server, seen) = collector(&dir);
    let url = proxy.url("me:hunter2@");
    let variables = [
        ("HTTPS_PROXY", url.as_str()),
        ("NO_PROXY", "a.test,127.0.0.1"),
    ];

    let (agent, plan) = start(&dir, &server, "", &variables);
    expect_lines(&seen, &plan);

    assert_eq!(agent.stop().code, 0);
    assert_eq!(proxy.seen(), Vec::<String>::new());
}

#[test]
fn a_proxy_that_opens_no_tunnel_is_said_and_nothing_is_lost() {
    let (dir, proxy) = (Dir::new(), Proxy::start());
    let (server, seen) = collector(&dir);
    let keys = format!("proxy = \"{}\"", proxy.url("me:wrong@"));

    let (agent, plan) = start(&dir, &server, &keys, &[]);
    agent.wait_said(&["not delivered", "proxy authorization required"]);

    assert!(dir.files_below("state/rejected").is_empty());
    assert!(seen.lock().unwrap().is_empty());
    agent.kill();
    let right = format!("proxy = \"{}\"", proxy.url("me:hunter2@"));
    let config = String::from_utf8(dir.read("agent.toml")).expect("text");
    dir.write("agent.toml", config.replace(&keys, &right));
    let agent = Logweir::run(&dir, &dir.path("agent.toml")).start();
    expect_lines(&seen, &plan);
    assert_eq!(agent.stop().code, 0);
}
