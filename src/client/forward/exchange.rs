//! One request and its answer, over one upstream connection, both directions at once.

use std::{
    fmt,
    future::{pending, poll_fn},
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::BytesMut;
use mooltiroute_hops::{ReadHalf, Refusal, WriteHalf};
use tokio::{
    io::{Interest, ReadBuf},
    net::tcp,
    time::{Instant, sleep, sleep_until},
};

use super::{
    Plan,
    pass::{Outlet, Stuck, Written},
    upstream::{End, Upstream},
};
use crate::{
    client::{
        connection::Client,
        reply::{Reply, with_causes},
    },
    http::{BadBody, BodyLength, BodyReader, HeadReader, RequestForm, ResponseHead, Version},
    io::{lazy_timer::Alarm, read_ahead},
    metrics::Meter,
};

/// A request under way.
pub(super) struct Exchange<'a> {
    plan: &'a Plan<'a>,
    client: &'a mut Client,
    alarm: Alarm<'a>,
    counts: Counts,
}

/// A request, and what the connection that carries it is good for.
#[derive(Clone, Copy)]
struct Leg<'a> {
    plan: &'a Plan<'a>,
    end: &'a End,
}

/// How it ended.
pub(super) enum Ended {
    /// The answer is whole. The upstream connection can carry more, if it `persists`.
    Whole { persists: bool },
    /// The answer is whole, and the last on this connection, as the client was told.
    WholeButClose,
    /// The protocol was switched; what follows is for the two ends alone.
    Switched,
    /// Nothing of an answer was sent yet: this is to be, for this reason.
    Refused(Box<Reply>, String),
    /// The answer broke off, for this reason.
    Truncated(&'static str),
    /// The client's connection broke.
    ClientGone,
    /// The kept upstream connection had been closed, and nothing of an answer came.
    Stale,
    /// The proxy was shut down.
    Cut,
}

#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    received: AtomicU64,
    status: AtomicU16,
    /// A head is on its way to the client, or the answer's own is: no other can take its place.
    has_begun: AtomicBool,
    /// The client can tell where the answer ends other than by the end of the connection.
    shows_its_end: AtomicBool,
}

/// How far the two are.
#[derive(Default)]
struct Progress {
    /// All of the request was sent.
    is_whole: Flag,
    /// Nothing more of it is sent, be it whole or not.
    is_over: Flag,
    /// The client has ended its direction after it; it may still read.
    is_half_closed: Flag,
    /// The head of the answer has come.
    is_answered: Flag,
}

/// Tells a future of what another one has done that is polled before it by the same task.
#[derive(Default)]
struct Flag(AtomicBool);

/// What became of the client's side while the answer is awaited.
enum ClientSide {
    /// It is gone.
    Gone,
    /// It sent what is no body.
    Bad(BadBody),
}

/// What became of the answer.
enum Answer {
    Whole { persists: bool, is_last: bool },
    Switched,
    Refused(Box<Reply>, String),
    Truncated(&'static str),
    ClientGone,
    Stale,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(plan: &'a Plan<'a>, client: &'a mut Client, alarm: Alarm<'a>) -> Self {
        Self { plan, client, alarm, counts: Counts::default() }
    }

    /// The status that the client was sent; zero if none.
    pub(super) fn status(&self) -> u16 {
        self.counts.status.load(Ordering::Relaxed)
    }

    pub(super) fn sent(&self) -> u64 {
        self.counts.sent.load(Ordering::Relaxed)
    }

    pub(super) fn received(&self) -> u64 {
        self.counts.received.load(Ordering::Relaxed)
    }

    /// Whether the client can tell an answer that is cut off from a whole one.
    pub(super) fn shows_its_end(&self) -> bool {
        self.counts.shows_its_end.load(Ordering::Relaxed)
    }

    /// Sends the request over `upstream` and passes its answer back. `may_be_stale`: that the connection turns out
    /// closed is no error.
    pub(super) async fn run(&mut self, upstream: &mut Upstream, may_be_stale: bool) -> Ended {
        let Self { plan, client, alarm, counts } = self;
        let Client { socket, seen, .. } = client;
        let (client_read, client_write) = socket.split();
        let Upstream { tunnel, seen: upstream_seen, end, .. } = upstream;
        let leg = Leg { plan, end };
        let (upstream_read, upstream_write) = tunnel.split();
        let progress = Progress::default();
        let answer = {
            // Pinned where they are made, since a move of one copies all that it will ever need.
            let upload = pin!(upload(leg, counts, &progress, client_read, seen, upstream_write));
            let download = pin!(download(
                leg,
                counts,
                &progress,
                upstream_read,
                upstream_seen,
                client_write,
                may_be_stale,
            ));
            let timeouts = &plan.generation.timeouts;
            let late = pin!(late(&progress, counts, timeouts.handshake, alarm));
            let silence = pin!(silence(&progress, counts, timeouts.half_closed));
            // In this order, so that each sees what those before it have done.
            tokio::select! {
                biased;
                answer = download => answer,
                client = upload => match client {
                    ClientSide::Gone => Answer::ClientGone,
                    ClientSide::Bad(bad) => refused_body(bad, counts),
                },
                () = late => leg.late(),
                () = silence => Answer::ClientGone,
            }
        };
        match answer {
            Answer::Whole { is_last: true, .. } => Ended::WholeButClose,
            Answer::Whole { persists, .. } => Ended::Whole { persists },
            Answer::Switched => Ended::Switched,
            Answer::Refused(reply, why) => Ended::Refused(reply, why),
            Answer::Truncated(why) => Ended::Truncated(why),
            Answer::ClientGone => Ended::ClientGone,
            Answer::Stale => Ended::Stale,
        }
    }
}

/// Ends when nothing of the answer has moved for `patience`, once the client has ended its direction: it may be gone
/// for good, and could not tell.
async fn silence(progress: &Progress, counts: &Counts, patience: Duration) {
    progress.is_half_closed.raised().await;
    let mut received = None;
    while received != Some(counts.received.load(Ordering::Relaxed)) {
        received = Some(counts.received.load(Ordering::Relaxed));
        sleep(patience).await;
    }
}

/// Ends when the head of the answer is not there after `timeout`. It is not late while the request is under way, nor
/// while the client has not taken what came before it: another answer would begin in the middle of that.
async fn late(progress: &Progress, counts: &Counts, timeout: Duration, alarm: &mut Alarm<'_>) {
    progress.is_over.raised().await;
    alarm.until(Instant::now() + timeout).await;
    until_true(|| !counts.has_begun.load(Ordering::Relaxed)).await;
    if progress.is_answered.is_raised() {
        pending().await
    }
}

fn refused_body(bad: BadBody, counts: &Counts) -> Answer {
    if counts.has_begun.load(Ordering::Relaxed) {
        return Answer::Truncated("the request's body is broken");
    }
    let why = format!("the body of the request is broken: {bad}");
    Answer::Refused(
        Box::new(Reply::refused(400, &format!("Mooltiroute can't pass on this request: {why}."))),
        why,
    )
}

/// Sends the request, and then watches the client.
async fn upload(
    leg: Leg<'_>,
    counts: &Counts,
    progress: &Progress,
    mut client: tcp::ReadHalf<'_>,
    seen: &mut BytesMut,
    upstream: WriteHalf<'_>,
) -> ClientSide {
    let written = Written::new(&counts.sent, leg.plan.chain.meter(), Meter::sent);
    let mut outlet = Outlet::new(upstream, written, Some(leg.plan.generation.timeouts.handshake));
    leg.write_head(&mut outlet.pending);
    let length = leg.plan.head.body_length();
    let body = BodyReader::of_request(length);
    let result = outlet.pass(&mut client, seen, leg.plan.head.fields(), body, length).await;
    match result {
        Ok(()) => progress.is_whole.raise(),
        Err(Stuck::Reader) => return ClientSide::Gone,
        Err(Stuck::Bad(bad)) => return ClientSide::Bad(bad),
        // The answer may be there all the same, and say why.
        Err(Stuck::Writer | Stuck::WriterSlow) => {}
    }
    progress.is_over.raise();
    watch(&mut client, progress).await;
    ClientSide::Gone
}

/// Ends when the client is gone.
async fn watch(client: &mut tcp::ReadHalf<'_>, progress: &Progress) {
    let mut byte = [0];
    match poll_fn(|cx| client.poll_peek(cx, &mut ReadBuf::new(&mut byte))).await {
        Ok(0) => progress.is_half_closed.raise(),
        // The next request has come before this one is answered; it waits.
        Ok(_) => {}
        Err(_) => return,
    }
    // No read would tell of a reset now; an error of this call would, too.
    let _ = client.ready(Interest::ERROR).await;
}

/// Passes on the answer, interim ones first.
async fn download(
    leg: Leg<'_>,
    counts: &Counts,
    progress: &Progress,
    mut upstream: ReadHalf<'_>,
    seen: &mut BytesMut,
    client: tcp::WriteHalf<'_>,
    may_be_stale: bool,
) -> Answer {
    let written = Written::new(&counts.received, leg.plan.chain.meter(), Meter::received);
    let mut outlet = Outlet::new(client, written, None);
    let mut reader = HeadReader::new(leg.plan.generation.limits.into());
    let timeout = leg.plan.generation.timeouts.handshake;
    let mut has_come = false;
    let mut interim_count = 0;
    let mut head_due = None;
    let response = loop {
        match reader.response(seen) {
            Ok(Some(interim)) if interim.is_interim() => {
                interim_count += 1;
                if interim_count > INTERIM_MAX {
                    let why = "it sends interim answers without end";
                    return leg.bad_response("http_protocol_error", why);
                }
                head_due = None;
                if leg.plan.head.version() == Version::Http11 {
                    interim.write(
                        leg.plan.head.method(),
                        Version::Http11,
                        &[],
                        &mut outlet.pending,
                    );
                    counts.has_begun.store(true, Ordering::Relaxed);
                    if outlet.flush().await.is_err() {
                        return Answer::ClientGone;
                    }
                    counts.has_begun.store(false, Ordering::Relaxed);
                }
                continue;
            }
            Ok(Some(response)) => break response,
            Ok(None) => {}
            Err(bad) => return leg.bad_response(bad.proxy_error(), &bad.to_string()),
        }
        if !seen.is_empty() {
            head_due.get_or_insert_with(|| Instant::now() + timeout);
        }
        let read = tokio::select! {
            biased;
            read = read_ahead::read(&mut upstream, seen, HEAD_READ_BYTES) => read,
            () = until(head_due) => return leg.late(),
        };
        match read {
            Ok(1..) => has_come = true,
            Ok(0) | Err(_) if may_be_stale && !has_come => return Answer::Stale,
            read => return leg.bad_response("connection_terminated", &terminated(read)),
        }
    };
    progress.is_answered.raise();
    counts.status.store(response.status(), Ordering::Relaxed);
    if let Some(refused) = leg.refused(&response) {
        return refused;
    }
    match response.status() {
        101 => switch(leg, &response, progress, &mut outlet).await,
        // A client must not be asked for credentials that it has not.
        407 => leg.bad_response("http_protocol_error", "it answers 407, which only a proxy may"),
        _ => {
            let is_last = !leg.plan.head.wants_keep_alive() || !progress.is_whole.is_raised();
            counts.has_begun.store(true, Ordering::Relaxed);
            pass_response(leg, counts, &response, is_last, upstream, seen, &mut outlet).await
        }
    }
}

async fn pass_response(
    leg: Leg<'_>,
    counts: &Counts,
    response: &ResponseHead,
    is_last: bool,
    upstream: ReadHalf<'_>,
    seen: &mut BytesMut,
    outlet: &mut Outlet<'_, tcp::WriteHalf<'_>>,
) -> Answer {
    let method = leg.plan.head.method();
    let via = leg.via();
    let mut extra = Vec::new();
    extra.extend(via.as_deref().map(|via| ("Via", via)));
    extra.extend(is_last.then_some(("Connection", "close")));
    let from = response.body_length(method);
    let to = response.write(method, leg.plan.head.version(), &extra, &mut outlet.pending);
    counts.shows_its_end.store(to != BodyLength::UntilClose, Ordering::Relaxed);
    let body = BodyReader::of_response(from);
    match outlet.pass(upstream, seen, response.fields(), body, to).await {
        Ok(()) => Answer::Whole {
            persists: response.keeps_alive() && from != BodyLength::UntilClose,
            is_last,
        },
        Err(Stuck::Reader) => leg.broke_off("the upstream closed before the end of the body"),
        Err(Stuck::Bad(_)) => leg.broke_off("the upstream sent a broken body"),
        Err(Stuck::Writer | Stuck::WriterSlow) => Answer::ClientGone,
    }
}

async fn switch(
    leg: Leg<'_>,
    response: &ResponseHead,
    progress: &Progress,
    outlet: &mut Outlet<'_, tcp::WriteHalf<'_>>,
) -> Answer {
    if !progress.is_whole.is_raised() {
        let why = "it switches protocols in the middle of the request";
        return leg.bad_response("http_upgrade_failed", why);
    }
    let (Some(_), Some(protocol)) = (&leg.plan.upgrade, response.upgrade()) else {
        return leg
            .bad_response("http_upgrade_failed", "it switches protocols without being asked");
    };
    let extra = [("Connection", "Upgrade"), ("Upgrade", protocol.as_str())];
    response.write(leg.plan.head.method(), Version::Http11, &extra, &mut outlet.pending);
    match outlet.flush().await {
        Ok(()) => Answer::Switched,
        Err(_) => Answer::ClientGone,
    }
}

/// Ends when the condition holds. What makes it hold has to be polled before, by the same task.
async fn until_true(condition: impl Fn() -> bool) {
    poll_fn(|_| if condition() { Poll::Ready(()) } else { Poll::Pending }).await;
}

/// Ends then; never, where there is no then.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

fn terminated(read: io::Result<usize>) -> String {
    match read {
        Ok(_) => "the connection was closed before a whole answer came".into(),
        Err(error) => format!("the connection broke before a whole answer came: {error}"),
    }
}

impl Leg<'_> {
    fn write_head(&self, out: &mut Vec<u8>) {
        let via = self.via();
        let mut extra = Vec::with_capacity(4);
        extra.extend(via.as_deref().map(|via| ("Via", via)));
        extra.extend(self.plan.head.accepts_trailers().then_some(("TE", "trailers")));
        let fields = self.end.forwarding().into_iter().flat_map(|forwarding| &forwarding.fields);
        extra.extend(fields.map(|(name, value)| (*name, value.expose())));
        let connection =
            match (&self.plan.upgrade, self.end.reuse, self.plan.head.accepts_trailers()) {
                (Some(protocols), ..) => {
                    extra.push(("Upgrade", protocols));
                    Some("Upgrade")
                }
                (None, mooltiroute_hops::Reuse::Never, _) => Some("close"),
                (None, _, true) => Some("TE"),
                (None, _, false) => None,
            };
        extra.extend(connection.map(|options| ("Connection", options)));
        let form = match self.end.forwarding() {
            Some(_) => RequestForm::Absolute,
            None => RequestForm::Origin,
        };
        self.plan.head.write(self.plan.resource, form, &extra, out);
    }

    /// The `Via` field of what passes, where the configuration wants one (RFC 9110 §7.6.3).
    fn via(&self) -> Option<String> {
        self.plan.generation.via.as_ref().map(|pseudonym| format!("1.1 {pseudonym}"))
    }

    fn bad_response(&self, error: &'static str, why: &str) -> Answer {
        let reply = Reply::bad_response(&self.next_hop(), self.answering_hop(), error, why);
        Answer::Refused(Box::new(reply), why.to_owned())
    }

    fn late(&self) -> Answer {
        let timeout = self.plan.generation.timeouts.handshake;
        let why = format!("its head is not there after {timeout:?}");
        self.bad_response("http_response_timeout", &why)
    }

    fn broke_off(&self, why: &'static str) -> Answer {
        let hop = self.answering_hop().map(|hop| &**hop);
        self.plan.chain.meter().failed(hop, "body", "http_response_incomplete");
        Answer::Truncated(why)
    }

    /// What is to be said where `response` is an answer of the hop's own, and no target's.
    fn refused(&self, response: &ResponseHead) -> Option<Answer> {
        let hop = self.end.hop.as_ref()?;
        if response.status() < 400 {
            return None;
        }
        let refusal = Refusal::new(response.status(), response.reason(), response.fields().iter());
        if !hop.refuses(&refusal) {
            return None;
        }
        let error = self.plan.chain.refused(&**hop, self.plan.resource.authority(), refusal);
        Some(Answer::Refused(Box::new(Reply::unreachable(&error)), with_causes(&error)))
    }

    /// The hop that answers the request itself; `None`: the origin does.
    fn answering_hop(&self) -> Option<&Arc<str>> {
        self.end.hop.as_ref().and(self.plan.chain.links().last()).map(|last| &last.name)
    }

    /// What the upstream is called in an error.
    fn next_hop(&self) -> String {
        self.answering_hop()
            .map_or_else(|| self.plan.resource.authority().to_string(), |hop| hop.to_string())
    }
}

impl Flag {
    fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    async fn raised(&self) {
        until_true(|| self.is_raised()).await;
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole { .. } | Self::WholeButClose | Self::Switched => f.write_str("whole"),
            Self::Refused(_, why) => f.write_str(why),
            Self::Truncated(why) => write!(f, "truncated: {why}"),
            Self::ClientGone => f.write_str("client broke"),
            Self::Stale => f.write_str("stale"),
            Self::Cut => f.write_str("cut at shutdown"),
        }
    }
}

/// Most heads fit in one read of this size.
const HEAD_READ_BYTES: usize = 8 * 1024;
/// How many interim answers may precede one answer; a server that tells of progress stays far below it.
const INTERIM_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::io::lazy_timer;

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_late_once_nothing_is_on_its_way_to_the_client() {
        let (progress, counts) = (Progress::default(), Counts::default());
        let mut timer = pin!(lazy_timer::timer());
        let mut alarm = Alarm::new(timer.as_mut());
        let second = Duration::from_secs(1);
        let mut late = pin!(late(&progress, &counts, second, &mut alarm));
        assert!(timeout(second * 2, late.as_mut()).await.is_err(), "the request is under way");
        progress.is_over.raise();
        counts.has_begun.store(true, Ordering::Relaxed);
        assert!(timeout(second * 2, late.as_mut()).await.is_err(), "an interim answer is, too");
        counts.has_begun.store(false, Ordering::Relaxed);
        assert!(timeout(Duration::ZERO, late.as_mut()).await.is_ok());
    }
}
