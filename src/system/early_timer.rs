//! A timer that is due before the timeouts of connections, which cost less behind it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::sleep;

/// A timer on the runtime of its caller that is set while there is traffic.
///
/// Tokio wakes the thread of a runtime by a write to a descriptor whenever a timer is set that is due before all others,
/// even if that very thread sets it. While few clients are connected, most timeouts of a connection would be the first to
/// be due: that is two writes and two events for each tunnel. Behind this timer none of them is.
///
/// It is not set again when it is due, so a proxy without traffic is not woken.
#[derive(Debug, Default)]
pub(crate) struct EarlyTimer {
    is_set: Arc<AtomicBool>,
}

impl EarlyTimer {
    /// Sets the timer if it is not set. Returns whether it was not.
    ///
    /// # Panics
    /// There is no runtime.
    pub(crate) fn set(&self) -> bool {
        if self.is_set.load(Relaxed) {
            return false;
        }
        self.is_set.store(true, Relaxed);
        let is_set = Arc::clone(&self.is_set);
        #[expect(
            clippy::disallowed_methods,
            reason = "it ends by itself, and nothing waits for it"
        )]
        tokio::spawn(async move {
            sleep(DUE).await;
            is_set.store(false, Relaxed);
        });
        true
    }
}

/// Shorter than the timeouts of connections, and long enough to cost nothing.
const DUE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_set_once_until_it_is_due() {
        let timer = EarlyTimer::default();
        assert_eq!([timer.set(), timer.set()], [true, false]);
        sleep(DUE / 2).await;
        assert!(!timer.set());
        sleep(DUE).await;
        assert_eq!([timer.set(), timer.set()], [true, false]);
    }
}
