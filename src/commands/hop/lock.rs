//! Keeps the `hop` commands of a user from working on the same files at the same time.

use crate::{commands::hop::HopError, config::Environment};

/// The right to edit files and what is remembered of them. Dropping it gives it to the next command.
///
/// Between the reading of a file and its replacement, another `hop` could replace it too, and one of the two edits would
/// be lost without a word. The same goes for the file of remembered conditions.
#[derive(Debug)]
pub(super) struct HopLock {
    #[cfg(unix)]
    _file: Option<std::fs::File>,
}

impl HopLock {
    /// Waits until no other command of this user has the lock. If there is no place for a lock or the system knows none, the
    /// command goes on without.
    ///
    /// # Errors
    /// Another command has it for too long.
    #[cfg(unix)]
    pub(super) fn wait(environment: &Environment) -> Result<Self, HopError> {
        use std::{thread, time::Instant};

        use rustix::{
            fs::{FlockOperation, flock},
            io::Errno,
        };

        use crate::{
            commands::complain,
            control::endpoint::{directories, private_file},
        };

        // With the sockets and not with the state: this directory is always the user's own, also under `sudo` with the home of
        // another user, in whose place nothing must be left that only root can write.
        let file = private_file(&directories(environment), "hop.lock");
        let Some(file) = file else { return Ok(Self { _file: None }) };
        let begun = Instant::now();
        let mut is_told = false;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) if begun.elapsed() < PATIENCE => {
                    if begun.elapsed() >= TOLD_AFTER && !is_told {
                        complain(&"waiting for another `mooltiroute hop`, which is editing");
                        is_told = true;
                    }
                    thread::sleep(PAUSE);
                }
                Err(Errno::WOULDBLOCK) => return Err(HopError::Busy(PATIENCE.as_secs())),
                // Some file systems have no locks.
                Ok(()) | Err(_) => return Ok(Self { _file: Some(file) }),
            }
        }
    }

    /// Goes on at once: there are no such locks on this system.
    #[cfg(not(unix))]
    pub(super) fn wait(_: &Environment) -> Result<Self, HopError> {
        Ok(Self {})
    }
}

/// How long another command may take. It asks a proxy to check its edit, which takes some milliseconds.
#[cfg(unix)]
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
#[cfg(unix)]
const TOLD_AFTER: std::time::Duration = std::time::Duration::from_secs(2);
#[cfg(unix)]
const PAUSE: std::time::Duration = std::time::Duration::from_millis(10);
