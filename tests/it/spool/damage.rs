//! Segments that are torn, damaged, of a newer version or gone: what can be read is delivered, the rest is
//! said and counted.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::feed::{Feed, Speaks};
use super::outage::keep;
use super::{DRAIN, dropped, segments, stored};
use crate::support::{
    Answer, Collector, Dir, Ended, Logweir, Request, ReservedPort, Settings, within,
};

const LINES: u64 = 2_000;

/// A spool of a killed logweir whose collector was down: several segments of [`LINES`] lines.
struct Left {
    dir: Dir,
    feed: Feed,
    port: ReservedPort,
    config: PathBuf,
}

impl Left {
    fn new() -> Self {
        let (dir, port) = (Dir::new(), ReservedPort::new());
        let feed = Feed::start(Speaks::WebSocket);
        let config = dir.config(&format!(
            r#"
            [source.feed]
            url = "{}"
            max_line = "4KiB"
            spool = {{ max = "1MiB" }}

            [sink.collector]
            url = "{}"
            format = "raw"
            memory = "256KiB"
            batch = {{ bytes = "64KiB", linger = "20ms" }}
            retry = {{ base = "50ms", max = "200ms" }}
            "#,
            feed.url(),
            port.url("/")
        ));
        let agent = Logweir::run(&dir, &config).start();
        keep(&feed, &dir, 0..LINES, 100);
        agent.kill();
        let left = Self {
            dir,
            feed,
            port,
            config,
        };
        assert!(left.segments().len() >= 3, "{:?}", left.segments());
        left
    }

    fn segments(&self) -> Vec<PathBuf> {
        segments(&self.dir, "feed")
    }

    /// What arrives once the collector is there and one more line was said.
    #[track_caller]
    fn delivered(self) -> (Dir, Vec<u64>, Ended) {
        let before = self.feed.connection();
        let collector: Collector = self
            .port
            .listen(Settings::raw(), |_: &Request| Answer::ok());
        let agent = Logweir::run(&self.dir, &self.config).start();
        self.feed.wait_connected(before);
        keep(&self.feed, &self.dir, LINES..LINES + 1, 100);
        within("the last line", DRAIN, || {
            (stored(&collector).last() == Some(&LINES)).then_some(())
        });
        within("the segments to go", DRAIN, || {
            (segments(&self.dir, "feed").len() == 1).then_some(())
        });
        let ended = agent.stop();
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let all = stored(&collector);
        assert!(all.is_sorted_by(|a, b| a < b), "doubled or out of order");
        (self.dir, all, ended)
    }
}

#[track_caller]
fn said_once(ended: &Ended, text: &str) {
    assert_eq!(ended.stderr.matches(text).count(), 1, "{}", ended.stderr);
}

/// How many lines are missing of those that were said; fails unless they are one behind the other.
#[track_caller]
fn one_run_is_missing(all: &[u64]) -> u64 {
    let gaps = all.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
    assert!(all[0] == 0 && gaps == 1, "{gaps} gaps");
    LINES + 1 - all.len() as u64
}

/// The same, where it says so once with this text, and counts as many lines as are missing.
#[track_caller]
fn one_run_is_counted(all: &[u64], ended: &Ended, said: &str) -> u64 {
    said_once(ended, said);
    let n_missing = one_run_is_missing(all);
    assert_eq!(n_missing, dropped(ended), "{}", ended.stderr);
    n_missing
}

fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

#[test]
fn a_torn_end_is_cut_off_and_said() {
    let left = Left::new();
    let last = left.segments().pop().unwrap();
    let len = fs::metadata(&last).unwrap().len();
    OpenOptions::new()
        .write(true)
        .open(&last)
        .unwrap()
        .set_len(len - 10)
        .unwrap();

    let (_, all, ended) = left.delivered();

    said_once(&ended, "ends in a torn record, which is cut off");
    let n_missing = one_run_is_missing(&all);
    assert!((1..=20).contains(&n_missing), "{n_missing} lines");
    assert_eq!(all[all.len() - 2..], [LINES - n_missing - 1, LINES]);
    // How many there were in it nobody knows.
    assert_eq!(dropped(&ended), 0);
}

#[test]
fn a_damaged_record_costs_itself_and_is_counted() {
    let left = Left::new();
    let first = left.segments().remove(0);
    flip(&first, fs::metadata(&first).unwrap().len() / 2);

    let (_, all, ended) = left.delivered();

    let n_missing = one_run_is_counted(&all, &ended, "lines of the spool are lost for this sink");
    assert!((1..=20).contains(&n_missing), "{n_missing} lines");
}

#[test]
fn a_segment_that_ends_too_early_costs_its_rest_and_is_counted() {
    let left = Left::new();
    let middle = left.segments().remove(1);
    let len = fs::metadata(&middle).unwrap().len();
    OpenOptions::new()
        .write(true)
        .open(&middle)
        .unwrap()
        .set_len(len / 2)
        .unwrap();

    let (_, all, ended) = left.delivered();

    let n_missing = one_run_is_counted(&all, &ended, "lines of the spool are lost for this sink");
    assert!(n_missing > 50, "{n_missing} lines");
}

#[test]
fn a_segment_that_is_gone_is_counted() {
    let left = Left::new();
    fs::remove_file(left.segments().remove(1)).unwrap();

    let (_, all, ended) = left.delivered();

    let n_missing = one_run_is_counted(&all, &ended, "lines of the spool are lost for this sink");
    assert!(n_missing > 50, "{n_missing} lines");
}

#[test]
fn a_segment_of_a_newer_version_is_set_aside_and_counted() {
    let left = Left::new();
    let middle = left.segments().remove(1);
    let content = fs::read(&middle).unwrap();
    let file = OpenOptions::new().write(true).open(&middle).unwrap();
    file.write_all_at(&[2], 8).unwrap();

    let (dir, all, ended) = left.delivered();

    let said = "it is of version 2, and this logweir reads version 1";
    let n_missing = one_run_is_counted(&all, &ended, said);
    assert!(n_missing > 50, "{n_missing} lines");
    let aside = dir.files_below("state/spool/feed.d");
    let aside = aside
        .iter()
        .find(|it| it.to_string_lossy().ends_with(".aside.1"));
    let kept = fs::read(aside.expect("it is not deleted")).unwrap();
    assert_eq!(kept[9..], content[9..]);
}

// The newest one holds where the source stands; without it, it begins as a new one, and offsets are not
// used twice.
#[test]
fn a_last_segment_of_a_newer_version_is_set_aside_and_writing_goes_on_behind_it() {
    let left = Left::new();
    let last = left.segments().pop().unwrap();
    let file = OpenOptions::new().write(true).open(&last).unwrap();
    file.write_all_at(&[2], 8).unwrap();

    let (_, all, ended) = left.delivered();

    said_once(
        &ended,
        "it is of version 2, and this logweir reads version 1",
    );
    assert!(
        all.len() > LINES as usize / 2 && all.len() <= LINES as usize,
        "{}",
        all.len()
    );
}

#[test]
fn a_spool_that_is_gone_is_said() {
    let left = Left::new();
    fs::remove_dir_all(left.dir.path("state/spool/feed.d")).unwrap();

    let (_, all, ended) = left.delivered();

    said_once(&ended, "a spool that was written before is gone");
    assert_eq!(all, [LINES]);
}

#[test]
fn a_file_that_is_no_segment_is_set_aside() {
    let left = Left::new();
    left.dir.write(
        "state/spool/feed.d/00000000000000ff.segment",
        "something else",
    );

    let (_, all, ended) = left.delivered();

    said_once(&ended, "it does not begin as a segment does");
    assert!(
        all == (0..=LINES).collect::<Vec<_>>(),
        "{} lines",
        all.len()
    );
}

// Scenario: a power cut takes the end of the spool, of which the journal knows that it was delivered. Bug (of
// a spool that goes on where its last good record ends): new lines get offsets that are behind the sinks'
// places already, and are passed over. Fix: no offset is used twice, writing goes on behind all places.
#[test]
fn lines_behind_an_end_that_was_lost_arrive() {
    let left = Left::new();
    let collector = left
        .port
        .listen(Settings::raw(), |_: &Request| Answer::ok());
    let agent = Logweir::run(&left.dir, &left.config).start();
    within("every line", DRAIN, || {
        (stored(&collector).len() as u64 == LINES).then_some(())
    });
    within("the segments to go", DRAIN, || {
        (segments(&left.dir, "feed").len() == 1).then_some(())
    });
    agent.stop();
    let last = segments(&left.dir, "feed").remove(0);
    let len = fs::metadata(&last).unwrap().len();
    assert!(len > 1_000, "nothing is in it");
    let file = OpenOptions::new().write(true).open(&last).unwrap();
    file.set_len(len / 2).unwrap();

    let before = left.feed.connection();
    let agent = Logweir::run(&left.dir, &left.config).start();
    left.feed.wait_connected(before);
    keep(&left.feed, &left.dir, LINES..LINES + 20, 100);
    within("the new lines", DRAIN, || {
        (stored(&collector).last() == Some(&(LINES + 19))).then_some(())
    });
    let ended = agent.stop();

    assert_eq!((ended.code, dropped(&ended)), (0, 0), "{}", ended.stderr);
    let all = stored(&collector);
    assert!(
        all == (0..LINES + 20).collect::<Vec<_>>(),
        "{} lines",
        all.len()
    );
}

#[test]
fn a_folder_that_is_removed_meanwhile_is_made_again_and_what_was_in_it_is_counted() {
    let left = Left::new();
    let before = left.feed.connection();
    let agent = Logweir::run(&left.dir, &left.config).start();
    left.feed.wait_connected(before);
    agent.wait_idle();
    fs::remove_dir_all(left.dir.path("state/spool/feed.d")).unwrap();

    // Enough for segments that are begun afterwards, and for some that are on no path any more.
    for number in LINES..2 * LINES {
        left.feed.say(&[super::line(number, 100)]);
    }
    within("a segment", DRAIN, || {
        (!segments(&left.dir, "feed").is_empty()).then_some(())
    });
    let collector = left
        .port
        .listen(Settings::raw(), |_: &Request| Answer::ok());
    within("the last line", DRAIN, || {
        (stored(&collector).last() == Some(&(2 * LINES - 1))).then_some(())
    });
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let all = stored(&collector);
    assert!(all.is_sorted_by(|a, b| a < b), "doubled or out of order");
    let n_missing = 2 * LINES - all.len() as u64;
    assert_eq!(n_missing, dropped(&ended), "{}", ended.stderr);
    assert!(n_missing > 0, "nothing was in it");
}
