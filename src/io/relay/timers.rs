//! The ends of a relay that come with time: silence, and an age after which the tunnel is rotated.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use mooltiroute_hops::Tunnel;
use tokio::{
    io::AsyncWrite as _,
    time::{Instant, Sleep, sleep, sleep_until},
};

use super::{End, Relay, RelaySide, RelayTimeouts};
use crate::io::send_queue::queued;

/// The state of the limits. A relay has one only while a limit can end it, since most tunnels have none until one of
/// their directions ends.
#[derive(Debug)]
pub(super) struct RelayClock {
    idle: Option<Duration>,
    rotate_after: Option<Duration>,
    begun: Instant,
    last_moved: Instant,
    /// Set to some limit, with that limit.
    timer: Option<(Pin<Box<Sleep>>, Duration)>,
    finish: Option<Finish>,
}

/// The ends of a rotated tunnel while they are sent.
#[derive(Debug)]
struct Finish {
    due: Pin<Box<Sleep>>,
    /// Whether the upstream was sent its end, and whether the client was.
    is_ended: [bool; 2],
}

impl RelayClock {
    /// Returns a clock for `timeouts` if its limits need one from the beginning.
    pub(super) fn for_open(timeouts: RelayTimeouts) -> Option<Box<Self>> {
        let RelayTimeouts { idle, rotate_after, .. } = timeouts;
        (idle.is_some() || rotate_after.is_some()).then(|| Self::begin(idle, rotate_after))
    }

    fn begin(idle: Option<Duration>, rotate_after: Option<Duration>) -> Box<Self> {
        let now = Instant::now();
        Box::new(Self {
            idle,
            rotate_after,
            begun: now,
            last_moved: now,
            timer: None,
            finish: None,
        })
    }
}

impl Relay {
    pub(super) fn poll_timer(&mut self, cx: &mut Context<'_>, has_moved: bool) -> Poll<End> {
        let is_half_closed = self.outward.is_over() || self.inward.is_over();
        let clock = match &mut self.clock {
            Some(clock) => clock,
            None if is_half_closed => self.clock.insert(RelayClock::begin(None, None)),
            None => return Poll::Pending,
        };
        if let (Some(age), false) = (clock.rotate_after, is_half_closed) {
            return self.poll_rotation(cx, has_moved, age);
        }
        // A peer that never ends its own direction must not hold both sockets, so the limit for
        // half-closed tunnels always has a value. The idle limit may be off.
        let timeouts = if is_half_closed { Some(self.half_closed) } else { clock.idle };
        let Some(timeouts) = timeouts else { return Poll::Pending };
        let is_new = clock.timer.as_ref().is_none_or(|(_, armed)| *armed != timeouts);
        // A change of the limit counts as movement, so that the new limit begins in full.
        if has_moved || is_new {
            clock.last_moved = Instant::now();
        }
        if is_new {
            clock.timer = Some((Box::pin(sleep_until(clock.last_moved + timeouts)), timeouts));
        }
        let Some((timer, _)) = &mut clock.timer else { return Poll::Pending };
        // Moving bytes does not touch the timer. When it fires, it is set to the deadline that holds by then.
        loop {
            ready!(timer.as_mut().poll(cx));
            let deadline = clock.last_moved + timeouts;
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
        let Some(clock) = &mut self.clock else { return Poll::Pending };
        if has_moved || clock.timer.is_none() {
            clock.last_moved = Instant::now();
        }
        loop {
            let Some(clock) = &mut self.clock else { return Poll::Pending };
            let (now, last_moved) = (Instant::now(), clock.last_moved);
            let rotation = (clock.begun + age).max(last_moved + QUIET_BEFORE_ROTATION);
            let idle = clock.idle.map(|idle| last_moved + idle);
            let earlier = |other: Instant| idle.map_or(other, |idle| idle.min(other));
            let (timer, _) = clock
                .timer
                .get_or_insert_with(|| (Box::pin(sleep_until(earlier(rotation))), Duration::ZERO));
            ready!(timer.as_mut().poll(cx));
            if idle.is_some_and(|idle| idle <= now) {
                return Poll::Ready(End::Idle);
            }
            if rotation > now {
                timer.as_mut().reset(earlier(rotation));
                continue;
            }
            timer.as_mut().reset(earlier(now + QUIET_BEFORE_ROTATION));
            let is_answer_due = self.awaits_answer && now < last_moved + ANSWER;
            if self.is_drained() && !is_answer_due {
                return Poll::Ready(End::Rotated);
            }
        }
    }

    /// Returns whether both peers have taken everything that was read for them, as far as the system tells.
    fn is_drained(&self) -> bool {
        let is_taken =
            |tunnel: &Tunnel| tunnel.bottom().and_then(queued).is_none_or(|left| left == 0);
        self.outward.is_empty()
            && self.inward.is_empty()
            && is_taken(&self.client)
            && is_taken(&self.upstream)
    }

    /// Returns whether the ends of a rotated tunnel are being sent.
    pub(super) fn is_finishing(&self) -> bool {
        self.clock.as_ref().is_some_and(|clock| clock.finish.is_some())
    }

    /// Ends both directions of a rotated tunnel cleanly.
    ///
    /// Nothing is on its way by then, so both ends are sent at once. A peer that takes nothing is not waited for.
    pub(super) fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let Some(clock) = &mut self.clock else { return Poll::Ready(End::Rotated) };
        let finish = clock.finish.get_or_insert_with(|| Finish {
            due: Box::pin(sleep(FINISH_MAX)),
            is_ended: [false; 2],
        });
        let tunnels = [&mut self.upstream, &mut self.client];
        for (is_ended, tunnel) in finish.is_ended.iter_mut().zip(tunnels) {
            *is_ended = *is_ended || Pin::new(tunnel).poll_shutdown(cx).is_ready();
        }
        if finish.is_ended != [true; 2] {
            ready!(finish.due.as_mut().poll(cx));
        }
        Poll::Ready(End::Rotated)
    }
}

/// How long a tunnel that is to be rotated must be quiet.
const QUIET_BEFORE_ROTATION: Duration = Duration::from_secs(1);
/// How long the end of a rotated tunnel may take.
const FINISH_MAX: Duration = Duration::from_secs(1);
/// How long a tunnel that is to be rotated waits for the answer to the client's last bytes. Some of these need none, such
/// as the acknowledgements of HTTP/2.
const ANSWER: Duration = Duration::from_secs(60);
