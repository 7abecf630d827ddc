//! Locks between processes.
#![cfg(unix)]

use std::{fs::File, io, thread, time::Duration};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

/// Locks `file` until it is dropped. Waits up to a second for another process.
///
/// # Errors
/// The system's error, or [`io::ErrorKind::WouldBlock`] if another process keeps the lock.
pub(crate) fn lock(file: File) -> io::Result<File> {
    // Others hold it for milliseconds. One that was stopped meanwhile must not stop this process too.
    for _ in 0..TRIES {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            // Some network file systems have no locks. One proxy alone needs none.
            Err(Errno::NOTSUP | Errno::NOLCK) => return Ok(file),
            Err(Errno::WOULDBLOCK) => thread::sleep(PAUSE),
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::Error::new(io::ErrorKind::WouldBlock, "another process keeps it locked"))
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
