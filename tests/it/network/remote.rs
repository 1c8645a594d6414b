//! A growing file that nginx serves: followed by HTTP Range through kills of both.

use std::process::{Child, Command, Stdio};

use super::peer::{Port, nginx};
use crate::support::{Dir, Logweir, Oracle, PATIENCE, Plan, Rng, line, pass, within};

const ROUNDS: usize = 4;

/// A running nginx of one process; killed when dropped.
struct Files(Child);

impl Files {
    #[track_caller]
    fn start(nginx: &str, dir: &Dir, port: &Port) -> Self {
        let at = dir.text("");
        let config = format!(
            "daemon off; master_process off; pid {at}/nginx.pid; error_log {at}/nginx.err;\n\
             events {{ }}\n\
             http {{\n\
             access_log {at}/access.log; client_body_temp_path {at}/b; proxy_temp_path {at}/p;\n\
             fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n\
             server {{ listen 127.0.0.1:{} reuseport; root {at}/www; }}\n}}\n",
            port.number()
        );
        let path = dir.write("nginx.conf", config);
        let child = Command::new(nginx)
            .arg("-c")
            .arg(path)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts nginx");
        let this = Self(child);
        within("nginx to listen", PATIENCE, || {
            std::net::TcpStream::connect(("127.0.0.1", port.number())).ok()
        });
        this
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // An `Err` is a process that ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_growing_file_of_nginx_arrives_whole_through_kills_and_only_what_is_new_is_sent() {
    let Some(nginx) = nginx("range") else {
        return;
    };
    let mut rng = Rng::printed("range");
    let (dir, port) = (Dir::new(), Port::new());
    std::fs::create_dir(dir.path("www")).expect("makes a folder");
    let plan = Plan {
        per_second: 2_000,
        ..Plan::new(dir.path("www/app.log"), 12_000)
    };
    let config = dir.config(&format!(
        r#"
        [source.remote]
        type = "range"
        url = "http://127.0.0.1:{}/app.log"
        interval = "50ms"

        [sink.out]
        path = "{{dir}}/out.log"
        format = "raw"
        "#,
        port.number()
    ));
    dir.write("www/app.log", "");
    let mut files = Files::start(nginx, &dir, &port);
    let writer = plan.clone().spawn();

    for _ in 0..ROUNDS {
        let before = dir.size("out.log");
        let agent = Logweir::run(&dir, &config).start();
        within("more lines", PATIENCE, || {
            (dir.size("out.log") > before).then_some(())
        });
        pass(rng.millis(50..500));
        drop(files);
        pass(rng.millis(0..100));
        files = Files::start(nginx, &dir, &port);
        pass(rng.millis(50..700));
        agent.kill();
    }
    let agent = Logweir::run(&dir, &config).start();
    writer.join().expect("the writer writes everything");
    let wanted = dir.size("www/app.log");
    let last = format!("{}\n", line(plan.writer, plan.n_lines - 1, plan.line_bytes));
    within("the last line", 3 * PATIENCE, || {
        dir.read("out.log").ends_with(last.as_bytes()).then_some(())
    });
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let lines = [(plan.writer, plan.n_lines)];
    let report = Oracle::file(&dir.path("out.log")).report(&lines);
    // What was in flight at a kill may come twice.
    report.expect_complete(ROUNDS as u64 * 1_000);
    assert_eq!(report.reordered, 0, "{report}");
    // nginx changes its ETag with each line: `If-Range` would have had the whole file sent each time.
    let sent = bytes_sent(&dir);
    eprintln!("{sent} bytes were sent for a file of {wanted}");
    assert!(sent < 2 * wanted, "{sent} bytes for a file of {wanted}");
    drop(files);
}

/// What nginx sent in all, by its access log.
fn bytes_sent(dir: &Dir) -> u64 {
    let log = String::from_utf8(dir.read("access.log")).expect("text");
    let bytes = log.lines().filter_map(|line| {
        let (_, rest) = line.split_once("HTTP/1.1\" ")?;
        rest.split(' ').nth(1)?.parse::<u64>().ok()
    });
    bytes.sum()
}
