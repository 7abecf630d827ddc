//! Refuses clients and requests that are not served.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use mooltiroute_hops::Authority;
use tokio::time::sleep;
use tracing::{debug, warn};

use super::limits;
use crate::{
    client::{
        accepted::Accepted,
        connection::{Arrival, Client, is_head},
        detect::Detected,
        reply::{Reply, proxy_url},
        socks,
    },
    config::Protocol,
    http::{BadRequest, PROXY_PROTOCOL, RequestHead, Target, proxy_protocol},
    io::lazy_timer::{self, LazyDeadline},
    state::{
        challenges::{ANSWER_TIME, Unanswered},
        denials::{ClientLine, RefusalReason},
        generation::Generation,
        shared::{Admission, Shared},
    },
};

/// Logs that a client has not authenticated. Many clients send credentials only when asked, so a request without any is
/// no failure yet: see [`log_unanswered`].
pub(super) fn log_unauthorized(
    client: &Client,
    head: &RequestHead,
    (reply, scheme): (&Reply, Option<&str>),
    shared: &Shared,
) {
    let names = ["Proxy-Authorization", "Authorization"];
    let has_tried = names.iter().any(|name| head.fields().values(name).next().is_some());
    if !has_tried {
        debug!(client = %client.peer, "authentication failed");
        // A request for a page of the proxy itself needs no line: its answer says which proxy asks.
        if let Target::Tunnel(target) = head.target() {
            challenged(client.peer, target, shared);
        } else if let Target::Resource(resource) = head.target() {
            challenged(client.peer, resource.authority(), shared);
        }
        return;
    }
    let status = reply.status();
    let reason = match scheme {
        Some(_) => RefusalReason::OtherScheme,
        None => RefusalReason::Unauthorized,
    };
    match shared.denials().count(Protocol::Http, reason, 1) {
        Some(skipped) => {
            let reason = match scheme {
                Some(scheme) => format!(
                    "the client sent {scheme} credentials, and `server.auth` takes Basic only; set the client to Basic"
                ),
                None => "the client's credentials are not those of `server.auth`".to_owned(),
            };
            warn!(client = %client.peer, status, reason, skipped, "request denied");
        }
        None => debug!(client = %client.peer, "authentication failed"),
    }
}

/// Notes that the client at `peer` was asked for credentials.
fn challenged(peer: SocketAddr, target: &Authority, shared: &Shared) {
    if !shared.denials().challenges.begin(peer, target) {
        log_no_credentials(peer, target, 1, shared);
    }
}

/// Waits to see whether the client at `peer`, whose connection is closed, comes back with credentials.
/// Logs that it was refused if it does not.
///
/// Without this line nothing would say which proxy has refused the client: it shows only the status 407, which the next
/// proxy sends as well.
pub(super) async fn log_unanswered(peer: SocketAddr, shared: Arc<Shared>) {
    // A proxy that ends waits for nobody here.
    let _ = shared.shutdown().until_draining(sleep(ANSWER_TIME)).await;
    if let Some(Unanswered { target, requests }) = shared.denials().challenges.end(peer) {
        log_no_credentials(peer, &target, requests, &shared);
    }
}

fn log_no_credentials(peer: SocketAddr, target: &Authority, requests: u64, shared: &Shared) {
    let reason = RefusalReason::NoCredentials;
    if let Some(skipped) = shared.denials().count(Protocol::Http, reason, requests) {
        let url = proxy_url(shared.proxy_address(), Some("USER:PASSWORD"));
        let reason = &*format!("{NO_CREDENTIALS}, as in `{url}`");
        warn!(client = %peer, %target, status = 407, reason, skipped, "request denied");
    }
}

/// Refuses a client beyond `limits.connections`.
pub(crate) async fn turn_away(accepted: Accepted, admission: Admission) {
    let shared = admission.shared();
    if shared.turned_away() > TURNED_AWAY_MAX {
        // Too many to answer each of them; closing the connection says it too.
        return;
    }
    let work = pin!(tell_limit(accepted, shared));
    let _ = shared.shutdown().heeded_by(work).await;
}

async fn tell_limit(accepted: Accepted, shared: &Shared) {
    let generation = shared.live().current();
    let (limits, _) = limits(&generation);
    let mut timer = pin!(lazy_timer::timer());
    let mut deadline = LazyDeadline::new(timer.as_mut());
    let (wait, shutdown) = (TURN_AWAY, shared.shutdown());
    let Some(mut client) = accepted.greet(wait, &mut deadline, shutdown).await else { return };
    if let Detected::Socks(version) = Detected::of(&client.seen) {
        warn!(client = %client.peer, limit = generation.limits.connections, "too many connections");
        client.close_after(&socks::turned_away(version)).await;
        return;
    }
    // Read, although the answer is certain: after a HEAD it must have no body.
    let arrival = client.next_head(limits, wait, wait, &mut deadline, shutdown).await;
    let is_head = matches!(&arrival, Arrival::Head(head) if is_head(head));
    let reply = Reply::over_limit(generation.limits.connections);
    warn!(client = %client.peer, status = reply.status(), limit = generation.limits.connections, "too many connections");
    client.close_with(&reply, is_head).await;
}

/// Refuses a client whose protocol `server.protocols` leaves out, in that protocol.
pub(super) async fn refuse_protocol(client: Client, detected: Detected) {
    let protocol = detected.protocol();
    if proxy_protocol::begins(&client.seen) {
        let reason = PROXY_PROTOCOL;
        warn!(client = %client.peer, reason, "the client speaks a protocol that `server.protocols` leaves out");
        let reply = Reply::refused(403, format!("Mooltiroute can't serve this: {reason}."));
        return client.close_with(&reply, false).await;
    }
    warn!(client = %client.peer, %protocol, "the client speaks a protocol that `server.protocols` leaves out");
    match detected {
        Detected::Socks(version) => client.close_after(&socks::turned_away(version)).await,
        Detected::Http => client.close_with(&Reply::refused(403, NO_HTTP), false).await,
    }
}

/// Returns the refusal of a client that came in before a reload and could not connect any more, if so.
pub(super) fn shut_out(client: &Client, generation: &Generation) -> Option<Reply> {
    let reason = client.entrance.reason_to_shut_out(client.peer, Protocol::Http, generation)?;
    warn!(client = %client.peer, status = 403, reason, "request denied");
    Some(Reply::refused(403, format!("Mooltiroute can't serve this: {reason}.")))
}

pub(super) async fn refuse(client: Client, mut arrival: Arrival, shared: &Shared) {
    // Only the connection knows that the parser has read what came inside TLS.
    if client.is_tls && matches!(arrival, Arrival::Bad(BadRequest::Tls)) {
        arrival = Arrival::Bad(BadRequest::TlsTwice);
    }
    // Few clients show the answer, and one of another protocol can't, so the log has the reason.
    let reason = match &arrival {
        Arrival::Bad(BadRequest::Tls) => Some(RefusalReason::Tls),
        Arrival::Bad(BadRequest::TlsTwice) => Some(RefusalReason::TlsTwice),
        Arrival::Bad(BadRequest::Socks(_)) => Some(RefusalReason::Socks),
        Arrival::Bad(BadRequest::Http2) => Some(RefusalReason::Http2),
        Arrival::Bad(BadRequest::ProxyProtocol) => Some(RefusalReason::ProxyProtocol),
        Arrival::Bad(BadRequest::NeedsConnect) => Some(RefusalReason::NeedsConnect),
        Arrival::Bad(BadRequest::UnknownScheme) => Some(RefusalReason::UnknownScheme),
        Arrival::Bad(BadRequest::ConnectTarget(_)) => Some(RefusalReason::ConnectTarget),
        Arrival::Bad(_) => Some(RefusalReason::Malformed),
        _ => None,
    };
    if let (Arrival::Bad(bad), Some(reason)) = (&arrival, reason)
        && let Some(skipped) = shared.denials().note(ClientLine::Refused(Protocol::Http, reason))
    {
        warn!(client = %client.peer, status = bad.status(), reason = %bad, skipped, "request denied");
    }
    let reply = match arrival {
        Arrival::Bad(bad) => {
            Reply::refused(bad.status(), format!("Mooltiroute can't serve this request: {bad}."))
        }
        _ => Reply::refused(
            408,
            "Mooltiroute: the rest of the request's head did not arrive in time (`timeouts.header`).",
        ),
    };
    debug!(client = %client.peer, status = reply.status(), "request refused");
    client.close_with(&reply, false).await;
}

const NO_CREDENTIALS: &str = "the client sent no credentials, and `server.auth` asks for them; write them into the client's \
                              proxy URL";

const NO_HTTP: &str =
    "This proxy does not speak HTTP: `server.protocols` in its configuration leaves it out.";

/// How long a client that is turned away has for its request.
const TURN_AWAY: Duration = Duration::from_secs(1);

/// How many connections over the limit get an answer at the same time.
const TURNED_AWAY_MAX: usize = 64;
