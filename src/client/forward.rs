//! A plain `http://` request: in absolute-form to a last hop that takes it, in origin-form to the origin otherwise.

mod ending;
mod exchange;
mod outbound;
mod pump;
mod send_buffer;
mod upstream;

use std::{
    hash::{Hash, Hasher},
    pin::pin,
    sync::Arc,
};

use mooltiroute_hops::{Reuse, Tunnel};
use tokio::time::Instant;
use tracing::debug;

use self::outbound::{UseOfKept, is_of_either};
pub(crate) use self::{
    ending::{Ending, Next},
    exchange::{AnswerProgress, Exchange},
    outbound::{CHALLENGES_MAX, Plan},
    upstream::Upstream,
};
use crate::{
    client::{
        account::{Account, Outcome},
        ask::Ask,
        auth::Admitted,
        connection::Client,
        departure::{Interruption, unless_left},
        reply::{Reply, waited, with_causes},
        tunnel::Opening,
    },
    config::Protocol,
    duration,
    http::{RequestHead, Resource, Target},
    io::{lazy_timer::LazyDeadline, send_queue::not_sent},
    state::{generation::Generation, shared::Shared},
    upstream::chain::ChainError,
    usage::RecentOwner,
};

/// A protocol that both ends have agreed to switch to.
#[derive(Debug)]
pub(crate) struct Switch {
    /// The way to the origin.
    pub upstream: Tunnel,
    /// The account of the request, which is one of a tunnel from now on.
    pub account: Account,
    /// The status and the bytes before the switch.
    pub opening: Opening,
}

/// Serves the plain requests of one client.
pub(crate) struct Forwarder<'a> {
    /// The client.
    pub client: &'a mut Client,
    /// The upstream connection that the client's previous request left; it is never shared with another client.
    pub kept: &'a mut Option<Upstream>,
    /// The accounts that the client's previous request counted for.
    pub recent: &'a mut RecentOwner,
    /// A timer for its waits.
    pub deadline: LazyDeadline<'a>,
    /// The state that all sessions share. Its shutdown has to [wake](crate::system::shutdown::Shutdown::heeded_by) this task.
    pub shared: &'a Shared,
}

impl Forwarder<'_> {
    /// Serves one request. Returns what becomes of the client's connection.
    pub(crate) async fn serve(
        &mut self,
        head: &RequestHead,
        admitted: Admitted,
        generation: &Arc<Generation>,
    ) -> Next<Box<Switch>> {
        // The session passes only requests in absolute-form.
        let Target::Resource(resource) = head.target() else { return Next::Reset };
        let (target, peer) = (resource.authority(), self.client.peer);
        let (protocol, method) = (Protocol::Http, head.method());
        let ask = Ask { peer, protocol, method, target, admitted: &admitted };
        let (account, preferences) = match ask.begin(self.shared, generation, self.recent).await {
            Ok(begun) => begun,
            Err(denial) => return Next::Say(Box::new(denial.into())),
        };
        let row = &**account.row();
        let mut plan =
            Plan::new(head, resource, &row.chain, preferences, generation).counted_by(row);
        // Bounded before a connection is opened, since the request may come back to this proxy
        // through the hops. The round is over when the head of the answer comes.
        let begun = {
            let round = self.shared.begin_round((method, Url(resource)), &row.chain, generation);
            unless_left(self.client, row, || account.is_killed(), pin!(round)).await
        };
        match begun {
            Ok(Ok(round)) => plan.count_in(round),
            Ok(Err(error)) => {
                let reply = Reply::not_admitted(error, target);
                let text = reply.text_at(self.shared.proxy_address());
                account.failed(&reply, &text, self.shared);
                return Next::Say(Box::new(reply));
            }
            Err(interruption) => {
                let end = Ending::from(interruption);
                let (status, reason) = (0, None);
                account
                    .request(&Outcome { status, sent: 0, received: 0, end: &end, reason }, false);
                return Next::Reset;
            }
        }
        let opening = Opening { status: 0, sent: 0, received: 0 };
        let mut passed = Progress { opening, reason: None, left: None };
        let ending = match self.travel(&plan, &account, &mut passed).await {
            // A kill and the end of the proxy stop an exchange in the same way. The log has to tell
            // them apart.
            Ending::Cut if account.is_killed() => Ending::Killed,
            ending => ending,
        };
        if let Ending::ClientLeft(_) | Ending::ClientBroke | Ending::Cut | Ending::Killed = &ending
        {
            plan.is_left();
        }
        // Only an exchange that ended well leaves its connection in its place, so a connection in an
        // unknown state never carries another request.
        let is_kept = matches!(ending, Ending::Whole { keeps_client: true, keeps_upstream: true });
        let used = if is_kept { None } else { self.kept.take() };
        if let (Ending::Killed, Some(upstream)) = (&ending, &used) {
            upstream.reset();
        }
        // A request that failed before its answer is logged as failed, with the hop and the step.
        // One that switched protocols is logged when its tunnel ends.
        match &ending {
            Ending::Refused(reply, why) | Ending::BadAnswer(reply, why) => {
                account.failed(reply, why, self.shared);
            }
            Ending::Switched => {}
            end => {
                let Opening { status, sent, received } = passed.opening;
                let reason = passed.reason.as_deref();
                let outcome = Outcome { status, sent, received, end, reason };
                if let Some(left) = passed.left {
                    row.client_has_left(left);
                }
                account.request(&outcome, matches!(end, Ending::Truncated(..)));
            }
        }
        if is_kept {
            match &mut *self.kept {
                Some(used) if used.end.reuse == Reuse::SameClient => used.rest(&plan),
                kept => *kept = None,
            }
            return Next::Keep;
        }
        ending.next(|| {
            let upstream = used?.into_tunnel();
            Some(Box::new(Switch { upstream, account, opening: passed.opening }))
        })
    }

    /// Takes the upstream connection that was kept, or opens one, and passes the request and its answer over it.
    async fn travel(
        &mut self,
        plan: &Plan<'_>,
        account: &Account,
        passed: &mut Progress,
    ) -> Ending {
        let Self { client, kept, deadline, shared, .. } = self;
        let is_cut = || shared.shutdown().is_cut() || account.is_killed();
        // The kept connection serves if it leads to the right place, for the same preferences, and
        // if nothing has come on it since the last answer.
        let use_of_kept = match kept.as_mut() {
            Some(upstream) => match plan.use_of(upstream) {
                UseOfKept::Nothing => UseOfKept::Nothing,
                found if upstream.is_quiet().await => found,
                _ => UseOfKept::Nothing,
            },
            None => UseOfKept::Nothing,
        };
        // Whether the hop has asked for credentials, and the request is sent again.
        let mut is_again = false;
        if let Some(upstream) = kept.as_mut().filter(|_| use_of_kept == UseOfKept::Carries) {
            let prepared = {
                // A hop may want rounds of its authentication first, each of which may take a timeout.
                let prepare = pin!(plan.prepare(upstream));
                unless_left(client, account.row(), is_cut, prepare).await
            };
            match prepared {
                Ok(Ok(true)) => {
                    account.takes(&upstream.tunnel);
                    debug!("the connection of the request before is used");
                    account.took_way(upstream.passage().again(), shared);
                    if upstream.is_reused() {
                        account.keeps_exit(upstream.passage(), shared);
                    }
                    let (ending, progress) =
                        pass(plan, client, upstream, deadline, is_cut, passed).await;
                    // The upstream had closed it before the request arrived, which no check can
                    // exclude. A new connection is tried once, if sending the request twice does no
                    // harm.
                    let is_lost =
                        progress == AnswerProgress::ClosedUnanswered && plan.is_repeatable();
                    is_again = plan.goes_on(progress);
                    if !is_lost && !is_again {
                        return ending;
                    }
                }
                Ok(Ok(false)) => {}
                Ok(Err(error)) => return not_opened(&error, account, passed),
                Err(interruption) => return interruption.into(),
            }
        }
        let place = kept.as_ref().filter(|_| use_of_kept == UseOfKept::GivesPlace);
        let place = place.and_then(Upstream::place);
        let mut challenges = 0;
        // The end with a hop that failed, which is the end of the request if no other hop is left.
        let mut failed = None;
        loop {
            // The old connection closes before the new one is opened, so a client has one at a time.
            **kept = None;
            let opened = {
                // Opening may take several timeouts, and a kill must not wait for them.
                let open = pin!(plan.open(place.as_ref(), is_again, &**account.row()));
                unless_left(client, account.row(), is_cut, open).await
            };
            match opened {
                Ok(Ok(upstream)) => {
                    let upstream = kept.insert(upstream);
                    account.takes(&upstream.tunnel);
                    account.took_way(upstream.passage().clone(), shared);
                    let (ending, progress) =
                        pass(plan, client, upstream, deadline, is_cut, passed).await;
                    if plan.settle(progress, upstream) {
                        failed = Some(ending);
                        continue;
                    }
                    if challenges == CHALLENGES_MAX || !plan.goes_on(progress) {
                        return ending;
                    }
                    challenges += 1;
                    is_again = true;
                }
                Ok(Err(error)) => {
                    if let Some(failed) = failed
                        && error.failed_members.is_none()
                        && waited(&error).is_none()
                    {
                        return failed;
                    }
                    return not_opened(&error, account, passed);
                }
                Err(interruption) => return interruption.into(),
            }
        }
    }
}

/// The progress of a request so far, for the log.
struct Progress {
    opening: Opening,
    /// Why it ended as it did, if there is more to say.
    reason: Option<String>,
    /// When the client left, if that was noticed later.
    left: Option<Instant>,
}

/// The whole URL of a plain request, by which equal requests are counted.
struct Url<'a>(&'a Resource);

impl Hash for Url<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Hashed in its parts, since collecting them into one text would allocate for each request.
        self.0.authority().hash(state);
        self.0.path().for_each(|part| part.hash(state));
    }
}

/// Ends a request that has no connection, since the way failed or the client left meanwhile.
fn not_opened(error: &ChainError, account: &Account, passed: &mut Progress) -> Ending {
    account.row().set_passage(error.passage());
    if let Some(reason) = waited(error) {
        passed.reason = Some(reason);
        return Interruption::ClientLeft.into();
    }
    Ending::Refused(Box::new(Reply::unreachable(error)), with_causes(error))
}

/// Passes the request of `plan` and its answer over `upstream`, and adds to `passed` what moved.
async fn pass(
    plan: &Plan<'_>,
    client: &mut Client,
    upstream: &mut Upstream,
    deadline: &mut LazyDeadline<'_>,
    is_cut: impl Fn() -> bool,
    passed: &mut Progress,
) -> (Ending, AnswerProgress) {
    plan.reaches_upstream();
    let Client { stream, seen, .. } = client;
    let mut exchange = Exchange::new(plan, (stream, seen), upstream, deadline.lend());
    let ending = exchange.run(is_cut).await;
    (passed.opening.status, passed.left) = (exchange.status(), exchange.left());
    let (mut sent, mut received, progress) =
        (exchange.sent(), exchange.received(), exchange.progress());
    // What the socket took may never have left this machine. The log counts only bytes that did.
    if ending.is_broken() {
        sent = sent.saturating_sub(not_sent(&upstream.tunnel));
        received = received.saturating_sub(not_sent(&client.stream));
    }
    passed.opening.sent += sent;
    passed.opening.received += received;
    let is_passed_on = matches!(ending, Ending::Whole { .. }) && upstream.end.hop.is_some();
    let status = passed.opening.status;
    if is_passed_on && is_of_either(status) {
        let hop = plan.name_of(upstream);
        let mut reason = format!(
            "the {status} is from the target or from hop `{hop}`: over plain http they look the same"
        );
        if let Some(note) = plan.near_target(upstream, status) {
            reason = format!("{reason}. {note}");
        }
        passed.reason = Some(reason);
    }
    if let AnswerProgress::Abandoned { waited, .. } = progress {
        let waited = duration::in_words(duration::whole_milliseconds(waited));
        let upstream = plan.name_of(upstream);
        passed.reason = Some(format!("waited {waited} for the answer of `{upstream}`"));
    }
    (ending, progress)
}
