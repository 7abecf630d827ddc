//! Memory that was needed for a while only is given back to the system.
//!
//! An allocator keeps what is freed, in case that it is needed again. glibc's keeps nearly all of it for ever: after
//! 9,000 tunnels 25 MB, of a process that needs 6 MB. It gives it back where it is asked to.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Notify, time::timeout};
use tracing::debug;

/// Tells when a time of much memory is over.
#[derive(Debug, Default)]
pub(crate) struct Peaks {
    /// The most connections at once since they last fell below half of that.
    highest: AtomicUsize,
    over: Notify,
}

/// Is kept by what is large and no connection.
#[derive(Debug)]
pub(crate) struct Held(Arc<Peaks>);

impl Peaks {
    /// There is one connection more: `open`.
    pub(crate) fn rise(&self, open: usize) {
        self.highest.fetch_max(open, Relaxed);
    }

    /// There is one connection less: `open`.
    pub(crate) fn fall(&self, open: usize) {
        let highest = self.highest.load(Relaxed);
        if highest >= CONNECTIONS_MIN && open < highest / 2 {
            // Two who come here at once tell the same, once too often at worst.
            self.highest.store(open, Relaxed);
            self.over.notify_one();
        }
    }

    /// Holds a peak for something large, such as a configuration. Dropping the result ends the peak.
    pub(crate) fn hold(self: &Arc<Self>) -> Held {
        Held(Arc::clone(self))
    }

    /// Gives memory back whenever a peak is over and no other has followed at once. An idle process is not woken.
    pub(crate) async fn settle(&self) -> Infallible {
        self.settle_by(give_back).await
    }

    async fn settle_by(&self, give_back: impl Fn()) -> Infallible {
        loop {
            self.over.notified().await;
            while timeout(CALM, self.over.notified()).await.is_ok() {}
            let begun = Instant::now();
            // A thread of its own would gain nothing, since allocations would wait for its lock. This takes 5 ms after
            // 9,000 tunnels.
            give_back();
            debug!(took = ?begun.elapsed(), "free memory is given back to the system");
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.over.notify_one();
    }
}

/// Has all threads take their memory from one heap. glibc begins another for each that is busy at once, and what a reload
/// on a second thread has left in one stays there; one worker does not need them.
///
/// It is for a program that begins: a heap that there is already stays.
pub(crate) fn share_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "there is no safe way to tell glibc's allocator")]
    // SAFETY: the function has no preconditions: it takes two numbers, any of which it either knows or refuses.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Has the allocator give the system every page that nothing is on. Others than glibc's do so by themselves.
fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "there is no safe way to ask glibc's allocator")]
    // SAFETY: the function has no preconditions: it takes a number, which may be any, and locks what it works on. It
    // touches none but free memory.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Fewer at once leave less than is worth the effort.
const CONNECTIONS_MIN: usize = 256;
/// How long no peak must have ended.
const CALM: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::sleep;

    use super::*;

    /// Counts how often memory is given back during `course`, and a while after it.
    async fn check(expected: usize, course: impl AsyncFnOnce(&Arc<Peaks>)) {
        let (peaks, count) = (Arc::new(Peaks::default()), Cell::new(0));
        tokio::select! {
            never = peaks.settle_by(|| count.set(count.get() + 1)) => match never {},
            () = async {
                course(&peaks).await;
                sleep(10 * CALM).await;
            } => {}
        }
        assert_eq!(count.get(), expected);
    }

    fn rise(peaks: &Peaks, open: impl IntoIterator<Item = usize>) {
        open.into_iter().for_each(|open| peaks.rise(open));
    }

    fn fall(peaks: &Peaks, open: impl DoubleEndedIterator<Item = usize>) {
        open.rev().for_each(|open| peaks.fall(open));
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_given_back_once_after_a_peak() {
        check(0, async |peaks| rise(peaks, 1..=9000)).await;
        check(1, async |peaks| {
            rise(peaks, 1..=9000);
            fall(peaks, 0..9000);
        })
        .await;
        // Small, everyday changes are not a peak.
        check(0, async |peaks| {
            for _ in 0..1000 {
                rise(peaks, 1..CONNECTIONS_MIN);
                fall(peaks, 0..CONNECTIONS_MIN - 1);
            }
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_end_of_a_peak_is_one_in_steps() {
        check(5, async |peaks| {
            rise(peaks, 1..=8000);
            for open in (0..8000).rev() {
                peaks.fall(open);
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn peak_after_peak_is_waited_out() {
        check(1, async |peaks| {
            for _ in 0..100 {
                rise(peaks, 1..=1000);
                fall(peaks, 0..1000);
                drop(peaks.hold());
                sleep(CALM / 2).await;
            }
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_configuration_that_is_gone_is_a_peak_too() {
        check(1, async |peaks| drop(peaks.hold())).await;
        check(0, async |peaks| std::mem::forget(peaks.hold())).await;
    }
}
