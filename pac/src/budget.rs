//! The processor time that a script may take.

use std::{cell::Cell, time::Duration};

/// The processor time that a call may take. Real scripts need some microseconds.
pub const CALL_MAX: Duration = Duration::from_millis(100);

/// The processor time that a script may take before its function can be called.
pub const LOAD_MAX: Duration = Duration::from_millis(500);

/// The processor time that is left to the thread.
///
/// Real time is not counted, so that no script is refused because other programs are busy.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    /// The time of the thread's clock when the budget is used up.
    end: Cell<Duration>,
    /// The time that the work may take.
    whole: Cell<Duration>,
    is_exceeded: Cell<bool>,
}

impl Budget {
    /// Begins a piece of work that may take `time`.
    pub(crate) fn begin(&self, time: Duration) {
        self.end.set(thread_time() + time);
        self.whole.set(time);
        self.is_exceeded.set(false);
    }

    /// Returns whether the time is used up, so that the work must end, and remembers that.
    pub(crate) fn is_used_up(&self) -> bool {
        let is_over = thread_time() >= self.end.get();
        if is_over {
            self.is_exceeded.set(true);
        }
        is_over
    }

    /// Returns the time that the last piece of work was allowed.
    pub(crate) fn whole(&self) -> Duration {
        self.whole.get()
    }

    /// Returns whether the last piece of work used up its time.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.is_exceeded.get()
    }
}

/// Returns the processor time that this thread has taken.
#[cfg(unix)]
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanoseconds.unwrap_or_default())
}

/// Returns the time since the thread first asked, since the system has no cheap clock of its processor time.
#[cfg(not(unix))]
fn thread_time() -> Duration {
    thread_local!(static BEGAN: std::time::Instant = std::time::Instant::now());
    BEGAN.with(std::time::Instant::elapsed)
}
