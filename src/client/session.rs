//! The life of one client connection.

mod refusals;

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    thread,
    time::Duration,
};

use tracing::{Span, debug, debug_span, warn};

pub(crate) use self::refusals::turn_away;
use self::refusals::{log_unanswered, log_unauthorized, refuse, refuse_protocol, shut_out};
use crate::{
    client::{
        accepted::Accepted,
        admin,
        ask::{Denial, RequestLog},
        auth::{self, Admitted},
        connect::{self, HttpConnect},
        connection::{Arrival, Client, is_head},
        detect::Detected,
        forward::{Forwarder, Next, Switch},
        reply::Reply,
        socks,
        tunnel::OpenTunnel,
        via,
    },
    config::Protocol,
    http::{HeadLimits, RequestHead, Target},
    io::lazy_timer::{self, LazyDeadline},
    network::Unsettled,
    router::Query,
    state::{
        generation::Generation,
        shared::{Admission, Shared},
    },
    system::shutdown::Shutdown,
    usage::RecentOwner,
};

/// Serves one client until its connection ends: requests one after the other, and perhaps a tunnel at the end.
///
/// Everything that is logged meanwhile at `debug` is in a span with the number of the connection, its peer and the
/// thread that serves it.
///
/// Not an `async fn`, which would keep each argument twice, for days.
pub(crate) fn run(accepted: Accepted, admission: Admission) -> impl Future<Output = ()> + Send {
    let peer = accepted.peer;
    // Boxed, so that an open tunnel does not keep the room that the requests before it needed. The box is made first
    // and the future built inside it: moving a finished future into a box copies all of its room.
    let room = Box::new_uninit();
    let requests = requests(accepted, Arc::clone(admission.shared()));
    let requests = Box::into_pin(Box::write(room, requests));
    let mut part = SessionPart::Requests(requests);
    async move {
        {
            let (span, shutdown) = (span(&admission, peer), admission.shared().shutdown());
            let served = pin!(poll_fn(|cx| {
                let _inside = span.as_ref().map(|span| span.enter());
                part.poll(cx, shutdown)
            }));
            // One registration for the steps of the shutdown serves everything below, which only asks
            // whether they have come. To register for each wait would take a lock each time.
            //
            // A session that is cut has ended by itself, or has nothing to tell.
            let _ = shutdown.heeded_by(served).await;
        }
        // The connection ends before it stops to count.
        drop(part);
        if admission.shared().denials().challenges.concerns(peer) {
            let shared = Arc::clone(admission.shared());
            // The connection is closed, and its place is for the next one: perhaps for this client, with credentials.
            drop(admission);
            // Boxed, so that open tunnels don't keep room for it.
            Box::pin(log_unanswered(peer, shared)).await;
        }
    }
}

/// Returns the span of a client. Boxed, since few logs have it, and each open tunnel would keep room for it.
fn span(admission: &Admission, peer: SocketAddr) -> Option<Box<Span>> {
    // The fields are made only if the span is enabled.
    let span = debug_span!(
        "client",
        connection = admission.number(),
        %peer,
        worker = thread::current().name(),
    );
    span.in_scope(|| debug!("connection accepted"));
    (!span.is_disabled()).then(|| Box::new(span))
}

/// The two parts of a session.
enum SessionPart<R> {
    Requests(Pin<Box<R>>),
    Tunnel(Box<OpenTunnel>),
}

impl<R: Future<Output = Option<Box<OpenTunnel>>>> SessionPart<R> {
    fn poll(&mut self, cx: &mut Context<'_>, shutdown: &Shutdown) -> Poll<()> {
        loop {
            match self {
                Self::Tunnel(tunnel) => return tunnel.poll(cx, shutdown),
                Self::Requests(requests) => match ready!(requests.as_mut().poll(cx)) {
                    Some(tunnel) => *self = Self::Tunnel(tunnel),
                    None => return Poll::Ready(()),
                },
            }
        }
    }
}

/// Serves requests until the connection ends, or one of them has opened a tunnel.
async fn requests(accepted: Accepted, shared: Arc<Shared>) -> Option<Box<OpenTunnel>> {
    let shared = &shared;
    let mut timer = pin!(lazy_timer::timer());
    let mut deadline = LazyDeadline::new(timer.as_mut());
    let (_, header) = limits(&shared.live().current());
    // The first byte tells the protocol, before any head is read. A protocol that is left out is
    // refused in its own words.
    let mut client = accepted.greet(header, &mut deadline, shared.shutdown()).await?;
    let detected = Detected::of(&client.seen);
    let (is_served, (head_limits, header)) = {
        let generation = shared.live().current();
        (generation.protocols.contains(&detected.protocol()), limits(&generation))
    };
    if !is_served {
        refuse_protocol(client, detected).await;
        return None;
    }
    if let Detected::Socks(version) = detected {
        // Boxed, so that connections of HTTP don't keep room for it.
        return Box::pin(socks::serve(client, version, deadline, shared)).await;
    }
    let (mut kept, mut recent) = (None, RecentOwner::default());
    let shutdown = shared.shutdown();
    let mut arrival = client.next_head(head_limits, header, header, &mut deadline, shutdown).await;
    loop {
        let head = match arrival {
            Arrival::Head(head) if is_plain(&head) => head,
            Arrival::Head(head) => return last(client, &head, shared).await,
            Arrival::Idle | Arrival::End => {
                client.end().await;
                return None;
            }
            Arrival::Slow | Arrival::Bad(_) => {
                refuse(client, arrival, shared).await;
                return None;
            }
        };
        // Boxed, since it is large: tunnels don't need it, nor do connections between their requests.
        let forwarder = Forwarder {
            client: &mut client,
            kept: &mut kept,
            recent: &mut recent,
            deadline: deadline.lend(),
            shared,
        };
        arrival = match Box::pin(plain(forwarder, head, shared)).await {
            // The client is slower than usual. It waits here, without the memory that a request
            // needs.
            Left::Idle => {
                next_head(&mut client, IDLE_BETWEEN_REQUESTS, &mut deadline, shared).await
            }
            Left::Arrival(arrival) => arrival,
            Left::Over(next, is_head) => return leave(client, next, is_head).await,
        };
    }
}

/// The end of a run of plain requests.
enum Left {
    /// No request came within [`SOON`].
    Idle,
    /// Something else came, such as a request that is not a plain one.
    Arrival(Arrival),
    /// The last request was served. The flag says whether its method was HEAD.
    Over(Next<Box<Switch>>, bool),
}

/// Serves plain requests, beginning with `head`, until the connection ends or stays idle.
async fn plain(mut forwarder: Forwarder<'_>, mut head: Box<RequestHead>, shared: &Shared) -> Left {
    loop {
        let next = {
            // Taken again for each request, which keeps it to its end. So a reload takes effect on
            // connections that are open.
            let generation = shared.live().current();
            // Authentication comes before anything else, so that strangers learn nothing about
            // routes.
            match admit(forwarder.client, &head, &generation, shared) {
                Ok(admitted) => {
                    match settled(forwarder.client.peer, &head, generation, shared).await {
                        Ok(generation) => forwarder.serve(&head, admitted, &generation).await,
                        Err(reply) => Next::Say(reply),
                    }
                }
                Err(reply) => Next::Say(reply),
            }
        };
        // A proxy that drains closes between two requests, and not within one.
        if !matches!(next, Next::Keep) || shared.shutdown().is_draining() {
            return Left::Over(next, is_head(&head));
        }
        let Forwarder { client, deadline, .. } = &mut forwarder;
        // A client that goes on at once is served by this future again, and no new one is made.
        match next_head(client, SOON, deadline, shared).await {
            Arrival::Head(next) if is_plain(&next) => head = next,
            Arrival::Idle => return Left::Idle,
            arrival => return Left::Arrival(arrival),
        }
    }
}

/// Closes, resets or hands on the connection, as its last plain request decided.
async fn leave(client: Client, next: Next<Box<Switch>>, is_head: bool) -> Option<Box<OpenTunnel>> {
    match next {
        Next::Tunnel(switch) => {
            let Switch { upstream, account, opening } = *switch;
            return Some(OpenTunnel::new(client, upstream, account, opening));
        }
        Next::Say(reply) => client.close_with(&reply, is_head).await,
        // `Keep` comes here only while the proxy drains.
        Next::Keep | Next::Close => client.close().await,
        Next::Reset => client.reset(),
    }
    None
}

/// Serves a request that is the last one of its connection: one for a tunnel, or one to the proxy itself.
async fn last(client: Client, head: &RequestHead, shared: &Arc<Shared>) -> Option<Box<OpenTunnel>> {
    let generation = shared.live().current();
    let admitted = match admit(&client, head, &generation, shared) {
        Ok(admitted) => admitted,
        Err(reply) => {
            client.close_with(&reply, is_head(head)).await;
            return None;
        }
    };
    match head.target() {
        Target::Tunnel(target) => {
            // After authentication, since it may wait, and only for a tunnel: the pages of the
            // proxy depend on no hop.
            let generation = match settled(client.peer, head, generation, shared).await {
                Ok(generation) => generation,
                Err(reply) => {
                    client.close_with(&reply, false).await;
                    return None;
                }
            };
            let (target, context) = (target.clone(), (&**shared, &generation));
            let protocol = HttpConnect { fields: head.fields() };
            connect::open(client, target, admitted, context, protocol).await
        }
        Target::Resource(_) | Target::Origin(_) | Target::Asterisk => {
            admin::serve(client, head, shared).await;
            None
        }
    }
}

fn is_plain(head: &RequestHead) -> bool {
    matches!(head.target(), Target::Resource(_)) && !admin::is_last_stop(head)
}

/// Returns the generation that serves the request of `head`: `generation`, unless the hops on its way have to be known
/// first.
async fn settled(
    peer: SocketAddr,
    head: &RequestHead,
    generation: Arc<Generation>,
    shared: &Shared,
) -> Result<Arc<Generation>, Box<Reply>> {
    let target = match head.target() {
        Target::Tunnel(target) => target,
        Target::Resource(resource) => resource.authority(),
        Target::Origin(_) | Target::Asterisk => return Ok(generation),
    };
    let settled = shared.generation_for(&Query { target }, generation).await;
    settled.map_err(|Unsettled| {
        let denial = Denial::Unsettled(target.clone());
        RequestLog { peer, protocol: Protocol::Http, target }.log(&denial, shared);
        Box::new(denial.into())
    })
}

fn admit(
    client: &Client,
    head: &RequestHead,
    generation: &Generation,
    shared: &Shared,
) -> Result<Admitted, Box<Reply>> {
    // A reload may have left the protocol out, or changed what the listener asks for.
    if let Some(reply) = shut_out(client, generation) {
        return Err(Box::new(reply));
    }
    let Some(admitted) = auth::admit(head, generation.auth.as_ref()) else {
        let is_page = matches!(head.target(), Target::Origin(_) | Target::Asterisk);
        let has_tried = head.fields().values("Proxy-Authorization").next().is_some();
        let scheme = auth::other_scheme(head);
        let reply = match (is_page, scheme, has_tried) {
            (true, ..) => Reply::unauthorized_page(),
            (false, Some(scheme), _) => Reply::other_scheme(scheme),
            (false, None, true) => Reply::wrong_credentials(),
            (false, None, false) => Reply::unauthorized(),
        };
        log_unauthorized(client, head, (&reply, scheme), shared);
        return Err(Box::new(reply));
    };
    let target = match head.target() {
        Target::Tunnel(target) => target,
        Target::Resource(resource) => resource.authority(),
        Target::Origin(_) | Target::Asterisk => return Ok(admitted),
    };
    if generation.auth.is_some() {
        shared.denials().challenges.answer(client.peer.ip(), target);
    }
    // Here and not in the chain, since only HTTP has the field, and a request for the proxy itself
    // goes nowhere.
    if via::names_loop(head.fields(), generation.via.as_deref()) {
        warn!(client = %client.peer, %target, status = 508, "the request loops");
        return Err(Box::new(Reply::looped(target)));
    }
    Ok(admitted)
}

/// Waits for the next request, for at most `idle` until its first byte.
async fn next_head(
    client: &mut Client,
    idle: Duration,
    deadline: &mut LazyDeadline<'_>,
    shared: &Shared,
) -> Arrival {
    let (limits, header) = limits(&shared.live().current());
    client.next_head(limits, idle, header, deadline, shared.shutdown()).await
}

fn limits(generation: &Generation) -> (HeadLimits, Duration) {
    (generation.limits.into(), generation.timeouts.header)
}

/// How long the future that serves a request waits for the next one, before it is dropped with its memory.
const SOON: Duration = Duration::from_millis(100);

/// How long the connection may stay open without a request after that. Most servers allow as much.
const IDLE_BETWEEN_REQUESTS: Duration = Duration::from_secs(75);
