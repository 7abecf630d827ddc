//! Runs work that blocks, such as file operations and name look-ups, on a pool of threads.
//!
//! tokio has such a pool too. But its threads all end after ten idle seconds, and it panics if it then gets no new one:
//! one program that starts too many processes would end every other program of its user that lives on tokio. Here, one
//! thread is always left. If the system gives no other, work waits for that one.

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use thiserror::Error;
use tokio::sync::oneshot;

/// The reason why work has no result.
#[derive(Debug, Error)]
pub enum WorkError {
    /// The pool has no thread yet, and the system gives it none.
    #[error("the system has no thread to spare: {0}")]
    NoThread(io::Error),
    /// It panicked.
    #[error("it panicked")]
    Panicked,
}

/// Starts the first thread, if there is none yet. From then on, no work fails because the system gives no thread.
///
/// # Errors
/// The system has no thread to spare.
pub fn start() -> io::Result<()> {
    POOL.start()
}

/// Runs `work` on a thread of the pool, and returns a future of its result. The work begins at once, and goes on if the
/// future is dropped.
///
/// # Errors
/// As [`WorkError`] says.
pub fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, WorkError>> + Send + 'static {
    POOL.run(work)
}

/// Runs `work` on a thread of the pool, and does not wait for it.
pub fn detach(work: impl FnOnce() + Send + 'static) {
    drop(POOL.run(work));
}

/// The maximum number of threads. A resolver that does not answer holds one for half a minute or more, so a caller that runs
/// many jobs of one kind should leave threads for others.
pub const THREADS_MAX: usize = 1024;

static POOL: ThreadPool = ThreadPool::new(IDLE_MAX);

struct ThreadPool {
    state: Mutex<ThreadPoolState>,
    /// Wakes one idle thread for each job.
    came: Condvar,
    /// How long a thread stays without work if another is idle too.
    idle_max: Duration,
}

struct ThreadPoolState {
    jobs: VecDeque<Box<dyn Job>>,
    threads: usize,
    /// How many threads wait for a job or are about to look for one.
    idle: usize,
}

/// Work and its result. The result is delivered when its thread counts as idle again, so that a caller who has more to do
/// finds that thread.
trait Job: Send {
    fn work(&mut self);
    fn deliver(self: Box<Self>);
}

struct Work<W, T> {
    work: Option<W>,
    /// `None` if the work panicked.
    result: Option<T>,
    sender: oneshot::Sender<T>,
}

impl<T: Send, W: FnOnce() -> T + Send> Job for Work<W, T> {
    fn work(&mut self) {
        self.result = self.work.take().map(|work| work());
    }

    fn deliver(self: Box<Self>) {
        let Some(result) = self.result else { return };
        // The caller may have gone away.
        drop(self.sender.send(result));
    }
}

impl ThreadPool {
    const fn new(idle_max: Duration) -> Self {
        let state = ThreadPoolState { jobs: VecDeque::new(), threads: 0, idle: 0 };
        Self { state: Mutex::new(state), came: Condvar::new(), idle_max }
    }

    fn start(&'static self) -> io::Result<()> {
        let mut state = self.lock();
        if state.threads == 0 { self.add_thread(&mut state) } else { Ok(()) }
    }

    fn run<T: Send + 'static>(
        &'static self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, WorkError>> + Send + 'static {
        let (sender, result) = oneshot::channel();
        let submitted = self.submit(Box::new(Work { work: Some(work), result: None, sender }));
        async move {
            submitted.map_err(WorkError::NoThread)?;
            result.await.map_err(|_| WorkError::Panicked)
        }
    }

    fn submit(&'static self, job: Box<dyn Job>) -> io::Result<()> {
        let mut state = self.lock();
        state.jobs.push_back(job);
        if state.idle >= state.jobs.len() {
            self.came.notify_one();
            return Ok(());
        }
        if state.threads >= THREADS_MAX {
            return Ok(());
        }
        match self.add_thread(&mut state) {
            // The first thread that becomes free takes it.
            Err(_) if state.threads > 0 => Ok(()),
            Err(error) => {
                state.jobs.pop_back();
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    fn add_thread(&'static self, state: &mut ThreadPoolState) -> io::Result<()> {
        thread::Builder::new().name("blocking".into()).spawn(|| self.serve())?;
        state.threads += 1;
        state.idle += 1;
        Ok(())
    }

    /// Runs jobs until there have been none for a while. Of several idle threads, the last one waits without a time, so
    /// that one is always left and an idle process is never woken.
    fn serve(&self) {
        let mut state = self.lock();
        loop {
            if let Some(mut job) = state.jobs.pop_front() {
                state.idle -= 1;
                drop(state);
                // The panic hook has reported it, and the caller gets an error.
                let _ = catch_unwind(AssertUnwindSafe(|| job.work()));
                self.lock().idle += 1;
                job.deliver();
                state = self.lock();
                continue;
            }
            if state.idle == 1 {
                state = self.came.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let woken = self.came.wait_timeout(state, self.idle_max);
            let (woken, waited) = woken.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if waited.timed_out() && state.jobs.is_empty() && state.idle > 1 {
                state.threads -= 1;
                state.idle -= 1;
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, ThreadPoolState> {
        // No job runs while it is locked, so a panic can't leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const IDLE_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Instant};

    use super::*;

    fn pool(idle_max: Duration) -> &'static ThreadPool {
        Box::leak(Box::new(ThreadPool::new(idle_max)))
    }

    fn wait_until(pool: &ThreadPool, holds: impl Fn(&ThreadPoolState) -> bool) {
        let until = Instant::now() + Duration::from_secs(60);
        while !holds(&pool.lock()) {
            assert!(Instant::now() < until, "it never comes to that");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[tokio::test]
    async fn jobs_run_at_the_same_time_and_one_thread_is_left_afterwards() {
        let pool = pool(Duration::from_millis(20));
        let (meet, met) = mpsc::channel();
        let mut releases = Vec::new();
        let mut results = Vec::new();
        for number in 0..8 {
            let (release, released) = mpsc::channel::<()>();
            releases.push(release);
            let meet = meet.clone();
            results.push(pool.run(move || {
                meet.send(()).unwrap();
                let _ = released.recv();
                number
            }));
        }
        for _ in 0..8 {
            met.recv_timeout(Duration::from_secs(60)).unwrap();
        }
        drop(releases);
        for (number, result) in results.into_iter().enumerate() {
            assert_eq!(result.await.unwrap(), number);
        }
        wait_until(pool, |state| (state.threads, state.idle) == (1, 1));
        thread::sleep(Duration::from_millis(100));
        assert_eq!(pool.lock().threads, 1);
        assert_eq!(pool.run(|| 9).await.unwrap(), 9);
        assert_eq!(pool.lock().threads, 1, "the idle thread took the job");
    }

    #[tokio::test]
    async fn an_idle_thread_stays_beside_one_that_is_busy() {
        let pool = pool(Duration::from_millis(10));
        let (release, released) = mpsc::channel::<()>();
        let hangs = pool.run(move || released.recv());
        pool.run(|| ()).await.unwrap();
        wait_until(pool, |state| (state.threads, state.idle) == (2, 1));
        thread::sleep(Duration::from_millis(100));
        assert_eq!(pool.lock().threads, 2);
        drop(release);
        hangs.await.unwrap().unwrap_err();
        wait_until(pool, |state| (state.threads, state.idle) == (1, 1));
    }

    #[tokio::test]
    async fn a_job_that_panics_is_an_error_and_keeps_its_thread() {
        let pool = pool(Duration::from_secs(60));
        pool.start().unwrap();
        for _ in 0..3 {
            let broken = pool.run(|| std::panic::resume_unwind(Box::new("on purpose"))).await;
            assert!(matches!(broken, Err::<(), _>(WorkError::Panicked)));
        }
        assert_eq!(pool.lock().threads, 1);
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_is_done() {
        let pool = pool(Duration::from_secs(60));
        let (done, is_done) = mpsc::channel();
        drop(pool.run(move || done.send(()).unwrap()));
        is_done.recv_timeout(Duration::from_secs(60)).unwrap();
    }
}
