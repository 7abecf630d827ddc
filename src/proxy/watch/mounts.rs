//! Tells when a file system is mounted or unmounted, which no watched directory reports.

use std::future::pending;
#[cfg(target_os = "linux")]
use std::{fs::File, io};

#[cfg(target_os = "linux")]
use tokio::io::{Interest, unix::AsyncFd};

/// The table of mounts that this process sees.
///
/// The kernel reports each of its changes as priority data of `/proc/self/mountinfo` (proc_pid_mountinfo(5)), so waiting
/// for one costs no wake-ups. Other systems report none.
#[derive(Debug, Default)]
pub(super) struct MountTable {
    #[cfg(target_os = "linux")]
    state: TableState,
    /// Whether a change was reported that is not handled yet.
    is_changed: bool,
}

#[cfg(target_os = "linux")]
#[derive(Debug, Default)]
enum TableState {
    #[default]
    Closed,
    Open(AsyncFd<File>),
    /// The system can't tell of changes.
    Unavailable,
}

impl MountTable {
    /// Waits until the table has changed, at first since the first call. Returns at once until the change is
    /// [handled](Self::set_handled), so no change is lost if the future is dropped. Must be called in a runtime of tokio.
    pub(super) async fn changed(&mut self) {
        if !self.is_changed {
            self.next_change().await;
            self.is_changed = true;
        }
    }

    /// Waits for the next change from now on. Changes from here on, also during the handling, are reported again.
    pub(super) fn set_handled(&mut self) {
        self.is_changed = false;
    }

    #[cfg(target_os = "linux")]
    async fn next_change(&mut self) {
        if matches!(self.state, TableState::Closed) {
            self.state = open().map_or(TableState::Unavailable, TableState::Open);
        }
        if let TableState::Open(table) = &self.state
            && let Ok(mut ready) = table.ready(Interest::PRIORITY).await
        {
            ready.clear_ready();
            return;
        }
        pending().await
    }

    #[cfg(not(target_os = "linux"))]
    async fn next_change(&mut self) {
        pending().await
    }
}

#[cfg(target_os = "linux")]
#[expect(
    deprecated,
    reason = "its successor is unsafe, since some types may change their descriptor; a `File` does not"
)]
fn open() -> io::Result<AsyncFd<File>> {
    AsyncFd::with_interest(File::open("/proc/self/mountinfo")?, Interest::PRIORITY)
}
