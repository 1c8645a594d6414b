//! Planted secrets: no output, message, log or state ever shows one.

use std::fs;

use rustix::process::Signal;

use crate::support::{Dir, Logweir};

/// Each begins with this.
const PLANTED: &str = "s3cr3t";

/// Everything that runs left behind: both outputs and every file of the state.
fn left(dir: &Dir) -> String {
    let mut all = String::new();
    for name in ["stdout", "stderr"] {
        all.push_str(&String::from_utf8_lossy(&dir.read(name)));
    }
    for path in dir.files_below("state") {
        all.push_str(&path.display().to_string());
        all.push_str(&String::from_utf8_lossy(
            &fs::read(path).unwrap_or_default(),
        ));
    }
    all
}

#[track_caller]
fn shows_none(what: &str, text: &str) {
    let at = text.find(PLANTED);
    let around = at.map(|at| {
        let line = text[..at].matches('\n').count();
        text.lines().nth(line).unwrap_or_default().to_owned()
    });
    assert_eq!(around, None, "{what}");
}

/// Secrets in every place that can hold one; nothing of it can be reached.
fn config(dir: &Dir) -> std::path::PathBuf {
    dir.write("token", format!("{PLANTED}-file\n"));
    dir.write("app.log", "one\n");
    dir.bare_config(
        r#"
        [source]
        app = "{dir}/app.log"
        userinfo = "http://user:s3cr3t-userinfo@127.0.0.1:1/stream?token=s3cr3t-query"

        [source.headers]
        url = "ws://127.0.0.1:1/?key=s3cr3t-ws-query"
        headers = { Authorization = "Bearer s3cr3t-header", X-Other = "s3cr3t-other" }
        send = ['{"auth":"s3cr3t-send"}']

        [source.file]
        url = "http://127.0.0.1:1/"
        bearer = "${file:{dir}/token}"

        [source.services]
        type = "health"
        urls = ["http://user:s3cr3t-health@127.0.0.1:1/up?key=s3cr3t-health-query"]
        headers = { X-Key = "s3cr3t-health-header" }

        [sink.http]
        url = "http://user:s3cr3t-sink@127.0.0.1:1/in?key=s3cr3t-sink-query"
        basic = { user = "me", password = "${env:PASSWORD}" }

        [sink.splunk]
        url = "http://127.0.0.1:1"
        format = "splunk"
        token = "s3cr3t-token"
        proxy = "http://p:s3cr3t-proxy@127.0.0.1:1"

        [agent]
        log = "trace"
        state = "{dir}/state"
        "#,
    )
}

#[test]
fn no_command_shows_a_secret_of_the_configuration() {
    let commands: [&[&str]; 6] = [
        &["check"],
        &["check", "--connect"],
        &["check", "--no-env"],
        &["config"],
        &["config", "--blame"],
        &["config", "--no-env"],
    ];
    for command in commands {
        let dir = Dir::new();
        let config = config(&dir);
        let args = [command, &["-c", config.to_str().expect("UTF-8")]].concat();

        let ended = Logweir::new(&dir, args)
            .env("PASSWORD", "s3cr3t-env")
            .ended();

        assert!(
            [0, 69].contains(&ended.code),
            "{command:?}: {}",
            ended.stderr
        );
        assert!(!left(&dir).is_empty());
        shows_none(&format!("{command:?}"), &left(&dir));
    }
}

#[test]
fn the_log_shows_no_secret_however_much_it_says() {
    let dir = Dir::new();
    let config = config(&dir);
    let agent = Logweir::run(&dir, &config)
        .env("PASSWORD", "s3cr3t-env")
        .start();

    agent.wait_said(&["cannot read", "trying again"]);
    // What it counted, of each source, service and sink.
    agent.signal(Signal::USR2);
    agent.wait_said(&["sink=\"splunk\" lines=", "source=\"services\" target="]);
    agent.signal(Signal::TERM);
    let ended = agent.wait();

    assert!(ended.stderr.len() > 1_000, "{}", ended.stderr);
    shows_none("the log at trace", &left(&dir));
}

#[test]
fn mistakes_beside_secrets_do_not_show_them() {
    let cases = [
        // Not TOML from there on.
        "[sink.x]\nbearer = \"s3cr3t-a\nurl = \"http://h\"\n",
        "[sink.x]\nurl = \"http://u:s3cr3t-b@h/\"\nbearer = s3cr3t-c\n",
        // Wrong types and names.
        "[sink.x]\nurl = \"ftp://u:s3cr3t-d@h/?s3cr3t-e\"\nheaders = \"s3cr3t-f\"\n",
        "[sink.x]\nurl = \"http://h\"\nbaerer = \"s3cr3t-g\"\npasword = \"s3cr3t-h\"\n",
        "[sink.x]\nurl = \"http://h\"\nbasic = { user = \"u\", password = \"s3cr3t-i\", x = 1 }\n",
        "[sink.x]\nurl = \"http://h\"\nheaders = { \"bad name\" = \"s3cr3t-j\" }\n",
        "[sink.x]\nurl = \"http://h\"\nbearer = \"${env:NO:-s3cr3t-k}\"\ntimeout = 5\n",
    ];
    for case in cases {
        let dir = Dir::new();
        let path = dir.bare_config(&format!("[source]\na = \"/a\"\n{case}"));
        for command in ["check", "config"] {
            let args = [command, "-c", path.to_str().expect("UTF-8")];
            let ended = Logweir::new(&dir, args).ended();

            assert!([0, 78].contains(&ended.code), "{}", ended.stderr);
        }
        shows_none(case, &left(&dir));
    }
}

#[test]
fn tail_shows_no_secret_and_says_which_ones_others_can_see() {
    let dir = Dir::new();
    dir.write("token", format!("{PLANTED}-file\n"));
    dir.write(
        "netrc",
        format!("machine 127.0.0.1 login me password {PLANTED}-netrc\n"),
    );
    let (token, header) = (format!("@{}", dir.text("token")), "X-Key: s3cr3t-header");
    let url = "http://u:s3cr3t-userinfo@127.0.0.1:1/?k=s3cr3t-query";

    let args = ["--bearer", &token, "-H", header, "--netrc", "--strict", url];
    let ended = Logweir::tail(&dir, args)
        .env("NETRC", &dir.text("netrc"))
        .ended();
    let printed = Logweir::tail(&dir, [&["--print-config"], &args[..]].concat());
    let printed = printed.env("NETRC", &dir.text("netrc")).ended();
    let visible = Logweir::tail(&dir, ["--bearer", "s3cr3t-visible", url]).ended();

    ended.failed(69, &["127.0.0.1"]);
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    visible.failed(
        69,
        &["! --bearer: every user of this machine can see it in `ps`; --bearer @FILE hides it"],
    );
    let n_advices = ended.stderr.matches("in `ps`").count();
    assert_eq!(n_advices, 2, "about -H and the URL: {}", ended.stderr);
    // A URL is the user's own, and is written into a configuration as it is.
    let without_urls: String = left(&dir)
        .lines()
        .filter(|line| !line.starts_with("url = "))
        .map(|line| format!("{line}\n"))
        .collect();
    shows_none("tail", &without_urls);
}
