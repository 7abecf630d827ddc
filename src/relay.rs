//! Copies bytes both ways between a client and an upstream until both are done.
//!
//! A buffer is held only while bytes are in flight, so an idle tunnel costs its two sockets and little else. The end
//! of one direction is carried through and leaves the other alone; a reset on one side is a reset on the other.

mod pool;
mod way;

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use mooltiroute_hops::Tunnel;
use tokio::time::{Instant, Sleep, sleep_until};

use self::way::{Fault, Way};

/// Two ends, and how far the copying between them is.
#[derive(Debug)]
pub struct Relay {
    client: Tunnel,
    upstream: Tunnel,
    outward: Way,
    inward: Way,
    patience: Patience,
    timer: Option<(Pin<Box<Sleep>>, Duration)>,
    last_moved: Instant,
}

/// How long a relay waits for a byte.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// While both directions are open; `None`: for ever.
    pub idle: Option<Duration>,
    /// Once one direction has ended.
    pub half_closed: Duration,
}

/// How a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both directions came to their end.
    Closed,
    /// The client's connection broke.
    ClientBroke,
    /// The upstream's connection broke.
    UpstreamBroke,
    /// No byte moved for too long.
    Idle,
    /// One direction had ended, and no byte moved in the other for too long.
    HalfClosed,
    /// The proxy was shut down.
    Cut,
}

impl Relay {
    /// Bytes that either tunnel has read ahead are passed on first.
    pub fn new(client: Tunnel, upstream: Tunnel, patience: Patience) -> Self {
        let (outward, inward) = (Way::default(), Way::default());
        Self {
            client,
            upstream,
            outward,
            inward,
            patience,
            timer: None,
            last_moved: Instant::now(),
        }
    }

    /// Copies until the end. Dropping the future loses nothing: it can be called again.
    pub async fn run(&mut self) -> End {
        let end = poll_fn(|cx| self.poll(cx)).await;
        if end != End::Closed {
            self.reset();
        }
        end
    }

    /// Bytes from the client that the upstream took.
    pub fn sent(&self) -> u64 {
        self.outward.moved()
    }

    /// Bytes from the upstream that the client took.
    pub fn received(&self) -> u64 {
        self.inward.moved()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let before = (self.sent(), self.received());
        let outward = self.outward.poll(cx, &mut self.client, &mut self.upstream);
        let inward = self.inward.poll(cx, &mut self.upstream, &mut self.client);
        match (outward, inward) {
            (Poll::Ready(Err(Fault::Read)), _) | (_, Poll::Ready(Err(Fault::Write))) => {
                Poll::Ready(End::ClientBroke)
            }
            (Poll::Ready(Err(Fault::Write)), _) | (_, Poll::Ready(Err(Fault::Read))) => {
                Poll::Ready(End::UpstreamBroke)
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(End::Closed),
            (outward, inward) => {
                let is_half_closed = outward.is_ready() || inward.is_ready();
                let has_moved = before != (self.sent(), self.received());
                self.poll_timer(cx, is_half_closed, has_moved)
            }
        }
    }

    fn poll_timer(
        &mut self,
        cx: &mut Context<'_>,
        is_half_closed: bool,
        has_moved: bool,
    ) -> Poll<End> {
        let patience =
            if is_half_closed { Some(self.patience.half_closed) } else { self.patience.idle };
        let Some(patience) = patience else { return Poll::Pending };
        let is_new = self.timer.as_ref().is_none_or(|(_, armed)| *armed != patience);
        if has_moved || is_new {
            self.last_moved = Instant::now();
        }
        if is_new {
            self.timer = Some((Box::pin(sleep_until(self.last_moved + patience)), patience));
        }
        let Some((timer, _)) = &mut self.timer else { return Poll::Pending };
        // The timer is left alone while bytes move; when it fires it is set to what has become of the deadline.
        loop {
            ready!(timer.as_mut().poll(cx));
            let deadline = self.last_moved + patience;
            if deadline <= Instant::now() {
                return Poll::Ready(if is_half_closed { End::HalfClosed } else { End::Idle });
            }
            timer.as_mut().reset(deadline);
        }
    }

    /// Makes the close of both sockets a reset, so that neither end takes a broken stream for a whole one.
    fn reset(&self) {
        for tunnel in [&self.client, &self.upstream] {
            if let Some(socket) = tunnel.bottom() {
                // Where that fails the socket is already gone.
                let _: io::Result<()> = socket.set_zero_linger();
            }
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::ClientBroke => "client broke",
            Self::UpstreamBroke => "upstream broke",
            Self::Idle => "idle",
            Self::HalfClosed => "half-closed too long",
            Self::Cut => "cut at shutdown",
        })
    }
}
