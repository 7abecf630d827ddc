//! Looks at the files without being told of a change.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use tokio::sync::mpsc::UnboundedSender;

use super::{
    survey::{Files, lock},
    tick::Tick,
    trail::{Snapshot, Trail},
};

/// Looks at the files from time to time, if the system does not report each change.
///
/// Some file systems report none, such as network file systems that other machines write to. If all report theirs, the
/// files are looked at once some seconds after each change, in case another one fell between a survey and a new watch.
/// Otherwise the thread sleeps, so that an idle proxy does.
///
/// It has a thread of its own for two reasons. A look may take long. And while a timer of the runtime is set, each
/// wait of the proxy's thread sets one in the hardware, which costs open tunnels time.
#[derive(Debug)]
pub(super) struct Poller {
    pub(super) files: Arc<Mutex<Files>>,
    pub(super) followed: Arc<Mutex<Snapshot>>,
    pub(super) sender: UnboundedSender<Tick>,
    /// Receives a message after each change that was followed, and ends with the watch.
    pub(super) followings: Receiver<()>,
    /// Whether some change may not be reported.
    pub(super) is_blind: Arc<AtomicBool>,
    /// The shortest time between two looks.
    pub(super) pause: Duration,
}

impl Poller {
    pub(super) fn run(self) {
        // A look at many files, or at a slow network file system, is taken less often.
        let mut pause = self.pause;
        let mut due = Some(Instant::now() + pause);
        loop {
            let waited = match due {
                Some(due) => {
                    self.followings.recv_timeout(due.saturating_duration_since(Instant::now()))
                }
                None => self.followings.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match waited {
                // A change does not put off a look that is due.
                Ok(()) => _ = due.get_or_insert_with(|| Instant::now() + pause),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    let begun = Instant::now();
                    let files = lock(&self.files).clone();
                    let look = Trail::to(&files.root, &files.named).look();
                    pause = begun.elapsed().saturating_mul(PAUSE_FACTOR).max(self.pause);
                    if look != *lock(&self.followed) && self.sender.send(Tick::Differs).is_err() {
                        return;
                    }
                    due = self.is_blind.load(Relaxed).then(|| Instant::now() + pause);
                }
            }
        }
    }
}

/// Returns whether the system reports every change in `directory`: if it is on a file system of this machine alone.
///
/// On a network file system, one that a virtual machine shares with its host, or an overlay, changes can be made past this
/// system, which then reports none.
#[cfg(target_os = "linux")]
pub(super) fn reports_all_changes(directory: &Path) -> bool {
    // `f_type` is signed on some architectures, and each of these numbers has 32 bits.
    rustix::fs::statfs(directory).is_ok_and(|found| LOCAL.contains(&(found.f_type as u32)))
}

/// Returns `false`: only Linux tells the kinds of file systems by numbers.
#[cfg(not(target_os = "linux"))]
pub(super) fn reports_all_changes(_: &Path) -> bool {
    false
}

/// The numbers of statfs(2) for ext2 to ext4, XFS, Btrfs, F2FS, ZFS, bcachefs, tmpfs and ramfs.
#[cfg(target_os = "linux")]
const LOCAL: [u32; 8] = [
    0xef53,
    0x5846_5342,
    0x9123_683e,
    0xf2f5_2010,
    0x2fc1_2fc1,
    0xca45_1a4e,
    0x0102_1994,
    0x8584_58f6,
];
/// The pause between two looks is this many times as long as a look takes.
const PAUSE_FACTOR: u32 = 200;

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_of_the_kernel_is_not_taken_for_a_disk() {
        assert!(!reports_all_changes(Path::new("/proc")));
        assert!(!reports_all_changes(Path::new("/nowhere")));
    }

    #[test]
    fn files_are_looked_at_once_after_a_change_and_again_and_again_only_if_blind() {
        for is_blind in [false, true] {
            let root = tempfile::tempdir().unwrap();
            let (sender, mut ticks) = tokio::sync::mpsc::unbounded_channel();
            let (follow, followings) = std::sync::mpsc::channel();
            let poller = Poller {
                files: Arc::new(Mutex::new(Files { root: root.path().into(), named: Vec::new() })),
                // Differs at each look.
                followed: Arc::default(),
                sender,
                followings,
                is_blind: Arc::new(AtomicBool::new(is_blind)),
                pause: Duration::from_millis(10),
            };
            let thread = std::thread::spawn(move || poller.run());
            let mut next = || ticks.blocking_recv().is_some_and(|tick| tick == Tick::Differs);
            assert!(next(), "at the start");
            if is_blind {
                assert!(next() && next());
            }
            follow.send(()).unwrap();
            assert!(next());
            drop(follow);
            thread.join().unwrap();
            if !is_blind {
                assert!(ticks.try_recv().is_err(), "no look without a cause");
            }
        }
    }
}
