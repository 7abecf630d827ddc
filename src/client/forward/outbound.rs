//! A request as its upstream receives it, and the errors for what that upstream does wrong.

mod plan;

use std::{sync::Arc, time::Duration};

use mooltiroute_hops::{Logon, Party, Refusal, Reuse, Spoken};
use tracing::{Level, debug, event_enabled};

pub(super) use self::plan::UseOfKept;
pub(crate) use self::plan::{CHALLENGES_MAX, Plan};
use super::{ending::Ending, upstream::UpstreamEnd};
use crate::{
    client::reply::{Reply, is_registered, with_causes},
    duration,
    http::{BadResponse, HeadLimits, RequestForm, ResponseHead},
    proxy_error::ProxyError,
};

/// A request and the connection that carries it.
#[derive(Clone, Copy)]
pub(super) struct Outbound<'a> {
    pub(super) plan: &'a Plan<'a>,
    pub(super) end: &'a UpstreamEnd,
}

impl<'a> Outbound<'a> {
    /// Appends the head with which the request is sent on.
    pub(super) fn write_head(&self, out: &mut Vec<u8>) {
        let Self { plan, end } = self;
        let via = self.via();
        let accepts_trailers = plan.head.accepts_trailers();
        // Our fields come last. `TE` is ours because it is about one connection: the client's was
        // removed, and the wish for trailers is passed on (RFC 9110 §10.1.4).
        let mut extra = Vec::new();
        extra.extend(via.as_deref().map(|via| ("Via", via)));
        extra.extend(accepts_trailers.then_some(("TE", "trailers")));
        extra.extend(end.fields.iter().map(|field| (&*field.name, field.value.expose())));
        // `Connection` has to list what is about this connection only. `close` tells a hop with a
        // new exit for each connection that no second request will come.
        let connection = match (&plan.upgrade, end.reuse) {
            (Some(protocols), _) => {
                extra.push(("Upgrade", protocols));
                Some("Upgrade")
            }
            (None, Reuse::Never) => Some("close"),
            (None, Reuse::SameClient) => accepts_trailers.then_some("TE"),
        };
        extra.extend(connection.map(|options| ("Connection", options)));
        // Absolute-form is for proxies; an origin is sent the path alone (RFC 9112 §3.2).
        let form = match &end.hop {
            Some(_) => RequestForm::Absolute,
            None => RequestForm::Origin,
        };
        plan.head.write(plan.resource, form, &extra, out);
    }

    /// Returns the `Via` field of what passes, if the configuration wants one (RFC 9110 §7.6.3).
    pub(super) fn via(&self) -> Option<String> {
        self.plan.generation.via.as_ref().map(|pseudonym| format!("1.1 {pseudonym}"))
    }

    /// Returns how large the head of the answer may be.
    pub(super) fn head_limits(&self) -> HeadLimits {
        self.plan.generation.limits.into()
    }

    /// Returns how long the head of the answer may take after the end of the request.
    pub(super) fn response_timeout(&self) -> Option<Duration> {
        self.plan.generation.timeouts.response
    }

    /// Returns how long a receiver may take nothing of a body.
    pub(super) fn stall_timeout(&self) -> Option<Duration> {
        self.plan.generation.timeouts.stall
    }

    /// Ends the exchange with an error of type `error` (RFC 9209 §2.3) that the upstream is responsible for.
    pub(super) fn bad_answer(&self, error: ProxyError, why: impl Into<String>) -> Ending {
        let why = why.into();
        let target = self.plan.resource.authority();
        let stage = self.end.hop.as_ref().map(|hop| self.plan.chain.last_stage(hop, target));
        let reply = Reply::bad_response(&self.next_hop(), stage.as_ref(), error, &why);
        let reply = reply.blaming_chosen(self.chosen_hops());
        Ending::BadAnswer(Box::new(reply), why)
    }

    /// Ends the exchange because of an answer that is not HTTP and begins with `seen`.
    ///
    /// If a hop sent it, its first bytes may show which protocol the hop speaks instead. A member of a pool that
    /// has answered in its own protocol stays in use anyway, since a careless hop may pass on what a target sent: that
    /// counts as a refusal. One that never has is left out, as after a CONNECT.
    pub(super) fn not_http(&self, error: &BadResponse, seen: &[u8]) -> Ending {
        let spoken = Spoken::from_answer(seen).filter(|spoken| *spoken != Spoken::Http);
        let (Some(hop), Some(spoken)) = (&self.end.hop, spoken) else {
            return self.bad_answer(error.proxy_error(), error.to_string());
        };
        let error = self.plan.chain.misunderstood(hop, self.plan.resource.authority(), spoken);
        let ending = Ending::BadAnswer(Box::new(Reply::unreachable(&error)), with_causes(&error));
        let stays = hop.misunderstood(self.plan.chain, &error);
        self.plan.is_misunderstood(error, stays);
        ending
    }

    /// Ends the exchange if `response` is an answer of the hop itself, and not of the target. If it is a challenge, the
    /// `logon` of the connection learns from it. Returns the ending, and whether another try may succeed.
    pub(super) fn refused(
        &self,
        response: &ResponseHead,
        challenge: Option<&dyn Logon>,
    ) -> Option<(Ending, bool)> {
        // An answer that came through a tunnel is the origin's, whatever it says.
        let hop = self.end.hop.as_ref()?;
        if response.status() < 400 {
            return None;
        }
        let mut refusal =
            Refusal::from_http(response.status(), response.reason(), response.fields().iter())
                .without_secrets_of(&self.end.fields);
        // The target can imitate the fields by which a hop is recognised, so only this one answer
        // depends on them. No member of a pool is left for it.
        // Of a member that is left out for such a refusal, it is taken for another one: if the target has sent it, it comes
        // through another member too.
        let is_again = refusal.about == Party::Hop && self.plan.is_doubted(response.status());
        if !is_again && !hop.link.refuses(&refusal) {
            return None;
        }
        let can_go_on = challenge.is_some_and(|logon| {
            let is_challenge =
                |(name, _): &(&[u8], &[u8])| name.eq_ignore_ascii_case(b"Proxy-Authenticate");
            let challenges = response.fields().iter().filter(is_challenge);
            let challenges: Vec<_> = challenges.map(|(_, value)| value).collect();
            logon.challenged(&challenges, &mut refusal)
        });
        let is_about_hop = refusal.about == Party::Hop;
        let error = self.plan.chain.refused(hop, self.plan.resource.authority(), refusal);
        let ending = Ending::Refused(Box::new(Reply::unreachable(&error)), with_causes(&error));
        let why = with_causes(&error.cause);
        if !can_go_on {
            hop.refused(self.plan.chain, &why.into());
            // Another hop would meet a refusal of the target too.
            self.plan.is_refused(is_about_hop.then_some(error));
        }
        Some((ending, can_go_on))
    }

    /// Notes for the member of a pool that passed on `response` whether that is a refusal. Nothing depends on it, since the
    /// target may have sent it.
    pub(super) fn note_answer(&self, response: &ResponseHead) {
        let status = response.status();
        if let Some(hop) = self.answering_hop().filter(|_| is_of_either(status)) {
            debug!(%hop, status, "answered by the hop or by the target, which the answer does not say");
        }
        let Some(hop) = self.end.hop.as_ref().filter(|hop| hop.record.is_some()) else { return };
        if status < 400 {
            hop.agreed(self.plan.chain);
        } else if may_be_a_hops_own(status) {
            self.plan.is_refused(None);
            let refusal = Refusal::from_http(status, response.reason(), []);
            let target = self.plan.resource.authority();
            let why = format!(
                "{refusal} came for a plain request to `{target}`, from the target or from the member itself"
            );
            hop.refused(self.plan.chain, &why.into());
        }
    }

    /// Logs that the request is sent and how long its answer may take.
    pub(super) fn log_wait(&self) {
        if event_enabled!(Level::DEBUG) {
            let (upstream, timeout) = (self.next_hop(), self.response_timeout());
            let timeout = timeout.map_or("never".to_owned(), duration::in_words);
            debug!(
                upstream,
                "timeouts.response" = timeout,
                "the request is sent, and its answer is awaited"
            );
        }
    }

    /// Counts an answer that broke off.
    pub(super) fn count_break(&self) {
        let hop = self.answering_hop().map(|hop| &**hop);
        let error = ProxyError::HttpResponseIncomplete;
        self.plan.chain.meter().failed(hop, "body", error);
        if let Some(chosen) = self.plan.generation.metrics().chosen(self.chosen_hops().iter()) {
            chosen.failed("body", error);
        }
    }

    /// Returns the names of the hops that the hop which answers the request chose to go through.
    fn chosen_hops(&self) -> &'a [Arc<str>] {
        self.end.hop.as_ref().map_or(&[], |last| &last.through)
    }

    /// Returns the hop that answers the request itself, or `None` if the origin does.
    fn answering_hop(&self) -> Option<&'a Arc<str>> {
        let last = self.end.hop.as_ref()?;
        self.plan.chain.hops().get(last.position).map(|hop| &hop.name)
    }

    /// Returns the name of the upstream in an error and in the log.
    pub(super) fn next_hop(&self) -> String {
        let member = self.end.hop.as_ref().and_then(|last| last.member.as_deref());
        match (self.answering_hop(), member) {
            (Some(hop), Some(member)) => format!("{hop}.{member}"),
            (Some(hop), None) => hop.to_string(),
            (None, _) => self.plan.resource.authority().to_string(),
        }
    }
}

/// Returns whether proxies refuse requests by this status, as targets may do too. Providers have statuses of their own, such
/// as 465 or 590, and 509 for a limit on traffic.
fn may_be_a_hops_own(status: u16) -> bool {
    REFUSALS.contains(&status) || (400..600).contains(&status) && !is_registered(status)
}

/// Returns whether nothing in a response of this status says if it is the hop's or the target's. 401 is one too, which some
/// proxies answer in place of 407; it counts against no hop, since so many targets answer it.
pub(super) fn is_of_either(status: u16) -> bool {
    may_be_a_hops_own(status) || status == 401
}

/// The registered statuses by which proxies refuse requests.
const REFUSALS: [u16; 8] = [402, 403, 407, 429, 502, 503, 504, 511];
