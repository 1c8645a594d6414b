//! Power cuts: what no fsync covered is gone in part, here from each of several outputs and from the
//! journal, and the next start is on another boot of the machine. They are simulated on the files of
//! a killed process, as badly as the rules of `fsync(2)` allow; the boot id is a file of the test.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::files::namespace::{MOUNTS, allowed, run_under};
use crate::support::{Agent, Dir, Oracle, Plan, Rng, pass, poll};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What a disk writes at once: a file is as long as its last block, or as it was.
const BLOCK_BYTES: u64 = 1024;

/// Lines in a batch at most.
const BATCH_LINES: u64 = 100;

struct Machine {
    dir: Dir,
    config: PathBuf,
    boots: u64,
}

impl Machine {
    fn new(sources: &str, path: &str) -> Self {
        let dir = Dir::new();
        let config = dir.config(&format!(
            "{sources}\n[sink.out]\npath = \"{path}\"\nformat = \"raw\"\n\
             batch = {{ lines = {BATCH_LINES}, linger = \"5ms\" }}\n"
        ));
        Self {
            dir,
            config,
            boots: 0,
        }
    }

    /// Starts logweir on a new boot.
    fn boot(&mut self) -> Agent {
        self.boots += 1;
        self.dir.write("boot", format!("boot-{}\n", self.boots));
        let mount = format!("mount --bind '{}' {BOOT_ID}", self.dir.text("boot"));
        run_under(&self.dir, &self.config, &MOUNTS, &mount).start()
    }

    /// Cuts the power: of each output only what an fsync covered is there for sure.
    fn cut(&self, agent: Agent, rng: &mut Rng, journal: Journal) {
        agent.kill();
        let path = self.dir.path("state/journal");
        let text = String::from_utf8_lossy(&self.dir.read("state/journal")).into_owned();
        let records = records(&text);
        let synced = synced(&records);
        for (output, durable) in durable(&records, synced) {
            shorten(&output, durable, rng);
        }
        if journal == Journal::TornToo {
            shorten(&path, synced, rng);
        }
    }
}

/// What becomes of the journal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Journal {
    Whole,
    TornToo,
}

/// The records of a journal, each with where it ends.
fn records(text: &str) -> Vec<(u64, Value)> {
    let mut end = 0;
    let mut records = Vec::new();
    for line in text.split_inclusive('\n') {
        end += line.len() as u64;
        if let Some(Ok(record)) = line.get(9..).map(serde_json::from_str) {
            records.push((end, record));
        }
    }
    records
}

/// How much of the journal is on disk.
fn synced(records: &[(u64, Value)]) -> u64 {
    let marks = records.iter().rev();
    let mark = marks
        .filter_map(|(_, record)| record["synced"]["len"].as_u64())
        .next();
    mark.expect("the journal begins with a mark")
}

/// How much of each output is on disk: what was there when the machine started, and what was
/// intended before the mark, but for the last of it where nothing says that it was written.
fn durable(records: &[(u64, Value)], synced: u64) -> HashMap<PathBuf, u64> {
    let first = records
        .iter()
        .position(|(_, record)| record.get("synced").is_some());
    let intents = records[first.unwrap_or(0)..].iter();
    let intents = intents.filter(|(_, record)| record.get("intent").is_some());
    let intents: Vec<_> = intents
        .map(|(end, record)| (*end, &record["intent"]))
        .collect();
    let last = intents.iter().rposition(|(end, _)| *end <= synced);
    let last = last.filter(|last| !is_noted(records, intents[*last], synced));
    let mut durable = HashMap::new();
    for (at, (end, intent)) in intents.iter().enumerate() {
        let path = PathBuf::from(intent["output"]["path"].as_str().expect("a path"));
        let len = if *end <= synced && Some(at) != last {
            intent["end"].as_u64()
        } else {
            // What it was before; not more than is known already.
            durable.get(&path).copied().or(intent["start"].as_u64())
        };
        durable.insert(path, len.expect("a length"));
    }
    durable
}

/// True where the journal has the positions of an intent, before the mark.
fn is_noted(records: &[(u64, Value)], (end, intent): (u64, &Value), synced: u64) -> bool {
    let after = intent["after"].as_array().expect("cursors");
    let later = records.iter().filter(|(at, _)| *at > end && *at <= synced);
    let noted: Vec<&Value> = later
        .filter_map(|(_, record)| record["at"].as_array())
        .flatten()
        .collect();
    after.iter().all(|wanted| {
        let reaches = |at: &&Value| {
            let same = at["stream"] == wanted["stream"] && at["sink"] == wanted["sink"];
            same && at["offset"].as_u64() >= wanted["offset"].as_u64()
        };
        noted.iter().any(reaches)
    })
}

/// Takes off some blocks of what is behind `durable` bytes, or all of it, or nothing.
fn shorten(path: &Path, durable: u64, rng: &mut Rng) {
    let Ok(file) = OpenOptions::new().write(true).open(path) else {
        return;
    };
    let len = file.metadata().unwrap().len();
    assert!(
        durable <= len,
        "{}: {durable} of {len} bytes",
        path.display()
    );
    let left = match rng.below(0..4) {
        0 => durable,
        1 => len,
        _ => rng.below(durable..len + 1) / BLOCK_BYTES * BLOCK_BYTES,
    };
    let left = left.max(durable);
    File::set_len(&file, left).unwrap();
}

/// Three writers, and power cuts until they have ended; returns how many there were.
#[track_caller]
fn trial(test: &str, machine: &mut Machine, plans: &[Plan], journal: Journal) -> Option<u64> {
    let mount = format!("mount --bind /dev/null {BOOT_ID}");
    if !allowed(test, &MOUNTS, &mount) {
        return None;
    }
    let mut rng = Rng::printed(test);
    let mut writers: Vec<_> = plans.iter().map(Plan::start).collect();
    let mut cuts = 0;
    let agent = loop {
        let agent = machine.boot();
        // The journal is fsynced once a second.
        pass(rng.millis(100..1_600));
        let writing = writers.iter_mut().any(|writer| writer.ended().is_none());
        if cuts >= 8 && !writing {
            break agent;
        }
        machine.cut(agent, &mut rng, journal);
        cuts += 1;
    };
    let all = |out: &[u8], plan: &Plan| {
        let text = plan.text();
        memchr::memmem::find(out, &text.as_bytes()[text.len() - 121..]).is_some()
    };
    let outputs = || {
        machine
            .dir
            .files_below("out")
            .iter()
            .flat_map(|it| crate::support::read(it))
            .collect::<Vec<u8>>()
    };
    let arrived = poll(super::kills::DRAIN, || {
        let out = outputs();
        plans.iter().all(|plan| all(&out, plan)).then_some(())
    });
    let ended = agent.stop();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    eprintln!("{test}: {cuts} power cuts\n{}", ended.stderr);
    assert!(arrived.is_some(), "the last lines are missing");
    Some(cuts)
}

fn plans(dir: &Dir) -> [Plan; 3] {
    [1, 2, 3].map(|writer| Plan {
        writer,
        per_second: 1_500,
        torn: true,
        ..Plan::new(dir.path(&format!("app{writer}.log")), 9_000)
    })
}

const SOURCES: &str =
    "[source]\napp1 = \"{dir}/app1.log\"\napp2 = \"{dir}/app2.log\"\napp3 = \"{dir}/app3.log\"\n";

#[test]
fn several_outputs_are_exact_through_power_cuts() {
    let mut machine = Machine::new(SOURCES, "{dir}/out/{source}.log");
    let plans = plans(&machine.dir);

    if trial("power cuts", &mut machine, &plans, Journal::Whole).is_none() {
        return;
    }

    for plan in plans {
        let name = format!("out/app{}.log", plan.writer);
        let report = Oracle::file(&machine.dir.path(&name)).report(&plan.written());
        report.expect_exact();
        assert!(machine.dir.read(&name) == plan.text().as_bytes(), "{name}");
    }
}

#[test]
fn one_output_of_several_sources_is_exact_through_power_cuts() {
    let mut machine = Machine::new(SOURCES, "{dir}/out/all.log");
    let plans = plans(&machine.dir);

    if trial(
        "power cuts of one output",
        &mut machine,
        &plans,
        Journal::Whole,
    )
    .is_none()
    {
        return;
    }

    let written: Vec<_> = plans.iter().flat_map(Plan::written).collect();
    Oracle::file(&machine.dir.path("out/all.log"))
        .report(&written)
        .expect_exact();
}

// What the journal has forgotten of the last second is written again.
#[test]
fn a_power_cut_that_takes_the_end_of_the_journal_too_loses_nothing() {
    let mut machine = Machine::new(SOURCES, "{dir}/out/{source}.log");
    let plans = plans(&machine.dir);

    let Some(cuts) = trial(
        "power cuts and the journal",
        &mut machine,
        &plans,
        Journal::TornToo,
    ) else {
        return;
    };

    for plan in plans {
        let name = format!("out/app{}.log", plan.writer);
        // A second, and what may come between the tick and its mark.
        let second = plan.per_second * 3 / 2 + 2 * BATCH_LINES;
        let report = Oracle::file(&machine.dir.path(&name)).report(&plan.written());
        eprintln!("{report}");
        // A torn batch of which nothing is known any more is not cut: it may be anybody's.
        assert_eq!((report.missing, report.foreign), (0, 0), "{report}");
        assert!(report.malformed <= cuts, "{report}");
        assert!(report.duplicate <= cuts * second, "{report}");
    }
}
