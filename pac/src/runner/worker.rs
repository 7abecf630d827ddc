//! The thread on which a script runs.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::queue::Queue;
use crate::{Engine, PacError, priority::ThreadPriority};

/// A thread with a script on it.
pub(super) struct Worker(Arc<Clock>);

/// When a thread began what it is doing.
///
/// The thread holds it until it ends. So a lost thread that does end frees its place among the lost ones.
struct Clock {
    origin: Instant,
    /// The present work and its beginning, as [`Busy::encode`] writes them. Zero while the thread waits.
    ///
    /// It is one number, so that nobody sees the beginning of a load together with the patience of a call.
    busy: AtomicU64,
    has_ended: AtomicBool,
    /// Set if the thread counts as lost.
    lost: OnceLock<LostThread>,
    /// Set once the thread runs.
    priority: OnceLock<ThreadPriority>,
}

/// A piece of work that a thread has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Busy {
    /// Milliseconds since the origin, never zero.
    since: u64,
    /// Whether the thread loads the script, which takes longer than a call.
    is_loading: bool,
}

/// One of the few threads that may be lost. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct LostThread;

/// Marks the end of a thread, even if it panics.
struct RunningThread(Arc<Clock>);

impl Worker {
    /// Starts a thread that loads the script `text`, calls `loaded` with the result, and serves the calls in `queue`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(
        text: Arc<str>,
        queue: Arc<Queue>,
        loaded: impl FnOnce(Result<(), PacError>) + Send + 'static,
    ) -> Result<Self, PacError> {
        let clock = Arc::new(Clock::new());
        let running = RunningThread(Arc::clone(&clock));
        let work = move || {
            let clock = &*running.0;
            clock.priority.get_or_init(ThreadPriority::of_this_thread);
            clock.begin(true);
            match Engine::load(text) {
                Ok(engine) => {
                    clock.end();
                    loaded(Ok(()));
                    serve(engine, &queue, clock);
                }
                Err(error) => {
                    // Another thread could not load it either.
                    queue.refuse_all(&error);
                    loaded(Err(error));
                }
            }
        };
        let builder = thread::Builder::new().name("pac".into()).stack_size(STACK_BYTES);
        builder.spawn(work).map_err(|error| PacError::no_thread(&error))?;
        Ok(Self(clock))
    }

    pub(super) fn has_ended(&self) -> bool {
        self.0.has_ended.load(Ordering::Relaxed)
    }

    /// Returns whether calls should not wait for this thread any longer.
    pub(super) fn is_held_up(&self) -> bool {
        self.0.is_busy_for(|busy| if busy.is_loading { STUCK_AFTER } else { HELD_UP_AFTER })
    }

    /// Returns whether the thread is unlikely to come back.
    pub(super) fn is_stuck(&self) -> bool {
        self.0.is_busy_for(|_| STUCK_AFTER)
    }

    /// Abandons the thread. It ends when it comes back.
    pub(super) fn leave(&self, lost: LostThread) {
        if let Some(priority) = self.0.priority.get() {
            priority.give_way();
        }
        self.0.lost.get_or_init(|| lost);
    }
}

/// Serves calls until the runner is gone, or has replaced this thread by another one.
fn serve(mut engine: Engine, queue: &Queue, clock: &Clock) {
    while let Some(job) = queue.next() {
        job.run(|query, surroundings| {
            clock.begin(true);
            let loaded = engine.load_again();
            clock.begin(false);
            let outcome = loaded.and_then(|()| engine.call(query, surroundings));
            clock.end();
            outcome
        });
        if clock.lost.get().is_some() {
            return;
        }
    }
}

impl LostThread {
    /// Counts one more lost thread, or returns `None` if there are too many.
    pub(super) fn count() -> Option<Self> {
        let more = |lost| (lost < LOST_MAX).then_some(lost + 1);
        LOST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Self)
    }

    /// Returns how many threads are lost.
    #[cfg(test)]
    pub(super) fn present() -> usize {
        LOST.load(Ordering::Relaxed)
    }
}

impl Drop for LostThread {
    fn drop(&mut self) {
        LOST.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for RunningThread {
    fn drop(&mut self) {
        self.0.has_ended.store(true, Ordering::Relaxed);
    }
}

impl Clock {
    fn new() -> Self {
        Self {
            origin: Instant::now(),
            busy: AtomicU64::new(0),
            has_ended: AtomicBool::new(false),
            lost: OnceLock::new(),
            priority: OnceLock::new(),
        }
    }

    fn begin(&self, is_loading: bool) {
        let busy = Busy { since: self.milliseconds(), is_loading };
        self.busy.store(busy.encode(), Ordering::Relaxed);
    }

    fn end(&self) {
        self.busy.store(0, Ordering::Relaxed);
    }

    /// Returns whether the thread has been busy for longer than `patience` allows.
    fn is_busy_for(&self, patience: impl FnOnce(Busy) -> Duration) -> bool {
        Busy::decode(self.busy.load(Ordering::Relaxed)).is_some_and(|busy| {
            let taken = Duration::from_millis(self.milliseconds().saturating_sub(busy.since));
            taken > patience(busy)
        })
    }

    /// Returns the time since the origin, never zero.
    fn milliseconds(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

impl Busy {
    /// Writes both values into one number, which is never zero.
    fn encode(self) -> u64 {
        self.since << 1 | u64::from(self.is_loading)
    }

    fn decode(number: u64) -> Option<Self> {
        (number > 0).then_some(Self { since: number >> 1, is_loading: number & 1 == 1 })
    }
}

/// The number of threads in this process that were abandoned and have not come back.
static LOST: AtomicUsize = AtomicUsize::new(0);
const LOST_MAX: usize = 4;
/// The time after which other calls stop waiting for one. Honest calls take some microseconds.
const HELD_UP_AFTER: Duration = Duration::from_millis(30);
/// The time after which a thread counts as stuck. A script that is interrupted in time comes back long before, even if the
/// machine is busy.
const STUCK_AFTER: Duration = Duration::from_secs(1);
/// The stack of the thread. The script may use half of it.
const STACK_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::{NoNames, Query, runner::queue::Job};

    #[test]
    fn a_load_has_more_time_than_a_call() {
        for (is_loading, seconds, expected) in
            [(false, 0.1, true), (true, 0.1, false), (true, 2.0, true)]
        {
            let mut clock = Clock::new();
            clock.origin = clock.origin.checked_sub(Duration::from_secs(10)).unwrap();
            let since = clock.milliseconds() - (seconds * 1e3) as u64;
            let busy = Busy { since, is_loading };
            assert_eq!(Busy::decode(busy.encode()), Some(busy));
            clock.busy.store(busy.encode(), Ordering::Relaxed);
            assert_eq!(Worker(Arc::new(clock)).is_held_up(), expected, "{is_loading} {seconds}");
        }
        assert!(!Worker(Arc::new(Clock::new())).is_held_up());
    }

    #[test]
    fn a_lost_thread_that_comes_back_serves_no_more_calls() {
        let queue = Queue::default();
        let (sender, replies) = mpsc::channel();
        let mut pending = Vec::new();
        for _ in 0..2 {
            let sender = sender.clone();
            let query = Query { url: "https://a.example/".into(), host: "a.example".into() };
            let reply = Box::new(move |outcome| sender.send(outcome).unwrap());
            let (job, call) = Job::new(query, Arc::new(NoNames), reply);
            assert!(queue.push(job).is_ok());
            pending.push(call);
        }
        let clock = Clock::new();
        clock.lost.set(LostThread::count().unwrap()).unwrap();
        let text = "function FindProxyForURL(url, host) { return 'DIRECT'; }";
        serve(Engine::load(text.into()).unwrap(), &queue, &clock);
        assert_eq!(replies.try_iter().count(), 1);
        assert!(queue.has_waiting() && pending[0].has_begun() && !pending[1].has_begun());
    }
}
