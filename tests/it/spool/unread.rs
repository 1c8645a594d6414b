//! Spools of sources that are not configured any more: they are told, and nothing is removed.

use super::feed::{Feed, Speaks};
use super::outage::keep;
use super::{DRAIN, segments, stored};
use crate::support::{Answer, Dir, Logweir, Request, ReservedPort, Settings, within};

#[test]
fn what_is_unread_is_told_at_the_start_and_delivered_once_its_source_is_back() {
    let dir = Dir::new();
    let port = ReservedPort::new();
    let feed = Feed::start(Speaks::Http);
    let sink = format!(
        "[sink.collector]\nurl = \"{}\"\nformat = \"raw\"\nbatch = {{ linger = \"20ms\" }}\n\
         retry = {{ base = \"50ms\", max = \"200ms\" }}\n",
        port.url("/")
    );
    let spooled = format!(
        "[source.feed]\nurl = \"{}\"\nspool = {{ max = \"4MiB\" }}\n{sink}",
        feed.url()
    );
    let other = format!("[source.other]\npath = \"{{dir}}/other.log\"\n{sink}");
    let config = dir.config(&spooled);
    let agent = Logweir::run(&dir, &config).start();
    keep(&feed, &dir, 0..30, 60);
    agent.kill();

    let without = dir.config(&other);
    for _ in 0..2 {
        let agent = Logweir::run(&dir, &without).start();
        agent.wait_said(&["that not every sink has", "source=\"feed\"", "lines=30"]);
        agent.wait_listening();
        let ended = agent.stop();
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        std::fs::remove_file(dir.path("stderr")).unwrap();
    }
    assert_eq!(segments(&dir, "feed").len(), 1);

    let collector = port.listen(Settings::raw(), |_: &Request| Answer::ok());
    let config = dir.config(&spooled);
    let agent = Logweir::run(&dir, &config).start();
    within("every line", DRAIN, || {
        (stored(&collector).len() >= 30).then_some(())
    });
    agent.stop();
    assert_eq!(stored(&collector), (0..30).collect::<Vec<_>>());
    // Nothing is left that would be told.
    std::fs::remove_file(dir.path("stderr")).unwrap();
    let agent = Logweir::run(&dir, &dir.config(&other)).start();
    agent.wait_listening();
    agent.wait_idle();
    let ended = agent.stop();
    assert!(
        !ended.stderr.contains("not every sink has"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_spool_is_never_read_as_a_log_and_a_dry_run_makes_none() {
    let dir = Dir::new();
    let port = ReservedPort::new();
    let feed = Feed::start(Speaks::Http);
    let config = dir.config(&format!(
        r#"
        [source.feed]
        url = "{}"
        spool = {{ max = "4MiB" }}

        [source.greedy]
        path = ["{{dir}}/state/spool/*/*", "{{dir}}/state/spool/feed.d", "{{dir}}/app.log"]

        [sink.collector]
        url = "{}"
        from = ["feed"]

        [sink.out]
        path = "{{dir}}/out.log"
        format = "raw"
        from = ["greedy"]
        "#,
        feed.url(),
        port.url("/")
    ));
    let dry = Logweir::new(&dir, ["run", "--dry-run", "-c", &dir.text("agent.toml")]).start();
    feed.say(&["line 0 0.".to_owned()]);
    within("the line", DRAIN, || {
        (!dry.printed().is_empty()).then_some(())
    });
    let before = feed.connection();
    dry.stop();
    assert!(!dir.path("state").exists(), "a dry run remembers nothing");

    let agent = Logweir::run(&dir, &config).start();
    feed.wait_connected(before);
    keep(&feed, &dir, 0..20, 60);
    // Whatever was found by the look that found this one was looked at.
    dir.write("app.log", "a log\n");
    within("the log's line", DRAIN, || {
        (dir.size("out.log") > 0).then_some(())
    });
    agent.wait_idle();
    agent.stop();

    assert_eq!(dir.read("out.log"), b"a log\n");
}
