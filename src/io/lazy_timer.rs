//! A deadline for waits that almost never expire.

use std::{
    future::{Future as _, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::time::{Duration, Instant, Sleep, sleep};

/// A deadline for waits that almost never expire, such as the wait for the next request.
///
/// Setting a timer costs more than most waits for a request. So a timer that is already set to an earlier time stays, and
/// is moved only when it fires. That is rare, and does not end the wait.
#[derive(Debug)]
pub struct LazyDeadline<'a>(Pin<&'a mut Sleep>);

/// Creates the timer of a [`LazyDeadline`], not set. The caller pins it.
pub(crate) fn timer() -> Sleep {
    sleep(NEVER)
}

impl<'a> LazyDeadline<'a> {
    /// Creates an deadline that uses `timer`, which [`timer()`] made.
    pub fn new(timer: Pin<&'a mut Sleep>) -> Self {
        Self(timer)
    }

    /// Lends the deadline for a while.
    pub fn lend(&mut self) -> LazyDeadline<'_> {
        LazyDeadline(self.0.as_mut())
    }

    /// Waits until `due`.
    pub async fn until(&mut self, due: Instant) {
        poll_fn(|cx| self.poll_until(cx, due)).await;
    }

    /// Becomes ready at `due`.
    pub(crate) fn poll_until(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        // Only an earlier deadline is set at once, since the timer would fire too late for it. Most
        // waits end long before they are due, and then a later deadline never touches the timer.
        if due < self.0.deadline() {
            self.0.as_mut().reset(due);
        }
        loop {
            // The timer may fire for a wait that has ended long ago. Then it is moved to the
            // deadline of this wait, and polled again so that it wakes this task.
            ready!(self.0.as_mut().poll(cx));
            if self.0.deadline() >= due {
                return Poll::Ready(());
            }
            self.0.as_mut().reset(due);
        }
    }
}

/// No connection lasts as long.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::time::timeout_at;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_wait_ends_when_it_is_due_whatever_was_waited_for_before() {
        let mut timer = pin!(timer());
        let mut deadline = LazyDeadline::new(timer.as_mut());
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        for (due, given_up, ends) in [
            (30, 1, 1),
            (75, 2, 2),
            (40, 50, 40),
            (75, 60, 60),
            (75, 90, 75),
            (80, 90, 80),
            (70, 90, 80),
        ] {
            let is_due = timeout_at(at(given_up), deadline.lend().until(at(due))).await.is_ok();
            assert_eq!((is_due, begun.elapsed().as_secs()), (due < given_up, ends), "{due}");
        }
    }
}
