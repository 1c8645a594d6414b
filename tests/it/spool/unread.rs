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
