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
/// The thread holds it until it ends. So a lost thread that ends after all frees its place.
struct Clock {
    origin: Instant,
    /// Milliseconds since the origin, or zero while the thread waits.
    busy_since: AtomicU64,
    /// Whether it loads the script, which takes longer than a call.
    is_loading: AtomicBool,
    has_ended: AtomicBool,
    /// Set if the thread counts as lost.
    lost: OnceLock<LostThread>,
    /// Set once the thread runs.
    priority: OnceLock<ThreadPriority>,
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
        let is_loading = self.0.is_loading.load(Ordering::Relaxed);
        self.0.is_busy_for(if is_loading { STUCK_AFTER } else { HELD_UP_AFTER })
    }

    /// Returns whether the thread will hardly come back.
    pub(super) fn is_stuck(&self) -> bool {
        self.0.is_busy_for(STUCK_AFTER)
    }

    /// Leaves the thread to itself. It ends when it comes back.
    pub(super) fn leave(&self, lost: LostThread) {
        if let Some(priority) = self.0.priority.get() {
            priority.give_way();
        }
        self.0.lost.get_or_init(|| lost);
    }
}

/// Serves calls until the runner is gone, or has left this thread for another one.
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
            busy_since: AtomicU64::new(0),
            is_loading: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            lost: OnceLock::new(),
            priority: OnceLock::new(),
        }
    }

    fn begin(&self, is_loading: bool) {
        self.is_loading.store(is_loading, Ordering::Relaxed);
        self.busy_since.store(self.milliseconds(), Ordering::Relaxed);
    }

    fn end(&self) {
        self.busy_since.store(0, Ordering::Relaxed);
    }

    fn is_busy_for(&self, time: Duration) -> bool {
        let since = self.busy_since.load(Ordering::Relaxed);
        let taken = Duration::from_millis(self.milliseconds().saturating_sub(since));
        since > 0 && taken > time
    }

    /// Returns the time since the origin, never zero.
    fn milliseconds(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

/// The threads of this process that were left and have not come back.
static LOST: AtomicUsize = AtomicUsize::new(0);
const LOST_MAX: usize = 4;
/// The time after which other calls no longer wait for one. Honest calls take some microseconds.
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
