//! Waiting in tests: a deadline for tests that hang, and the pause between two looks.

use std::{future::Future, time::Duration};

use tokio::time;

/// A deadline that is far longer than anything takes, even on a busy machine. A browser on a slow disk, or a program under Wine,
/// may take half a minute to start.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// The seconds that the program waits for peers in tests with a silent peer. Other peers answer much faster, but on a busy
/// machine under Wine they may take more than a second.
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

/// Waits for a moment between two looks at a state that can only be polled.
pub(crate) async fn pause() {
    time::sleep(Duration::from_millis(5)).await;
}
