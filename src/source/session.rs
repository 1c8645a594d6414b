//! The life of a network source between its connections: what an end means, how long to wait, and
//! what a person is told.
//!
//! A source connects, reads until the connection ends, and asks here whether and when to try again.
//! Nothing ends it but the end of its stream, of all deliveries, or of the process.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Denials, Ends, SourceContext};
use crate::backoff::Backoff;
use crate::http::{Denier, Trouble};
use crate::notes::{FirstFailure, Note, Notes};
use crate::telemetry::SourceCounters;

/// The first delay lies between zero and this.
const DELAY_BASE: Duration = Duration::from_millis(500);

/// No delay is longer, whatever the peer asks for.
const DELAY_MAX: Duration = Duration::from_secs(30);

/// A connection that stood for so long was a good one, even without data.
const GOOD_AFTER: Duration = Duration::from_secs(10);

/// So many connections in a row that were not good are told; what follows is more of the same.
const SHORT_TOLD: u32 = 5;

/// A resume token longer than this is not shown.
const RESUME_CHARS_MAX: usize = 40;

/// How a connection, or the attempt to make one, ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Something that passes by itself: it is tried again soon.
    Cut {
        /// For a person.
        cause: String,
        /// The delay that the peer asked for.
        after: Option<Duration>,
    },
    /// Something that only a person can end: it is tried again seldom.
    Refused {
        /// For a person.
        cause: String,
    },
    /// The same, and only other credentials help.
    Denied {
        /// For a person.
        cause: String,
        /// Who wants them.
        by: Denier,
    },
    /// Everything there is was read.
    Complete,
    /// Every delivery has ended.
    Closed,
    /// The source was told to stop.
    Stopped,
}

impl End {
    pub(super) fn cut(cause: impl Into<String>) -> Self {
        Self::Cut {
            cause: cause.into(),
            after: None,
        }
    }
}

impl From<Trouble> for End {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Passing { cause, after } => Self::Cut { cause, after },
            Trouble::Lasting { cause } => Self::Refused { cause },
            Trouble::Denied { cause, by } => Self::Denied { cause, by },
        }
    }
}

/// What a source does after an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It connects again.
    Connect,
    /// It returns.
    Return,
}

/// How the first attempts of a source's targets went: told once, when one went well or all failed.
#[derive(Clone, Debug)]
pub(super) struct FirstAttempt(Arc<Mutex<Attempts>>);

#[derive(Debug)]
struct Attempts {
    sender: Option<oneshot::Sender<Result<(), FirstFailure>>>,
    /// Targets that were not attempted yet.
    n_left: usize,
    failure: Option<FirstFailure>,
}

impl FirstAttempt {
    fn new(sender: oneshot::Sender<Result<(), FirstFailure>>, n_targets: usize) -> Self {
        Self(Arc::new(Mutex::new(Attempts {
            sender: Some(sender),
            n_left: n_targets,
            failure: None,
        })))
    }

    /// Takes the sender out of a context that many targets share.
    pub(super) fn of(mut cx: SourceContext, n_targets: usize) -> (Self, SourceContext) {
        let (unused, _) = oneshot::channel();
        let sender = std::mem::replace(&mut cx.first_attempt, unused);
        (Self::new(sender, n_targets), cx)
    }

    /// Notes that no target can be attempted.
    pub(super) fn fail_all(&self, failure: FirstFailure) {
        let mut attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.n_left = 1;
        drop(attempts);
        self.tell(Err(failure));
    }

    fn tell(&self, result: Result<(), FirstFailure>) {
        let mut attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.n_left = attempts.n_left.saturating_sub(1);
        let result = match result {
            Ok(()) => Ok(()),
            Err(failure) => {
                // The first of them says enough.
                let failure = attempts.failure.get_or_insert(failure).clone();
                if attempts.n_left > 0 {
                    return;
                }
                Err(failure)
            }
        };
        if let Some(sender) = attempts.sender.take() {
            // Nobody may be waiting any more.
            let _ = sender.send(result);
        }
    }
}

/// What one network source, or one of its targets, remembers over its connections.
#[derive(Debug)]
pub(super) struct Session {
    name: Arc<str>,
    /// How this one of several targets is shown.
    target: Option<Arc<str>>,
    ends: Ends,
    denials: Denials,
    /// Whom to ask about credentials that are refused.
    credentials: Arc<str>,
    notes: Notes,
    counters: Arc<SourceCounters>,
    first_attempt: Option<FirstAttempt>,
    shutdown: CancellationToken,
    backoff: Backoff,
    /// Since when the connection stands.
    connected: Option<Instant>,
    received: bool,
    /// Why it could not connect, as it was last told.
    told: Option<String>,
    /// Why a connection ended, as it was last told.
    cut_told: Option<String>,
    /// Connections in a row that were not good.
    n_short: u32,
    ever_connected: bool,
}

impl Session {
    /// Of a source with one target.
    pub(super) fn new(name: Arc<str>, ends: Ends, cx: SourceContext) -> Self {
        let (attempt, cx) = FirstAttempt::of(cx, 1);
        Self::of_target((name, None), ends, attempt, &cx)
    }

    /// Of one of several targets; the second name is how it is shown.
    pub(super) fn of_target(
        (name, target): (Arc<str>, Option<Arc<str>>),
        ends: Ends,
        attempt: FirstAttempt,
        cx: &SourceContext,
    ) -> Self {
        Self {
            name,
            target,
            ends,
            denials: cx.denials,
            credentials: Arc::clone(&cx.credentials),
            notes: cx.notes.clone(),
            counters: Arc::clone(&cx.counters),
            first_attempt: Some(attempt),
            shutdown: cx.shutdown.clone(),
            backoff: Backoff::new(DELAY_BASE, DELAY_MAX, crate::random::seed()),
            connected: None,
            received: false,
            told: None,
            cut_told: None,
            n_short: 0,
            ever_connected: false,
        }
    }

    /// Completes when the source should stop. Cancel safe.
    pub(super) async fn stopped(&self) {
        self.shutdown.cancelled().await;
    }

    pub(super) fn counters(&self) -> &SourceCounters {
        &self.counters
    }

    /// True between a connect and its end.
    pub(super) fn is_connected(&self) -> bool {
        self.connected.is_some()
    }

    /// A time within a tenth of `around`, so that many sources do not ask together.
    pub(super) fn spread(&mut self, around: Duration) -> Duration {
        self.backoff.spread(around)
    }

    /// Notes that a connection stands; `how` says how it is read.
    pub(super) fn connected(&mut self, how: &str) {
        let was_connected = std::mem::replace(&mut self.ever_connected, true);
        if was_connected {
            self.counters.reconnects.add(1);
        }
        let was_told = self.told.take().is_some();
        self.connected = Some(Instant::now());
        self.received = false;
        self.attempted(Ok(()));
        if self.n_short >= SHORT_TOLD {
            return;
        }
        match &self.target {
            None => self.tell(&Note::Connected { how }),
            // Of hundreds, those are told that were in trouble.
            Some(target) if was_connected || was_told => {
                let how = format!("{how}, {target}");
                self.tell(&Note::Connected { how: &how });
            }
            Some(_) => {}
        }
    }

    /// Notes that a local input is open: nothing to tell anyone.
    pub(super) fn opened(&mut self) {
        self.attempted(Ok(()));
    }

    /// Notes that the connection brought data.
    pub(super) fn received(&mut self) {
        if !self.received {
            self.received = true;
            self.backoff.reset();
        }
    }

    /// Tells something else, in one sentence.
    pub(super) fn hint(&self, text: &str) {
        match &self.target {
            None => self.tell(&Note::Hint { text }),
            Some(target) => self.tell(&Note::Hint {
                text: &format!("{target}: {text}"),
            }),
        }
    }

    /// Takes over what the peer says about the first delay.
    pub(super) fn set_delay(&mut self, base: Duration) {
        self.backoff.set_base(base);
    }

    /// Decides what follows an end, tells it once, and waits. `resume` is where it would go on.
    pub(super) async fn after(&mut self, end: End, resume: Option<&str>) -> Next {
        let end = self.named(end);
        let (cause, delay) = match &end {
            End::Stopped | End::Closed => return Next::Return,
            End::Complete => return self.complete("all of it was read"),
            End::Cut { cause, after } => {
                self.judge();
                (cause.as_str(), self.backoff.next(*after))
            }
            End::Refused { cause } => {
                self.judge();
                (cause.as_str(), self.backoff.longest())
            }
            End::Denied { cause, .. } => {
                self.judge();
                self.counters.refused.add(1);
                (cause.as_str(), self.backoff.longest())
            }
        };
        if let End::Denied { by, .. } = end
            && self.denials == Denials::AreFinal
        {
            self.give_up(cause, by);
            return Next::Return;
        }
        if self.ends == Ends::WithFirstConnection {
            // The first attempt's failure is told by whoever waits for it.
            let is_told =
                self.connected.is_none() && self.first_attempt.is_some() && self.target.is_none();
            if !is_told {
                self.tell(&Note::Ended { cause });
            }
            if self.connected.is_none() {
                self.attempted(Err(FirstFailure::final_one(&self.name, cause)));
            }
            return Next::Return;
        }
        match self.connected.take() {
            Some(since) => self.tell_cut(&end, cause, (since.elapsed(), delay), resume),
            None => self.tell_failure(&end, cause, delay),
        }
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Next::Return,
            () = tokio::time::sleep(delay) => Next::Connect,
        }
    }

    /// The same end with the target's name before its cause, and behind it what is known about
    /// credentials, where it is tried again.
    fn named(&self, mut end: End) -> End {
        if let End::Denied { cause, by } = &mut end
            && self.denials == Denials::Pass
            && let Some(hint) = self.hint_about(*by)
        {
            *cause = format!("{cause} ({hint})");
        }
        if let (
            Some(target),
            End::Cut { cause, .. } | End::Refused { cause } | End::Denied { cause, .. },
        ) = (&self.target, &mut end)
        {
            *cause = format!("{target}: {cause}");
        }
        end
    }

    fn complete(&mut self, cause: &str) -> Next {
        if self.connected.take().is_some() {
            self.tell(&Note::Ended { cause });
        }
        self.attempted(Ok(()));
        Next::Return
    }

    /// Says that it is not tried again. The first attempt's failure is told by whoever waits for it.
    fn give_up(&mut self, cause: &str, by: Denier) {
        let is_told = self.first_attempt.is_some() && self.target.is_none();
        let note = Note::GivenUp {
            cause,
            hint: self.hint_about(by),
        };
        let failure = FirstFailure::denied(&self.name, &note);
        if !is_told {
            self.tell(&note);
        }
        self.attempted(Err(failure));
    }

    /// What can be said about credentials that somebody refused.
    fn hint_about(&self, by: Denier) -> Option<&str> {
        (by == Denier::Server).then_some(&*self.credentials)
    }

    /// A good connection makes the next failure the first one.
    fn judge(&mut self) {
        let Some(since) = self.connected else { return };
        if since.elapsed() >= GOOD_AFTER {
            self.backoff.reset();
            self.n_short = 0;
        } else {
            self.n_short = self.n_short.saturating_add(1);
        }
    }

    fn tell_cut(
        &mut self,
        end: &End,
        cause: &str,
        (after, retry): (Duration, Duration),
        resume: Option<&str>,
    ) {
        let is_told = self.cut_told.as_deref() == Some(cause);
        let is_lasting = matches!(end, End::Refused { .. } | End::Denied { .. });
        // While it keeps ending at once, only what a person can end is news, and once.
        if self.n_short > SHORT_TOLD && (is_told || !is_lasting) {
            return;
        }
        self.cut_told = Some(cause.to_owned());
        let resume = resume.filter(|token| token.chars().count() <= RESUME_CHARS_MAX);
        self.tell(&Note::Cut {
            cause,
            after,
            retry,
            resume,
        });
        if self.n_short == SHORT_TOLD {
            self.hint("keeps ending at once; this is not told again until it holds");
        }
    }

    /// Tells why it cannot connect, unless that is known. The first attempt's failure is told by
    /// whoever waits for it.
    fn tell_failure(&mut self, end: &End, cause: &str, retry: Duration) {
        if self.told.as_deref() == Some(cause) {
            return;
        }
        self.told = Some(cause.to_owned());
        if self.first_attempt.is_some() {
            self.attempted(Err(FirstFailure::passing(&self.name, cause)));
            // Of several targets, the others may be well: then nobody else tells it.
            if self.target.is_none() {
                return;
            }
        }
        self.tell(&match end {
            End::Refused { .. } | End::Denied { .. } => Note::Refused { cause, retry },
            _ => Note::Unreachable { cause, retry },
        });
    }

    fn attempted(&mut self, result: Result<(), FirstFailure>) {
        if let Some(first_attempt) = self.first_attempt.take() {
            first_attempt.tell(result);
        }
    }

    fn tell(&self, note: &Note) {
        self.notes.tell(&self.name, note);
    }
}
