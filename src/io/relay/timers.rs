//! The ends of a relay that come with time: silence, and an age after which the tunnel is rotated.

use std::{
    future::Future as _,
    task::{Context, Poll, ready},
    time::Duration,
};

use mooltiroute_hops::Tunnel;
use tokio::{
    io::AsyncWriteExt as _,
    join,
    time::{Instant, sleep_until, timeout},
};

use super::{End, Relay, RelaySide};
use crate::io::send_queue::queued;

impl Relay {
    pub(super) fn poll_timer(&mut self, cx: &mut Context<'_>, has_moved: bool) -> Poll<End> {
        let is_half_closed = self.outward.is_over() || self.inward.is_over();
        // A peer that never ends its own direction must not hold both sockets, so the limit for
        // half-closed tunnels always has a value. The idle limit may be off.
        let patience =
            if is_half_closed { Some(self.patience.half_closed) } else { self.patience.idle };
        if let (Some(age), false) = (self.patience.rotate_after, is_half_closed) {
            return self.poll_rotation(cx, has_moved, age);
        }
        let Some(patience) = patience else { return Poll::Pending };
        let is_new = self.timer.as_ref().is_none_or(|(_, armed)| *armed != patience);
        // A change of the limit counts as movement, so that the new limit begins in full.
        if has_moved || is_new {
            self.last_moved = Instant::now();
        }
        if is_new {
            self.timer = Some((Box::pin(sleep_until(self.last_moved + patience)), patience));
        }
        let Some((timer, _)) = &mut self.timer else { return Poll::Pending };
        // Moving bytes does not touch the timer. When it fires, it is set to the deadline that holds by then.
        loop {
            ready!(timer.as_mut().poll(cx));
            let deadline = self.last_moved + patience;
            if deadline <= Instant::now() {
                // If a side broke and its last bytes are not taken in time, the break is the reason
                // to report, and not the silence after it.
                return Poll::Ready(match self.broken {
                    Some(RelaySide::Client) => End::ClientBroke,
                    Some(RelaySide::Upstream) => End::UpstreamBroke,
                    None if is_half_closed => End::HalfClosed,
                    None => End::Idle,
                });
            }
            timer.as_mut().reset(deadline);
        }
    }

    /// Ends a tunnel that is older than `age` in its first quiet second, and every tunnel at its idle timeout.
    ///
    /// The timer is set to the first moment at which either can be the case. Moving bytes does not touch it: when it
    /// fires too early, it is set again. A second without a byte is not quiet if a peer was slow to take what it was
    /// sent: ending the tunnel then would cut the rest off, so the tunnel is looked at again a second later. The same
    /// holds while the last bytes are the client's: a server that thinks for a few seconds is about to answer them.
    fn poll_rotation(&mut self, cx: &mut Context<'_>, has_moved: bool, age: Duration) -> Poll<End> {
        if has_moved || self.timer.is_none() {
            self.last_moved = Instant::now();
        }
        loop {
            let now = Instant::now();
            let rotation = (self.begun + age).max(self.last_moved + QUIET_BEFORE_ROTATION);
            let idle = self.patience.idle.map(|idle| self.last_moved + idle);
            let earlier = |other: Instant| idle.map_or(other, |idle| idle.min(other));
            let (timer, _) = self
                .timer
                .get_or_insert_with(|| (Box::pin(sleep_until(earlier(rotation))), Duration::ZERO));
            ready!(timer.as_mut().poll(cx));
            if idle.is_some_and(|idle| idle <= now) {
                return Poll::Ready(End::Idle);
            }
            if rotation > now {
                timer.as_mut().reset(earlier(rotation));
            } else if self.is_drained() && !(self.awaits_answer && now < self.last_moved + ANSWER) {
                return Poll::Ready(End::Rotated);
            } else if let Some((timer, _)) = &mut self.timer {
                timer.as_mut().reset(earlier(now + QUIET_BEFORE_ROTATION));
            }
        }
    }

    /// Whether both peers have taken everything that was read for them, as far as the system tells.
    fn is_drained(&self) -> bool {
        let is_taken =
            |tunnel: &Tunnel| tunnel.bottom().and_then(queued).is_none_or(|left| left == 0);
        self.outward.is_empty()
            && self.inward.is_empty()
            && is_taken(&self.client)
            && is_taken(&self.upstream)
    }

    /// Ends both directions cleanly.
    ///
    /// Nothing is on its way by then, so both ends are sent at once. A peer that takes nothing is not waited for.
    pub(super) async fn finish(&mut self) {
        let both = async { join!(self.upstream.shutdown(), self.client.shutdown()) };
        let _ = timeout(FINISH_MAX, both).await;
    }
}

/// How long a tunnel that is to be rotated must be quiet.
const QUIET_BEFORE_ROTATION: Duration = Duration::from_secs(1);
/// How long the end of a rotated tunnel may take.
const FINISH_MAX: Duration = Duration::from_secs(1);
/// How long a tunnel that is to be rotated waits for the answer to the client's last bytes. Some of these need none, such
/// as the acknowledgements of HTTP/2.
const ANSWER: Duration = Duration::from_secs(60);
