//! Calls of a script, and the thread that serves them.

mod queue;
mod worker;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::Duration,
};

pub use self::queue::PendingCall;
use self::{
    queue::{Job, Queue},
    worker::{LostThread, Worker},
};
use crate::{Outcome, PacError, Query, Surroundings};

/// A script on a thread of its own, which ends when this is dropped.
///
/// The engine interrupts a script that runs for too long, but not in the middle of one of its own functions, such as a
/// search for one long text in another, which can take minutes. So a thread that does not come back from a call soon is
/// abandoned with the lowest priority, and another one takes over the calls that wait. A process can lose only a few threads
/// like this. After that, calls wait for their thread, and are refused if it is stuck.
pub struct PacRunner {
    text: Arc<str>,
    queue: Arc<Queue>,
    /// The thread that takes calls. `None` if it has ended and no other one could be started.
    worker: Mutex<Option<Worker>>,
}

impl PacRunner {
    /// Loads `text` on a new thread, and blocks until that is done or has failed.
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
        let queue = Arc::new(Queue::default());
        let worker = Worker::start(Arc::clone(&text), Arc::clone(&queue), loaded)?;
        Ok(Self { text, queue, worker: Mutex::new(Some(worker)) })
    }

    /// Calls the script with `query`. Its thread calls `reply` with the outcome, after those of earlier calls; if the call is
    /// never made, `reply` is dropped. Dropping the returned value gives the call up.
    ///
    /// The caller must limit its wait, since a thread that is stuck never replies, and must call [`relieve`](Self::relieve) now
    /// and then while it waits.
    #[must_use = "dropping it gives the call up"]
    pub fn ask(
        &self,
        query: Query,
        surroundings: Arc<dyn Surroundings>,
        reply: impl FnOnce(Result<Outcome, PacError>) + Send + 'static,
    ) -> PendingCall {
        let (job, pending) = Job::new(query, surroundings, Box::new(reply));
        match self.queue.push(job) {
            Ok(()) => self.relieve(),
            Err(job) => job.refuse(PacError::Busy),
        }
        pending
    }

    /// Starts another thread for the calls that wait, if the thread is held up by a call, or has ended.
    ///
    /// Only callers that wait need this. So they call it, and no timer has to run while nobody waits.
    pub fn relieve(&self) {
        if !self.queue.has_waiting() {
            return;
        }
        // Nothing in here panics half-way.
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(present) = worker.as_ref().filter(|worker| !worker.has_ended()) {
            if !present.is_held_up() {
                return;
            }
            match LostThread::count() {
                Some(lost) => present.leave(lost),
                // It may still come back.
                None if !present.is_stuck() => return,
                None => return self.queue.refuse_all(&PacError::HeldUp),
            }
        }
        match Worker::start(Arc::clone(&self.text), Arc::clone(&self.queue), |_| ()) {
            Ok(started) => *worker = Some(started),
            Err(error) => {
                *worker = None;
                self.queue.refuse_all(&error);
            }
        }
    }
}

impl Drop for PacRunner {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl fmt::Debug for PacRunner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacRunner").field("bytes", &self.text.len()).finish_non_exhaustive()
    }
}

/// The longest wait for a script to be loaded.
const LOAD_WAIT_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::{
        thread,
        time::{Duration, Instant},
    };

    use super::*;
    use crate::NoNames;

    const DIRECT: &str = "function FindProxyForURL(url, host) { return 'DIRECT'; }";

    fn query() -> Query {
        Query { url: "https://a.example/".into(), host: "a.example".into() }
    }

    #[test]
    fn a_thread_that_could_not_load_the_script_is_replaced_and_not_counted_as_lost() {
        let queue = Arc::<Queue>::default();
        let worker = Worker::start("oops oops".into(), Arc::clone(&queue), |_| ()).unwrap();
        let runner = PacRunner { text: DIRECT.into(), queue, worker: Mutex::new(Some(worker)) };
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let (sender, receiver) = mpsc::channel();
            let _pending =
                runner.ask(query(), Arc::new(NoNames), move |outcome| drop(sender.send(outcome)));
            // The thread may refuse the first call, with the reason why it ends.
            match receiver.recv_timeout(Duration::from_millis(20)) {
                Ok(Ok(outcome)) => break assert_eq!(outcome, Outcome::Answer("DIRECT".into())),
                Ok(Err(error)) => assert!(matches!(error, PacError::Syntax { .. }), "{error}"),
                Err(_) => runner.relieve(),
            }
            assert!(Instant::now() < deadline);
        }
        // Another test loses a thread for a moment.
        while LostThread::present() > 0 {
            assert!(Instant::now() < deadline);
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn the_thread_ends_with_its_runner() {
        let runner = PacRunner::load(DIRECT.into()).unwrap();
        let queue = Arc::downgrade(&runner.queue);
        drop(runner);
        let deadline = Instant::now() + Duration::from_secs(30);
        while queue.strong_count() > 0 {
            assert!(Instant::now() < deadline);
            thread::sleep(Duration::from_millis(5));
        }
    }
}
