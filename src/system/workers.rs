//! Threads that serve connections.
//!
//! The thread that starts the proxy is the first worker. Each further one has a runtime of its own, and with that its
//! own timers, its own readiness queue, and the buffers and pipes that belong to a thread. A connection stays with the
//! worker that begins to serve it: no task moves, and none waits for a lock of the scheduler. What all workers share (the
//! generation in force, limits, counters, the table of connections) is shared by reference, so it is exact.
//!
//! All workers accept from one queue of the system, so no client waits for a worker that is busy. But the worker that is
//! awake first would take most of a burst: of 40 clients, one of four workers took 24 and another 1. A worker therefore
//! gives a client that it accepted to the one that serves the fewest at that moment.

use std::{
    io, iter,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    thread,
};

use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::system::runtime;

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

    /// Returns the number of workers, together with the first one.
    pub(crate) fn count(&self) -> usize {
        self.running.len() + 1
    }

    /// Returns the list of all workers. The first one is the runtime of the caller.
    pub(crate) fn set(&self) -> Arc<WorkerSet> {
        let others = self.running.iter().map(|worker| worker.runtime.clone());
        let members = iter::once(Handle::current()).chain(others);
        Arc::new(WorkerSet(
            members.map(|runtime| WorkerSlot { runtime, open: AtomicUsize::new(0) }).collect(),
        ))
    }
}

/// All workers, with the number of connections that each of them serves.
#[derive(Debug)]
pub(crate) struct WorkerSet(Vec<WorkerSlot>);

#[derive(Debug)]
struct WorkerSlot {
    runtime: Handle,
    open: AtomicUsize,
}

/// A connection that a worker serves, until it is dropped. Counts nothing if there is one worker.
#[derive(Debug, Default)]
pub(crate) struct WorkerConnection(Option<(Arc<WorkerSet>, usize)>);

impl WorkerSet {
    /// Returns the number of workers.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the runtimes of the workers beside the first one, each with its number.
    pub(crate) fn others(&self) -> impl Iterator<Item = (usize, &Handle)> {
        self.0.iter().map(|member| &member.runtime).enumerate().skip(1)
    }

    /// Assigns a connection that worker `own` has accepted: to the worker that serves the fewest, and to
    /// `own` if it is one of several. Returns the runtime of another worker if the connection has to move there.
    pub(crate) fn assign(self: &Arc<Self>, own: usize) -> (WorkerConnection, Option<&Handle>) {
        if self.len() == 1 {
            return (WorkerConnection(None), None);
        }
        let load = |number: &usize| {
            let open = self.0.get(*number).map_or(usize::MAX, |member| member.open.load(Relaxed));
            (open, *number != own)
        };
        let number = (0..self.len()).min_by_key(load).unwrap_or(own);
        let member = self.0.get(number).filter(|_| number != own);
        (self.assign_to(number), member.map(|member| &member.runtime))
    }

    /// Assigns a connection to worker `number`.
    pub(crate) fn assign_to(self: &Arc<Self>, number: usize) -> WorkerConnection {
        if let Some(member) = self.0.get(number) {
            member.open.fetch_add(1, Relaxed);
        }
        WorkerConnection(Some((Arc::clone(self), number)))
    }
}

impl Drop for WorkerConnection {
    fn drop(&mut self) {
        if let Some((set, number)) = &self.0
            && let Some(member) = set.0.get(*number)
        {
            member.open.fetch_sub(1, Relaxed);
        }
    }
}

impl Worker {
    fn start(number: usize) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let (stopped, (ready, outcome)) = (stop.clone(), mpsc::channel());
        // The runtime is built on its thread, so that its memory comes from the heap of that thread.
        let serve = move || match runtime::build() {
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
        for (_, runtime) in workers.set().others() {
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

    #[tokio::test]
    async fn one_worker_needs_no_further_thread() {
        let set = Workers::start(NonZeroUsize::MIN).unwrap().set();
        assert_eq!((set.len(), set.others().count()), (1, 0));
        assert!(set.assign(0).1.is_none());
    }

    #[tokio::test]
    async fn a_connection_goes_to_the_worker_that_serves_the_fewest() {
        let set = Workers::start(NonZeroUsize::new(3).unwrap()).unwrap().set();
        let open = || set.0.iter().map(|member| member.open.load(Relaxed)).collect::<Vec<_>>();
        // The one that accepts keeps it unless another serves fewer.
        let (first, moved) = set.assign(1);
        assert!(moved.is_none() && open() == [0, 1, 0]);
        let (second, moved) = set.assign(1);
        assert_eq!(moved.unwrap().id(), set.0[0].runtime.id());
        assert_eq!(open(), [1, 1, 0]);
        let third = set.assign(0).0;
        assert_eq!(open(), [1, 1, 1]);
        drop(first);
        assert_eq!(open(), [1, 0, 1]);
        let (_fourth, moved) = set.assign(2);
        assert_eq!(moved.unwrap().id(), set.0[1].runtime.id());
        drop((second, third));
        assert_eq!(open(), [0, 1, 0]);
    }
}
