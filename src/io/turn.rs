//! Turns: how much one transfer moves before others have their turn.

use std::{
    future::Future as _,
    pin::pin,
    task::{Context, Poll},
};

use tokio::task;

/// How many bytes a transfer moves in one turn: a fraction of a millisecond, also through TLS.
///
/// The budget of the runtime counts calls, and one call can splice a mebibyte. By that budget alone, a fast transfer would
/// keep all others on its worker waiting for tens of milliseconds.
pub(crate) const TURN_BYTES: u64 = 512 * 1024;

/// Yields: the task is polled again after every other ready task has had its turn.
pub(crate) fn end<T>(cx: &mut Context<'_>) -> Poll<T> {
    // The runtime wakes a task that yields only after it has looked for new events. A task that woke itself would come
    // before them: as long as a task is ready, the runtime looks for events only once in dozens of polls.
    let _ = pin!(task::yield_now()).poll(cx);
    Poll::Pending
}
