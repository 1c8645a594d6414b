//! What a network does: nobody listens, connections end, requests and answers are slow or torn.

use std::time::Duration;

use super::Trial;
use crate::support::{
    Answer, Collector, Delivery, PATIENCE, Reading, Request, ReservedPort, Script, Settings,
};

#[test]
fn a_refused_connection_is_said_retried_and_recovered() {
    let port = ReservedPort::new();
    let trial = Trial::start(&port.url("/"), "");

    trial.agent.wait_said(&["out", "onnection refused"]);
    let collector = port.listen(Settings::default(), |_: &Request| Answer::ok());

    trial.finish_exact(&collector);
}

#[test]
fn a_connection_serves_many_requests() {
    let collector = Collector::willing();

    let trial = Trial::start(
        &collector.url("/"),
        "batch = { lines = 10, linger = \"5ms\" }",
    );
    for n_lines in [100, 200, 300] {
        collector.wait_lines(trial.plan.writer, n_lines, PATIENCE);
        crate::support::Plan {
            from: n_lines,
            ..trial.plan.clone()
        }
        .write();
    }
    collector.wait_lines(trial.plan.writer, 400, PATIENCE);

    let outcomes = collector.outcomes();
    assert!(outcomes.len() >= 4, "{} requests", outcomes.len());
    // One is enough, but a client may open another before it knows that the first is free.
    let last = outcomes.iter().map(|one| one.request.connection).max();
    assert!(last <= Some(1), "{last:?} of {} requests", outcomes.len());
}

/// Delivers the first three answers in this way, the others as usual; every line arrives once.
#[track_caller]
fn delivery_trial(delivery: Delivery, keys: &str) {
    let mut n_requests = 0;
    let collector = Collector::start(Settings::default(), move |_: &Request| {
        n_requests += 1;
        let delivery = if n_requests <= 3 {
            delivery
        } else {
            Delivery::Whole
        };
        Answer::ok()
            .body("{\"status\":\"stored\"}")
            .delivered(delivery)
    });
    let batch = "batch = { lines = 10, linger = \"5ms\" }";

    let mut trial = Trial::start(&collector.url("/"), &format!("{batch}\n{keys}"));
    for part in 1..5 {
        collector.wait_lines(trial.plan.writer, trial.plan.n_lines, 2 * PATIENCE);
        trial.write_more(part * 100);
    }

    trial.finish_exact(&collector);
}

#[test]
fn a_stored_batch_whose_answer_is_lost_is_not_stored_twice() {
    delivery_trial(Delivery::Lost, "");
}

#[test]
fn half_an_answer_is_an_answer_or_a_retry_but_never_a_loss() {
    delivery_trial(Delivery::Half, "");
}

#[test]
fn a_connection_closed_between_requests_is_opened_again() {
    delivery_trial(Delivery::ThenClose, "");
}

#[test]
fn a_slow_answer_is_waited_for() {
    delivery_trial(
        Delivery::After(Duration::from_millis(700)),
        "timeout = \"20s\"",
    );
}

#[test]
fn a_slow_answer_body_is_waited_for() {
    delivery_trial(
        Delivery::SlowBody(Duration::from_millis(700)),
        "timeout = \"20s\"",
    );
}

#[test]
fn an_answer_after_the_timeout_is_a_retry() {
    delivery_trial(
        Delivery::After(Duration::from_millis(900)),
        "timeout = \"300ms\"",
    );
}

/// Reads the first three requests in this way.
struct Reluctant {
    reading: Reading,
    n_requests: usize,
}

impl Script for Reluctant {
    fn reading(&mut self, _head: &Request) -> Reading {
        self.n_requests += 1;
        if self.n_requests <= 3 {
            self.reading
        } else {
            Reading::Whole
        }
    }

    fn answer(&mut self, _request: &Request) -> Answer {
        Answer::ok()
    }
}

#[track_caller]
fn reading_trial(reading: Reading) {
    let collector = Collector::start(
        Settings::default(),
        Reluctant {
            reading,
            n_requests: 0,
        },
    );

    let trial = Trial::start(&collector.url("/"), "");

    trial.finish_exact(&collector);
}

#[test]
fn a_connection_reset_in_the_middle_of_a_request_is_a_retry() {
    reading_trial(Reading::ResetAfter(5_000));
}

#[test]
fn a_connection_reset_before_the_request_is_read_is_a_retry() {
    reading_trial(Reading::ResetAfter(0));
}

#[test]
fn a_slow_reader_is_waited_for() {
    reading_trial(Reading::Slow {
        bytes: 1_000,
        pause: Duration::from_millis(20),
    });
}

#[test]
fn several_requests_in_flight_lose_nothing_and_double_nothing() {
    let mut n_requests = 0;
    let collector = Collector::start(Settings::default(), move |_: &Request| {
        n_requests += 1;
        match n_requests % 3 {
            0 => Answer::refuse(503),
            1 => Answer::ok().delivered(Delivery::After(Duration::from_millis(30))),
            _ => Answer::ok().delivered(Delivery::Lost),
        }
    });
    let keys = "concurrency = 4\nbatch = { lines = 5, linger = \"5ms\" }";

    let trial = Trial::start(&collector.url("/"), keys);
    collector.wait_lines(trial.plan.writer, trial.plan.n_lines, 2 * PATIENCE);
    assert_eq!(trial.agent.stop().code, 0);

    // The order is not promised with more than one in flight.
    let written = [(trial.plan.writer, trial.plan.n_lines)];
    collector
        .oracle(|oracle| oracle.report(&written))
        .expect_complete(0);
}

#[test]
fn a_connection_closed_under_a_request_is_no_outage() {
    let mut n_requests = 0;
    let collector = Collector::start(Settings::default(), move |_: &Request| {
        n_requests += 1;
        // Each connection serves one request, and is closed under the next one.
        if n_requests % 2 == 0 {
            Answer::refuse(200).delivered(Delivery::Dropped)
        } else {
            Answer::ok()
        }
    });
    let retry = "retry = { base = \"1h\", max = \"1h\" }";
    let mut trial = Trial::start(&collector.url("/"), retry);
    for part in 1..4 {
        collector.wait_lines(trial.plan.writer, trial.plan.n_lines, PATIENCE);
        trial.write_more(part * 100);
    }

    let said = trial.agent.said();
    trial.finish_exact(&collector);

    assert!(!said.contains("not delivered"), "{said}");
    assert!(collector.outcomes().iter().any(|one| one.status == 0));
}

#[test]
fn what_did_not_come_in_time_is_said_with_the_time() {
    let collector = Collector::start(Settings::default(), |_: &Request| {
        Answer::ok().delivered(Delivery::After(Duration::from_millis(900)))
    });
    let trial = Trial::start(&collector.url("/"), "timeout = \"300ms\"");

    trial.agent.wait_said(&["no answer within 300ms"]);
}

#[test]
fn a_connection_that_is_never_taken_is_given_up_in_time() {
    // It listens and takes nothing: once the queue is full, connecting hangs.
    let (port, _waiting) = ReservedPort::new().full();
    let trial = Trial::start(&port.url("/"), "connect_timeout = \"300ms\"");

    trial.agent.wait_said(&["no connection within 300ms"]);
}
