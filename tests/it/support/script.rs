//! What a collector does with each request: decided by the test, or by chance from a seed.

use std::time::Duration;

use super::http::Request;
use super::rng::Rng;

/// Decides about each request, in the order of their arrival.
pub(crate) trait Script: Send {
    /// How the body is read; `head` has none yet.
    fn reading(&mut self, _head: &Request) -> Reading {
        Reading::Whole
    }

    /// What is answered to a request that was read whole.
    fn answer(&mut self, request: &Request) -> Answer;
}

impl<F: FnMut(&Request) -> Answer + Send> Script for F {
    fn answer(&mut self, request: &Request) -> Answer {
        self(request)
    }
}

/// How a body is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// As fast as it comes.
    Whole,
    /// So many bytes at a time, with a pause before each.
    Slow { bytes: usize, pause: Duration },
    /// Up to so many bytes, then the connection is reset.
    ResetAfter(usize),
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// True where the collector owns the request's lines from now on.
    pub(crate) stored: bool,
    pub(crate) delivery: Delivery,
}

/// How the answer reaches the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// At once, and the connection stays open.
    Whole,
    /// At once, and then the connection is closed without a word about it.
    ThenClose,
    /// After a delay.
    After(Duration),
    /// The head, then a pause, then the body.
    SlowBody(Duration),
    /// The head and half the body, then a reset.
    Half,
    /// In chunks, without a length.
    Chunked,
    /// Behind an answer of its own that says nothing yet: 103.
    AfterHints,
    /// Not at all: the connection is closed, as an idle one is by a server that is tired of it.
    Dropped,
    /// Not at all: the connection is reset.
    Lost,
}

impl Answer {
    /// 200 and stored.
    pub(crate) fn ok() -> Self {
        Self {
            stored: true,
            ..Self::refuse(200)
        }
    }

    /// A status, and nothing is stored.
    pub(crate) fn refuse(status: u16) -> Self {
        let body = format!("scripted answer {status}\n").into_bytes();
        Self {
            status,
            headers: Vec::new(),
            body,
            stored: false,
            delivery: Delivery::Whole,
        }
    }

    /// With one more header.
    pub(crate) fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// With another body.
    pub(crate) fn body(mut self, body: &str) -> Self {
        self.body = body.as_bytes().to_vec();
        self
    }

    /// Delivered in another way.
    pub(crate) fn delivered(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }
}

/// Faults by chance, in percent of the requests.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    rng: Rng,
    /// 503.
    pub(crate) unavailable: u64,
    /// 429 with `Retry-After: 0` or `1`.
    pub(crate) throttled: u64,
    /// A reset before the request was read whole.
    pub(crate) reset: u64,
    /// Stored, then reset instead of the answer.
    pub(crate) lost: u64,
}

impl Faults {
    /// The trial of RELIABILITY §6: a quarter of the requests meets a fault.
    pub(crate) fn quarter(rng: Rng) -> Self {
        Self {
            rng,
            unavailable: 10,
            throttled: 5,
            reset: 5,
            lost: 5,
        }
    }

    /// None at all.
    pub(crate) fn none(rng: Rng) -> Self {
        Self {
            rng,
            unavailable: 0,
            throttled: 0,
            reset: 0,
            lost: 0,
        }
    }

    /// The trial of a collector: 10 % 503, 10 % 429, 5 % reset, 5 % answers lost.
    pub(crate) fn collector(rng: Rng) -> Self {
        Self {
            throttled: 10,
            ..Self::quarter(rng)
        }
    }
}

impl Script for Faults {
    fn reading(&mut self, head: &Request) -> Reading {
        if !self.rng.chance(self.reset) {
            return Reading::Whole;
        }
        let length = head
            .header("content-length")
            .and_then(|value| value.parse().ok());
        Reading::ResetAfter(self.rng.below(0..length.unwrap_or(1000).max(1)) as usize)
    }

    fn answer(&mut self, _request: &Request) -> Answer {
        if self.rng.chance(self.unavailable) {
            Answer::refuse(503)
        } else if self.rng.chance(self.throttled) {
            // One in ten asks for a whole second: all of them would make the trial long.
            Answer::refuse(429).header("Retry-After", u64::from(self.rng.chance(10)))
        } else if self.rng.chance(self.lost) {
            Answer::ok().delivered(Delivery::Lost)
        } else {
            Answer::ok()
        }
    }
}
