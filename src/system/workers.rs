//! Threads that serve connections.
//!
//! The thread that starts the proxy is the first worker. Each further one has a runtime of its own, and with that its
//! own timers, its own readiness queue, and the buffers and pipes that belong to a thread. A connection stays with the
//! worker that accepted it: no task moves, and none waits for a lock of the scheduler. What all workers share (the
//! generation in force, limits, counters, the table of connections) is shared by reference, so it is exact.

use std::{io, num::NonZeroUsize, sync::mpsc, thread};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The workers beside the first one. Dropping it ends them, with the tasks that they still have.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    running: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    /// Ends the thread when dropped.
    _stop: DropGuard,
}

impl Workers {
    /// Starts so many workers that there are `count`, together with the thread that calls this.
    ///
    /// # Errors
    /// The system gives no further thread, or no queue for its events. Workers that were started end.
    pub(crate) fn start(count: NonZeroUsize) -> io::Result<Self> {
        let running = (1..count.get()).map(Worker::start).collect::<io::Result<_>>()?;
        Ok(Self { running })
    }

    /// Returns the runtimes of the workers beside the first one.
    pub(crate) fn runtimes(&self) -> Vec<Handle> {
        self.running.iter().map(|worker| worker.runtime.clone()).collect()
    }
}

impl Worker {
    fn start(number: usize) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let (stopped, (ready, outcome)) = (stop.clone(), mpsc::channel());
        // The runtime is built on its thread, so that its memory comes from the heap of that thread.
        let serve = move || match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                let _ = ready.send(Ok(runtime.handle().clone()));
                runtime.block_on(stopped.cancelled());
                // A name look-up that does not return must not delay the exit.
                runtime.shutdown_background();
            }
            Err(error) => drop(ready.send(Err(error))),
        };
        thread::Builder::new().name(format!("worker-{number}")).spawn(serve)?;
        let runtime = outcome.recv().map_err(io::Error::other)??;
        Ok(Self { runtime, _stop: stop.drop_guard() })
    }
}

#[cfg(test)]
mod tests {
    use std::thread::ThreadId;

    use super::*;

    #[tokio::test]
    async fn each_worker_has_a_thread_of_its_own_and_ends_with_its_tasks() {
        let workers = Workers::start(NonZeroUsize::new(3).unwrap()).unwrap();
        let (ended, mut end) = tokio::sync::mpsc::channel::<()>(1);
        let mut threads: Vec<ThreadId> = vec![thread::current().id()];
        for runtime in workers.runtimes() {
            let id = runtime.spawn(async { thread::current().id() });
            threads.push(id.await.unwrap());
            let ended = ended.clone();
            runtime.spawn(async move {
                std::future::pending::<()>().await;
                drop(ended);
            });
        }
        threads.dedup();
        assert_eq!(threads.len(), 3);
        drop((workers, ended));
        assert_eq!(end.recv().await, None, "no task is left");
    }

    #[test]
    fn one_worker_needs_no_further_thread() {
        assert!(Workers::start(NonZeroUsize::MIN).unwrap().runtimes().is_empty());
    }
}
