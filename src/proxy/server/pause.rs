//! Waits while the system has no descriptors for more clients.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time;
use tracing::{info, warn};

/// A time in which there are no descriptors for more clients. The log says once that it begins, and once that it ends.
#[derive(Debug)]
pub(super) struct Pause {
    /// Whether the log has said that it began. All workers that share a listener share this.
    announced: Arc<AtomicBool>,
    /// How often accepting has failed in a row.
    pub(super) failures: u32,
}

impl Pause {
    pub(super) fn new(announced: Arc<AtomicBool>) -> Self {
        Self { announced, failures: 0 }
    }

    pub(super) fn is_announced(&self) -> bool {
        self.announced.load(Relaxed)
    }

    pub(super) fn begin(&self, address: SocketAddr, error: &dyn fmt::Display) {
        if !self.announced.swap(true, Relaxed) {
            warn!(%address, %error, "can't accept connections now; trying again until it works");
        }
    }

    /// Waits before the next attempt, longer each time.
    pub(super) async fn after(&mut self, error: &io::Error, address: SocketAddr) {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        // These are about one client that has gone, not about a lack, so the next one is accepted at once.
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            return;
        }
        self.begin(address, error);
        self.failures = self.failures.saturating_add(1);
        time::sleep(PAUSE_FIRST.saturating_mul(1 << self.failures.min(5)).min(PAUSE_MAX)).await;
    }

    pub(super) fn end(&self, address: SocketAddr) {
        if self.announced.swap(false, Relaxed) {
            info!(%address, "accepting connections again");
        }
    }
}

const PAUSE_FIRST: Duration = Duration::from_millis(10);
pub(super) const PAUSE_MAX: Duration = Duration::from_millis(250);
