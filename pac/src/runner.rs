//! The thread on which a script runs.

use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, Receiver, SyncSender, TrySendError},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{Engine, Outcome, PacError, Query, Surroundings, priority::ThreadPriority};

/// A script on a thread of its own, which ends when this is dropped.
///
/// The engine interrupts a script that runs for too long, but not in the middle of one of its own functions, such as a
/// search for one long text in another. A thread that does not come back within [a second](STUCK_AFTER) is left to
/// itself with the lowest priority, and the script gets another one. Only a few threads of a process can be lost like
/// this; after that, the script is refused until its thread comes back.
pub struct PacRunner {
    text: Arc<str>,
    worker: Mutex<Option<Worker>>,
}

/// A thread with a script on it.
struct Worker {
    jobs: SyncSender<Job>,
    clock: Arc<Clock>,
}

/// When a thread began what it is doing.
///
/// The thread holds it until it ends. So a lost thread that ends after all frees its place.
struct Clock {
    origin: Instant,
    /// Milliseconds since the origin, or zero while the thread waits.
    busy_since: AtomicU64,
    /// Set if the thread counts as lost.
    lost: OnceLock<LostThread>,
    /// Set once the thread runs.
    priority: OnceLock<ThreadPriority>,
}

/// One of the few threads that may be lost. Dropping it frees the place.
#[derive(Debug)]
struct LostThread;

/// One call.
struct Job {
    /// Set when the thread begins with it.
    has_begun: Arc<AtomicBool>,
    query: Query,
    surroundings: Arc<dyn Surroundings>,
    reply: Box<dyn FnOnce(Result<Outcome, PacError>) + Send>,
}

impl PacRunner {
    /// Loads `text` on a new thread, and waits until that is done or has failed. Not for a thread that may not block.
    ///
    /// # Errors
    /// The script can't be loaded.
    pub fn load(text: Arc<str>) -> Result<Self, PacError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let runner = Self::start(text, move |loaded| {
            // The receiver may have given up.
            let _ = sender.send(loaded);
        })?;
        match receiver.recv_timeout(LOAD_WAIT_MAX) {
            Ok(loaded) => loaded.map(|()| runner),
            Err(_) => Err(PacError::Stuck),
        }
    }

    /// Loads `text` on a new thread, which calls `loaded` with the result.
    ///
    /// # Errors
    /// There is no thread.
    pub fn start(
        text: Arc<str>,
        loaded: impl FnOnce(Result<(), PacError>) + Send + 'static,
    ) -> Result<Self, PacError> {
        let worker = Worker::start(Arc::clone(&text), loaded)?;
        Ok(Self { text, worker: Mutex::new(Some(worker)) })
    }

    /// Calls the script with `query`. Its thread calls `reply` with the outcome, after those of all earlier calls. The
    /// caller limits its wait, since a thread that is stuck never replies. The flag that is returned is set when the call
    /// begins: one that has not begun may be made again, on the thread that takes the place of a stuck one.
    pub fn ask(
        &self,
        query: Query,
        surroundings: Arc<dyn Surroundings>,
        reply: impl FnOnce(Result<Outcome, PacError>) + Send + 'static,
    ) -> Arc<AtomicBool> {
        let has_begun = Arc::new(AtomicBool::new(false));
        let own = Arc::clone(&has_begun);
        let job = Job { has_begun: own, query, surroundings, reply: Box::new(reply) };
        if let Err((job, error)) = self.send(job) {
            job.has_begun.store(true, Ordering::Relaxed);
            (job.reply)(Err(error));
        }
        has_begun
    }

    /// Hands `job` to the thread, or to another one if that is stuck.
    fn send(&self, job: Job) -> Result<(), (Job, PacError)> {
        // Nothing in here panics half-way.
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stuck) = worker.as_ref().filter(|worker| worker.clock.is_stuck()) {
            stuck.clock.give_way();
            let Some(lost) = LostThread::count() else { return Err((job, PacError::Stuck)) };
            stuck.clock.lost.get_or_init(|| lost);
            *worker = None;
        }
        let jobs = match &*worker {
            Some(worker) => &worker.jobs,
            None => match Worker::start(Arc::clone(&self.text), |_| ()) {
                Ok(started) => &worker.insert(started).jobs,
                Err(error) => return Err((job, error)),
            },
        };
        match jobs.try_send(job) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(job)) => Err((job, PacError::Busy)),
            Err(TrySendError::Disconnected(job)) => {
                // The thread has ended, because it could not load the script. The next call gets another thread.
                *worker = None;
                Err((job, PacError::Stuck))
            }
        }
    }
}

impl Worker {
    fn start(
        text: Arc<str>,
        loaded: impl FnOnce(Result<(), PacError>) + Send + 'static,
    ) -> Result<Self, PacError> {
        let (jobs, received) = mpsc::sync_channel(WAITING_MAX);
        let clock = Arc::new(Clock::new());
        let own = Arc::clone(&clock);
        let work = move || {
            own.priority.get_or_init(ThreadPriority::of_this_thread);
            own.begin();
            match Engine::load(text) {
                Ok(engine) => {
                    own.end();
                    loaded(Ok(()));
                    serve(engine, &received, &own);
                }
                Err(error) => loaded(Err(error)),
            }
            drop(own);
        };
        let builder = thread::Builder::new().name("pac".into()).stack_size(STACK_BYTES);
        builder.spawn(work).map_err(|error| PacError::no_thread(&error))?;
        Ok(Self { jobs, clock })
    }
}

/// Serves calls until the runner is gone, or has given up this thread for another one. Then calls that still wait are
/// dropped: their callers make them again, on the other thread.
fn serve(mut engine: Engine, jobs: &Receiver<Job>, clock: &Clock) {
    for Job { has_begun, query, surroundings, reply } in jobs {
        has_begun.store(true, Ordering::Relaxed);
        clock.begin();
        let outcome = engine.call(&query, surroundings);
        clock.end();
        reply(outcome);
        if clock.lost.get().is_some() {
            return;
        }
    }
}

impl LostThread {
    /// Counts one more lost thread, or returns `None` if there are too many.
    fn count() -> Option<Self> {
        let more = |lost| (lost < LOST_MAX).then_some(lost + 1);
        LOST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Self)
    }
}

impl Drop for LostThread {
    fn drop(&mut self) {
        LOST.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Clock {
    fn new() -> Self {
        let (busy_since, lost) = (AtomicU64::new(0), OnceLock::new());
        Self { origin: Instant::now(), busy_since, lost, priority: OnceLock::new() }
    }

    fn begin(&self) {
        self.busy_since.store(self.milliseconds(), Ordering::Relaxed);
    }

    fn end(&self) {
        self.busy_since.store(0, Ordering::Relaxed);
    }

    /// Lets the thread, which is stuck, give way to all others.
    fn give_way(&self) {
        if let Some(priority) = self.priority.get() {
            priority.give_way();
        }
    }

    fn is_stuck(&self) -> bool {
        let since = self.busy_since.load(Ordering::Relaxed);
        let taken = Duration::from_millis(self.milliseconds().saturating_sub(since));
        since > 0 && taken > STUCK_AFTER
    }

    /// Returns the time since the origin, never zero.
    fn milliseconds(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

impl fmt::Debug for PacRunner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacRunner").field("bytes", &self.text.len()).finish_non_exhaustive()
    }
}

/// The threads of this process that have not come back.
static LOST: AtomicUsize = AtomicUsize::new(0);
const LOST_MAX: usize = 4;
/// A script that is interrupted in time comes back long before, even if the machine is busy.
const STUCK_AFTER: Duration = Duration::from_secs(1);
/// The longest wait for a script to be loaded.
const LOAD_WAIT_MAX: Duration = Duration::from_secs(5);
/// The calls that may wait for the thread.
const WAITING_MAX: usize = 1024;
/// The stack of the thread, of which the script may use half.
const STACK_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NoNames;

    const DIRECT: &str = "function FindProxyForURL(url, host) { return 'DIRECT'; }";

    fn query() -> Query {
        Query { url: "https://a.example/".into(), host: "a.example".into() }
    }

    #[test]
    fn a_thread_that_could_not_load_the_script_is_replaced_and_not_counted_as_lost() {
        let worker = Worker::start("oops oops".into(), |_| ()).unwrap();
        let runner = PacRunner { text: DIRECT.into(), worker: Mutex::new(Some(worker)) };
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let (sender, receiver) = mpsc::channel();
            runner.ask(query(), Arc::new(NoNames), move |outcome| drop(sender.send(outcome)));
            // The first calls may still find the thread, or its end.
            match receiver.recv() {
                Ok(Ok(outcome)) => break assert_eq!(outcome, Outcome::Answer("DIRECT".into())),
                Ok(Err(_)) | Err(_) => assert!(Instant::now() < deadline),
            }
        }
        // The other test loses a thread for a moment.
        while LOST.load(Ordering::Relaxed) > 0 {
            assert!(Instant::now() < deadline);
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_lost_thread_that_comes_back_serves_no_more_calls() {
        let (jobs, received) = mpsc::sync_channel(2);
        let (sender, replies) = mpsc::channel();
        for _ in 0..2 {
            let sender = sender.clone();
            let reply = Box::new(move |outcome| sender.send(outcome).unwrap());
            let (has_begun, surroundings) = (Arc::default(), Arc::new(NoNames));
            jobs.try_send(Job { has_begun, query: query(), surroundings, reply }).unwrap();
        }
        let clock = Clock::new();
        clock.lost.set(LostThread::count().unwrap()).unwrap();
        drop(jobs);
        serve(Engine::load(DIRECT.into()).unwrap(), &received, &clock);
        assert_eq!((replies.try_iter().count(), received.try_iter().count()), (1, 1));
    }
}
