//! Deadlines, which only exist to fail what hangs.

use std::{future::Future, time::Duration};

use tokio::time;

/// Far longer than anything here takes, on a busy machine too.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Awaits `future`, and fails the test where that takes longer than [`DEADLINE`].
pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: nothing after {DEADLINE:?}"),
    }
}
