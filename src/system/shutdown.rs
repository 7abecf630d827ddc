//! Signals as futures, and the two steps of an end.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::Poll,
};

use tokio::sync::Notify;

/// The two steps in which the proxy ends: first nothing new begins, then what is left is cut.
///
/// To ask whether a step has come is one load, so that every connection can ask each time its task runs, on any worker.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Arc<ShutdownState>);

#[derive(Debug, Default)]
struct ShutdownState {
    /// The last step that has come. It never goes back.
    reached: AtomicU8,
    /// Wakes all that wait for a step, after it has come.
    changed: Notify,
}

impl Shutdown {
    /// Starts to drain: nothing new may begin from now on.
    pub fn drain(&self) {
        self.reach(DRAINING);
    }

    /// Starts the cut: everything that is still open has to end now.
    pub fn cut(&self) {
        self.reach(CUT);
    }

    /// Returns whether nothing new may begin.
    pub fn is_draining(&self) -> bool {
        self.reached() >= DRAINING
    }

    /// Returns whether what is still open is to end.
    pub fn is_cut(&self) -> bool {
        self.reached() >= CUT
    }

    /// Waits until nothing new is to begin.
    pub async fn draining(&self) {
        self.wait_for(DRAINING).await;
    }

    /// Waits until what is still open is to end.
    pub async fn cutting(&self) {
        self.wait_for(CUT).await;
    }

    /// Runs `work` until nothing new is to begin. Returns `None` if that comes first.
    pub async fn until_draining<F: Future>(&self, work: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            () = self.draining() => None,
            done = work => Some(done),
        }
    }

    /// Runs `work` to its end, or until the cut. At the cut it is polled once more, so that it can end by itself.
    /// Returns `None` if it does not. Both steps of the shutdown wake it, so it only has to ask whether they have
    /// come.
    ///
    /// Only for the outermost future of a task: it keeps the waker of its first poll, which must stay valid.
    #[expect(clippy::manual_async_fn, reason = "an `async fn` keeps each argument twice, for days")]
    pub fn heeded_by<F: Future>(
        &self,
        mut work: Pin<&mut F>,
    ) -> impl Future<Output = Option<F::Output>> {
        async move {
            let mut change = pin!(self.0.changed.notified());
            let mut watched = None;
            poll_fn(|cx| {
                // A change wakes once, so each step that was seen asks for a new registration. A step that comes before it
                // is seen below, and one that comes after it wakes the task.
                let reached = self.reached();
                if watched != Some(reached) {
                    watched = Some(reached);
                    change.set(self.0.changed.notified());
                    // It was made a moment ago, so it is pending unless a change has come since: that wakes the task at once.
                    if change.as_mut().poll(cx).is_ready() {
                        cx.waker().wake_by_ref();
                        watched = None;
                    }
                }
                // The work is polled first, also after the cut, so that it can still end by itself.
                match work.as_mut().poll(cx) {
                    Poll::Ready(done) => Poll::Ready(Some(done)),
                    Poll::Pending if self.is_cut() => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                }
            })
            .await
        }
    }

    fn reached(&self) -> u8 {
        self.0.reached.load(Ordering::Acquire)
    }

    fn reach(&self, step: u8) {
        // The step comes before the wake-up, so that a task which is woken finds it.
        self.0.reached.fetch_max(step, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }

    async fn wait_for(&self, step: u8) {
        loop {
            // Made before the step is read, so that a change in between is not missed.
            let change = self.0.changed.notified();
            if self.reached() >= step {
                return;
            }
            change.await;
        }
    }
}

/// Nothing new begins.
const DRAINING: u8 = 1;
/// Everything that is left is cut.
const CUT: u8 = 2;

/// The signals that ask this process to end or to reload.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    streams: unix::Streams,
}

impl Signals {
    /// Takes the signals over from the system's defaults.
    ///
    /// # Errors
    /// The system's error.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            streams: unix::Streams::new()?,
        })
    }

    /// Waits until the process is asked to end: by SIGINT or SIGTERM on Unix, by Ctrl+C elsewhere.
    pub(crate) async fn end(&mut self) {
        #[cfg(unix)]
        return self.streams.end().await;
        #[cfg(not(unix))]
        {
            // It fails only if no handler can be set. Then there is nothing to wait for.
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// The requests to reload that come as a signal: SIGHUP on Unix.
#[derive(Debug)]
pub struct ReloadRequests {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl ReloadRequests {
    /// Takes the signal over from the system's default.
    ///
    /// # Errors
    /// The system's error.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            hangup: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?,
        })
    }

    /// Waits for the next request.
    pub async fn next(&mut self) {
        #[cfg(unix)]
        if self.hangup.recv().await.is_some() {
            return;
        }
        std::future::pending().await
    }
}

#[cfg(unix)]
mod unix {
    use std::io;

    use tokio::signal::unix::{Signal, SignalKind, signal};

    #[derive(Debug)]
    pub(super) struct Streams {
        interrupt: Signal,
        terminate: Signal,
    }

    impl Streams {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
            })
        }

        pub(super) async fn end(&mut self) {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;

    /// Waits for `shutdown` to come to the step that `has_come` asks for.
    async fn until(has_come: impl Fn() -> bool) {
        poll_fn(|_| if has_come() { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    #[tokio::test(start_paused = true)]
    async fn work_is_woken_by_each_step_and_dropped_after_the_cut() {
        let shutdown = Shutdown::default();
        let (begun, second) = (Instant::now(), Duration::from_secs(1));
        let steps = async {
            sleep(second).await;
            shutdown.drain();
            sleep(second).await;
            shutdown.cut();
        };
        let drains = pin!(async {
            until(|| shutdown.is_draining()).await;
            begun.elapsed()
        });
        let is_cut = pin!(async {
            until(|| shutdown.is_cut()).await;
            begun.elapsed()
        });
        let never = pin!(std::future::pending::<()>());
        let (drained, cut, dropped, ()) = tokio::join!(
            shutdown.heeded_by(drains),
            shutdown.heeded_by(is_cut),
            shutdown.heeded_by(never),
            steps,
        );
        assert_eq!((drained, cut, dropped), (Some(second), Some(second * 2), None));
        assert_eq!(shutdown.heeded_by(pin!(async { 7 })).await, Some(7));
    }
}
