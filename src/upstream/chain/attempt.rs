//! One attempt to pass all hops of a chain: dial the first, pass each to the next, and ask the last for the end.

mod failed;

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use mooltiroute_hops::{
    Authority, Eventual, Field, HopError, MemberStatus, ObserveRounds, PlainRequest, Request,
    Tunnel, auth::challenge::AuthScheme,
};
use tokio::time::{self, Instant};
use tracing::{Level, debug, event_enabled, field::display};

pub(super) use self::failed::FailedAttempt;
use super::{
    Cause, Chain, ChainError, Stage, Step, Trace,
    journey::{ChosenHop, Journey},
};
use crate::{error::with_causes, upstream::dial::NameOf};

/// The end of one attempt to connect.
#[derive(Clone, Copy)]
pub(super) enum AttemptEnd<'a> {
    /// The last hop is asked for the target.
    Target(&'a Request<'a>),
    /// The last hop is asked to take a plain request.
    Forwarder(PlainRequest<'a>),
    /// The last hop is sent nothing.
    LastHop,
}

/// Writes the rounds of authentication to the debug log.
#[derive(Debug)]
struct LoggedRounds {
    chain: Arc<str>,
    hop: Arc<str>,
}

impl ObserveRounds for LoggedRounds {
    fn round(&self, scheme: Option<AuthScheme>, source: Option<&'static str>, status: u16) {
        let Self { chain, hop } = self;
        let scheme = scheme.map(AuthScheme::name);
        debug!(%chain, %hop, scheme, source, status, "round of authentication");
    }
}

/// The hop of a step, with its index in the journey; the target if there is no hop.
type StepPlace<'a> = (usize, Option<&'a ChosenHop>);

impl Chain {
    /// Passes hop by hop to the last one, and to `end`.
    pub(super) async fn attempt<T: Trace>(
        &self,
        journey: &Journey<'_>,
        request: &Request<'_>,
        end: AttemptEnd<'_>,
        trace: &T,
    ) -> Result<(Tunnel, Arc<[Field]>), FailedAttempt> {
        let target = request.target;
        // A spare stands before the last hop and has sent it nothing, so only this hop's own
        // handshake is left. It must have come by the addresses and members that this journey has
        // chosen.
        if let (Some(warm), AttemptEnd::Target(_)) = (&self.warm, end)
            && let Some(spare) = warm.take(&journey.path(), target).await
        {
            debug!(chain = %self.name, "a spare tunnel is used");
            match self.reach_end(spare, journey, target, end, trace).await {
                // The spare was dead without a sign. Nothing of the client was sent on it, so a new
                // tunnel takes over. A refusal is not a sign of that: it counts as it does on any
                // tunnel.
                Err(failed) if failed.error.is_without_answer() => {
                    debug!("the spare tunnel was dead, another one is opened");
                    warm.stale();
                }
                done => return done,
            }
        }
        let tunnel = self.reach_last(journey, request, trace).await?;
        if let (Some(warm), AttemptEnd::Target(_)) = (&self.warm, end) {
            warm.reached_last(target);
        }
        self.reach_end(tunnel, journey, target, end, trace).await
    }

    /// Dials, and passes every hop but the last, which is entered.
    async fn reach_last<T: Trace>(
        &self,
        journey: &Journey<'_>,
        request: &Request<'_>,
        trace: &T,
    ) -> Result<Tunnel, FailedAttempt> {
        let hops = journey.hops();
        let connect = journey.within_deadline(self.timeouts.connect);
        let stop = hops.first().map_or(request.target, |hop| &hop.address);
        let first = (0, hops.first());
        let of = if hops.is_empty() { NameOf::Target } else { NameOf::Hop };
        // Look-up and connection share one timeout, since the client waits for the sum of both. The
        // block ends the room that they take in this future before the hops need theirs.
        let socket = {
            let dial = pin!(async {
                let addresses = self.dialer.look_up(stop, of).await?;
                debug!(%stop, ?addresses, "looked up");
                trace.looked_up(|| self.stage(first, Step::Dial, stop));
                self.dialer.connect(addresses).await
            });
            self.step(first, Step::Dial, stop, (connect, trace), dial).await?
        };
        let mut tunnel = self.counted(Tunnel::socket(socket));
        trace.passed(|| self.stage(first, Step::Dial, stop));
        // Strictly one hop after the other. A hop that refuses its CONNECT would also read the one
        // that was sent ahead, with the credentials of the next hop in it.
        for (index, hop) in hops.iter().enumerate() {
            let at = (index, Some(hop));
            tunnel = self.counted_at(hop.position, tunnel);
            tunnel = self.counted_for_chosen(&hop.through(), tunnel);
            // A hop without TLS is entered at once. Then there is no step to time or to report.
            tunnel = match hop.link.enter(tunnel) {
                Eventual::Ready(Ok(tunnel)) => tunnel,
                enter => {
                    let connect = journey.within_deadline(self.timeouts.connect);
                    let enter = pin!(enter.wait());
                    let entered =
                        self.step(at, Step::Enter, &hop.address, (connect, trace), enter).await?;
                    trace.passed(|| self.stage(at, Step::Enter, &hop.address));
                    entered
                }
            };
            if let Some(next) = hops.get(index + 1) {
                // Of the client's fields, only `Via` goes to a hop on the way. `pass_headers` is
                // about the last hop.
                tunnel.prepare_connect(*request, None);
                tunnel = self.extend(tunnel, journey, index, &next.address, trace).await?;
            }
        }
        Ok(tunnel)
    }

    /// Asks the last hop for the target, or prepares it for a plain request, as `end` says.
    async fn reach_end<T: Trace>(
        &self,
        mut tunnel: Tunnel,
        journey: &Journey<'_>,
        target: &Authority,
        end: AttemptEnd<'_>,
        trace: &T,
    ) -> Result<(Tunnel, Arc<[Field]>), FailedAttempt> {
        // Without hops, the tunnel was dialled to the target and is at its end already.
        let Some(index) = journey.hops().len().checked_sub(1) else {
            return Ok((tunnel, Arc::default()));
        };
        match end {
            AttemptEnd::LastHop => Ok((tunnel, Arc::default())),
            AttemptEnd::Target(request) => {
                // Prepared again for the last hop: a spare carries no fields of any client, and a
                // tunnel may still have those of the CONNECT before.
                let listed = journey.hops()[index].link.pass_headers();
                tunnel.prepare_connect(*request, listed);
                let target = request.target;
                let tunnel = self.extend(tunnel, journey, index, target, trace).await?;
                Ok((tunnel, Arc::default()))
            }
            AttemptEnd::Forwarder(plain) => {
                // The request itself is sent later, by the exchange. This is for the fields that
                // the hop needs in it, which may take rounds of authentication on this very
                // connection.
                let last = &journey.hops()[index];
                self.observe_rounds(&mut tunnel, last, trace);
                let fields = match last.link.authorize(&mut tunnel, plain) {
                    Eventual::Ready(Ok(fields)) => fields,
                    work => {
                        let (at, asked) = ((index, Some(last)), Instant::now());
                        let timeout = journey.within_deadline(self.timeouts.handshake);
                        let work = pin!(work.wait());
                        let fields =
                            self.step(at, Step::Extend, target, (timeout, trace), work).await;
                        let fields = fields.map_err(|failed| failed.asked_at(asked).at_login())?;
                        self.meter.agreed(last.position, asked.elapsed());
                        trace.logged_on(|| self.stage(at, Step::Extend, target));
                        fields
                    }
                };
                Ok((tunnel, fields))
            }
        }
    }

    /// Has the hop at `index` of the journey extend the tunnel to `next`.
    async fn extend<T: Trace>(
        &self,
        mut tunnel: Tunnel,
        journey: &Journey<'_>,
        index: usize,
        next: &Authority,
        trace: &T,
    ) -> Result<Tunnel, FailedAttempt> {
        let hop = &journey.hops()[index];
        self.observe_rounds(&mut tunnel, hop, trace);
        // If the hop asks for a new connection, its timeout still counts from here.
        let (at, asked) = ((index, Some(hop)), Instant::now());
        let extend = pin!(hop.link.extend(tunnel, next));
        let timeout = journey.within_deadline(self.timeouts.handshake);
        let extended = self.step(at, Step::Extend, next, (timeout, trace), extend).await;
        let is_answered = match &extended {
            Ok(_) => true,
            Err(failed) => matches!(failed.error.cause, Cause::Hop(HopError::Refused(_))),
        };
        if is_answered && hop.selection().is_none() {
            self.hop_answered(hop.position);
        }
        let extended = extended.map_err(|failed| failed.asked_at(asked))?;
        // The histogram is of tunnels that the hop agreed to, so a refusal is not in it.
        self.meter.agreed(hop.position, asked.elapsed());
        trace.passed(|| self.stage(at, Step::Extend, next));
        Ok(extended)
    }

    /// Has the rounds of authentication to `hop` shown by `trace`, or in the debug log.
    fn observe_rounds<T: Trace>(&self, tunnel: &mut Tunnel, hop: &ChosenHop, trace: &T) {
        let logged = || -> Option<Arc<dyn ObserveRounds>> {
            let hop = self.hops.get(hop.position).filter(|_| event_enabled!(Level::DEBUG))?;
            Some(Arc::new(LoggedRounds { chain: self.name.clone(), hop: Arc::clone(&hop.name) }))
        };
        if let Some(observer) = trace.rounds().or_else(logged) {
            tunnel.observe_rounds(observer);
        }
    }

    /// Runs one step within `timeout`, unless `trace` knows that nobody waits for it. A failure names the step, the hop and
    /// the cause.
    async fn step<T, E: Into<Cause>, R: Trace>(
        &self,
        at: StepPlace<'_>,
        step: Step,
        stop: &Authority,
        (timeout, trace): (Duration, &R),
        mut work: Pin<&mut impl Future<Output = Result<T, E>>>,
    ) -> Result<T, FailedAttempt> {
        trace.begins(|| self.stage(at, step, stop));
        // The clock is read once, for the log, the deadline and the wait of a client that leaves.
        let begun = Instant::now();
        let is_logged = event_enabled!(Level::DEBUG);
        let work = poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(done.map_err(Into::into)),
            Poll::Pending => match trace.abandoned() {
                // The client left a moment before that was noticed, perhaps in an earlier step.
                Some(left) => {
                    let waited = left.saturating_duration_since(begun);
                    Poll::Ready(Err(Cause::ClientLeft(waited)))
                }
                None => Poll::Pending,
            },
        });
        let mut cause = match time::timeout_at(begun + timeout, work).await {
            Ok(Ok(done)) => {
                if is_logged {
                    self.log_step(&self.stage(at, step, stop), begun, None);
                }
                return Ok(done);
            }
            Ok(Err(cause)) => cause,
            // A hop that asks for new connections has to make them within its handshake.
            Err(_) if step == Step::Extend || timeout < self.timeouts.connect => {
                Cause::Timeout(timeout, "timeouts.handshake")
            }
            Err(_) => Cause::Timeout(timeout, "timeouts.connect"),
        };
        // The link adds what its kind knows about a refusal, such as a provider's own codes. It has
        // to be asked here: a detour may replace the link, and with it that knowledge.
        let mut again = None;
        match (at.1, &mut cause) {
            (Some(hop), Cause::Hop(HopError::Refused(refusal))) => hop.link.explain(refusal),
            (Some(_), Cause::Hop(HopError::Again(link))) => again = Some(Arc::clone(link)),
            _ => {}
        }
        let error = self.error(self.stage(at, step, stop), cause);
        if is_logged {
            self.log_step(&error.stage, begun, Some(&error));
        }
        Err(FailedAttempt { index: at.0, error, again, asked: begun })
    }

    /// Logs a step that has ended, so that the debug log explains a failure.
    fn log_step(&self, stage: &Stage, begun: Instant, error: Option<&ChainError>) {
        let Stage { step, stop, protocol, .. } = stage;
        let (hop, protocol) = (stage.hop_name(), protocol.filter(|_| *step == Step::Enter));
        let (hop, protocol) = (hop.map(display), protocol.map(display));
        let duration_seconds = begun.elapsed().as_micros() as f64 / 1e6;
        let error = error.map(|error| with_causes(error));
        let error = error.as_deref();
        let (chain, step) = (&self.name, step.name());
        let message = if error.is_none() { "step done" } else { "step failed" };
        debug!(%chain, %step, hop, %stop, protocol, duration_seconds, error, "{message}");
    }

    fn stage(&self, (_, hop): StepPlace<'_>, step: Step, stop: &Authority) -> Stage {
        let member = hop.and_then(|hop| hop.member());
        let protocol = hop.and_then(|hop| hop.link.entered_by());
        let named = hop.and_then(|hop| self.hops.get(hop.position));
        let stage = Stage::new(named, member, step, stop.clone());
        let settings = hop.map(|hop| hop.link.settings()).unwrap_or_default();
        let next = hop.filter(|_| step == Step::Extend).and_then(|hop| self.next_at(hop, stop));
        let (next, next_place) = next.unzip();
        let place = hop.and_then(|hop| self.place_of(hop));
        let through = hop.map(ChosenHop::through).unwrap_or_default();
        let asked = hop.filter(|_| step == Step::Extend);
        let is_secure = asked.is_some_and(|hop| hop.link.tls().is_some());
        let has_answered = hop.is_some_and(|hop| match hop.selection() {
            Some(selection) => selection.record().is_some_and(|record| record.has_answered()),
            None => self.has_hop_answered(hop.position),
        });
        let is_at = Stage { protocol, settings, is_secure, has_answered, ..stage };
        Stage { next, next_place, through, place, ..is_at }
    }

    /// Returns the name of the hop behind `hop`, if `stop` is its address or that of a member. Returns the place of that
    /// address in the configuration, too.
    fn next_at(&self, hop: &ChosenHop, stop: &Authority) -> Option<(Arc<str>, String)> {
        let behind = self.hops.get(hop.position + 1..)?;
        behind.iter().find_map(|next| {
            let is_at = |address: Option<&Authority>| address == Some(stop);
            let own = format!("hops.{}", next.name);
            let mut members = next.hop.members().into_iter();
            let place = match members.find(|member| is_at(member.address.as_ref())) {
                Some(MemberStatus { hop: Some(hop), .. }) => format!("hops.{hop}"),
                // A PAC file chooses among hops, which have their own names.
                Some(member) if next.hop.decider().is_some() => format!("hops.{}", member.name),
                Some(_) => own,
                None if is_at(next.hop.describe().address) => own,
                None => return None,
            };
            Some((Arc::clone(&next.name), place))
        })
    }

    /// Returns the path of the chosen link in the configuration, if that is not below the hop of the chain.
    pub(super) fn place_of(&self, hop: &ChosenHop) -> Option<String> {
        let selection = hop.selection().filter(|selection| !selection.hops().is_empty())?;
        let named = self.hops.get(hop.position)?;
        Some(selection.place(&format!("hops.{}", named.name)))
    }
}
