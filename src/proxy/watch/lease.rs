//! Asks the kernel whether a file is open for writing.
//!
//! A process may take a lease on a file, to be told before another one opens it (`F_SETLEASE` in fcntl(2)). The kernel
//! refuses a lease for reading while any process has the file open for writing, of whichever user and namespace. So an
//! attempt that is given up at once answers the question. No safe crate has this call.

use std::{
    ffi::c_int,
    fs::OpenOptions,
    io,
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
    path::Path,
};

/// Returns whether some process has the file at `path` open for writing.
///
/// `None` if the kernel does not tell: only the owner of a file and privileged processes may take a lease, and some file
/// systems, such as NFS, have none.
pub(super) fn has_writer(path: &Path) -> Option<bool> {
    // A pipe in place of the file would wait for its other end.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).ok()?;
    let control = |command: c_int, argument: c_int| {
        #[expect(unsafe_code, reason = "no safe crate has leases")]
        // SAFETY: the descriptor is open until `file` is dropped, and both commands take a number and no pointer.
        let done = unsafe { libc::fcntl(file.as_raw_fd(), command, argument) };
        if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    // A process that opens the file for writing while the lease lasts makes the kernel send a signal, by default SIGIO,
    // which would end this process. SIGURG is ignored by default. That process waits until the lease is given up.
    control(F_SETSIG, libc::SIGURG).ok()?;
    match control(libc::F_SETLEASE, libc::F_RDLCK) {
        Ok(()) => {
            // If this fails, the close does it.
            let _ = control(libc::F_SETLEASE, libc::F_UNLCK);
            Some(false)
        }
        Err(error) => (error.kind() == io::ErrorKind::WouldBlock).then_some(true),
    }
}

/// Chooses the signal about a lease. libc has no name for it; Linux has this number on each architecture but PA-RISC.
const F_SETSIG: c_int = 10;

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use super::*;

    #[test]
    fn a_file_has_a_writer_until_the_last_one_closes_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        let first = fs::File::create(&path).unwrap();
        let second = OpenOptions::new().append(true).open(&path).unwrap();
        let reader = fs::File::open(&path).unwrap();
        assert_eq!(has_writer(&path), Some(true));
        drop(first);
        assert_eq!(has_writer(&path), Some(true));
        drop(second);
        assert_eq!(has_writer(&path), Some(false));
        drop(reader);
        assert_eq!(has_writer(&home.path().join("missing")), None);
    }

    /// A question at the wrong moment costs a writer no more than a short wait, and ends no process by a signal.
    #[test]
    fn writers_that_come_while_it_is_asked_get_their_file() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        fs::write(&path, "").unwrap();
        thread::scope(|scope| {
            let writer = scope.spawn(|| (0..5000).try_for_each(|_| fs::write(&path, "a: b\n")));
            while !writer.is_finished() {
                assert!(has_writer(&path).is_some());
            }
            writer.join().unwrap().unwrap();
        });
    }
}
