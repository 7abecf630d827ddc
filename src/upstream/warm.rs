//! Spare tunnels that wait before the last hop of a chain, so that only its own handshake is left to do.
//!
//! A spare has passed every hop but the last and has sent that one nothing: it fits any credentials and any session,
//! and is used once. One that gives a sign of life while it waits, be it its end, is dead. Spares are made one after
//! another, for as long as somebody uses the chain, and none grows old.

mod stock;

use std::{
    future::poll_fn,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use mooltiroute_hops::{Authority, Tunnel};
use serde::Serialize;
use tokio::{
    sync::Notify,
    task::unconstrained,
    time::{self, Instant},
};
use tracing::debug;

pub(crate) use self::stock::Path;
use self::stock::{Need, Stock};
use crate::{client::reply::with_causes, upstream::chain::Chain};

/// The spares of one chain. Generations in which the chain's hops stay the same share it.
#[derive(Debug)]
pub(crate) struct Warm {
    stock: Mutex<Stock>,
    /// Told when something changed that the keeper must look at.
    changed: Notify,
    /// Which keeper is the one: an older one goes.
    keeper: AtomicU64,
    counts: Arc<WarmCounts>,
}

/// How often a spare was there when it was needed.
#[derive(Debug, Default)]
pub(crate) struct WarmCounts {
    hits: AtomicU64,
    misses: AtomicU64,
    stale: AtomicU64,
    waiting: AtomicU64,
}

/// The same at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct WarmTotals {
    /// Connections that took a spare.
    pub hits: u64,
    /// Connections for which none was there.
    pub misses: u64,
    /// Spares that were dead when they were taken.
    pub stale: u64,
    /// Spares that wait now.
    pub waiting: u64,
}

impl Warm {
    /// Keeps at most `limit` spares, counted in `counts`.
    pub(crate) fn new(limit: usize, counts: Arc<WarmCounts>) -> Self {
        let (stock, changed) = (Mutex::new(Stock::new(limit)), Notify::new());
        Self { stock, changed, keeper: AtomicU64::new(0), counts }
    }

    /// How many spares are kept at most.
    pub(crate) fn limit(&self) -> usize {
        self.stock().limit()
    }

    /// A spare that has come along `path`, for a connection to `target`, if one waits.
    pub(crate) async fn take(&self, path: &Path, target: &Authority) -> Option<Tunnel> {
        let taken = loop {
            let spare = self.stock().take(path, target);
            let Some(mut spare) = spare else { break None };
            if is_quiet(&mut spare).await {
                break Some(spare);
            }
            self.stale();
        };
        let count = if taken.is_some() { &self.counts.hits } else { &self.counts.misses };
        count.fetch_add(1, Relaxed);
        self.notice();
        taken
    }

    /// Notes that a spare was dead, though it did not seem so.
    pub(crate) fn stale(&self) {
        self.counts.stale.fetch_add(1, Relaxed);
        self.stock().was_stale();
    }

    /// Lets go of all spares, and makes none any more until one is asked for.
    pub(crate) fn clear(&self) {
        self.stock().clear();
        self.notice();
    }

    /// Makes and watches the spares of `chain`, which has these, for as long as it lives.
    pub(crate) async fn keep(self: Arc<Self>, chain: Weak<Chain>) {
        let number = self.keeper.fetch_add(1, Relaxed) + 1;
        self.changed.notify_waiters();
        while self.keeper.load(Relaxed) == number {
            let Some(alive) = chain.upgrade() else { return };
            let need = self.stock().need();
            self.count_waiting();
            match need {
                Need::One { target } => {
                    // One after another, and not all in step with those of others.
                    time::sleep(jitter(FILL_JITTER)).await;
                    self.fill(&alive, &target).await;
                }
                Need::Until(until) => {
                    drop(alive);
                    tokio::select! {
                        () = self.changed.notified() => {}
                        () = self.death() => {}
                        () = sleep_until(until) => {}
                    }
                }
            }
        }
    }

    async fn fill(&self, chain: &Chain, target: &Authority) {
        match chain.spare(target).await {
            Ok((path, tunnel)) => self.stock().put(path, tunnel),
            Err(error) => {
                debug!(chain = %chain.name(), error = with_causes(&error), "no spare tunnel");
                self.stock().failed(jitter(FILL_JITTER));
            }
        }
    }

    /// Waits until a spare is dead, and lets go of it.
    async fn death(&self) {
        poll_fn(
            |cx| if self.stock().poll_deaths(cx) > 0 { Poll::Ready(()) } else { Poll::Pending },
        )
        .await;
    }

    /// Has the keeper look.
    pub(crate) fn notice(&self) {
        self.count_waiting();
        self.changed.notify_one();
    }

    fn count_waiting(&self) {
        let waiting = self.stock().waiting() as u64;
        self.counts.waiting.store(waiting, Relaxed);
    }

    fn stock(&self) -> MutexGuard<'_, Stock> {
        // Whoever panicked while holding it left a stock that is still right.
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WarmCounts {
    /// The counts now.
    pub(crate) fn totals(&self) -> WarmTotals {
        WarmTotals {
            hits: self.hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
            stale: self.stale.load(Relaxed),
            waiting: self.waiting.load(Relaxed),
        }
    }
}

/// Whether nothing has come through `tunnel` where nothing was asked for.
pub(crate) async fn is_quiet(tunnel: &mut Tunnel) -> bool {
    // Unconstrained, since a task that has done its share would be told that nothing is there.
    unconstrained(poll_fn(|cx| Poll::Ready(tunnel.poll_disturbed(cx).is_pending()))).await
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// A duration below `most`, different each time.
fn jitter(most: Duration) -> Duration {
    let random = RandomState::new().hash_one(0);
    most.mul_f64(f64::from(random as u16) / f64::from(u16::MAX))
}

const FILL_JITTER: Duration = Duration::from_millis(50);
