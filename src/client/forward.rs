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

use mooltiroute_hops::{Preferences, Request, RequestLine, Reuse, Tunnel};
use tracing::warn;

pub(crate) use self::upstream::Upstream;
use self::{
    exchange::{Ended, Exchange},
    upstream::Key,
};
use crate::{
    client::{
        access_log::{Access, Outcome},
        auth::Admitted,
        connection::{Client, Farewell, is_head},
        reply::{Reply, with_causes},
        tunnel::Opening,
    },
    http::{AbsoluteTarget, BodyLength, RequestHead, Resource, Target},
    io::lazy_timer::Alarm,
    state::generation::{Generation, Way},
    system::shutdown::Shutdown,
    upstream::chain::{Chain, ChainError},
};

/// What becomes of the client's connection after a request.
#[derive(Debug)]
pub(crate) enum Served {
    /// It can carry another one.
    Again,
    /// It is a tunnel from now on.
    Switched(Box<Switch>),
    /// It is to be closed.
    Over(Farewell),
}

/// A protocol that both ends have agreed to switch to.
#[derive(Debug)]
pub(crate) struct Switch {
    /// The way to the origin.
    pub upstream: Tunnel,
    /// The account of the request, which is one of a tunnel from now on.
    pub access: Access,
    /// What was said before.
    pub opening: Opening,
}

/// Serves one request. In `kept` is the upstream connection that the client's request before has left, and then the one
/// that this one leaves; it is never shared with another client. `shutdown` has to [wake](Shutdown::heeded_by) this task.
pub(crate) async fn serve(
    client: &mut Client,
    kept: &mut Option<Upstream>,
    head: &RequestHead,
    admitted: Admitted,
    generation: &Arc<Generation>,
    alarm: &mut Alarm<'_>,
    shutdown: &Shutdown,
) -> Served {
    let Target::Resource(resource) = head.target() else { return Served::Over(Farewell::None) };
    let farewell = |reply| Served::Over(Farewell::Reply(reply, is_head(head)));
    let target = resource.authority();
    let Some(way) = generation.way(target) else {
        warn!(client = %client.peer, %target, "no route matches");
        return farewell(Box::new(Reply::no_route(target)));
    };
    let preferences = match admitted.preferences(way.chain, generation) {
        Ok(preferences) => preferences,
        Err(reply) => return farewell(reply),
    };
    let access =
        Access::new(Arc::clone(generation), client.peer, head.method(), target.clone(), way);
    let plan = Plan::new(head, resource, way, preferences, generation);
    let mut exchange = Exchange::new(&plan, client, alarm.lend());
    let ended = {
        let mut travel = pin!(travel(&plan, &mut exchange, kept));
        poll_fn(|cx| match travel.as_mut().poll(cx) {
            Poll::Pending if shutdown.is_cut() => Poll::Ready(Ended::Cut),
            ended => ended,
        })
        .await
    };
    let (status, sent, received) = (exchange.status(), exchange.sent(), exchange.received());
    let used = kept.take();
    match &ended {
        Ended::Refused(reply, why) => access.failed(reply, why),
        Ended::Switched => {}
        ended => access.request(&Outcome { status, sent, received, end: ended }),
    }
    match ended {
        Ended::Whole { persists } => {
            let can_stay = |used: &Upstream| persists && used.end.reuse == Reuse::SameClient;
            *kept = used.filter(can_stay).map(Upstream::rested);
            Served::Again
        }
        Ended::Switched => match used {
            Some(upstream) => {
                let opening = Opening { status, sent, received };
                let upstream = upstream.into_tunnel();
                Served::Switched(Box::new(Switch { upstream, access, opening }))
            }
            None => Served::Over(Farewell::None),
        },
        Ended::Refused(reply, _) => farewell(reply),
        Ended::WholeButClose => Served::Over(Farewell::Close),
        // What came before the break is worth having, and the framing tells that there should be more.
        Ended::Truncated(_) if exchange.shows_its_end() => Served::Over(Farewell::Close),
        // A close would pass for the end of a body that lasts until then.
        Ended::Truncated(_) | Ended::Cut => Served::Over(Farewell::Reset),
        Ended::ClientGone | Ended::Stale => Served::Over(Farewell::None),
    }
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
        let key = Key { chain: Arc::downgrade(way.chain), preferences };
        Self { head, resource, chain: way.chain, generation, upgrade: head.upgrade(), key }
    }

    async fn open(&self) -> Result<Upstream, ChainError> {
        let request = self.request();
        let connected = if self.may_be_forwarded() {
            let uri = AbsoluteTarget(self.head, self.resource);
            let line = RequestLine { method: self.head.method(), uri: &uri };
            self.chain.connect_plain(request, line).await?
        } else {
            self.chain.connect_through(request).await?
        };
        Ok(Upstream::new(connected, request.target.clone(), self.key.clone()))
    }

    /// Prepares `kept` for this request. Returns whether it can carry it.
    async fn prepare(&self, kept: &mut Upstream) -> Result<bool, ChainError> {
        let uri = AbsoluteTarget(self.head, self.resource);
        let line = RequestLine { method: self.head.method(), uri: &uri };
        kept.prepare(self.chain, self.request(), line).await
    }

    fn request(&self) -> Request<'_> {
        Request::new(self.resource.authority(), &self.key.preferences)
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
async fn travel(
    plan: &Plan<'_>,
    exchange: &mut Exchange<'_>,
    kept: &mut Option<Upstream>,
) -> Ended {
    if let Some(upstream) = kept.as_mut()
        && plan.fits(upstream)
        && upstream.is_quiet().await
    {
        match plan.prepare(upstream).await {
            Ok(true) => match exchange.run(upstream, plan.is_repeatable()).await {
                // It was closed while the request was under way, unanswered; a new one is tried, once.
                Ended::Stale => {}
                ended => return ended,
            },
            Ok(false) => {}
            Err(error) => return unreachable(&error),
        }
    }
    *kept = None;
    match plan.open().await {
        Ok(upstream) => exchange.run(kept.insert(upstream), false).await,
        Err(error) => unreachable(&error),
    }
}

fn unreachable(error: &ChainError) -> Ended {
    Ended::Refused(Box::new(Reply::unreachable(error)), with_causes(error))
}
