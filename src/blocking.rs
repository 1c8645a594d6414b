//! Blocking calls of those who share a crew, on no more threads than there are calls at a time.
//!
//! The runtime's pool starts a thread for a call that comes while none is idle, and a thread that
//! has just answered is not idle yet: whoever calls again at the answer gets another one each time.
//! Eight reads at a time of 10,000 files made 96 threads of it, and sixteen of them an arena of
//! malloc each: 10 MiB. A crew knows that it has answered before the caller does.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

/// A worker without work ends after this.
const IDLE: Duration = Duration::from_secs(2);

type Call = Box<dyn FnOnce() + Send>;

/// Threads of the blocking pool. Clones share them; they end with the last clone.
#[derive(Clone, Default)]
pub struct Crew(Arc<Owner>);

#[derive(Default)]
struct Owner(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Call>,
    /// Calls that wait or run.
    n_calls: usize,
    n_workers: usize,
    workers_max: Option<usize>,
    closed: bool,
}

/// A call that did not return.
pub enum Failed {
    /// It panicked with this.
    Panicked(Box<dyn Any + Send>),
    /// The runtime is ending.
    Ended,
}

impl Crew {
    /// A crew of so many threads at most; more calls wait. The runtime has a limit, too, and for
    /// as long as a call hangs it holds one of those threads.
    pub fn of(workers_max: usize) -> Self {
        let this = Self::default();
        this.0.0.lock().workers_max = Some(workers_max);
        this
    }

    /// Starts a blocking call on a thread of the crew and returns its answer. It is made whether or
    /// not the future is polled. Needs the runtime.
    ///
    /// # Errors
    /// The call panicked, or the runtime is ending.
    pub fn run<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        call: F,
    ) -> impl Future<Output = Result<T, Failed>> + Send + use<T, F> {
        let (sender, answer) = oneshot::channel();
        let shared = Arc::clone(&self.0.0);
        self.0.0.push(Box::new(move || {
            let result = catch_unwind(AssertUnwindSafe(call));
            // Before the answer: the next call, which that may bring, needs no other worker.
            shared.lock().n_calls -= 1;
            // Nobody waits for it any more: that is the caller's affair.
            let _ = sender.send(result);
        }));
        async {
            match answer.await {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(panic)) => Err(Failed::Panicked(panic)),
                Err(_) => Err(Failed::Ended),
            }
        }
    }

    /// Runs a blocking call as [`Crew::run`] does; its panic goes on in the caller.
    ///
    /// # Errors
    /// Those of the call, or the runtime is ending.
    pub async fn io<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        match self.run(call).await {
            Ok(result) => result,
            Err(Failed::Panicked(panic)) => resume_unwind(panic),
            Err(Failed::Ended) => Err(io::Error::other("the process is ending")),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(self: &Arc<Self>, call: Call) {
        let lacks = {
            let mut state = self.lock();
            state.waiting.push_back(call);
            state.n_calls += 1;
            let wanted = state.n_calls.min(state.workers_max.unwrap_or(usize::MAX));
            let lacks = state.n_workers < wanted;
            state.n_workers += usize::from(lacks);
            lacks
        };
        if lacks {
            let worker = Worker {
                shared: Arc::clone(self),
                counts: true,
            };
            // Its end is in the state: nobody waits for it.
            drop(spawn_blocking(move || worker.work()));
        } else {
            self.changed.notify_one();
        }
    }
}

/// A thread of a crew.
struct Worker {
    shared: Arc<Shared>,
    /// False once it is no longer one of the workers.
    counts: bool,
}

impl Worker {
    fn work(mut self) {
        while let Some(call) = self.next() {
            call();
        }
    }

    /// The next call; without one for too long it leaves, under the same lock: a call that comes
    /// then finds it gone.
    fn next(&mut self) -> Option<Call> {
        let idle = |state: &mut State| state.waiting.is_empty() && !state.closed;
        let waiting = self
            .shared
            .changed
            .wait_timeout_while(self.shared.lock(), IDLE, idle);
        let (mut state, _) = waiting.unwrap_or_else(PoisonError::into_inner);
        let call = state.waiting.pop_front();
        if call.is_none() {
            state.n_workers -= 1;
            self.counts = false;
        }
        call
    }
}

impl Drop for Worker {
    /// Of a worker that the runtime never ran, because it is ending.
    fn drop(&mut self) {
        if !self.counts {
            return;
        }
        let lost = {
            let mut state = self.shared.lock();
            state.n_workers -= 1;
            match state.n_workers {
                0 => std::mem::take(&mut state.waiting),
                _ => VecDeque::new(),
            }
        };
        // Nobody would make these calls; whoever waits for one is told so.
        drop(lost);
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Panicked(panic) = self else {
            return f.write_str("the process is ending");
        };
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        write!(
            f,
            "it panicked: {}",
            text.unwrap_or("for an unknown reason")
        )
    }
}

impl fmt::Debug for Crew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.0.lock();
        f.debug_struct("Crew")
            .field("n_calls", &state.n_calls)
            .field("n_workers", &state.n_workers)
            .finish()
    }
}

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Panicked(_) => "Panicked",
            Self::Ended => "Ended",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use futures::FutureExt as _;
    use futures::future::join_all;

    use super::*;

    impl Crew {
        fn n_workers(&self) -> usize {
            self.0.0.lock().n_workers
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn calls_after_each_other_take_one_thread() {
        let crew = Crew::default();
        for n in 0..10_000 {
            assert_eq!(crew.run(move || n + 1).await.unwrap(), n + 1);
        }
        assert_eq!(crew.n_workers(), 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn eight_callers_take_eight_threads_at_most() {
        let crew = Crew::default();
        join_all((0..8).map(|_| calls(&crew))).await;
        assert!(crew.n_workers() <= 8, "{crew:?}");
    }

    async fn calls(crew: &Crew) {
        for _ in 0..500 {
            crew.run(thread::yield_now).await.unwrap();
        }
    }

    #[tokio::test]
    async fn calls_that_wait_for_each_other_run_at_the_same_time() {
        let crew = Crew::default();
        let barrier = Arc::new(Barrier::new(8));
        let calls = (0..8).map(|_| {
            let barrier = Arc::clone(&barrier);
            crew.run(move || barrier.wait().is_leader())
        });
        for answer in join_all(calls).await {
            answer.unwrap();
        }
    }

    // Several sources have one crew: with one each, 150 of them took every thread of the runtime.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn more_calls_than_threads_wait_for_their_turn() {
        let crew = Crew::of(3);
        join_all((0..50).map(|_| calls(&crew))).await;
        assert!(crew.n_workers() <= 3, "{crew:?}");
    }

    #[tokio::test]
    async fn a_panic_is_its_callers_and_the_worker_goes_on() {
        let crew = Crew::default();
        let failed = crew.run(|| panic!("of the call")).await.unwrap_err();
        let Failed::Panicked(panic) = failed else {
            panic!("it ended");
        };
        assert_eq!(panic.downcast_ref(), Some(&"of the call"));
        assert_eq!(crew.run(|| 1).await.unwrap(), 1);
        assert_eq!(crew.n_workers(), 1);
    }

    // A worker that waits for work would keep the runtime from ending for as long.
    #[test]
    fn its_threads_end_with_it() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let shared = runtime.block_on(async {
            let crew = Crew::default();
            crew.run(|| ()).await.unwrap();
            Arc::clone(&crew.0.0)
        });
        drop(runtime);
        assert_eq!(shared.lock().n_workers, 0);
    }

    #[test]
    fn a_call_that_the_runtime_does_not_run_any_more_is_told_so() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let handle = runtime.handle().clone();
        runtime.shutdown_background();
        let _inside = handle.enter();
        let crew = Crew::default();
        let answer = crew.run(|| ()).now_or_never().expect("an answer at once");
        assert!(matches!(answer, Err(Failed::Ended)), "{answer:?}");
        assert_eq!(crew.n_workers(), 0);
    }
}
