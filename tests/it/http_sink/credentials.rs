//! Who a request is from, and through whom it goes.

use super::Trial;
use super::formats::CASES;
use crate::support::{
    Answer, Collector, Dir, Logweir, PATIENCE, Plan, Request, Settings, poll, within,
};

/// What a collector answers that wants this header.
fn wants(name: &'static str, value: &'static str) -> impl FnMut(&Request) -> Answer + Send {
    move |request: &Request| {
        if request.header(name) == Some(value) {
            Answer::ok()
        } else {
            Answer::refuse(401)
        }
    }
}

#[test]
fn a_token_is_read_again_when_its_file_changes() {
    let cases = [
        (
            "bearer = \"${file:{dir}/token}\"",
            "authorization",
            ["Bearer one", "Bearer two"],
        ),
        (
            "headers = { X-Key = \"k ${file:{dir}/token} e\" }",
            "x-key",
            ["k one e", "k two e"],
        ),
        (
            // printf 'me:one' | base64, and so on
            "basic = { user = \"me\", password = \"${file:{dir}/token}\" }",
            "authorization",
            ["Basic bWU6b25l", "Basic bWU6dHdv"],
        ),
    ];
    for (keys, header, [first, second]) in cases {
        let collector = Collector::start(Settings::default(), wants(header, first));
        let dir = Dir::new();
        dir.write("token", "one\n");
        let plan = Plan::new(dir.path("app.log"), 100);
        plan.write();
        let mut trial = Trial::start_in(dir, plan, &collector.url("/"), keys);
        collector.wait_lines(trial.plan.writer, 100, PATIENCE);

        // Written beside and moved over, as secrets are replaced.
        collector.script(wants(header, second));
        trial.dir.write("token.new", "two\n");
        std::fs::rename(trial.dir.path("token.new"), trial.dir.path("token")).expect("moves");
        trial.write_more(100);

        trial.finish_exact(&collector);
    }
}

#[test]
fn a_token_file_that_is_gone_leaves_the_old_token() {
    let collector = Collector::start(Settings::default(), wants("authorization", "Bearer one"));
    let dir = Dir::new();
    dir.write("token", "one\n");
    let plan = Plan::new(dir.path("app.log"), 100);
    plan.write();
    let keys = "bearer = \"${file:{dir}/token}\"";
    let mut trial = Trial::start_in(dir, plan, &collector.url("/"), keys);
    collector.wait_lines(trial.plan.writer, 100, PATIENCE);

    std::fs::remove_file(trial.dir.path("token")).expect("removes");
    within("a word about it", PATIENCE, || {
        // Files are looked at when something is sent.
        trial.write_more(trial.plan.n_lines);
        collector.wait_lines(trial.plan.writer, trial.plan.n_lines, PATIENCE);
        trial
            .agent
            .said()
            .contains("cannot be read again")
            .then_some(())
    });

    trial.finish_exact(&collector);
}

#[test]
fn a_token_of_oauth2_is_renewed_when_it_is_refused() {
    let mut granted = 0;
    let tokens = Collector::start(Settings::default(), move |_: &Request| {
        granted += 1;
        let body = format!(r#"{{"access_token":"token-{granted}","expires_in":3600}}"#);
        Answer::refuse(200).body(&body)
    });
    let first = wants("authorization", "Bearer token-1");
    let collector = Collector::start(Settings::default(), first);
    let dir = Dir::new();
    let plan = Plan::new(dir.path("app.log"), 100);
    plan.write();
    let keys = format!(
        "oauth2 = {{ token_url = \"{}\", client_id = \"me\", client_secret = \"hunter2\" }}",
        tokens.url("/token")
    );
    let mut trial = Trial::start_in(dir, plan, &collector.url("/"), &keys);
    collector.wait_lines(trial.plan.writer, 100, PATIENCE);

    collector.script(wants("authorization", "Bearer token-2"));
    trial.write_more(100);

    trial.finish_exact(&collector);
    assert_eq!(tokens.n_requests(), 2);
}

#[test]
fn a_token_that_nobody_grants_pauses_and_is_said() {
    let tokens = Collector::start(Settings::default(), |_: &Request| {
        Answer::refuse(400).body(r#"{"error":"invalid_scope"}"#)
    });
    let collector = Collector::willing();
    let keys = format!(
        "oauth2 = {{ token_url = \"{}\", client_id = \"me\", client_secret = \"hunter2\" }}",
        tokens.url("/token?key=hunter2")
    );
    let trial = Trial::start_with("one\n", &collector.url("/"), &keys);

    trial
        .agent
        .wait_said(&["paused", "no token from http://", "invalid_scope"]);

    assert!(!trial.agent.said().contains("hunter2"));
    assert_eq!(collector.n_requests(), 0);
}

#[test]
fn a_credential_of_systemd_is_a_token() {
    let collector = Collector::start(Settings::default(), wants("authorization", "Bearer one"));
    let dir = Dir::new();
    dir.write("collector-token", "one");
    dir.write("app.log", "line\n");
    let config = dir.config(&format!(
        "[source]\napp = \"{{dir}}/app.log\"\n[sink.out]\nurl = \"{}\"\nbearer = \"${{cred:collector-token}}\"\n",
        collector.url("/")
    ));

    let agent = Logweir::run(&dir, &config)
        .env("CREDENTIALS_DIRECTORY", &dir.text(""))
        .start();

    let outcomes = collector.wait_requests(1, PATIENCE);
    assert!(outcomes[0].stored, "{}", agent.said());
}

#[test]
fn tokens_and_tenants_do_not_follow_a_redirect() {
    let secret = |keys: &str| keys.contains("hunter");
    let loki = "format = \"loki\"\ntenant = \"hunter\"";
    let with_tokens = CASES
        .iter()
        .map(|case| case.keys)
        .filter(|keys| secret(keys));
    for keys in with_tokens.chain([loki]) {
        let elsewhere = Collector::willing();
        let location = elsewhere.url("/elsewhere");
        let collector = Collector::start(Settings::default(), move |_: &Request| {
            Answer::refuse(307).header("Location", &location)
        });
        let _trial = Trial::start_with("one\n", &collector.url("/x"), keys);

        let first = collector.wait_requests(1, PATIENCE)[0].request.clone();
        let followed = elsewhere.wait_requests(1, PATIENCE)[0].request.clone();

        assert!(format!("{:?}", first.headers).contains("hunter"), "{keys}");
        assert!(
            !format!("{:?}", followed.headers).contains("hunter"),
            "{keys}"
        );
        assert_eq!(first.body, followed.body);
    }
}

/// One line to a host that only a proxy can reach, with these keys and this variable.
fn through(proxy: &Collector, keys: &str, variable: Option<&str>) -> (Dir, crate::support::Agent) {
    let dir = Dir::new();
    dir.write("app.log", "line\n");
    let config = dir.config(&format!(
        "[source]\napp = \"{{dir}}/app.log\"\n[sink.out]\nurl = \"http://collector.invalid/in\"\n{keys}\n"
    ));
    let mut command = Logweir::run(&dir, &config);
    if let Some(variable) = variable {
        command = command.env(variable, &proxy.url(""));
    }
    (dir, command.start())
}

#[test]
fn a_proxy_is_the_one_of_the_key_else_of_the_environment() {
    let proxy = Collector::willing();
    let with_user = proxy.url("").replace("http://", "http://me:hunter2@");
    let (_dir, _agent) = through(&proxy, &format!("proxy = \"{with_user}\""), None);

    let request = proxy.wait_requests(1, PATIENCE)[0].request.clone();

    assert_eq!(request.target, "http://collector.invalid/in");
    // printf 'me:hunter2' | base64
    assert_eq!(
        request.header("proxy-authorization"),
        Some("Basic bWU6aHVudGVyMg==")
    );
    let other = Collector::willing();
    let (_dir, _agent) = through(&other, "", Some("HTTP_PROXY"));
    let request = other.wait_requests(1, PATIENCE)[0].request.clone();
    assert_eq!(request.target, "http://collector.invalid/in");
}

#[test]
fn a_proxy_of_the_environment_can_be_switched_off() {
    let proxy = Collector::willing();
    let (_dir, agent) = through(&proxy, "proxy = \"off\"", Some("HTTP_PROXY"));

    agent.wait_said(&["not delivered"]);

    assert!(poll(PATIENCE / 20, || (proxy.n_requests() > 0).then_some(())).is_none());
}

#[test]
fn a_proxy_that_refuses_pauses() {
    let proxy = Collector::start(Settings::default(), |_: &Request| Answer::refuse(407));
    let (dir, agent) = through(&proxy, &format!("proxy = \"{}\"", proxy.url("")), None);

    agent.wait_said(&["paused", "407", "the proxy wants credentials"]);

    assert!(dir.files_below("state/rejected").is_empty());
}
