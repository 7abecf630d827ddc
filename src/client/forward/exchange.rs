//! One request and its answer over one upstream connection, both directions at once.

#[cfg(test)]
mod tests;

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use mooltiroute_hops::{Logon, Tunnel};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Duration, Instant},
};

use super::{
    ending::{Ending, Mark},
    outbound::{Outbound, Plan},
    outbox::Outbox,
    pump::{Pump, Stuck},
    upstream::Upstream,
};
use crate::{
    client::reply::Reply,
    duration,
    http::{BadBody, BodyLength, BodyReader, HeadReader, ResponseHead, Version},
    io::{lazy_timer::Alarm, read_ahead},
    proxy_error::ProxyError,
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
    alarm: Alarm<'a>,
    /// The authentication of the upstream connection, which learns from the answer.
    logon: Option<Arc<dyn Logon>>,
    upload: Upload,
    request: Pump,
    to_upstream: Outbox,
    answer: Answer,
    to_client: Outbox,
    /// Whether the upstream has said anything yet.
    hearing: Hearing,
    /// The status of the answer; zero before it has come.
    status: u16,
    /// When the request was over, sent or not.
    over: Option<Instant>,
    /// When the first bytes of a head came whose last are missing.
    head_begun: Option<Instant>,
    /// Whether the client has ended its direction behind the request.
    client_has_ended: bool,
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

/// How far the answer is.
enum Answer {
    /// Its head has not come; this many interim answers have.
    Head { reader: HeadReader, interim_count: usize },
    /// Its head has come.
    Body { head: ResponseHead, pump: Pump, from: BodyLength, to: BodyLength, is_last: bool },
    /// It is a switch of protocols, which the client is being told.
    Switching,
    /// The client has all of it.
    Done { keeps_upstream: bool, is_last: bool },
}

/// A wait that ended at its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// The head of the answer.
    Head,
    /// That the upstream takes more of the request.
    Upstream,
    /// That the client takes more of the answer.
    Client,
    /// That anything moves, for a client that may be gone.
    Movement,
}

/// Whether the upstream has said anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hearing {
    /// Nothing so far.
    Nothing,
    /// At least one byte.
    Something,
    /// It closed the connection without a word. A kept connection may have been closed before the request came.
    ClosedUnheard,
    /// It is a hop that wants credentials, and the next connection has better ones. The request went no further.
    Challenged,
}

impl<'a, C> Exchange<'a, C, Tunnel>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    /// Prepares to send the request of `plan` over `upstream`. `client_seen` was read ahead of `client`.
    pub(crate) fn new(
        plan: &'a Plan<'a>,
        (client, client_seen): (&'a mut C, &'a mut BytesMut),
        upstream: &'a mut Upstream,
        alarm: Alarm<'a>,
    ) -> Self {
        let Upstream { tunnel, seen, end, .. } = upstream;
        let logon = tunnel.logon().cloned();
        let upstream = (tunnel, seen);
        let exchange =
            Self::between(Outbound { plan, end }, (client, client_seen), upstream, alarm);
        Self { logon, ..exchange }
    }
}

impl<'a, C, U> Exchange<'a, C, U>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    /// Prepares to send a request between any two streams.
    fn between(
        outbound: Outbound<'a>,
        (client, client_seen): (&'a mut C, &'a mut BytesMut),
        (upstream, upstream_seen): (&'a mut U, &'a mut BytesMut),
        alarm: Alarm<'a>,
    ) -> Self {
        let length = outbound.plan.head.body_length();
        let mut to_upstream = Outbox::default();
        // The head only waits in the outbox here. If the beginning of the body has come with it,
        // both leave in one write.
        outbound.write_head(to_upstream.collected());
        Self {
            outbound,
            client,
            client_seen,
            upstream,
            upstream_seen,
            alarm,
            logon: None,
            upload: Upload::Sending,
            request: Pump::new(BodyReader::of_request(length), length),
            to_upstream,
            answer: Answer::Head {
                reader: HeadReader::new(outbound.head_limits()),
                interim_count: 0,
            },
            to_client: Outbox::default(),
            hearing: Hearing::Nothing,
            status: 0,
            over: None,
            head_begun: None,
            client_has_ended: false,
            discarded: 0,
            quiet: None,
        }
    }

    /// The status of the answer; zero before it has come.
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

    /// Whether the upstream has said anything.
    pub(crate) fn hearing(&self) -> Hearing {
        self.hearing
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
        polled
    }

    fn poll_all(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        loop {
            // The order matters: the answer is judged by how far the request is, and the deadline
            // follows from both. A wait that was in vain may change the state, and then all three
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

    /// Sends the request, and then watches the client. Never ready just because the upstream broke: the answer may be
    /// there all the same, and say why.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        if self.upload == Upload::Sending {
            let client = (&mut *self.client, &mut *self.client_seen);
            let upstream = (&mut *self.upstream, &mut self.to_upstream);
            let fields = self.outbound.plan.head.fields();
            // If the upstream takes no more of the request, its answer may still come and say why,
            // such as 413 or 401. Only a failure of the client's side ends the exchange here.
            self.upload = match ready!(self.request.poll(cx, client, upstream, fields)) {
                Ok(()) => Upload::Whole,
                Err(Stuck::Writer) => Upload::Abandoned,
                Err(Stuck::Bad(bad)) => return Poll::Ready(self.bad_body(bad)),
                Err(Stuck::ReaderBroke) => return Poll::Ready(Ending::ClientBroke),
                Err(Stuck::ReaderEnded) => return Poll::Ready(self.client_left()),
            };
            // `timeouts.response` counts from here: an answer to a long upload is not late before
            // the upload is over.
            self.over = Some(Instant::now());
            self.outbound.log_wait();
        }
        self.poll_client(cx)
    }

    /// Reads ahead of what the client sends behind the request, so that its end is noticed.
    ///
    /// These bytes are the next request, which waits, or the rest of a request that the upstream no longer takes. A client
    /// that first sends and then reads would never finish if the rest were not read.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        loop {
            // A request that waits its turn is read ahead a little, so that the end of the
            // connection is seen behind it. The rest of an abandoned one is read to its end, within
            // a limit.
            let is_enough = match self.upload {
                Upload::Abandoned => self.discarded >= DISCARD_BYTES_MAX,
                Upload::Sending | Upload::Whole => self.client_seen.len() >= READ_AHEAD_BYTES,
            };
            // Nothing has to wake this task: no more is read from this side during the exchange.
            if self.client_has_ended || is_enough {
                return Poll::Pending;
            }
            let seen = &mut *self.client_seen;
            match ready!(read_ahead::poll_read(cx, self.client, seen, READ_AHEAD_BYTES)) {
                Ok(0) => self.client_has_ended = true,
                Ok(count) if self.upload == Upload::Abandoned => {
                    self.discarded += count;
                    seen.clear();
                }
                Ok(_) => {}
                Err(_) => return Poll::Ready(Ending::ClientBroke),
            }
        }
    }

    /// Passes on the answer, interim ones first.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        loop {
            match &mut self.answer {
                Answer::Head { .. } => {
                    if let Some(ending) = ready!(self.poll_head(cx)) {
                        return Poll::Ready(ending);
                    }
                }
                Answer::Body { head, pump, from, is_last, .. } => {
                    let upstream = (&mut *self.upstream, &mut *self.upstream_seen);
                    let client = (&mut *self.client, &mut self.to_client);
                    if let Err(stuck) = ready!(pump.poll(cx, upstream, client, head.fields())) {
                        return Poll::Ready(self.broke_off(&stuck));
                    }
                    // A body that lasts until the close has used the connection up.
                    let keeps_upstream = head.keeps_alive() && *from != BodyLength::UntilClose;
                    self.answer = Answer::Done { keeps_upstream, is_last: *is_last };
                }
                Answer::Switching => {
                    // The tunnel begins with an empty outbox, so the 101 has to be out first.
                    let flushed = ready!(self.to_client.poll_flush(cx, self.client));
                    return Poll::Ready(flushed.map_or(Ending::ClientBroke, |()| Ending::Switched));
                }
                // An origin may answer before it has read the request. The rest still goes to it:
                // it may store a file that is complete only with its last byte.
                Answer::Done { .. } if self.upload == Upload::Sending => return Poll::Pending,
                Answer::Done { keeps_upstream, is_last } => {
                    let (keeps_upstream, is_last) = (*keeps_upstream, *is_last);
                    return Poll::Ready(self.whole(keeps_upstream, is_last));
                }
            }
        }
    }

    /// Reads to the end of the head of the answer, and passes on interim answers; `None` if the answer goes on.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Option<Ending>> {
        let outbound = self.outbound;
        loop {
            let Answer::Head { reader, interim_count } = &mut self.answer else {
                return Poll::Ready(None);
            };
            // An interim answer leaves before the next head is read. So a client that takes nothing
            // holds up the upstream, and no answer of this proxy begins in the middle of one.
            if ready!(self.to_client.poll_flush(cx, self.client)).is_err() {
                return Poll::Ready(Some(Ending::ClientBroke));
            }
            let ending = match reader.response(self.upstream_seen) {
                Ok(Some(interim)) if interim.is_interim() => {
                    *interim_count += 1;
                    self.head_begun = None;
                    // A server that sends interim answers without end would keep the client
                    // waiting, so their number has a bound.
                    if *interim_count <= INTERIM_MAX {
                        self.pass_interim(&interim);
                        continue;
                    }
                    let why = "it sends interim answers without end";
                    Some(outbound.bad_answer(ProxyError::HttpProtocol, why))
                }
                Ok(Some(head)) => return Poll::Ready(self.begin(head)),
                Ok(None) => None,
                Err(bad) => Some(outbound.not_http(&bad, self.upstream_seen)),
            };
            if ending.is_some() {
                return Poll::Ready(ending);
            }
            if !self.upstream_seen.is_empty() {
                // A head that comes byte by byte is late even while the request is under way.
                self.head_begun.get_or_insert_with(Instant::now);
            }
            let seen = &mut *self.upstream_seen;
            match ready!(read_ahead::poll_read(cx, self.upstream, seen, HEAD_READ_BYTES)) {
                Ok(1..) => self.hearing = Hearing::Something,
                read => {
                    // Closed without a byte: a kept connection was most likely closed before the
                    // request arrived, and the request may be tried again on a new one.
                    if self.hearing == Hearing::Nothing {
                        self.hearing = Hearing::ClosedUnheard;
                    }
                    let why = match read {
                        Ok(_) => "the connection was closed before a whole answer came".into(),
                        Err(error) => {
                            format!("the connection broke before a whole answer came: {error}")
                        }
                    };
                    return Poll::Ready(Some(
                        outbound.bad_answer(ProxyError::ConnectionTerminated, why),
                    ));
                }
            }
        }
    }

    fn pass_interim(&mut self, interim: &ResponseHead) {
        let request = self.outbound.plan.head;
        // HTTP/1.0 has no interim answers (RFC 9110 §15.2).
        if request.version() == Version::Http11 {
            interim.write(request.method(), Version::Http11, &[], self.to_client.collected());
        }
    }

    /// Begins to pass on the answer whose head has come, or ends the exchange if that can't be passed on.
    fn begin(&mut self, head: ResponseHead) -> Option<Ending> {
        self.status = head.status();
        // Any head is an answer, also one that is not passed on: the request is no round of a loop.
        self.outbound.plan.is_answered();
        let challenge = self.logon.as_deref().filter(|_| head.status() == 407);
        if let Some((refused, can_go_on)) = self.outbound.refused(&head, challenge) {
            if can_go_on {
                self.hearing = Hearing::Challenged;
            }
            return Some(refused);
        }
        if let Some(logon) = &self.logon {
            logon.accepted();
        }
        self.outbound.note_answer(&head);
        match head.status() {
            101 => return self.switch(&head),
            // A client must not be asked for credentials that it does not have. Browsers would ask
            // their user, and send the password to the wrong party.
            407 => {
                let why = "it answers 407, which only a proxy may";
                return Some(self.outbound.bad_answer(ProxyError::HttpProtocol, why));
            }
            _ => {}
        }
        let request = self.outbound.plan.head;
        // If the request is not over, its rest may never come. The client is told now that the
        // connection closes, since nothing can be said about that after the head.
        let is_last = !request.wants_keep_alive() || self.upload != Upload::Whole;
        let via = self.outbound.via();
        let mut extra = Vec::new();
        extra.extend(via.as_deref().map(|via| ("Via", via)));
        extra.extend(is_last.then_some(("Connection", "close")));
        let from = head.body_length(request.method());
        let out = self.to_client.collected();
        let to = head.write(request.method(), request.version(), &extra, out);
        self.answer = Answer::Body {
            head,
            pump: Pump::new(BodyReader::of_response(from), to),
            from,
            to,
            is_last,
        };
        None
    }

    fn switch(&mut self, head: &ResponseHead) -> Option<Ending> {
        let Outbound { plan, .. } = self.outbound;
        let bad = |why: &str| Some(self.outbound.bad_answer(ProxyError::HttpUpgradeFailed, why));
        if self.upload != Upload::Whole {
            return bad("it switches protocols in the middle of the request");
        }
        let (Some(_), Some(protocol)) = (&plan.upgrade, head.upgrade()) else {
            return bad("it switches protocols without being asked");
        };
        // Both sides have agreed, and nothing of the request is left to send (RFC 9110 §7.8).
        let extra = [("Connection", "Upgrade"), ("Upgrade", protocol.as_str())];
        let out = self.to_client.collected();
        head.write(plan.head.method(), Version::Http11, &extra, out);
        self.answer = Answer::Switching;
        None
    }

    /// Waits until the earliest deadline. Returns the wait that timed out.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Wait> {
        self.note_quiet();
        let stall = self.outbound.stall_timeout();
        let stalled = |outbox: &Outbox| Some(outbox.blocked_since()? + stall?);
        // One alarm serves all waits: it is set to the earliest deadline, and the `Wait` beside
        // that names the one that timed out.
        let due = [
            (self.head_due(), Wait::Head),
            (stalled(&self.to_upstream), Wait::Upstream),
            (stalled(&self.to_client), Wait::Client),
            (self.quiet.map(|(since, _)| since + QUIET), Wait::Movement),
        ];
        let due = due.into_iter().filter_map(|(due, wait)| Some((due?, wait)));
        let Some((due, wait)) = due.min_by_key(|(due, _)| *due) else { return Poll::Pending };
        self.alarm.poll_until(cx, due).map(|()| wait)
    }

    /// When the head of the answer is late. Never while an interim answer is on its way to the client, for another
    /// answer would begin in the middle of it.
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

    /// Notes since when nothing moves, if the client may be gone or may not send the rest of its request.
    ///
    /// A client that has ended its direction may wait for its answer or be gone; nothing tells the two apart, except that
    /// writing to one that is gone fails. So what is on its way to the client is waited for, and beyond that only for as
    /// long as something moves. The same holds for the rest of a request that was already answered with an error.
    fn note_quiet(&mut self) {
        let may_be_gone = self.client_has_ended && self.to_client.blocked_since().is_none();
        let is_refused = matches!(self.answer, Answer::Done { .. }) && self.status >= 400;
        if !may_be_gone && !is_refused {
            self.quiet = None;
            return;
        }
        // Bytes of an incomplete head move nothing else, so what was read ahead counts as well.
        let moved = (self.sent(), self.received(), self.upstream_seen.len());
        if self.quiet.is_none_or(|(_, before)| before != moved) {
            self.quiet = Some((Instant::now(), moved));
        }
    }

    /// Decides what follows from a wait that was in vain; `None` if the exchange goes on.
    fn give_up(&mut self, wait: Wait) -> Option<Ending> {
        let stall = self.outbound.stall_timeout().unwrap_or_default();
        match (wait, &self.answer) {
            (Wait::Head, _) => {
                let timeout = self.outbound.response_timeout().unwrap_or_default();
                let timeout = duration::in_words(timeout);
                let why = match self.head_begun {
                    None => format!("no answer within {timeout} (`timeouts.response`)"),
                    Some(_) => format!(
                        "no whole head of its answer within {timeout} (`timeouts.response`)"
                    ),
                };
                Some(self.outbound.bad_answer(ProxyError::HttpResponseTimeout, why))
            }
            // A part of an interim answer is with the client, so no other answer can take its
            // place.
            (Wait::Upstream, Answer::Head { .. }) if self.has_begun() => {
                Some(self.truncated("the upstream takes nothing of the request"))
            }
            (Wait::Upstream, Answer::Head { .. }) => {
                let stall = duration::in_words(stall);
                let why =
                    format!("it has taken nothing of the request for {stall} (`timeouts.stall`)");
                Some(self.outbound.bad_answer(ProxyError::ConnectionWriteTimeout, why))
            }
            // The answer has begun and is worth having all the same. The rest of the request is
            // read and dropped from now on.
            (Wait::Upstream, _) => {
                self.upload = Upload::Abandoned;
                self.over = Some(Instant::now());
                self.to_upstream.abandon();
                None
            }
            (Wait::Client, _) => Some(Ending::ClientStalled),
            // The client has its answer. That the rest of its request does not come is no failure.
            (Wait::Movement, Answer::Done { .. }) => Some(self.whole(false, true)),
            (Wait::Movement, _) => Some(self.client_left()),
        }
    }

    fn whole(&self, keeps_upstream: bool, is_last: bool) -> Ending {
        // After a part of a request, the next one would be read as its rest.
        let keeps_upstream = keeps_upstream && self.upload == Upload::Whole;
        Ending::Whole { keeps_client: !is_last, keeps_upstream }
    }

    fn client_left(&self) -> Ending {
        match self.answer {
            // It left with the complete answer.
            Answer::Done { .. } => self.whole(false, true),
            _ => Ending::ClientLeft(self.mark()),
        }
    }

    fn bad_body(&self, bad: BadBody) -> Ending {
        // The client is reading an answer already, which can only be cut off.
        if self.has_begun() {
            return self.truncated("the request's body is broken");
        }
        let why = format!("the body of the request is broken: {bad}");
        let text = format!("Mooltiroute can't pass on this request: {why}.");
        Ending::Refused(Box::new(Reply::refused(400, &text)), why)
    }

    fn broke_off(&self, stuck: &Stuck) -> Ending {
        let why = match stuck {
            Stuck::ReaderEnded | Stuck::ReaderBroke => {
                "the upstream closed before the end of the body"
            }
            Stuck::Bad(_) => "the upstream sent a broken body",
            Stuck::Writer => return Ending::ClientBroke,
        };
        // A failure of the client has returned above. It does not count against the upstream.
        self.outbound.count_break();
        self.truncated(why)
    }

    fn truncated(&self, why: &'static str) -> Ending {
        Ending::Truncated(self.mark(), why)
    }

    fn mark(&self) -> Mark {
        match self.answer {
            // An orderly close would pass for the end of this body, so only a reset can show the
            // cut.
            Answer::Body { to: BodyLength::UntilClose, .. } => Mark::None,
            _ => Mark::Visible,
        }
    }

    /// Whether something of an answer is on its way to the client, so that no other can take its place.
    fn has_begun(&self) -> bool {
        !matches!(self.answer, Answer::Head { .. }) || self.to_client.blocked_since().is_some()
    }
}

/// Most heads fit in one read of this size.
const HEAD_READ_BYTES: usize = 8 * 1024;
/// How many interim answers may precede one answer. A server that reports progress stays far below it.
const INTERIM_MAX: usize = 100;
/// How much is read behind a request whose answer is under way.
const READ_AHEAD_BYTES: usize = 4 * 1024;
/// How much of a request that the upstream no longer takes is read and dropped.
const DISCARD_BYTES_MAX: usize = 128 << 20;
/// How long nothing may move for a client that may be gone: origins are to know within two seconds.
const QUIET: Duration = Duration::from_millis(1_500);
