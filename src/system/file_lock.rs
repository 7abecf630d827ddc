//! Locks between processes.

use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
    thread,
    time::Duration,
};

/// Opens the file at `path` to lock it, or makes it.
///
/// It is not emptied: on Windows, the lock of another process protects its content too.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    File::options().write(true).create(true).truncate(false).open(path)
}

/// Locks `file` until it is dropped. Waits up to a second for another process.
///
/// # Errors
/// The system's error, or [`io::ErrorKind::WouldBlock`] if another process keeps the lock.
pub(crate) fn lock(file: File) -> io::Result<File> {
    // Others hold it for milliseconds. One that was stopped meanwhile must not stop this process too.
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
            // One proxy alone needs no lock.
            Err(TryLockError::Error(error)) if has_no_locks(&error) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::WouldBlock, "another process keeps it locked"))
}

/// Returns whether `error` says that the file system has no locks, as some network file systems do.
#[cfg(unix)]
fn has_no_locks(error: &io::Error) -> bool {
    use rustix::io::Errno;

    matches!(Errno::from_io_error(error), Some(Errno::NOTSUP | Errno::NOLCK))
}

/// Returns whether `error` says that the file system has no locks: the system's numbers for "incorrect function" and "the request
/// is not supported".
#[cfg(not(unix))]
fn has_no_locks(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(1 | 50))
}

const TRIES: usize = 50;
const PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_keeps_the_lock_is_not_waited_for_without_end() {
        let directory = tempfile::tempdir().unwrap();
        let open = || File::create(directory.path().join("lock")).unwrap();
        let held = lock(open()).unwrap();
        assert_eq!(lock(open()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(held);
        lock(open()).unwrap();
    }
}
