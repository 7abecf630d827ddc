//! Lowers the priority of a thread that is stuck.

/// A handle to the thread that created it.
///
/// A thread that does not come back may keep a processor busy for hours. With the lowest priority it gets only the time that
/// no other thread wants. Only on Linux can a thread change the priority of another one without special rights.
#[derive(Debug)]
pub(crate) struct ThreadPriority {
    #[cfg(target_os = "linux")]
    thread: rustix::process::Pid,
}

impl ThreadPriority {
    /// Returns a handle on the calling thread.
    pub(crate) fn of_this_thread() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            thread: rustix::thread::gettid(),
        }
    }

    /// Gives the thread the lowest priority. Must be called while the thread runs, since another thread may get its number
    /// later.
    pub(crate) fn give_way(&self) {
        // A sandbox may forbid it. Then the thread competes like any other.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::setpriority_process(Some(self.thread), LOWEST);
    }
}

#[cfg(target_os = "linux")]
const LOWEST: i32 = 19;
