//! Waits until the peer of a socket has received everything that was written to it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

use crate::io::send_queue::queued;

/// A wait until the peer of a socket has acknowledged everything that was written to the socket.
///
/// A socket that is closed with a reset throws its send queue away, so a reset must not follow too soon. No event tells
/// that the queue is empty: a socket becomes writable when a third of the queue is free. So the queue is looked at again
/// and again, at first soon and then less and less often. This costs a timer, but only after a connection broke.
#[derive(Debug)]
pub(super) struct Delivery {
    next_look: Pin<Box<Sleep>>,
    pause: Duration,
    begun: Instant,
    last_queued: u32,
    last_progress: Instant,
}

impl Delivery {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            next_look: Box::pin(sleep(Duration::ZERO)),
            pause: PAUSE_MIN,
            begun: now,
            last_queued: u32::MAX,
            last_progress: now,
        }
    }

    /// Becomes ready once the peer of `socket` has everything, or has taken nothing for `patience`.
    ///
    /// If the system does not tell, the peer is given a fixed time.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        socket: &TcpStream,
        patience: Duration,
    ) -> Poll<()> {
        loop {
            let now = Instant::now();
            // Nothing is written any more, so the queue only shrinks. As long as it does, the peer
            // takes bytes, and its time begins again.
            let is_over = match queued(socket) {
                Some(0) => true,
                Some(queued) => {
                    if queued < self.last_queued {
                        self.last_queued = queued;
                        self.last_progress = now;
                    }
                    now - self.last_progress >= patience
                }
                // Without a queue to look at there is no progress to see, so the time counts from
                // the break.
                None => now - self.begun >= patience.min(BLIND_WAIT),
            };
            if is_over {
                return Poll::Ready(());
            }
            // The pauses double: a quick peer is noticed within milliseconds, and a slow one costs
            // few wake-ups.
            if self.next_look.is_elapsed() {
                self.next_look.as_mut().reset(now + self.pause);
                self.pause = (self.pause * 2).min(PAUSE_MAX);
            }
            ready!(self.next_look.as_mut().poll(cx));
        }
    }
}

const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// How long a peer has to receive the last bytes if the system does not tell whether it did.
const BLIND_WAIT: Duration = Duration::from_secs(1);
