//! Tries a configuration again that was rejected because an address can't be listened on.

use std::{future::pending, time::Duration};

use tokio::time::{Instant, sleep_until};

use crate::{
    config::Listener,
    proxy::listeners::{ListenError, Listeners},
};

/// A configuration whose listeners can't be bound yet.
///
/// Nothing tells when another program releases a port, or when an interface gets an address. So the addresses are tried at
/// regular intervals, and the files are loaded again only if the outcome differs.
#[derive(Debug)]
pub(super) struct Rebind {
    listen: Vec<Listener>,
    /// The words about the address that can't be bound.
    why: String,
    due: Instant,
}

impl Rebind {
    /// Plans another attempt at `listen`, which failed for `error`. Returns `None` if the listeners would be wrong at any time.
    pub(super) fn after(error: &ListenError, listen: &[Listener]) -> Option<Self> {
        matches!(error, ListenError::Bind { .. }).then(|| Self {
            listen: listen.to_owned(),
            why: error.to_string(),
            due: Instant::now() + PAUSE,
        })
    }

    /// Returns whether the addresses are free now, or another one of them is not. Otherwise, the next attempt is planned.
    ///
    /// The sockets that it binds are closed again, since the configuration is not in force yet.
    pub(super) fn is_worthwhile(&mut self, listeners: &Listeners) -> bool {
        self.due = Instant::now() + PAUSE;
        listeners.prepare(&self.listen).err().is_none_or(|error| error.to_string() != self.why)
    }
}

/// Waits until the next attempt is due. Never ends if there is none.
pub(super) async fn next_rebind(rebind: Option<&Rebind>) {
    match rebind {
        Some(rebind) => sleep_until(rebind.due).await,
        None => pending().await,
    }
}

/// Describes why an edited configuration can't be listened for, and what happens next.
pub(super) fn in_words(error: &ListenError) -> String {
    match error {
        ListenError::Bind { .. } => {
            format!("{}; retrying every {} s", error.at_reload(), PAUSE.as_secs())
        }
        _ => error.to_string(),
    }
}

/// The time between two attempts.
const PAUSE: Duration = Duration::from_secs(5);
