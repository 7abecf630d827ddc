//! Waiting in tests: deadlines that fail a test that hangs, and the pause between two looks.

use std::{future::Future, time::Duration};

use tokio::time;

/// Far longer than anything here takes, even on a busy machine: a browser that a slow disk reads for the first time, or a program
/// under Wine, which runs the tests of Windows, may take half a minute to start.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// Seconds that the program waits for peers in tests in which one says nothing. Peers that answer take far less, but under Wine
/// and load they may take more than one second.
pub(crate) const SHORT_WAIT: u64 = if cfg!(windows) { 6 } else { 1 };

/// The timeouts of a configuration that waits [`SHORT_WAIT`] for each hop and target.
pub(crate) const SHORT_TIMEOUTS: &str = if cfg!(windows) {
    "timeouts: { connect: 6s, handshake: 6s, response: 6s }\n"
} else {
    "timeouts: { connect: 1s, handshake: 1s, response: 1s }\n"
};

/// Awaits `future`, and fails the test if that takes longer than [`DEADLINE`].
pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: nothing after {DEADLINE:?}"),
    }
}

/// Waits for a moment between two looks at a state that brings no event.
pub(crate) async fn pause() {
    time::sleep(Duration::from_millis(5)).await;
}
