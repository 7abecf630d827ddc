//! One request and its answer, over one upstream connection, both directions at once.

use std::{
    fmt,
    future::{Future, pending, poll_fn},
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use mooltiroute_hops::{Refusal, Tunnel};
use tokio::{
    io::{AsyncReadExt, ReadBuf, ReadHalf, WriteHalf},
    net::tcp,
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use super::{
    Plan,
    pass::{Outlet, Stuck, Written},
    upstream::{End, Upstream},
};
use crate::{
    client::Client,
    http::{BadBody, BodyLength, HeadLimits, HeadReader, RequestForm, ResponseHead, Version},
    metrics::Meter,
    reply::{Reply, with_causes},
};

/// A request under way.
pub(super) struct Exchange<'a> {
    plan: &'a Plan<'a>,
    pub(super) client: Client,
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
    /// The answer is whole. The upstream connection can carry more, if it is here.
    Whole(Option<Upstream>),
    /// The answer is whole, and came before the request was; so the connection can't carry more.
    WholeButClose,
    /// The protocol was switched; what follows is for the two ends alone.
    Switched(Upstream),
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
}

/// How far the request is.
#[derive(Default)]
struct Upload {
    is_whole: AtomicBool,
    /// Told when nothing more is sent, be it whole or not.
    is_over: Notify,
}

/// What became of the client's side while the answer is awaited.
enum ClientSide {
    /// It has ended its direction, and may still read.
    HalfClosed,
    /// It is gone.
    Gone,
    /// It sent what is no body.
    Bad(BadBody),
}

/// What became of the answer.
enum Answer {
    Whole { persists: bool },
    Switched,
    Refused(Box<Reply>, String),
    Truncated(&'static str),
    ClientGone,
    Stale,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(plan: &'a Plan<'a>, client: Client) -> Self {
        Self { plan, client, counts: Counts::default() }
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

    /// Sends the request over `upstream` and passes its answer back. `may_be_stale`: that the connection turns out
    /// closed is no error.
    pub(super) async fn run(&mut self, mut upstream: Upstream, may_be_stale: bool) -> Ended {
        let Self { plan, client, counts } = self;
        let Client { socket, seen, .. } = client;
        let (client_read, client_write) = socket.split();
        let Upstream { tunnel, seen: upstream_seen, end, .. } = &mut upstream;
        let leg = Leg { plan, end };
        let (upstream_read, upstream_write) = tokio::io::split(tunnel);
        let progress = Upload::default();
        let answer = {
            let upload = upload(leg, counts, &progress, client_read, seen, upstream_write);
            let download = download(
                leg,
                counts,
                &progress,
                upstream_read,
                upstream_seen,
                client_write,
                may_be_stale,
            );
            both(upload, download, counts, plan.generation.timeouts.half_closed).await
        };
        let is_uploaded = progress.is_whole.load(Ordering::Relaxed);
        match answer {
            Answer::Whole { .. } if !is_uploaded => Ended::WholeButClose,
            Answer::Whole { persists } => Ended::Whole(persists.then_some(upstream)),
            Answer::Switched => Ended::Switched(upstream),
            Answer::Refused(reply, why) => Ended::Refused(reply, why),
            Answer::Truncated(why) => Ended::Truncated(why),
            Answer::ClientGone => Ended::ClientGone,
            Answer::Stale => Ended::Stale,
        }
    }
}

/// Drives both directions until there is an answer, or none can come any more.
async fn both(
    upload: impl Future<Output = ClientSide>,
    download: impl Future<Output = Answer>,
    counts: &Counts,
    half_closed: Duration,
) -> Answer {
    let (mut upload, mut download) = (pin!(upload), pin!(download));
    tokio::select! {
        biased;
        answer = &mut download => return answer,
        client = &mut upload => match client {
            ClientSide::HalfClosed => {}
            ClientSide::Gone => return Answer::ClientGone,
            ClientSide::Bad(bad) => return refused_body(bad, counts),
        },
    }
    // Nothing more comes from the client, not even the news that it is gone; so the answer must keep moving.
    loop {
        let received = counts.received.load(Ordering::Relaxed);
        tokio::select! {
            answer = &mut download => return answer,
            () = sleep(half_closed) => if counts.received.load(Ordering::Relaxed) == received {
                return Answer::ClientGone;
            },
        }
    }
}

fn refused_body(bad: BadBody, counts: &Counts) -> Answer {
    if counts.received.load(Ordering::Relaxed) > 0 {
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
    progress: &Upload,
    mut client: tcp::ReadHalf<'_>,
    seen: &mut BytesMut,
    upstream: WriteHalf<&mut Tunnel>,
) -> ClientSide {
    let written = Written::new(&counts.sent, leg.plan.chain.meter(), Meter::sent);
    let mut outlet = Outlet::new(upstream, written, Some(leg.plan.generation.timeouts.handshake));
    leg.write_head(&mut outlet.pending);
    let length = leg.plan.head.body_length();
    let result = outlet.pass(&mut client, seen, leg.plan.head.fields(), length, length).await;
    match result {
        Ok(()) => progress.is_whole.store(true, Ordering::Relaxed),
        Err(Stuck::Reader) => return ClientSide::Gone,
        Err(Stuck::Bad(bad)) => return ClientSide::Bad(bad),
        // The answer may be there all the same, and say why.
        Err(Stuck::Writer | Stuck::WriterSlow) => {}
    }
    progress.is_over.notify_one();
    let mut byte = [0];
    match poll_fn(|cx| client.poll_peek(cx, &mut ReadBuf::new(&mut byte))).await {
        Ok(0) => ClientSide::HalfClosed,
        // The next request has come before this one is answered; it waits.
        Ok(_) => pending().await,
        Err(_) => ClientSide::Gone,
    }
}

/// Passes on the answer, interim ones first.
async fn download(
    leg: Leg<'_>,
    counts: &Counts,
    progress: &Upload,
    mut upstream: ReadHalf<&mut Tunnel>,
    seen: &mut BytesMut,
    client: tcp::WriteHalf<'_>,
    may_be_stale: bool,
) -> Answer {
    let written = Written::new(&counts.received, leg.plan.chain.meter(), Meter::received);
    let mut outlet = Outlet::new(client, written, None);
    let mut reader = HeadReader::new(HeadLimits::default());
    let timeout = leg.plan.generation.timeouts.handshake;
    // While the request is under way, its answer is not late.
    let mut late = pin!(async {
        progress.is_over.notified().await;
        sleep_until(Instant::now() + timeout).await;
    });
    let mut has_come = false;
    let response = loop {
        match reader.response(seen) {
            Ok(Some(interim)) if interim.is_interim() => {
                if leg.plan.head.version() == Version::Http11 {
                    interim.write(
                        leg.plan.head.method(),
                        Version::Http11,
                        &[],
                        &mut outlet.pending,
                    );
                    if outlet.flush().await.is_err() {
                        return Answer::ClientGone;
                    }
                }
                continue;
            }
            Ok(Some(response)) => break response,
            Ok(None) => {}
            Err(bad) => return leg.bad_response("http_protocol_error", &bad.to_string()),
        }
        seen.reserve(HEAD_READ_BYTES);
        let read = tokio::select! {
            biased;
            read = upstream.read_buf(seen) => read,
            () = &mut late => {
                let why = format!("its head is not there after {timeout:?}");
                return leg.bad_response("http_response_timeout", &why);
            }
        };
        match read {
            Ok(1..) => has_come = true,
            Ok(0) | Err(_) if may_be_stale && !has_come => return Answer::Stale,
            read => return leg.bad_response("connection_terminated", &terminated(read)),
        }
    };
    counts.status.store(response.status(), Ordering::Relaxed);
    if let Some(refused) = leg.refused(&response) {
        return refused;
    }
    match response.status() {
        101 => switch(leg, &response, &mut outlet).await,
        // A client must not be asked for credentials that it has not.
        407 => leg.bad_response("http_protocol_error", "it answers 407, which only a proxy may"),
        _ => {
            let is_last =
                !leg.plan.head.wants_keep_alive() || !progress.is_whole.load(Ordering::Relaxed);
            pass_response(leg, &response, is_last, upstream, seen, &mut outlet).await
        }
    }
}

async fn pass_response(
    leg: Leg<'_>,
    response: &ResponseHead,
    is_last: bool,
    upstream: ReadHalf<&mut Tunnel>,
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
    match outlet.pass(upstream, seen, response.fields(), from, to).await {
        Ok(()) => {
            Answer::Whole { persists: response.keeps_alive() && from != BodyLength::UntilClose }
        }
        Err(Stuck::Reader) => Answer::Truncated("the upstream closed before the end of the body"),
        Err(Stuck::Bad(_)) => Answer::Truncated("the upstream sent a broken body"),
        Err(Stuck::Writer | Stuck::WriterSlow) => Answer::ClientGone,
    }
}

async fn switch(
    leg: Leg<'_>,
    response: &ResponseHead,
    outlet: &mut Outlet<'_, tcp::WriteHalf<'_>>,
) -> Answer {
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

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(_) | Self::WholeButClose | Self::Switched(_) => f.write_str("whole"),
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
