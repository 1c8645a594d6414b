//! Disks that are full or may not be written: the source waits, it is said, and nothing is lost.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use super::feed::{Feed, Speaks};
use super::{DRAIN, dropped, line, stored};
use crate::files::namespace::{MOUNTS, allowed, run_under, seen_by, tmpfs, without_override};
use crate::support::{Answer, Collector, Dir, Logweir, PATIENCE, Request, Settings, within};

fn config(dir: &Dir, feed: &Feed, collector: &str) -> std::path::PathBuf {
    dir.config(&format!(
        r#"
        [source.feed]
        url = "{}"
        max_line = "4KiB"
        spool = {{ max = "512MiB" }}

        [source.other]
        path = "{{dir}}/other.log"

        [sink.archive]
        path = "{{dir}}/out.log"
        format = "raw"
        from = ["other"]

        [sink.collector]
        url = "{collector}"
        format = "raw"
        from = ["feed"]
        batch = {{ linger = "20ms" }}
        retry = {{ base = "50ms", max = "200ms" }}
        "#,
        feed.url()
    ))
}

/// Fills a disk to its last byte with a file, which is returned.
fn fill(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("filler");
    let mut file = File::create(&path).unwrap();
    for block in [vec![b'x'; 4096], vec![b'x'; 1]] {
        while file.write_all(&block).is_ok() {}
    }
    path
}

fn say(feed: &Feed, numbers: std::ops::Range<u64>) {
    for number in numbers {
        feed.say(&[line(number, 200)]);
    }
}

#[track_caller]
fn other_goes_on(dir: &Dir) {
    dir.append("other.log", "another source\n");
    within("the other source's line", PATIENCE, || {
        (dir.size("out.log") > 0).then_some(())
    });
}

#[test]
fn a_full_disk_makes_the_source_wait_and_loses_nothing() {
    full_disk("state/spool");
}

// Where the journal has no room either, what every sink has must go all the same, or nothing ever would.
#[test]
fn a_spool_that_fills_the_disk_of_its_journal_gets_out_of_it_again() {
    full_disk("state");
}

/// The folder `small` is on a disk that the spool fills.
#[track_caller]
fn full_disk(small: &str) {
    if !allowed("full spool", &MOUNTS, "mount -t tmpfs tiny /mnt") {
        return;
    }
    const LINES: u64 = 20_000;
    let dir = Arc::new(Dir::new());
    let feed = Arc::new(Feed::start(Speaks::WebSocket));
    let collector = Collector::start(Settings::raw(), |_: &Request| Answer::refuse(503));
    let config = config(&dir, &feed, &collector.url("/"));
    let small = dir.path(small);
    fs::create_dir_all(&small).unwrap();
    let agent = run_under(&dir, &config, &MOUNTS, &tmpfs("2m", &small)).start();
    agent.wait_said(&["connected"]);
    let saying = {
        let feed = Arc::clone(&feed);
        thread::spawn(move || say(&feed, 0..LINES))
    };

    agent.wait_said(&["the spool cannot be written: the source waits"]);
    other_goes_on(&dir);
    // What every sink has makes room.
    collector.script(|_: &Request| Answer::ok());
    saying.join().expect("it says everything");
    within("every line", DRAIN, || {
        (stored(&collector).len() as u64 >= LINES).then_some(())
    });
    // Again, by somebody else's file.
    let seen = seen_by(&agent, &small);
    let filler = fill(&seen);
    let saying = {
        let feed = Arc::clone(&feed);
        thread::spawn(move || say(&feed, LINES..LINES + 500))
    };
    let refused = || agent.said().matches("the spool cannot be written").count() >= 2;
    within("to be told again", PATIENCE, || refused().then_some(()));
    fs::remove_file(filler).unwrap();
    saying.join().expect("it says everything");
    within("every line", DRAIN, || {
        (stored(&collector).len() as u64 >= LINES + 500).then_some(())
    });
    let ended = agent.stop();

    assert_eq!((ended.code, dropped(&ended)), (0, 0), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("the spool is written again"),
        "{}",
        ended.stderr
    );
    let all = stored(&collector);
    assert!(
        all == (0..LINES + 500).collect::<Vec<_>>(),
        "{} lines",
        all.len()
    );
}

// Scenario: each line is delivered before the next one comes, and then the disk is full. Bug: the segment
// that was written to is ended for the room that it takes, but whoever removes segments waited for a sink to
// move on, and all had; and the next record was longer than the room that is kept for that moment. So the
// source waited for ever. Fix: whoever removes them is told of the new segment, too.
#[test]
fn a_disk_that_is_full_of_what_every_sink_has_is_freed() {
    if !allowed("full spool", &MOUNTS, "mount -t tmpfs tiny /mnt") {
        return;
    }
    const LINES: u64 = 30;
    let dir = Dir::new();
    let feed = Feed::start(Speaks::WebSocket);
    let collector = Collector::start(Settings::raw(), |_: &Request| Answer::ok());
    let config = config(&dir, &feed, &collector.url("/"));
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("4KiB", "128KiB")).unwrap();
    let small = dir.path("state/spool");
    fs::create_dir_all(&small).unwrap();
    let agent = run_under(&dir, &config, &MOUNTS, &tmpfs("2m", &small)).start();

    for number in 0..LINES {
        feed.say(&[line(number, 100_000)]);
        within("the line", DRAIN, || {
            (stored(&collector).len() as u64 > number).then_some(())
        });
    }
    let ended = agent.stop();

    let told = "the spool cannot be written: the source waits";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
    assert_eq!((ended.code, dropped(&ended)), (0, 0), "{}", ended.stderr);
    assert_eq!(stored(&collector), (0..LINES).collect::<Vec<_>>());
}

#[test]
fn a_folder_that_may_not_be_written_makes_the_source_wait() {
    let wrapper = without_override();
    if !allowed("spool without rights", wrapper, "true") {
        return;
    }
    let dir = Dir::new();
    let feed = Feed::start(Speaks::WebSocket);
    let collector = Collector::start(Settings::raw(), |_: &Request| Answer::ok());
    let config = config(&dir, &feed, &collector.url("/"));
    let spool = dir.path("state/spool/feed.d");
    fs::create_dir_all(&spool).unwrap();
    fs::set_permissions(&spool, Permissions::from_mode(0o500)).unwrap();

    let agent = run_under(&dir, &config, wrapper, "true").start();
    agent.wait_said(&[
        "the spool cannot be opened: its source waits",
        "Permission denied",
    ]);
    other_goes_on(&dir);
    assert_eq!(feed.connection(), 0, "it reads what it cannot keep");
    fs::set_permissions(&spool, Permissions::from_mode(0o700)).unwrap();
    agent.wait_said(&["the spool is open: its source starts"]);
    feed.say(&[line(0, 60)]);
    within("the line", PATIENCE, || {
        (stored(&collector) == [0]).then_some(())
    });
    let ended = agent.stop();

    assert_eq!((ended.code, dropped(&ended)), (0, 0), "{}", ended.stderr);
}

#[test]
fn a_read_only_disk_is_said_and_ends_in_good_order() {
    if !allowed("read-only spool", &MOUNTS, "mount -t tmpfs tiny /mnt") {
        return;
    }
    let dir = Dir::new();
    let feed = Feed::start(Speaks::Http);
    let collector = Collector::start(Settings::raw(), |_: &Request| Answer::ok());
    let config = config(&dir, &feed, &collector.url("/"));
    let spool = dir.path("state/spool");
    fs::create_dir_all(&spool).unwrap();
    let mount = format!("mount -t tmpfs -o ro tiny '{}'", spool.display());

    let agent = run_under(&dir, &config, &MOUNTS, &mount).start();
    agent.wait_said(&[
        "the spool cannot be opened: its source waits",
        "Read-only file system",
    ]);
    other_goes_on(&dir);
    let ended = agent.stop();

    assert_eq!((ended.code, dropped(&ended)), (0, 0), "{}", ended.stderr);
    let told = ended.stderr.matches("the spool cannot be opened").count();
    assert_eq!(told, 1, "{}", ended.stderr);
}

// Files are made for nobody else to read.
#[test]
fn files_and_folders_of_a_spool_are_not_everybodys() {
    let dir = Dir::new();
    let feed = Feed::start(Speaks::Http);
    let collector = Collector::start(Settings::raw(), |_: &Request| Answer::ok());
    let config = config(&dir, &feed, &collector.url("/"));
    let agent = Logweir::run(&dir, &config).start();
    feed.say(&[line(0, 60)]);
    within("the line", PATIENCE, || {
        (stored(&collector) == [0]).then_some(())
    });
    agent.stop();

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for folder in ["state/spool", "state/spool/feed.d"] {
        assert_eq!(mode(&dir.path(folder)) & 0o027, 0, "{folder}");
    }
    for segment in super::segments(&dir, "feed") {
        assert_eq!(mode(&segment) & 0o137, 0, "{}", segment.display());
    }
}
