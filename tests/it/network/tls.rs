//! TLS with a private CA: streams, WebSockets and the collector, and what is said without the CA.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio_tungstenite::tungstenite;

use super::server::Server;
use crate::support::{Dir, Logweir};

pub(crate) type Tls = StreamOwned<ServerConnection, TcpStream>;

/// A server with a certificate of a CA that nobody knows, and the CA's certificate in a file.
pub(crate) fn server(
    dir: &Dir,
    answer: impl Fn(Tls) + Clone + Send + 'static,
) -> (Server, PathBuf) {
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("makes parameters");
    server_with(dir, &params, answer)
}

/// The same with a certificate of one's own making.
pub(super) fn server_with(
    dir: &Dir,
    params: &CertificateParams,
    answer: impl Fn(Tls) + Clone + Send + 'static,
) -> (Server, PathBuf) {
    let leaf = params;
    let mut params = CertificateParams::new(Vec::new()).expect("makes parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Of several CAs with one name, any could have signed.
    static CAS: AtomicU32 = AtomicU32::new(0);
    let name = format!("CA {}", CAS.fetch_add(1, Ordering::Relaxed));
    params.distinguished_name.push(DnType::CommonName, name);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("makes a key"))
        .expect("makes a CA");
    let key = KeyPair::generate().expect("makes a key");
    let cert = leaf.signed_by(&key, &ca).expect("signs");
    dir.write("ca.pem", ca.pem());

    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            let chain = vec![cert.der().clone()];
            builder.with_no_client_auth().with_single_cert(chain, key)
        });
    let config = Arc::new(config.expect("makes a TLS set-up"));
    let server = Server::start(move |socket| {
        let connection = ServerConnection::new(Arc::clone(&config)).expect("makes a connection");
        answer(StreamOwned::new(connection, socket));
    });
    (server, dir.path("ca.pem"))
}

/// Reads a request: its head in small letters, and its body; `None` where the client has gone.
pub(crate) fn read_request(tls: &mut Tls) -> Option<(String, String)> {
    let mut reader = BufReader::new(tls);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1);
    let length = length.and_then(|rest| rest.split("\r\n").next()?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8(body).ok()?))
}

#[test]
fn an_https_stream_and_a_wss_socket_are_read_with_a_private_ca() {
    let dir = Dir::new();
    let (https, _) = server(&dir, |mut tls| {
        read_request(&mut tls);
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
        // An `Err` is a reader that has gone.
        let _ = tls.write_all(format!("{head}over https\n").as_bytes());
        let _ = tls.flush();
        let _ = tls.read(&mut [0]);
    });
    let ca = dir.read("ca.pem");
    let (wss, ca_file) = server(&dir, |tls| {
        if let Ok(mut socket) = tungstenite::accept(tls) {
            let _ = socket.send("over wss".into());
            let _ = socket.read();
        }
    });
    dir.write("ca.pem", [ca, dir.read("ca.pem")].concat());
    let (https, wss) = (https.url("a=https", "/"), wss.url("b=wss", "/"));
    let args = ["tail", "-r", "--limit", "2", "--cacert"].map(str::to_owned);
    let args = args
        .into_iter()
        .chain([ca_file.display().to_string(), https, wss]);

    let printed = Logweir::new(&dir, args).ended().good();

    let mut lines: Vec<&str> = std::str::from_utf8(&printed)
        .expect("text")
        .lines()
        .collect();
    lines.sort_unstable();
    assert_eq!(lines, ["over https", "over wss"]);
}

#[test]
fn a_certificate_of_an_unknown_ca_is_refused_and_said() {
    let dir = Dir::new();
    let (server, _) = server(&dir, |mut tls| drop(read_request(&mut tls)));

    let ended = Logweir::new(&dir, ["tail", "-r", &server.url("a=https", "/")]).ended();

    ended.failed(69, &["a", "certificate"]);
}

#[test]
fn a_collector_over_tls_gets_every_line() {
    let dir = Dir::new();
    let received = dir.path("received");
    let (collector, ca_file) = server(&dir, move |mut tls| {
        while let Some((_, body)) = read_request(&mut tls) {
            let mut file = std::fs::File::options();
            let mut file = file
                .append(true)
                .create(true)
                .open(&received)
                .expect("opens");
            file.write_all(body.as_bytes()).expect("writes");
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            let _ = tls.write_all(answer.as_bytes()).and_then(|()| tls.flush());
        }
    });
    dir.write("app.log", "one\ntwo\n");
    let config = dir.config(&format!(
        r#"
        [source.app]
        path = "{{dir}}/app.log"

        [sink.out]
        url = "{}"
        format = "raw"
        batch = {{ linger = "1ms" }}
        tls = {{ ca = "{}" }}
        "#,
        collector.url("https", "/in"),
        ca_file.display(),
    ));

    let agent = Logweir::run(&dir, &config).start();
    let arrived = crate::support::poll(crate::support::PATIENCE, || {
        (dir.size("received") == 8).then(|| dir.read("received"))
    });

    assert_eq!(
        arrived.as_deref(),
        Some(&b"one\ntwo\n"[..]),
        "{}",
        agent.said()
    );
    agent.stop();
}
