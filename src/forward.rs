//! A plain `http://` request: in absolute-form to a last hop that takes it, in origin-form to the origin otherwise.

mod exchange;
mod pass;
mod upstream;

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use mooltiroute_hops::{Preferences, Request, Reuse};
use tracing::warn;

pub use self::upstream::Upstream;
use self::{
    exchange::{Ended, Exchange},
    upstream::Key,
};
use crate::{
    access::{Access, Outcome},
    auth::Admitted,
    chain::{Chain, ChainError},
    client::{Client, is_head},
    http::{BodyLength, RequestHead, Resource, Target},
    keepalive,
    live::{Generation, Way},
    reply::{Reply, with_causes},
    shutdown::Shutdown,
    tunnel::{OpenTunnel, Opening},
};

/// What becomes of the client's connection after a request.
#[derive(Debug)]
pub enum Served {
    /// It can carry another one, as can the upstream connection, where it is here; that is never shared with another
    /// client.
    Again(Client, Option<Upstream>),
    /// It is a tunnel from now on.
    Switched(OpenTunnel),
    /// It is closed.
    Closed,
}

/// Serves one request. `shutdown` has to [wake](Shutdown::heeded_by) this task.
pub async fn serve(
    client: Client,
    kept: Option<Upstream>,
    head: Box<RequestHead>,
    admitted: Admitted,
    generation: Arc<Generation>,
    shutdown: &Shutdown,
) -> Served {
    let Target::Resource(resource) = head.target() else { return Served::Closed };
    let target = resource.authority();
    let Some(way) = generation.way(target) else {
        warn!(client = %client.peer, %target, "no route matches");
        client.close_with(&Reply::no_route(target), is_head(&head)).await;
        return Served::Closed;
    };
    let preferences = match admitted.preferences(way.chain, &generation) {
        Ok(preferences) => preferences,
        Err(reply) => {
            client.close_with(&reply, is_head(&head)).await;
            return Served::Closed;
        }
    };
    let access =
        Access::new(Arc::clone(&generation), client.peer, head.method(), target.clone(), way);
    let plan = Plan::new(&head, resource, way, preferences, &generation);
    let mut exchange = Exchange::new(&plan, client);
    let ended = {
        let mut travel = pin!(travel(&plan, &mut exchange, kept));
        poll_fn(|cx| match travel.as_mut().poll(cx) {
            Poll::Pending if shutdown.is_cut() => Poll::Ready(Ended::Cut),
            ended => ended,
        })
        .await
    };
    let (status, sent, received) = (exchange.status(), exchange.sent(), exchange.received());
    let shows_its_end = exchange.shows_its_end();
    let Exchange { client, .. } = exchange;
    match &ended {
        Ended::Refused(reply, why) => access.failed(reply, why),
        Ended::Switched(_) => {}
        ended => access.request(&Outcome { status, sent, received, end: ended }),
    }
    match ended {
        Ended::Whole(upstream) => {
            let kept = upstream.filter(|kept| kept.end.reuse == Reuse::SameClient);
            return Served::Again(client, kept.map(Upstream::rested));
        }
        Ended::WholeButClose => {
            client.close().await;
        }
        Ended::Refused(reply, _) => {
            client.close_with(&reply, is_head(&head)).await;
        }
        Ended::Switched(upstream) => {
            let opening = Opening { status, sent, received };
            let upstream = upstream.into_tunnel();
            let tunnel = OpenTunnel::new(client, upstream, access, opening, &generation.timeouts);
            return Served::Switched(tunnel);
        }
        // What came before the break is worth having, and the framing tells that there should be more.
        Ended::Truncated(_) if shows_its_end => client.close().await,
        Ended::Truncated(_) | Ended::Cut => {
            // A close would pass for the end of a body that lasts until then.
            let _ = client.socket.set_zero_linger();
        }
        Ended::ClientGone | Ended::Stale => {}
    }
    Served::Closed
}

/// What is to be done with a request.
struct Plan<'a> {
    head: &'a RequestHead,
    resource: &'a Resource,
    chain: &'a Chain,
    generation: &'a Generation,
    /// The protocols that the client offers to switch to.
    upgrade: Option<String>,
    key: Key,
}

impl<'a> Plan<'a> {
    fn new(
        head: &'a RequestHead,
        resource: &'a Resource,
        way: Way<'a>,
        preferences: Preferences,
        generation: &'a Generation,
    ) -> Self {
        let chain = Arc::clone(way.chain.name());
        let key = Key { generation: generation.number(), chain, preferences };
        Self { head, resource, chain: way.chain, generation, upgrade: head.upgrade(), key }
    }

    async fn open(&self) -> Result<Upstream, ChainError> {
        let origin = self.resource.authority();
        let request = Request::new(origin, &self.key.preferences);
        let arrival = if self.may_be_forwarded() {
            self.chain.connect_plain(request).await?
        } else {
            self.chain.connect_through(request).await?
        };
        Ok(Upstream::new(arrival, origin.clone(), self.key.clone()))
    }

    /// Many proxies drop `Upgrade`; through a tunnel it reaches the origin.
    fn may_be_forwarded(&self) -> bool {
        self.upgrade.is_none()
    }

    /// Whether `kept` can carry the request.
    fn fits(&self, kept: &Upstream) -> bool {
        kept.serves(self.resource.authority(), self.may_be_forwarded(), &self.key)
    }

    /// Whether it can be sent a second time when the first may have been lost (RFC 9110 §9.2.2).
    fn is_repeatable(&self) -> bool {
        const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];
        self.head.body_length() == BodyLength::Empty && IDEMPOTENT.contains(&self.head.method())
    }
}

/// Opens an upstream connection, or takes the one that was kept, and passes the request and its answer over it.
async fn travel(plan: &Plan<'_>, exchange: &mut Exchange<'_>, kept: Option<Upstream>) -> Ended {
    if let Some(mut kept) = kept.filter(|kept| plan.fits(kept))
        && kept.is_quiet().await
    {
        match exchange.run(kept, plan.is_repeatable()).await {
            // It was closed while the request was under way, unanswered; a new one is tried, once.
            Ended::Stale => {}
            ended => return ended,
        }
    }
    match plan.open().await {
        Ok(upstream) => {
            // An answer may take hours, and what is kept serves many.
            keepalive::probe(&exchange.client.socket);
            keepalive::probe_below(&upstream.tunnel);
            exchange.run(upstream, false).await
        }
        Err(error) => Ended::Refused(Box::new(Reply::unreachable(&error)), with_causes(&error)),
    }
}
