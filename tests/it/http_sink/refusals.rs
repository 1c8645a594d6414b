//! Answers that mean "never like this": a mistake in the set-up, a body that is too large, a line
//! that is not wanted, a place that is elsewhere.

use std::path::Path;

use serde_json::Value;

use super::Trial;
use crate::support::{
    Answer, Collector, Dir, Logweir, PATIENCE, Plan, Request, Settings, line, poll, read, within,
};

#[test]
fn a_mistake_in_the_set_up_pauses_loudly_and_loses_nothing() {
    for status in [401, 403, 404, 407] {
        let collector = Collector::start(Settings::default(), move |_: &_| Answer::refuse(status));
        let trial = Trial::start(&collector.url("/"), "");

        trial.agent.wait_said(&["out", &status.to_string()]);
        collector.script(|_: &_| Answer::ok());

        let dead = trial.dir.files_below("state/rejected");
        assert!(
            dead.iter()
                .all(|file| std::fs::read(file).unwrap().is_empty()),
            "{dead:?}"
        );
        trial.finish_exact(&collector);
    }
}

#[test]
fn a_body_that_is_too_large_is_halved_until_it_fits() {
    const BODY_BYTES_MAX: usize = 2_000;
    let collector = Collector::start(Settings::default(), |request: &Request| {
        let fits = request.body.len() <= BODY_BYTES_MAX;
        if fits {
            Answer::ok()
        } else {
            Answer::refuse(413)
        }
    });
    let trial = Trial::start(&collector.url("/"), "");
    let dead = trial.dir.path("state/rejected/out.ndjson");

    trial.finish_exact(&collector);

    let outcomes = collector.outcomes();
    let (stored, refused): (Vec<_>, Vec<_>) = outcomes.iter().partition(|one| one.stored);
    let refused_keys: Vec<_> = refused.iter().map(|one| one.request.key()).collect();
    assert!(stored.len() >= 16, "{} bodies were stored", stored.len());
    assert!(read(&dead).is_empty(), "{}", dead.display());
    for half in &stored {
        // A half is a new body: its key is that of the whole with `.0` or `.1`.
        let parent = half
            .request
            .key()
            .rsplit_once('.')
            .expect("a half has a suffix");
        assert!(
            refused_keys.contains(&parent.0),
            "{parent:?} of {refused_keys:?}"
        );
        assert!(["0", "1"].contains(&parent.1), "{parent:?}");
    }
}

/// The dead letters in `path`, once there are `n_lines` of them.
#[track_caller]
pub(super) fn dead_letters(path: &Path, n_lines: usize) -> Vec<Value> {
    within("the dead letters", PATIENCE, || {
        let text = String::from_utf8(read(path)).expect("dead letters are UTF-8");
        let whole = text.ends_with('\n') && text.lines().count() >= n_lines;
        whole.then(|| {
            text.lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect()
        })
    })
}

/// Fails unless `letter` says why it is dead, and holds its line.
#[track_caller]
fn expect_letter(letter: &Value, status: u16, reason: &str, line: &str) {
    let whole = letter.to_string();
    assert_eq!(letter["status"], status, "{whole}");
    assert!(
        whole.contains(reason),
        "nothing about {reason:?} in {whole}"
    );
    assert!(whole.contains(line), "nothing about {line:?} in {whole}");
}

#[test]
fn one_poisoned_line_goes_to_the_dead_letters_and_the_others_arrive_once() {
    for status in [400, 422] {
        let poison = "poison: this line is not wanted";
        let collector = Collector::start(Settings::default(), move |request: &Request| {
            let poisoned = String::from_utf8_lossy(&request.body).contains("poison");
            if poisoned {
                Answer::refuse(status).body("field x is bad")
            } else {
                Answer::ok()
            }
        });
        let lines: Vec<_> = (0..100).map(|number| line(1, number, 60)).collect();
        let text = [&lines[..37], &[poison.to_owned()], &lines[37..]]
            .concat()
            .join("\n")
            + "\n";
        let mut trial = Trial::start_with(
            &text,
            &collector.url("/"),
            "dead_letter = \"{dir}/dead.ndjson\"",
        );
        trial.plan.n_lines = 100;

        let letters = dead_letters(&trial.dir.path("dead.ndjson"), 1);
        trial.finish_exact(&collector);

        assert_eq!(letters.len(), 1, "{letters:?}");
        expect_letter(&letters[0], status, "field x is bad", poison);
    }
}

#[test]
fn a_line_that_is_too_large_alone_goes_to_the_dead_letters() {
    let large = "x".repeat(5_000);
    let collector = Collector::start(Settings::default(), |request: &Request| {
        if request.body.len() > 3_000 {
            Answer::refuse(413)
        } else {
            Answer::ok()
        }
    });
    let lines: Vec<_> = (0..20).map(|number| line(1, number, 60)).collect();
    let text = [&lines[..11], std::slice::from_ref(&large), &lines[11..]]
        .concat()
        .join("\n")
        + "\n";
    let mut trial = Trial::start_with(&text, &collector.url("/"), "");
    trial.plan.n_lines = 20;

    let letters = dead_letters(&trial.dir.path("state/rejected/out.ndjson"), 1);
    trial.finish_exact(&collector);

    assert_eq!(letters.len(), 1, "{} letters", letters.len());
    expect_letter(&letters[0], 413, "413", &large);
}

#[test]
fn what_is_refused_for_another_reason_goes_to_the_dead_letters_whole() {
    for status in [405, 409, 410, 451] {
        let collector = Collector::start(Settings::default(), move |request: &Request| {
            let refused = String::from_utf8_lossy(&request.body).contains("unwanted");
            if refused {
                Answer::refuse(status).body("go away")
            } else {
                Answer::ok()
            }
        });
        let trial = Trial::start_with("unwanted 1\nunwanted 2\n", &collector.url("/"), "");

        let letters = dead_letters(&trial.dir.path("state/rejected/out.ndjson"), 2);
        trial.dir.append("app.log", "wanted\n");
        let stored = within("the next line", PATIENCE, || {
            let bytes = collector.stored_bytes();
            (!bytes.is_empty()).then(|| String::from_utf8(bytes).unwrap())
        });

        assert_eq!(letters.len(), 2, "{letters:?}");
        expect_letter(&letters[0], status, "go away", "unwanted 1");
        expect_letter(&letters[1], status, "go away", "unwanted 2");
        assert!(
            stored.contains("wanted") && stored.lines().count() == 1,
            "{stored}"
        );
    }
}

#[test]
fn a_dead_letter_keeps_bytes_that_are_no_text() {
    let collector = Collector::start(Settings::default(), |_: &Request| Answer::refuse(410));
    let dir = Dir::new();
    let plan = Plan::new(dir.write("app.log", b"a\xff\xfeb\n"), 0);
    let trial = Trial::start_in(dir, plan, &collector.url("/"), "");

    let letters = dead_letters(&trial.dir.path("state/rejected/out.ndjson"), 1);

    assert_eq!(letters[0]["line"], "a\u{fffd}\u{fffd}b");
    // printf 'a\xff\xfeb' | base64
    assert_eq!(letters[0]["b64"], "Yf/+Yg==");
}

#[test]
fn dead_letters_are_not_sent_again_after_a_restart() {
    let collector = Collector::start(Settings::default(), |_: &Request| Answer::refuse(410));
    let trial = Trial::start_with("one\ntwo\n", &collector.url("/"), "");
    let dead = trial.dir.path("state/rejected/out.ndjson");
    dead_letters(&dead, 2);

    assert_eq!(trial.agent.stop().code, 0);
    let agent = Logweir::run(&trial.dir, &trial.dir.path("agent.toml")).start();
    trial.dir.append("app.log", "three\n");
    let letters = dead_letters(&dead, 3);

    assert_eq!(letters.len(), 3, "{letters:?}");
    agent.kill();
}

#[test]
fn credentials_do_not_follow_a_redirect_to_another_origin() {
    for status in [301, 302, 307, 308] {
        let elsewhere = Collector::willing();
        let location = elsewhere.url("/elsewhere");
        let collector = Collector::start(Settings::default(), move |_: &Request| {
            Answer::refuse(status).header("Location", &location)
        });
        let trial = Trial::start(
            &collector.url("/"),
            "bearer = \"hunter2\"\nheaders = { X-Api-Key = \"hunter3\" }",
        );

        // Whether it is followed is not promised; that nothing is lost, and nothing given away, is.
        collector.wait_requests(1, PATIENCE);
        let followed = poll(PATIENCE / 5, || (elsewhere.n_requests() > 0).then_some(()));

        for outcome in elsewhere.outcomes() {
            let headers = format!("{:?}", outcome.request.headers);
            assert!(!headers.contains("hunter"), "{status}: {headers}");
        }
        if followed.is_none() {
            trial.agent.wait_said(&["out", &status.to_string()]);
            collector.script(|_: &Request| Answer::ok());
            let dead = || read(&trial.dir.path("state/rejected/out.ndjson"));
            within("the lines in one place or the other", 4 * PATIENCE, || {
                let stored = collector.oracle(|oracle| oracle.distinct(trial.plan.writer));
                let dead = dead().iter().filter(|&&byte| byte == b'\n').count() as u64;
                (stored + dead >= trial.plan.n_lines).then_some(())
            });
        }
    }
}
