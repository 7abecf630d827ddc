//! Keeps the `hop` commands of a user from working on the same files at the same time.

use std::{
    fs::{File, TryLockError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    commands::{complain, hop::HopError},
    config::Environment,
    control::endpoint::private_file,
};

/// The right to edit files and what is remembered of them. Dropping it gives it to the next command.
///
/// Between the reading of a file and its replacement, another `hop` could replace it too, and one of the two edits would
/// be lost without a word. The same goes for the file of remembered conditions.
#[derive(Debug)]
pub(super) struct HopLock {
    _file: Option<File>,
}

impl HopLock {
    /// Waits until no other command of this user has the lock. If there is no place for a lock or the system knows none, the
    /// command goes on without.
    ///
    /// # Errors
    /// Another command has it for too long.
    pub(super) fn wait(environment: &Environment) -> Result<Self, HopError> {
        let Some(file) = private_file(environment, "hop.lock") else {
            return Ok(Self { _file: None });
        };
        let begun = Instant::now();
        let mut is_told = false;
        loop {
            match file.try_lock() {
                Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => {
                    if begun.elapsed() >= TOLD_AFTER && !is_told {
                        complain(&"waiting for another `mooltiroute hop`, which is editing");
                        is_told = true;
                    }
                    thread::sleep(PAUSE);
                }
                Err(TryLockError::WouldBlock) => return Err(HopError::Busy(PATIENCE.as_secs())),
                // Some file systems have no locks.
                Ok(()) | Err(TryLockError::Error(_)) => return Ok(Self { _file: Some(file) }),
            }
        }
    }
}

/// How long another command may take. It asks a proxy to check its edit, which takes some milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);
const TOLD_AFTER: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(10);
