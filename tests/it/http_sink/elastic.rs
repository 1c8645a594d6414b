//! Elasticsearch: items judged one by one, and ids that make a resend harmless, also after
//! `kill -9`; against a collector that keeps its documents by their ids.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::Trial;
use super::refusals::dead_letters;
use crate::crash::{DRAIN, run_through_kills, writer_plan};
use crate::support::{
    Agent, Answer, Body, Collector, Delivery, Dir, Faults, Logweir, Oracle, PATIENCE, Reading,
    Request, Rng, Rotation, Script, Settings, line, within,
};

const KEYS: &str = "format = \"elasticsearch\"\nindex = \"logs\"";

fn settings() -> Settings {
    Settings {
        body: Body::Opaque,
        honour_keys: false,
        ..Settings::default()
    }
}

/// The documents of a body: their ids and messages.
fn documents(body: &[u8]) -> Vec<(String, String)> {
    let text = std::str::from_utf8(body).expect("a body is UTF-8");
    assert!(text.ends_with('\n'), "a body ends with a newline");
    let values: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a body is JSON lines"))
        .collect();
    assert_eq!(values.len() % 2, 0, "actions and documents");
    let document = |pair: &[Value]| {
        assert_eq!(pair[0]["create"]["_index"], "logs", "{}", pair[0]);
        let id = pair[0]["create"]["_id"].as_str().expect("an id").to_owned();
        let message = pair[1]["message"].as_str().expect("a message").to_owned();
        (id, message)
    };
    values.chunks(2).map(document).collect()
}

fn answer_of(statuses: impl IntoIterator<Item = u16>) -> String {
    let mut errors = false;
    let items: Vec<Value> = statuses
        .into_iter()
        .map(|status| {
            errors |= status >= 300;
            let error = (status >= 300).then(|| json!({"type": "t", "reason": "scripted"}));
            json!({"create": {"status": status, "error": error}})
        })
        .collect();
    json!({"took": 1, "errors": errors, "items": items}).to_string()
}

/// Five lines, of which the first request's answer is `first`; the messages of each request.
#[track_caller]
fn five_lines(first: Answer, n_requests: usize) -> (Trial, Vec<Vec<(String, String)>>) {
    let mut first = Some(first);
    let collector = Collector::start(settings(), move |request: &Request| {
        first.take().unwrap_or_else(|| {
            let n_lines = documents(&request.body).len();
            Answer::ok().body(&answer_of(vec![201; n_lines]))
        })
    });
    let keys = format!("{KEYS}\nretry = {{ base = \"1ms\", max = \"10ms\" }}");
    let trial = Trial::start_with("a\nb\nc\nd\ne\n", &collector.url("/"), &keys);
    let outcomes = collector.wait_requests(n_requests, PATIENCE);
    trial.agent.wait_idle();
    assert_eq!(collector.n_requests(), n_requests);
    let bodies = outcomes.iter().map(|one| documents(&one.request.body));
    (trial, bodies.collect())
}

fn messages(documents: &[(String, String)]) -> Vec<&str> {
    documents
        .iter()
        .map(|(_, message)| message.as_str())
        .collect()
}

#[test]
fn only_items_that_may_succeed_are_sent_again() {
    let answer = Answer::refuse(200).body(&answer_of([201, 409, 429, 400, 503]));

    let (trial, bodies) = five_lines(answer, 2);

    assert_eq!(messages(&bodies[1]), ["c", "e"]);
    assert_eq!(bodies[1], [bodies[0][2].clone(), bodies[0][4].clone()]);
    let letters = dead_letters(&trial.dir.path("state/rejected/out.ndjson"), 1);
    assert_eq!(
        (&letters[0]["line"], &letters[0]["status"]),
        (&json!("d"), &json!(400))
    );
}

#[test]
fn what_is_there_already_is_delivered() {
    let answer = Answer::refuse(200).body(&answer_of([409; 5]));

    let (trial, _) = five_lines(answer, 1);

    assert!(trial.dir.files_below("state/rejected").is_empty());
    assert!(
        !trial.agent.said().contains("WARN"),
        "{}",
        trial.agent.said()
    );
}

#[test]
fn an_answer_that_proves_nothing_sends_the_same_documents_again() {
    let whole = answer_of([201; 5]);
    for answer in [
        Answer::refuse(200).body(&answer_of([201, 503])),
        Answer::refuse(200).body("<html>please log in</html>"),
        Answer::refuse(200).body(""),
        Answer::refuse(200).body(&whole).delivered(Delivery::Half),
    ] {
        let shown = format!("{answer:?}");

        let (trial, bodies) = five_lines(answer, 2);

        assert_eq!(bodies[0], bodies[1], "{shown}");
        assert!(
            trial.agent.said().contains("HTTP 200"),
            "{}",
            trial.agent.said()
        );
    }
}

#[test]
fn answers_arrive_in_every_way_that_http_has() {
    let whole = answer_of([201; 5]);
    for delivery in [Delivery::Chunked, Delivery::AfterHints, Delivery::ThenClose] {
        five_lines(Answer::ok().body(&whole).delivered(delivery), 1);
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, whole.as_bytes()).unwrap();
    let mut packed = Answer::ok().header("Content-Encoding", "gzip");
    packed.body = gzip.finish().unwrap();
    five_lines(packed, 1);
}

#[test]
fn items_that_a_person_must_help_pause_and_are_not_lost() {
    let answer = Answer::refuse(200).body(&answer_of([201, 403, 404, 201, 201]));

    let (trial, bodies) = five_lines(answer, 2);

    assert_eq!(messages(&bodies[1]), ["b", "c"]);
    assert!(
        trial.agent.said().contains("paused"),
        "{}",
        trial.agent.said()
    );
    assert!(trial.dir.files_below("state/rejected").is_empty());
}

/// An index: documents by their ids.
#[derive(Default)]
struct Index {
    documents: HashMap<String, String>,
    oracle: Oracle,
    /// Documents that were refused because another one has their id.
    swallowed: Vec<(String, String)>,
    /// Documents that came again.
    repeated: u64,
}

/// A server that keeps an index, with faults.
struct Server {
    index: Arc<Mutex<Index>>,
    faults: Faults,
    rng: Rng,
}

impl Script for Server {
    fn reading(&mut self, head: &Request) -> Reading {
        self.faults.reading(head)
    }

    fn answer(&mut self, request: &Request) -> Answer {
        let fate = self.faults.answer(request);
        if !fate.stored {
            return fate;
        }
        let some_fail = self.rng.chance(10);
        let mut index = self.index.lock().unwrap();
        let mut statuses = Vec::new();
        for (id, message) in documents(&request.body) {
            statuses.push(if some_fail && self.rng.chance(20) {
                429
            } else {
                index.create(id, message)
            });
        }
        fate.body(&answer_of(statuses))
    }
}

impl Index {
    fn create(&mut self, id: String, message: String) -> u16 {
        match self.documents.get(&id) {
            None => {
                self.oracle.line(message.as_bytes());
                self.documents.insert(id, message);
                201
            }
            Some(known) => {
                self.repeated += 1;
                if *known != message {
                    self.swallowed.push((known.clone(), message));
                }
                409
            }
        }
    }
}

/// File to index through faults, rotations and kills: every line is there, and there once.
#[track_caller]
fn index_trial(test: &str, rotation: Rotation, kills: u64) {
    let mut rng = Rng::printed(test);
    let dir = Dir::new();
    let index: Arc<Mutex<Index>> = Arc::default();
    let server = Server {
        index: Arc::clone(&index),
        faults: Faults::collector(rng.fork()),
        rng: rng.fork(),
    };
    let settings = Settings {
        keep_bodies: false,
        ..settings()
    };
    let collector = Collector::start(settings, server);
    let config = dir.config(&format!(
        r#"
        [source.app]
        path = "{{dir}}/app.log"

        [sink.out]
        url = "{}"
        {KEYS}
        compression = "zstd"
        batch = {{ lines = 200, linger = "20ms" }}
        retry = {{ base = "10ms", max = "1s" }}
        "#,
        collector.url("/")
    ));
    let plan = writer_plan(&dir, rotation);

    let (agent, kills) = run_through_kills(&dir, &config, &plan, kills, &mut rng);
    let arrived = || index.lock().unwrap().oracle.distinct(plan.writer);
    within("all documents", DRAIN, || {
        (arrived() >= plan.n_lines).then_some(())
    });
    let ended = agent.stop();

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let index = index.lock().unwrap();
    eprintln!(
        "{test}: {kills} kills, {} documents came again",
        index.repeated
    );
    index
        .oracle
        .report(&[(plan.writer, plan.n_lines)])
        .expect_complete(0);
    assert!(index.swallowed.is_empty(), "{:?}", index.swallowed);
}

#[test]
fn no_document_is_missing_or_double_through_a_third_of_faults() {
    index_trial("index", Rotation::None, 0);
}

#[test]
fn no_document_is_missing_or_double_through_twenty_kills() {
    index_trial("index, kills", Rotation::None, 20);
}

#[test]
fn no_document_is_missing_or_double_through_renames_and_kills() {
    index_trial(
        "index, renames, kills",
        Rotation::Rename { every: 2_000 },
        20,
    );
}

/// Replaces a log by one of the same length and beginning, over and over; every line of each must be
/// its own document.
#[track_caller]
fn replacing_trial(replace: impl Fn(&Dir, &Agent, &str)) {
    const HEADER: &str = "# this header is the same in every file of this program\n";
    const N_FILES: u64 = 12;
    let dir = Dir::new();
    let index: Arc<Mutex<Index>> = Arc::default();
    let server = Server {
        index: Arc::clone(&index),
        faults: Faults::none(Rng::printed("replaced files")),
        rng: Rng::printed("replaced files, items"),
    };
    let collector = Collector::start(settings(), server);
    let config = dir.config(&format!(
        r#"
        [source.app]
        path = "{{dir}}/app.log"
        rotate_grace = "1ms"

        [sink.out]
        url = "{}"
        {KEYS}
        batch = {{ linger = "5ms" }}
        "#,
        collector.url("/")
    ));
    let agent = Logweir::run(&dir, &config).start();
    let mut inodes = Vec::new();

    for file in 0..N_FILES {
        replace(&dir, &agent, &format!("{HEADER}{}\n", line(1, file, 60)));
        let found = std::fs::metadata(dir.path("app.log")).expect("it is there");
        inodes.push(found.ino());
        within("the line of this file", PATIENCE, || {
            let arrived = index.lock().unwrap().oracle.distinct(1);
            (arrived > file).then_some(())
        });
    }

    assert_eq!(agent.stop().code, 0);
    inodes.sort_unstable();
    inodes.dedup();
    eprintln!("{} inodes for {N_FILES} files", inodes.len());
    let index = index.lock().unwrap();
    assert!(index.swallowed.is_empty(), "{:?}", index.swallowed);
    assert_eq!(index.oracle.distinct(1), N_FILES);
    let headers = index.documents.values();
    let headers = headers.filter(|it| HEADER.starts_with(it.as_str()));
    assert_eq!(headers.count() as u64, N_FILES, "a header of each file");
}

#[test]
fn a_file_in_the_inode_of_another_with_the_same_beginning_hides_nothing() {
    replacing_trial(|dir, agent, text| {
        let path = dir.path("app.log");
        // The first time there is none.
        let _ = std::fs::remove_file(&path);
        // An inode is free once nobody holds the file.
        let handles = format!("/proc/{}/fd", agent.id());
        within("the deleted file to be closed", PATIENCE, || {
            let open = std::fs::read_dir(&handles).expect("logweir runs");
            let mut targets = open.filter_map(|it| std::fs::read_link(it.ok()?.path()).ok());
            let is_held = targets.any(|it| it.to_string_lossy().ends_with("app.log (deleted)"));
            (!is_held).then_some(())
        });
        dir.write("app.log", text);
    });
}

#[test]
fn a_file_written_anew_in_its_place_hides_nothing() {
    replacing_trial(|dir, _, text| {
        dir.write("app.log", text);
    });
}
