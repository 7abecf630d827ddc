//! Copies bytes both ways between a client and an upstream until both are done.
//!
//! A buffer is held only while bytes are in flight, so an idle tunnel costs its two sockets and little else. If the
//! system can do that, large transfers go from socket to socket inside the kernel.
//!
//! The end of one direction is passed on and leaves the other direction alone. A reset of one side is passed on as a
//! reset of the other, but only after the other side has received everything that was delivered before (RFC 9110
//! section 9.3.6).

mod delivery;
mod direction;
mod pool;
#[cfg_attr(not(target_os = "linux"), path = "relay/no_splice.rs")]
mod splice;
#[cfg(test)]
mod tests;
mod timers;

use std::{
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use mooltiroute_hops::Tunnel;

use self::{
    delivery::Delivery,
    direction::{Break, Direction},
    timers::RelayClock,
};
use crate::io::{CountBytes, send_queue::not_sent};

/// Two connections, and the state of the copying between them.
#[derive(Debug)]
pub struct Relay {
    client: Tunnel,
    upstream: Tunnel,
    outward: Direction,
    inward: Direction,
    broken: Option<RelaySide>,
    delivery: Option<Box<Delivery>>,
    /// The limit once one direction has ended.
    half_closed: Duration,
    clock: Option<Box<RelayClock>>,
    meter: Option<Arc<dyn CountBytes>>,
    /// Whether the last bytes came from the client, so that an answer may be due.
    awaits_answer: bool,
}

/// How long a relay waits for a byte.
#[derive(Clone, Copy, Debug)]
pub struct RelayTimeouts {
    /// The limit while both directions are open. `None` means no limit.
    pub idle: Option<Duration>,
    /// The age after which a second without a byte ends the tunnel. `None` means never.
    pub rotate_after: Option<Duration>,
    /// The limit once one direction has ended, and for the delivery of the last bytes before a reset.
    pub half_closed: Duration,
}

/// How a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both directions came to their end.
    Closed,
    /// The client's connection broke.
    ClientBroke,
    /// The client left before the tunnel was open.
    ClientLeft,
    /// The upstream's connection broke.
    UpstreamBroke,
    /// No byte moved for too long.
    Idle,
    /// One direction had ended, and no byte moved in the other for too long.
    HalfClosed,
    /// The proxy was shut down.
    Cut,
    /// An operator ended it.
    Killed,
    /// It was old enough, and quiet for a second.
    Rotated,
}

/// One of the two connections of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RelaySide {
    Client,
    Upstream,
}

impl Relay {
    /// Returns a relay that passes bytes which either tunnel has read ahead first.
    pub fn new(client: Tunnel, upstream: Tunnel, timeouts: RelayTimeouts) -> Self {
        Self {
            client,
            upstream,
            outward: Direction::default(),
            inward: Direction::default(),
            broken: None,
            delivery: None,
            half_closed: timeouts.half_closed,
            clock: RelayClock::for_open(timeouts),
            meter: None,
            awaits_answer: false,
        }
    }

    /// Begins its counts at these, the bytes that were passed on before.
    #[must_use]
    pub fn counting_from(mut self, sent: u64, received: u64) -> Self {
        self.outward.count_from(sent);
        self.inward.count_from(received);
        self
    }

    /// Counts bytes with `meter` while they move.
    #[must_use]
    pub fn metered(self, meter: Arc<dyn CountBytes>) -> Self {
        Self { meter: Some(meter), ..self }
    }

    /// Copies until the end, or until the task is woken and `is_cut` returns true.
    ///
    /// Dropping the future loses nothing: the function can be called again.
    pub async fn run(&mut self, is_cut: impl Fn() -> bool) -> End {
        poll_fn(|cx| self.poll_end(cx, &is_cut)).await
    }

    /// Copies until there is nothing to copy at the moment. Ready at the end, and when `is_cut` returns true.
    ///
    /// [`run`](Self::run) without a future: an open tunnel waits for days, so its owner keeps no more than it needs.
    pub fn poll_end(&mut self, cx: &mut Context<'_>, is_cut: impl Fn() -> bool) -> Poll<End> {
        if self.is_finishing() {
            return self.poll_finish(cx);
        }
        let end = match self.poll(cx) {
            Poll::Ready(end) => end,
            // Asked last: a relay that has just come to its end reports that end, and not the cut.
            Poll::Pending if is_cut() => End::Cut,
            Poll::Pending => return Poll::Pending,
        };
        match end {
            End::Closed => {}
            End::Rotated => return self.poll_finish(cx),
            _ => {
                // Neither peer may take a broken stream for a complete one. Bytes that the reset will throw away
                // don't count as delivered.
                self.forget_unsent();
                self.reset();
            }
        }
        Poll::Ready(end)
    }

    /// Returns how many bytes from the client the upstream took, in all. After a broken end, those that never left are taken
    /// off, as far as the system tells.
    pub fn sent(&self) -> u64 {
        self.outward.moved()
    }

    /// Returns how many bytes from the upstream the client took, in the same way.
    pub fn received(&self) -> u64 {
        self.inward.moved()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        // The totals are compared once per poll. So the shared counters, which `ps` and `top` read
        // while the tunnel is open, are touched once however many pieces moved.
        let before = (self.sent(), self.received());
        let end = self.poll_directions(cx);
        if let Some(meter) = &self.meter {
            meter.sent(self.sent() - before.0);
            meter.received(self.received() - before.1);
        }
        // The delivery of the last bytes limits itself.
        if end.is_ready() || self.delivery.is_some() {
            return end;
        }
        let has_moved = before != (self.sent(), self.received());
        if has_moved {
            // If both directions moved at once, what came back can hardly be the answer yet.
            self.awaits_answer = before.0 != self.sent();
        }
        self.poll_timer(cx, has_moved)
    }

    fn poll_directions(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.broken.is_none() {
            // A break is handled before the other direction is polled; `break_off` says why.
            let outward = self.outward.poll(cx, &mut self.client, &mut self.upstream);
            if let Poll::Ready(Err(broke)) = outward {
                return self.break_off(cx, broke, RelaySide::Client, RelaySide::Upstream);
            }
            let inward = self.inward.poll(cx, &mut self.upstream, &mut self.client);
            if let Poll::Ready(Err(broke)) = inward {
                return self.break_off(cx, broke, RelaySide::Upstream, RelaySide::Client);
            }
            // The end of one direction leaves the other alone: a client may end its request and
            // then wait for a long answer.
            if outward.is_ready() && inward.is_ready() {
                return Poll::Ready(End::Closed);
            }
            return Poll::Pending;
        }
        self.poll_broken(cx)
    }

    /// Notes which side of the direction from `reader` to `writer` broke.
    ///
    /// This happens before the other direction is polled: after a failed write, the end of the broken side must not be
    /// passed on as an ordinary one.
    #[cold]
    fn break_off(
        &mut self,
        cx: &mut Context<'_>,
        broke: Break,
        reader: RelaySide,
        writer: RelaySide,
    ) -> Poll<End> {
        // After a failed write, the same broken connection is the reader of the other direction.
        // Its end is then part of the break, unless it had ended in order before.
        let (broken, is_end_unclean) = match broke {
            Break::Read => (reader, true),
            Break::Write { is_end_unclean } => (writer, is_end_unclean),
        };
        self.broken = Some(broken);
        let (from_broken, to_broken) = match broken {
            RelaySide::Client => (&mut self.outward, &mut self.inward),
            RelaySide::Upstream => (&mut self.inward, &mut self.outward),
        };
        // Nothing can reach the broken side any more. The bytes that it sent before it broke are
        // still good, so the direction away from it goes on until they are delivered.
        to_broken.abandon();
        if is_end_unclean {
            from_broken.expect_break();
        }
        self.poll_broken(cx)
    }

    /// Delivers what the broken side had sent, and is ready when the other side may be reset.
    ///
    /// The bytes are in three places: in the receive queue of the broken side, which the kernel keeps after a reset; in
    /// the buffer or pipe of the direction; and in the send queue of the other side. A reset destroys the last one, so
    /// the bytes are first moved there, and then the other side must have acknowledged them. Bytes for the broken side
    /// have no receiver and are not read any more.
    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        // Only the direction away from the broken side is polled. It is ready once everything that
        // could be read from there was written.
        let (end, delivered, receiver) = match self.broken {
            Some(RelaySide::Client) => {
                let delivered = self.outward.poll(cx, &mut self.client, &mut self.upstream);
                (End::ClientBroke, delivered, &self.upstream)
            }
            Some(RelaySide::Upstream) => {
                let delivered = self.inward.poll(cx, &mut self.upstream, &mut self.client);
                (End::UpstreamBroke, delivered, &self.client)
            }
            None => return Poll::Pending,
        };
        // If writing failed, the receiver is gone too, and there is nothing to wait for.
        if let (Ok(()) | Err(Break::Read), Some(socket)) = (ready!(delivered), receiver.bottom()) {
            let delivery = self.delivery.get_or_insert_with(|| Box::new(Delivery::new()));
            ready!(delivery.poll(cx, socket, self.half_closed));
        }
        Poll::Ready(end)
    }

    /// Subtracts from the counts the bytes that are still in the send queues, since the reset discards them.
    fn forget_unsent(&mut self) {
        self.outward.take_back(not_sent(&self.upstream));
        self.inward.take_back(not_sent(&self.client));
    }

    /// Makes the close of both sockets a reset, so that neither peer takes a broken stream for a complete one.
    fn reset(&self) {
        self.client.reset_on_close();
        self.upstream.reset_on_close();
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::ClientBroke => "client broke",
            Self::ClientLeft => "client left",
            Self::UpstreamBroke => "upstream broke",
            Self::Idle => "idle",
            Self::HalfClosed => "half-closed too long",
            Self::Cut => "cut at shutdown",
            Self::Killed => "killed",
            Self::Rotated => "rotated",
        })
    }
}
