//! Gives memory back to the system after a peak of use, and after the start.
//!
//! An allocator keeps freed memory for later use. glibc's never gives most of it back by itself: after 9,000 tunnels it
//! kept 25 MB for a process that needs 6 MB. It does so on request.

#[cfg(target_os = "linux")]
mod code;

use std::{
    convert::Infallible,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Notify, time::timeout};
use tracing::debug;

/// Notices the end of a peak of memory use.
#[derive(Debug, Default)]
pub(crate) struct Peaks {
    /// The most connections at once since they last fell below half of that.
    highest: AtomicUsize,
    over: Notify,
}

/// A mark that something large other than a connection is in memory.
#[derive(Debug)]
pub(crate) struct Held(Arc<Peaks>);

impl Peaks {
    /// Notes that a connection began, and `open` are open now.
    pub(crate) fn rise(&self, open: usize) {
        self.highest.fetch_max(open, Relaxed);
    }

    /// Notes that a connection ended, and `open` are open now.
    pub(crate) fn fall(&self, open: usize) {
        let highest = self.highest.load(Relaxed);
        if highest >= CONNECTIONS_MIN && open < highest / 2 {
            // Two threads that come here at once may both report one peak, which only gives memory back twice.
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

/// Makes all threads allocate from one heap.
///
/// By default glibc creates another heap for each thread that is busy at the same time, and memory that a reload has freed
/// in one of them stays there. One worker needs one heap. Call this at the start of the program: existing heaps stay.
pub(crate) fn share_heap() {
    limit_heaps(1);
}

/// Allows as many heaps as there are `workers`, so that threads that serve connections at the same time do not wait for
/// each other's allocations. Call this before they start.
pub(crate) fn allow_heaps(workers: NonZeroUsize) {
    if workers > NonZeroUsize::MIN {
        limit_heaps(workers.get());
    }
}

#[cfg_attr(
    not(all(target_os = "linux", target_env = "gnu")),
    expect(unused_variables, reason = "only glibc has such a limit")
)]
fn limit_heaps(count: usize) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "there is no safe way to tell glibc's allocator")]
    // SAFETY: the function has no preconditions: it takes two numbers, any of which it either knows or refuses.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, i32::try_from(count).unwrap_or(i32::MAX));
    }
}

/// Makes the allocator give every free page back to the system, and unmaps code. Allocators other than glibc's give back by
/// themselves.
fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "there is no safe way to ask glibc's allocator")]
    // SAFETY: the function has no preconditions: it takes a number, which may be any, and locks what it works on. It
    // touches none but free memory.
    unsafe {
        libc::malloc_trim(0);
    }
    #[cfg(target_os = "linux")]
    code::unmap();
}

/// Fewer connections at once leave too little to be worth the effort.
const CONNECTIONS_MIN: usize = 256;
/// How long ago the last peak must have ended.
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
