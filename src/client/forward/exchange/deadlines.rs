//! The deadlines of an exchange, which follow from how far its two directions are.

use std::task::{Context, Poll};

use mooltiroute_hops::Stream;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Duration, Instant},
};

use super::{Answer, AnswerProgress, Exchange, Upload};
use crate::{
    client::forward::{ending::Ending, send_buffer::SendBuffer},
    duration,
    proxy_error::ProxyError,
};

/// A wait that ended at its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// The head of the answer.
    Head,
    /// That the upstream takes more of the request.
    Upstream,
    /// That the client takes more of the answer.
    Client,
    /// That anything moves, for a client that may be gone.
    Movement,
    /// The next look at a client that is not read.
    Look,
}

impl<C, U> Exchange<'_, C, U>
where
    C: Stream,
    U: AsyncRead + AsyncWrite + Unpin,
{
    /// Waits until the earliest deadline. Returns the wait that timed out.
    pub(super) fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Wait> {
        self.note_quiet();
        self.look_due = match self.look_due {
            _ if !self.is_unread => None,
            None => Some(Instant::now() + LOOK_EVERY),
            due => due,
        };
        let stall = self.outbound.stall_timeout();
        let stalled = |send_buffer: &SendBuffer| Some(send_buffer.blocked_since()? + stall?);
        // One deadline serves all waits: it is set to the earliest deadline, and the `Wait` beside
        // that names the one that timed out.
        let due = [
            (self.head_due(), Wait::Head),
            (stalled(&self.to_upstream), Wait::Upstream),
            (stalled(&self.to_client), Wait::Client),
            (self.quiet_due(), Wait::Movement),
            (self.look_due, Wait::Look),
        ];
        let due = due.into_iter().filter_map(|(due, wait)| Some((due?, wait)));
        let Some((due, wait)) = due.min_by_key(|(due, _)| *due) else { return Poll::Pending };
        self.deadline.poll_until(cx, due).map(|()| wait)
    }

    /// Returns when the head of the answer is late. It is never late while an interim answer is on its way to the client,
    /// since another answer would begin in the middle of it.
    fn head_due(&self) -> Option<Instant> {
        if !matches!(self.answer, Answer::Head { .. }) || self.to_client.blocked_since().is_some() {
            return None;
        }
        // Whichever came first: the request is over, or the answer has begun.
        let since = match (self.over, self.head_begun) {
            (Some(over), Some(begun)) => over.min(begun),
            (over, begun) => over.or(begun)?,
        };
        Some(since + self.outbound.response_timeout()?)
    }

    /// Notes since when nothing moves, if the client may be gone or has its answer.
    fn note_quiet(&mut self) {
        if !self.may_be_gone() && !matches!(self.answer, Answer::Done { .. }) {
            self.quiet = None;
            return;
        }
        // Bytes of an incomplete head move nothing else, so what was read ahead counts as well.
        let moved = (self.sent(), self.received(), self.upstream_seen.len());
        if self.quiet.is_none_or(|(_, before)| before != moved) {
            self.quiet = Some((Instant::now(), moved));
        }
    }

    /// Returns when nothing has moved for too long.
    ///
    /// A client that has ended its direction may wait for its answer or be gone; nothing tells the two apart, except that
    /// writing to one that is gone fails. So what is on its way to the client is waited for, and beyond that only for as
    /// long as something moves.
    ///
    /// A client that has its answer, but not sent all of its request, is waited for as well: the origin may go on reading.
    /// It gets less time if probably nobody reads the rest, because the answer was an error or the upstream has ended. One that
    /// sends no body before a 100 gets only a moment, since it need not send it behind another answer (RFC 9110 §10.1.1).
    fn quiet_due(&self) -> Option<Instant> {
        let (since, _) = self.quiet?;
        let is_unwanted = self.status >= 400 || self.upstream_has_ended;
        let may_send_no_body = || {
            let is_unsent = self.client_seen.is_empty() && self.sent() <= self.head_bytes;
            is_unsent && self.outbound.plan.head.expects_continue()
        };
        if self.may_be_gone() || may_send_no_body() {
            return Some(since + QUIET);
        }
        match self.outbound.stall_timeout() {
            Some(stall) if is_unwanted => Some(since + stall.min(PAUSE_IF_UNWANTED)),
            None if is_unwanted => Some(since + PAUSE_IF_UNWANTED),
            stall => Some(since + stall?),
        }
    }

    fn may_be_gone(&self) -> bool {
        (self.client_has_ended || self.client_end_is_unread)
            && self.to_client.blocked_since().is_none()
    }

    /// Decides what follows from a deadline that has passed. Returns `None` if the exchange goes on.
    pub(super) fn give_up(&mut self, wait: Wait) -> Option<Ending> {
        let stall = self.outbound.stall_timeout().unwrap_or_default();
        if matches!(wait, Wait::Head | Wait::Upstream) && self.progress == AnswerProgress::Nothing {
            self.progress = AnswerProgress::Silent;
        }
        match (wait, &self.answer) {
            (Wait::Head, _) => {
                let timeout = self.outbound.response_timeout().unwrap_or_default();
                let timeout = duration::in_words(timeout);
                let why = match self.head_begun {
                    None => format!("no answer within {timeout} (`timeouts.response`)"),
                    Some(_) => format!(
                        "no complete head of its answer within {timeout} (`timeouts.response`)"
                    ),
                };
                Some(self.outbound.bad_answer(ProxyError::HttpResponseTimeout, why))
            }
            // A part of an interim answer is with the client, so no other answer can take its
            // place.
            (Wait::Upstream, Answer::Head { .. }) if self.has_begun() => {
                Some(self.truncated("the upstream reads nothing more of the request"))
            }
            (Wait::Upstream, Answer::Head { .. }) => {
                let stall = duration::in_words(stall);
                let why =
                    format!("it has read nothing of the request for {stall} (`timeouts.stall`)");
                Some(self.outbound.bad_answer(ProxyError::ConnectionWriteTimeout, why))
            }
            // The answer has begun and is worth having anyway. The rest of the request is read and dropped from now on.
            (Wait::Upstream, _) => {
                self.upload = Upload::Abandoned;
                self.over = Some(Instant::now());
                self.to_upstream.abandon();
                None
            }
            (Wait::Client, _) => Some(Ending::ClientStalled),
            // The client has its answer. That the rest of its request does not come is not a failure.
            (Wait::Movement, Answer::Done { .. }) => Some(self.whole(false, true)),
            (Wait::Movement, _) => {
                self.left = self.quiet.map(|(since, _)| since);
                Some(self.client_left())
            }
            (Wait::Look, _) => {
                self.look_due = None;
                // While the request is under way, the bytes that wait are its own, and have to arrive before their end counts.
                self.client_end_is_unread = self.over.is_some() && self.client_end_waits();
                self.client_is_reset().then_some(Ending::ClientBroke)
            }
        }
    }

    /// Returns whether the client has reset its connection, whatever waits to be read on it. False on a system that
    /// tells this only to a reader.
    fn client_is_reset(&self) -> bool {
        // The error is taken, so that no other call reports it. The exchange ends, and with it the connection.
        self.client
            .socket()
            .is_some_and(|socket| matches!(socket.take_error(), Ok(Some(_)) | Err(_)))
    }

    /// Returns whether the client has ended its direction, whatever waits to be read before that end. False on a system that
    /// tells this only to a reader.
    fn client_end_waits(&self) -> bool {
        #[cfg(target_os = "linux")]
        {
            use rustix::event::{PollFd, PollFlags, Timespec, poll};

            self.client.socket().is_some_and(|socket| {
                let mut ended = [PollFd::new(socket, PollFlags::RDHUP)];
                let found = poll(&mut ended, Some(&Timespec::default()));
                found.is_ok() && ended[0].revents().contains(PollFlags::RDHUP)
            })
        }
        #[cfg(not(target_os = "linux"))]
        false
    }
}

/// How long nothing may move for a client that may be gone: origins are to know within two seconds.
pub(super) const QUIET: Duration = Duration::from_millis(1_500);
/// The longest pause of a client that sends the rest of a request which the upstream probably does not want.
pub(super) const PAUSE_IF_UNWANTED: Duration = Duration::from_secs(10);
/// How often a client that is not read is looked at. A reset is an event of its socket, but the exchange has lent that to the
/// parts that write to it, and few clients send so much ahead. Together with [`QUIET`] it is less than two seconds.
const LOOK_EVERY: Duration = Duration::from_millis(400);
