//! Says what a command waits for if that takes long.

use std::{convert::Infallible, sync::mpsc, thread, time::Duration};

use super::complain;

/// Does `work`, and writes `notice` to standard error if it is not done after a few seconds.
pub(super) fn with_notice<T>(
    notice: impl FnOnce() -> String + Send,
    work: impl FnOnce() -> T,
) -> T {
    thread::scope(|scope| {
        let (at_work, done) = mpsc::channel::<Infallible>();
        let wait = move || {
            if done.recv_timeout(NOTICE_AFTER) == Err(mpsc::RecvTimeoutError::Timeout) {
                complain(&notice());
            }
        };
        // If the system has no thread to spare, the command does without the notice.
        let _ = thread::Builder::new().spawn_scoped(scope, wait);
        let result = work();
        drop(at_work);
        result
    })
}

/// The time after which an operator wonders whether the command hangs.
const NOTICE_AFTER: Duration = Duration::from_secs(5);
