//! Journals that are damaged, torn, missing or of another version: said, kept, and survived.

use std::fs;
use std::path::Path;

use crate::support::{Dir, Logweir, Oracle, PATIENCE, Plan, Report, Rng, within};

use super::{config, wait_size};

/// What a start made of a journal.
struct Restart {
    dir: Dir,
    /// The journal as the start found it; `None` where that was no file.
    found: Option<Vec<u8>>,
    /// What was said from that start on.
    said: String,
    report: Report,
}

impl Restart {
    /// Delivers 1,000 lines, does `damage` to the journal, and starts again with 1,000 more. A line
    /// that is lost is an error; reading the first ones again is not.
    #[track_caller]
    fn after(damage: impl Fn(&Path)) -> Self {
        let dir = Dir::new();
        let config = config(&dir, "state");
        let plan = Plan::new(dir.path("app.log"), 1_000);
        plan.write();
        let agent = Logweir::run(&dir, &config).start();
        wait_size(&dir, dir.size("app.log"));
        agent.wait_idle();
        agent.kill();

        let journal = dir.path("state/journal");
        damage(&journal);
        let found = journal.is_file().then(|| dir.read("state/journal"));
        let said_before = dir.read("stderr").len();
        let agent = Logweir::run(&dir, &config).start();
        let more = Plan {
            from: 1_000,
            ..plan
        };
        more.write();
        let text = more.text();
        within("the new lines", 2 * PATIENCE, || {
            dir.read("out.log").ends_with(text.as_bytes()).then_some(())
        });
        let ended = agent.stop();

        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let report = Oracle::file(&dir.path("out.log")).report(&[(1, 2_000)]);
        report.expect_complete(1_000);
        Self {
            dir,
            found,
            said: ended.stderr[said_before..].to_owned(),
            report,
        }
    }

    /// Fails unless one line names the journal and says every one of `words`.
    #[track_caller]
    fn expect_said(&self, words: &[&str]) {
        let journal = self.dir.text("state/journal");
        let all = |line: &str| words.iter().all(|word| line.contains(word));
        let line = self
            .said
            .lines()
            .find(|line| line.contains(&journal) && all(line));
        assert!(line.is_some(), "nothing about {words:?} in:\n{}", self.said);
    }

    /// Fails unless what was found is kept under another name, which was said.
    #[track_caller]
    fn expect_kept(&self) {
        let kept = "state/journal.damaged.1";
        self.expect_said(&[&self.dir.text(kept)]);
        match &self.found {
            Some(found) => assert!(self.dir.read(kept) == *found, "the copy differs"),
            None => assert!(self.dir.path(kept).is_dir(), "no directory was kept"),
        }
    }

    #[track_caller]
    fn expect_not_kept(&self) {
        assert!(!self.dir.path("state/journal.damaged.1").exists());
    }
}

/// Replaces the bytes from `at` on by `by`.
fn overwrite(file: &Path, at: usize, by: &[u8]) {
    let mut bytes = fs::read(file).unwrap();
    for (byte, new) in bytes[at..].iter_mut().zip(by) {
        *byte = *new;
    }
    fs::write(file, bytes).unwrap();
}

/// Cuts the last bytes off.
fn tear(file: &Path, bytes: u64) {
    let file = fs::OpenOptions::new().write(true).open(file).unwrap();
    let len = file.metadata().unwrap().len();
    file.set_len(len.saturating_sub(bytes)).unwrap();
}

#[test]
fn damage_in_the_middle_costs_the_damaged_records_and_is_kept() {
    let restart = Restart::after(|file| {
        let middle = fs::metadata(file).unwrap().len() as usize / 2;
        overwrite(file, middle, b"\xff\x00garbage\xff\x00");
    });

    restart.expect_said(&["damaged", "intact records are used"]);
    restart.expect_kept();
}

#[test]
fn a_foreign_header_is_said_and_the_file_kept() {
    let restart = Restart::after(|file| overwrite(file, 0, &[0xff; 12]));

    restart.expect_said(&["not a journal", "reading starts again as configured"]);
    restart.expect_kept();
}

#[test]
fn a_journal_of_a_newer_version_is_said_and_kept() {
    let restart = Restart::after(|file| {
        let journal = fs::read_to_string(file).unwrap();
        let records = journal.strip_prefix("logweir-journal 1\n").unwrap();
        fs::write(file, ["logweir-journal 27\n", records].concat()).unwrap();
    });

    restart.expect_said(&["version 27", "reads version 1", "reading starts again"]);
    restart.expect_kept();
}

#[test]
fn a_file_of_noise_is_said_and_kept() {
    let restart = Restart::after(|file| {
        let mut rng = Rng::seeded(7);
        let noise: Vec<u8> = (0..10_000).map(|_| rng.next() as u8).collect();
        fs::write(file, noise).unwrap();
    });

    restart.expect_said(&["not a journal"]);
    restart.expect_kept();
}

#[test]
fn a_journal_that_became_a_directory_is_said_and_kept() {
    let restart = Restart::after(|file| {
        fs::remove_file(file).unwrap();
        fs::create_dir(file).unwrap();
    });

    restart.expect_said(&["s a directory", "reading starts again as configured"]);
    restart.expect_kept();
}

#[test]
fn a_torn_tail_costs_at_most_its_record() {
    for bytes in [1, 3, 10] {
        let restart = Restart::after(|file| tear(file, bytes));

        restart.expect_said(&["torn record", "dropped"]);
        restart.expect_not_kept();
    }
}

// What a torn last position said is in the output, too: its intent proves it.
#[test]
fn a_copy_stays_exact_where_its_last_position_is_torn() {
    let restart = Restart::after(|file| {
        let journal = fs::read_to_string(file).unwrap();
        let last = journal.rfind(" {\"at\"").expect("positions are saved");
        fs::write(file, &journal[..last + 20]).unwrap();
    });

    restart.expect_said(&["torn record"]);
    restart.report.expect_exact();
}

#[test]
fn an_empty_or_missing_journal_is_said_where_there_was_one() {
    let empty = Restart::after(|file| fs::write(file, "").unwrap());
    empty.expect_said(&["it is empty", "used before", "lines may be sent twice"]);
    let missing = Restart::after(|file| fs::remove_file(file).unwrap());
    missing.expect_said(&["it is missing", "used before", "lines may be sent twice"]);

    // Of a directory that was emptied nobody can tell it from a new one.
    let first = Restart::after(|file| {
        fs::write(file, "").unwrap();
        fs::write(file.with_file_name("lock"), "").unwrap();
    });
    assert!(!first.said.contains("journal"), "{}", first.said);
}
