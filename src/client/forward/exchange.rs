//! One request and its answer over one upstream connection, both directions at once.

mod answer;
mod deadlines;
mod endings;
mod request;
#[cfg(test)]
mod tests;

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BytesMut;
use mooltiroute_hops::{Logon, Stream, Tunnel};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use self::answer::Answer;
use super::{
    ending::Ending,
    outbound::{Outbound, Plan},
    pump::Pump,
    send_buffer::SendBuffer,
    upstream::Upstream,
};
use crate::{
    http::{BodyReader, HeadReader},
    io::lazy_timer::LazyDeadline,
};

/// A request on its way to an upstream, and its answer on its way to a client.
///
/// The two directions depend on each other: an answer may come before its request is whole, a request that the upstream
/// no longer takes may still be answered, and how long an answer may take is counted from the end of the request. So all
/// of it is one struct with plain fields, which [`poll`](Self::poll) moves on: first the request, so that an answer sees
/// how far that is, then the answer, and last the deadline that follows from both.
///
/// Dropping it loses no byte: what was read and not used is in the `seen` of its side.
pub(crate) struct Exchange<'a, C, U> {
    outbound: Outbound<'a>,
    client: &'a mut C,
    client_seen: &'a mut BytesMut,
    upstream: &'a mut U,
    upstream_seen: &'a mut BytesMut,
    deadline: LazyDeadline<'a>,
    /// The authentication of the upstream connection, which learns from the answer.
    logon: Option<Arc<dyn Logon>>,
    upload: Upload,
    request: Pump,
    to_upstream: SendBuffer,
    /// The length of the request's head, as it is sent.
    head_bytes: u64,
    answer: Answer,
    to_client: SendBuffer,
    /// Whether the upstream has said anything yet.
    progress: AnswerProgress,
    /// The status of the answer; zero before it has come.
    status: u16,
    /// When the request was over, sent or not.
    over: Option<Instant>,
    /// When the first bytes of a head came whose last are missing.
    head_begun: Option<Instant>,
    /// Whether the client has ended its direction behind the request.
    client_has_ended: bool,
    /// Whether nothing reads from the client for now, so that no read tells of a reset.
    is_unread: bool,
    /// Whether the client has ended its direction behind bytes that nothing reads for now. They belong to later requests.
    client_end_is_unread: bool,
    /// When the client that is not read is looked at next.
    look_due: Option<Instant>,
    /// Whether the upstream has ended its direction behind the answer, while the request is still under way.
    upstream_has_ended: bool,
    /// When the client left, if that was noticed only by a quiet time after it.
    left: Option<Instant>,
    /// Bytes of a request that the upstream no longer takes.
    discarded: usize,
    /// Since when nothing has moved, and what had moved by then; kept only while that matters.
    quiet: Option<(Instant, (u64, u64, usize))>,
}

/// How far the request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upload {
    /// Some of it is still to be sent.
    Sending,
    /// All of it was sent.
    Whole,
    /// The upstream takes no more of it.
    Abandoned,
}

/// Whether the upstream has said anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerProgress {
    /// Nothing so far.
    Nothing,
    /// At least one byte.
    Something,
    /// It closed the connection without a word. A kept connection may have been closed before the request came.
    ClosedUnanswered,
    /// It took the request, or nothing of it, and said nothing until the time for that was up.
    Silent,
    /// It took the request and said nothing, and the client left.
    Abandoned {
        /// How long the client waited.
        waited: Duration,
        /// How long the upstream was silent. That is longer if it was not noticed at once that the client had left.
        silent: Duration,
    },
    /// It is a hop that wants credentials, and the next connection has better ones. The request went no further.
    Challenged,
}

impl<'a, C> Exchange<'a, C, Tunnel>
where
    C: Stream,
{
    /// Prepares to send the request of `plan` over `upstream`. `client_seen` was read ahead of `client`.
    pub(crate) fn new(
        plan: &'a Plan<'a>,
        (client, client_seen): (&'a mut C, &'a mut BytesMut),
        upstream: &'a mut Upstream,
        deadline: LazyDeadline<'a>,
    ) -> Self {
        let Upstream { tunnel, seen, end, .. } = upstream;
        let logon = tunnel.logon().cloned();
        let upstream = (tunnel, seen);
        let exchange =
            Self::between(Outbound { plan, end }, (client, client_seen), upstream, deadline);
        Self { logon, ..exchange }
    }
}

impl<'a, C, U> Exchange<'a, C, U>
where
    C: Stream,
    U: AsyncRead + AsyncWrite + Unpin,
{
    /// Prepares to send a request between any two streams.
    fn between(
        outbound: Outbound<'a>,
        (client, client_seen): (&'a mut C, &'a mut BytesMut),
        (upstream, upstream_seen): (&'a mut U, &'a mut BytesMut),
        deadline: LazyDeadline<'a>,
    ) -> Self {
        let length = outbound.plan.head.body_length();
        let mut to_upstream = SendBuffer::default();
        // The head only waits in the buffer here. If the beginning of the body has come with it,
        // both leave in one write.
        let head = to_upstream.collected();
        outbound.write_head(head);
        let head_bytes = head.len() as u64;
        Self {
            outbound,
            client,
            client_seen,
            upstream,
            upstream_seen,
            deadline,
            logon: None,
            upload: Upload::Sending,
            request: Pump::new(BodyReader::of_request(length), length),
            to_upstream,
            head_bytes,
            answer: Answer::Head {
                reader: HeadReader::new(outbound.head_limits()),
                interim_count: 0,
                is_doubtful: false,
            },
            to_client: SendBuffer::default(),
            progress: AnswerProgress::Nothing,
            status: 0,
            over: None,
            head_begun: None,
            client_has_ended: false,
            is_unread: false,
            client_end_is_unread: false,
            look_due: None,
            upstream_has_ended: false,
            left: None,
            discarded: 0,
            quiet: None,
        }
    }

    /// Returns the status of the answer; zero before it has come.
    pub(super) fn status(&self) -> u16 {
        self.status
    }

    /// Bytes that the upstream took.
    pub(super) fn sent(&self) -> u64 {
        self.to_upstream.sent()
    }

    /// Bytes that the client took.
    pub(super) fn received(&self) -> u64 {
        self.to_client.sent()
    }

    /// Returns when the client left, if that was noticed only by a quiet time after it.
    pub(super) fn left(&self) -> Option<Instant> {
        self.left
    }

    /// Returns whether the upstream has said anything.
    pub(crate) fn progress(&self) -> AnswerProgress {
        self.progress
    }

    /// Runs the exchange to its end, or until it is woken and `is_cut`.
    pub(super) async fn run(&mut self, is_cut: impl Fn() -> bool) -> Ending {
        poll_fn(|cx| match self.poll(cx) {
            // Asked last: an exchange that has just come to its end reports that end.
            Poll::Pending if is_cut() => Poll::Ready(Ending::Cut),
            ending => ending,
        })
        .await
    }

    /// Moves everything on that can move.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        // Compared once per poll, so that the shared counters are touched seldom and a long
        // transfer is still seen to grow.
        let before = (self.sent(), self.received());
        let polled = self.poll_all(cx);
        let meter = self.outbound.plan.counts;
        let (sent, received) = (self.sent() - before.0, self.received() - before.1);
        if sent > 0 {
            meter.sent(sent);
        }
        if received > 0 {
            meter.received(received);
        }
        if let Poll::Ready(Ending::ClientLeft(_) | Ending::ClientBroke) = &polled
            && self.progress == AnswerProgress::Nothing
            && let Some(over) = self.over
        {
            let silent = over.elapsed();
            let waited = self.left.map_or(silent, |left| left.saturating_duration_since(over));
            self.progress = AnswerProgress::Abandoned { waited, silent };
        }
        polled
    }

    fn poll_all(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        loop {
            // The order matters: the answer is judged by how far the request is, and the deadline
            // follows from both. A deadline that passes may change the state, and then all three
            // are polled again.
            if let Poll::Ready(ending) = self.poll_request(cx) {
                return Poll::Ready(ending);
            }
            if let Poll::Ready(ending) = self.poll_answer(cx) {
                return Poll::Ready(ending);
            }
            let wait = ready!(self.poll_deadline(cx));
            if let Some(ending) = self.give_up(wait) {
                return Poll::Ready(ending);
            }
        }
    }
}
