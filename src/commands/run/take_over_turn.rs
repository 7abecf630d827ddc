//! Keeps two processes from taking over from the same proxy.

use crate::config::Environment;

/// The right to take over from a proxy of this user. Dropping it gives it to the next process.
///
/// Without it, two processes that are started at once would both take the sockets of one proxy, and both go on serving.
#[derive(Debug)]
pub(super) struct TakeOverTurn {
    #[cfg(unix)]
    _file: Option<std::fs::File>,
}

impl TakeOverTurn {
    /// Waits until no other process of this user takes over. If there is no place for a lock, this one goes on without.
    ///
    /// # Errors
    /// Another one takes too long.
    #[cfg(unix)]
    pub(super) fn wait(environment: &Environment) -> Result<Self, String> {
        use crate::{control::endpoint::private_file, system::file_lock};

        let Some(file) = private_file(environment, "take-over.lock") else {
            return Ok(Self { _file: None });
        };
        match file_lock::lock(file) {
            Ok(file) => Ok(Self { _file: Some(file) }),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                Err("another process is taking over at the moment; run this again in a few seconds"
                    .to_owned())
            }
            Err(_) => Ok(Self { _file: None }),
        }
    }

    /// Goes on at once: no process takes over on this system.
    #[cfg(not(unix))]
    pub(super) fn wait(_: &Environment) -> Result<Self, String> {
        Ok(Self {})
    }
}
