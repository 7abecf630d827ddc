//! The calls that wait for the thread of their script.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{Outcome, PacError, Query, Surroundings};

/// Calls in the order in which they were made.
///
/// It belongs to the script and not to a thread, so that another thread can take over.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    jobs: VecDeque<Job>,
    /// Set when the script is no longer needed.
    is_closed: bool,
}

/// One call for the thread of the script.
pub(super) struct Job {
    progress: Arc<Progress>,
    query: Query,
    surroundings: Arc<dyn Surroundings>,
    reply: Box<dyn FnOnce(Result<Outcome, PacError>) + Send>,
}

/// A call that was made with [`PacRunner::ask`](crate::PacRunner::ask). Dropping it gives the call up: if it has not begun, it
/// never will.
#[derive(Debug)]
pub struct PendingCall(Arc<Progress>);

#[derive(Debug, Default)]
struct Progress {
    has_begun: AtomicBool,
    is_given_up: AtomicBool,
}

impl PendingCall {
    /// Returns whether a thread has begun the call. If a call that has begun takes long, no other call is to blame.
    pub fn has_begun(&self) -> bool {
        self.0.has_begun.load(Ordering::Relaxed)
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        self.0.is_given_up.store(true, Ordering::Relaxed);
    }
}

impl Job {
    pub(super) fn new(
        query: Query,
        surroundings: Arc<dyn Surroundings>,
        reply: Box<dyn FnOnce(Result<Outcome, PacError>) + Send>,
    ) -> (Self, PendingCall) {
        let progress = Arc::<Progress>::default();
        let pending = PendingCall(Arc::clone(&progress));
        (Self { progress, query, surroundings, reply }, pending)
    }

    /// Ends the call without having begun it.
    pub(super) fn refuse(self, error: PacError) {
        (self.reply)(Err(error));
    }

    /// Ends the call with what `work` returns for it.
    pub(super) fn run(
        self,
        work: impl FnOnce(&Query, Arc<dyn Surroundings>) -> Result<Outcome, PacError>,
    ) {
        let Self { progress, query, surroundings, reply } = self;
        progress.has_begun.store(true, Ordering::Relaxed);
        reply(work(&query, surroundings));
    }

    fn is_given_up(&self) -> bool {
        self.progress.is_given_up.load(Ordering::Relaxed)
    }
}

impl Queue {
    /// Adds a call, or returns it if too many wait.
    pub(super) fn push(&self, job: Job) -> Result<(), Job> {
        let mut state = self.state();
        if state.jobs.len() >= WAITING_MAX {
            state.jobs.retain(|job| !job.is_given_up());
        }
        if state.jobs.len() >= WAITING_MAX {
            return Err(job);
        }
        state.jobs.push_back(job);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for the next call, and takes it. Returns `None` if no more will come.
    pub(super) fn next(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            match state.jobs.pop_front() {
                Some(job) if job.is_given_up() => {}
                Some(job) => return Some(job),
                None if state.is_closed => return None,
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.state().jobs.is_empty()
    }

    /// Ends all calls that wait with `error`.
    pub(super) fn refuse_all(&self, error: &PacError) {
        // Callers wrote the replies, so these must not run under the lock.
        let jobs = std::mem::take(&mut self.state().jobs);
        jobs.into_iter().for_each(|job| job.refuse(error.clone()));
    }

    /// Lets the thread end once no call waits.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("waiting", &self.state().jobs.len()).finish_non_exhaustive()
    }
}

/// The most calls that may wait for the thread.
const WAITING_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::NoNames;

    #[test]
    fn calls_that_were_given_up_take_no_room_and_are_never_made() {
        let (sender, replies) = mpsc::channel();
        let queue = Queue::default();
        let job = |number: usize| {
            let sender = sender.clone();
            let query = Query { url: "https://a.example/".into(), host: "a.example".into() };
            let reply = Box::new(move |outcome| sender.send((number, outcome)).unwrap());
            Job::new(query, Arc::new(NoNames), reply)
        };
        let mut pending = Vec::new();
        for number in 0..WAITING_MAX {
            let (job, call) = job(number);
            assert!(queue.push(job).is_ok());
            pending.push(call);
        }
        let refused = queue.push(job(WAITING_MAX).0);
        refused.unwrap_err().refuse(PacError::Busy);
        assert_eq!(replies.try_recv(), Ok((WAITING_MAX, Err(PacError::Busy))));
        // All but one leave, so there is room again.
        pending.swap_remove(7);
        let (last, _call) = job(WAITING_MAX + 1);
        assert!(queue.push(last).is_ok());
        pending.drain(..7);
        queue.next().unwrap().refuse(PacError::HeldUp);
        assert_eq!(replies.try_recv(), Ok((8, Err(PacError::HeldUp))));
        pending.clear();
        queue.next().unwrap().refuse(PacError::HeldUp);
        assert_eq!(replies.try_recv(), Ok((WAITING_MAX + 1, Err(PacError::HeldUp))));
        queue.close();
        assert!(queue.next().is_none());
    }
}
