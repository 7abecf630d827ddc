//! Lets a thread that is stuck give way to all others.

/// A handle on the thread that made it.
///
/// A thread that does not come back may keep a processor busy for hours. With the lowest priority it takes the time that
/// no other thread wants. Only Linux has priorities of threads that other threads can set without rights.
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

    /// Gives the thread the lowest priority. To be called while the thread runs: its number may belong to another one
    /// later.
    pub(crate) fn give_way(&self) {
        // A sandbox may forbid it. Then the thread competes like any other.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::setpriority_process(Some(self.thread), LOWEST);
    }
}

#[cfg(target_os = "linux")]
const LOWEST: i32 = 19;
