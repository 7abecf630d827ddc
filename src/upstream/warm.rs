//! Spare tunnels that wait before the last hop of a chain, so that only its own handshake is left to do.
//!
//! A spare has passed every hop but the last and has sent that one nothing: it fits any credentials and any session,
//! and is used once. A spare that receives anything while it waits, even its end, is dead. Spares are made one after
//! another, as long as the chain is in use, and are dropped before they are old.
//!
//! If the hops lead back to this proxy, each spare is a request that comes back through this very chain. If that asked for
//! spares, they would go on making each other without any client. So only a connection that has reached the last hop asks for
//! them, and none in a loop does.

mod stock;

use std::{
    future::poll_fn,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::Poll,
    thread,
    time::Duration,
};

use mooltiroute_hops::{Authority, Tunnel};
use tokio::{
    sync::Notify,
    task::unconstrained,
    time::{self, Instant},
};

pub(crate) use self::stock::Path;
use self::stock::{Need, Stock};
use crate::metrics::WarmCounts;

/// The spares of one chain. Generations in which the chain's hops stay the same share it.
#[derive(Debug)]
pub(crate) struct Warm {
    stock: Mutex<Stock>,
    /// Wakes the keeper when something changed.
    changed: Notify,
    /// The number of the keeper in office; an older one ends.
    keeper: AtomicU64,
    counts: Arc<WarmCounts>,
}

/// Makes spares, each of which is used once.
pub(crate) trait SpareMaker {
    /// Returns whether no more spares are needed.
    fn is_over(&self) -> bool;

    /// Makes a spare as if for a connection to `target`.
    fn make(
        &self,
        target: &Authority,
    ) -> impl Future<Output = Result<(Path, Tunnel), NotMade>> + Send;
}

/// Why a spare was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotMade {
    /// A step failed, and may succeed later.
    Failed,
    /// The way leads back to a proxy on it.
    Looped,
}

impl Warm {
    /// Creates the spares of a chain, which are at most `limit`. They are counted in `counts`.
    pub(crate) fn new(limit: usize, counts: Arc<WarmCounts>) -> Self {
        let (stock, changed) = (Mutex::new(Stock::new(limit)), Notify::new());
        Self { stock, changed, keeper: AtomicU64::new(0), counts }
    }

    /// Returns how many spares are kept at most.
    pub(crate) fn limit(&self) -> usize {
        self.stock().limit()
    }

    /// Takes a spare that came along `path`, for a connection to `target`.
    pub(crate) async fn take(&self, path: &Path, target: &Authority) -> Option<Tunnel> {
        // Spares that died unnoticed are dropped one by one. Each of them shortens the time for
        // which later ones are kept.
        let taken = loop {
            let spare = self.stock().take(path, target);
            let Some((spare, worker)) = spare else { break None };
            // A spare waits with the worker that keeps it, and goes on with the one that uses it.
            let spare = if worker == thread::current().id() {
                Ok(spare)
            } else {
                spare.into_current_runtime()
            };
            if let Ok(mut spare) = spare
                && is_quiet(&mut spare).await
            {
                break Some(spare);
            }
            self.stale();
        };
        let count = if taken.is_some() { &self.counts.hits } else { &self.counts.misses };
        count.fetch_add(1, Relaxed);
        // The keeper has to look again: there may be a spare less.
        self.notice();
        taken
    }

    /// Notes that a connection to `target` has come to the last hop without a spare, so that spares can be made.
    pub(crate) fn reached_last(&self, target: &Authority) {
        self.stock().reached_last(target);
        self.notice();
    }

    /// Notes that a spare that seemed alive was dead.
    pub(crate) fn stale(&self) {
        self.counts.stale.fetch_add(1, Relaxed);
        self.stock().was_stale();
    }

    /// Drops all spares, and makes no more until one is asked for.
    pub(crate) fn clear(&self) {
        self.stock().clear();
        self.notice();
    }

    /// Keeps as many spares as are wanted, until `maker` is over or another keeper takes its place. `fit` returns how many of so
    /// many spares this machine has room for now.
    pub(crate) async fn keep(
        self: Arc<Self>,
        maker: impl SpareMaker,
        fit: impl Fn(usize) -> usize,
    ) {
        // A reload may keep the spares and start a new keeper for them, whose maker leads to the
        // new chain. The number tells the old keeper to end, and the notification wakes it to see
        // that.
        let number = self.keeper.fetch_add(1, Relaxed) + 1;
        self.changed.notify_waiters();
        while self.keeper.load(Relaxed) == number && !maker.is_over() {
            let most = fit(self.limit());
            let need = self.stock().need(most);
            self.count_waiting();
            match need {
                Need::One { target } => {
                    // One after another, and not all in step with those of other chains.
                    time::sleep(jitter(FILL_JITTER)).await;
                    match maker.make(&target).await {
                        Ok((path, tunnel)) => self.stock().put(path, tunnel),
                        Err(NotMade::Failed) => self.stock().failed(jitter(FILL_JITTER)),
                        Err(NotMade::Looped) => self.stock().looped(jitter(FILL_JITTER)),
                    }
                }
                // An idle chain costs no timer: without a spare to grow old, `until` is `None`.
                Need::Until(until) => tokio::select! {
                    () = self.changed.notified() => {}
                    () = self.death() => {}
                    () = sleep_until(until) => {}
                },
            }
        }
    }

    /// Waits until a spare is dead, and drops it.
    async fn death(&self) {
        poll_fn(
            |cx| if self.stock().poll_deaths(cx) > 0 { Poll::Ready(()) } else { Poll::Pending },
        )
        .await;
    }

    /// Wakes the keeper.
    pub(crate) fn notice(&self) {
        self.count_waiting();
        self.changed.notify_one();
    }

    fn count_waiting(&self) {
        let waiting = self.stock().waiting() as u64;
        self.counts.waiting.store(waiting, Relaxed);
    }

    fn stock(&self) -> MutexGuard<'_, Stock> {
        // A panic while it was held left a stock that is still right.
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether nothing has come through `tunnel`, to which nothing was sent.
pub(crate) async fn is_quiet(tunnel: &mut Tunnel) -> bool {
    // Unconstrained: a task that has used up its budget would read nothing, even if something is there.
    unconstrained(poll_fn(|cx| Poll::Ready(tunnel.poll_disturbed(cx).is_pending()))).await
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// Returns a random duration below `most`.
fn jitter(most: Duration) -> Duration {
    let random = RandomState::new().hash_one(0);
    most.mul_f64(f64::from(random as u16) / f64::from(u16::MAX))
}

const FILL_JITTER: Duration = Duration::from_millis(50);
