//! nginx as a TLS front: a client certificate, a private CA, HTTP/2, and what it answers without.

use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::network::peer::{Port, nginx};
use crate::support::{
    Agent, Answer, Collector, Dir, Logweir, PATIENCE, Plan, Request, Settings, within,
};

/// A running nginx; ended when dropped.
struct Front(Child);

impl Drop for Front {
    fn drop(&mut self) {
        // An `Err` is a process that ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes a CA, a certificate of a server, and one of a client, each with its key.
fn certificates(dir: &Dir) {
    let mut params = CertificateParams::new(Vec::new()).expect("makes parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("makes a key"))
        .expect("makes a CA");
    dir.write("ca.pem", ca.pem());
    for (name, subject) in [("server", "127.0.0.1"), ("client", "logweir")] {
        let key = KeyPair::generate().expect("makes a key");
        let mut params = CertificateParams::new([subject.to_owned()]).expect("makes parameters");
        // A certificate that is called as its CA counts as signed by itself.
        params.distinguished_name.push(DnType::CommonName, subject);
        let cert = params.signed_by(&key, &ca).expect("signs");
        dir.write(&format!("{name}.pem"), cert.pem());
        dir.write(&format!("{name}.key"), key.serialize_pem());
    }
}

/// nginx in front of `collector`, which demands a client's certificate. It is one process: workers
/// would survive their killed master.
#[track_caller]
fn front(nginx: &str, dir: &Dir, port: &Port, collector: &Collector) -> Front {
    let (port, at) = (port.number(), dir.text(""));
    let config = format!(
        r#"
        daemon off; master_process off; pid {at}/nginx.pid; error_log {at}/error.log info;
        events {{ worker_connections 64; }}
        http {{
            log_format seen "$server_protocol $ssl_client_verify $status";
            access_log {at}/access.log seen;
            client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;
            fastcgi_temp_path {at}/fastcgi; uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;
            client_max_body_size 16m;
            server {{
                listen 127.0.0.1:{port} ssl http2 reuseport;
                ssl_certificate {at}/server.pem; ssl_certificate_key {at}/server.key;
                ssl_client_certificate {at}/ca.pem; ssl_verify_client on;
                location / {{ proxy_pass {}; }}
            }}
        }}
        "#,
        collector.url("")
    );
    dir.write("nginx.conf", config);
    let child = Command::new(nginx)
        .args(["-p", &at, "-c", &dir.text("nginx.conf")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts nginx");
    let front = Front(child);
    within("nginx to listen", PATIENCE, || {
        std::net::TcpStream::connect(("127.0.0.1", port)).ok()
    });
    front
}

fn start(dir: &Dir, port: &Port, tls: &str) -> Agent {
    let config = dir.config(&format!(
        r#"
        [source.app]
        path = "{{dir}}/app.log"

        [sink.out]
        url = "https://127.0.0.1:{}/in"
        batch = {{ lines = 20, linger = "5ms" }}
        retry = {{ base = "10ms", max = "50ms" }}
        tls = {{ ca = "{{dir}}/ca.pem"{tls} }}
        "#,
        port.number()
    ));
    Logweir::run(dir, &config).start()
}

#[test]
fn a_client_with_a_certificate_is_let_in_over_http_2() {
    let Some(nginx) = nginx("a client with a certificate") else {
        return;
    };
    let (dir, port) = (Dir::new(), Port::new());
    certificates(&dir);
    let collector = Collector::start(Settings::default(), |_: &Request| Answer::ok());
    let _front = front(nginx, &dir, &port, &collector);
    let plan = Plan::new(dir.path("app.log"), 200);
    plan.write();

    let agent = start(
        &dir,
        &port,
        r#", cert = "{dir}/client.pem", key = "{dir}/client.key""#,
    );
    collector.wait_lines(plan.writer, plan.n_lines, PATIENCE);
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    collector
        .oracle(|oracle| oracle.report(&[(plan.writer, plan.n_lines)]))
        .expect_exact();
    let seen = within("the access log", PATIENCE, || {
        let seen = String::from_utf8(dir.read("access.log")).expect("text");
        (seen.lines().count() >= collector.n_requests()).then_some(seen)
    });
    let all = seen.lines().all(|line| line == "HTTP/2.0 SUCCESS 200");
    assert!(all && seen.lines().count() >= 10, "{seen}");
}

#[test]
fn a_client_without_a_certificate_pauses_and_sets_nothing_aside() {
    let Some(nginx) = nginx("a client without a certificate") else {
        return;
    };
    let (dir, port) = (Dir::new(), Port::new());
    certificates(&dir);
    let collector = Collector::willing();
    let _front = front(nginx, &dir, &port, &collector);
    Plan::new(dir.path("app.log"), 50).write();

    // nginx says 400 here, as if the lines were to blame.
    let agent = start(&dir, &port, "");
    agent.wait_said(&["paused", "No required SSL certificate was sent"]);

    assert!(dir.files_below("state/rejected").is_empty());
    assert_eq!(collector.n_requests(), 0);
    agent.kill();
}
