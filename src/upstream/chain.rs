//! Hops in their order of travel, and the one way through them.

mod counted;
mod error;
mod journey;
mod passage;
mod spares;
mod trace;

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwapOption;
use mooltiroute_hops::{
    Authority, Eventual, Field, Hop, HopError, Link, Refusal, Request, RequestLine, Reuse, Spoken,
    Tunnel,
};
use tokio::time::{self, Instant};
use tracing::{Level, debug, event_enabled, field::display};

use self::journey::{ChosenHop, Journey};
pub(crate) use self::{
    counted::ChainAccounts,
    error::{Cause, ChainError, Stage, Step},
    passage::{Passage, TakenHop},
    spares::ChainSpares,
    trace::Trace,
};
use crate::{
    error::with_causes,
    metrics::Meter,
    upstream::{dial::Dialer, warm::Warm},
};

/// Hops in their order of travel. Without any, the way is direct.
#[derive(Debug)]
pub(crate) struct Chain {
    name: Arc<str>,
    hops: Vec<ChainHop>,
    timeouts: StepTimeouts,
    dialer: Dialer,
    /// For each hop, the fallback address that served after others were refused.
    remembered: Vec<ArcSwapOption<Authority>>,
    meter: Arc<Meter>,
    accounts: ChainAccounts,
    /// The age from which a tunnel ends at its first quiet second.
    rotate_after: Option<Duration>,
    warm: Option<Arc<Warm>>,
    takes_preferences: bool,
    requires_session: bool,
    /// Whether a hop chooses by the request.
    has_deciders: bool,
}

/// A hop of a chain, with its name.
#[derive(Clone, Debug)]
pub(crate) struct ChainHop {
    /// The key below `hops:`.
    pub name: Arc<str>,
    /// The hop itself, shared by all chains that hold it.
    pub hop: Arc<dyn Hop>,
}

/// A connection that a chain has opened.
#[derive(Debug)]
pub(crate) struct Connected {
    /// The connection.
    pub tunnel: Tunnel,
    /// The last hop that it passes.
    pub last: Option<LastHop>,
    /// Whether it ends at that hop, which is to forward plain requests, and not at the target.
    pub is_at_hop: bool,
    /// The fields that the last hop needs in the request that the connection was opened for.
    pub fields: Arc<[Field]>,
    /// Whether every hop on the way lets it carry another request of its client.
    pub reuse: Reuse,
    /// The way that it took.
    pub passage: Passage,
}

/// The last hop of a connection.
#[derive(Clone, Debug)]
pub(crate) struct LastHop {
    /// Its position in the chain.
    pub position: usize,
    /// The link that was chosen for the connection.
    pub link: Arc<dyn Link>,
    /// Its name below the hop that chose it.
    pub member: Option<String>,
}

/// The end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Destination<'a> {
    /// The target.
    Target,
    /// The last hop if it forwards plain requests, starting with this one; the target otherwise.
    Forwarder(RequestLine<'a>),
    /// The last hop, which is sent nothing.
    LastHop,
}

/// The end of one attempt to connect.
#[derive(Clone, Copy)]
enum AttemptEnd<'a> {
    /// The last hop is asked for the target.
    Target(Request<'a>),
    /// The last hop is asked to take a plain request.
    Forwarder(RequestLine<'a>),
    /// The last hop is sent nothing.
    LastHop,
}

/// A connection that has got to its end.
struct Arrived<'a> {
    tunnel: Tunnel,
    /// The fields that the last hop needs in the request.
    fields: Arc<[Field]>,
    journey: Journey<'a>,
    /// Whether the end is the last hop, and not the target.
    is_at_hop: bool,
    /// The number of connections that were tried.
    attempts: u32,
}

/// The error of one attempt, and the hop that met it.
struct FailedAttempt {
    /// The index of the hop in its journey.
    index: usize,
    error: ChainError,
    /// The link to go on with after the chain has dialled again.
    again: Option<Arc<dyn Link>>,
    /// When the hop was asked.
    asked: Instant,
}

impl FailedAttempt {
    fn asked_at(self, asked: Instant) -> Self {
        Self { asked, ..self }
    }
}

/// The hop of a step, with its index in the journey; the target if there is no hop.
type StepPlace<'a> = (usize, Option<&'a ChosenHop>);

/// How long each step may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StepTimeouts {
    /// For a look-up and TCP, and for TLS with a hop.
    pub connect: Duration,
    /// For each hop's whole answer.
    pub handshake: Duration,
}

impl Chain {
    /// Creates a chain of `hops`, in their order of travel.
    pub(crate) fn new(
        name: Arc<str>,
        hops: Vec<ChainHop>,
        timeouts: StepTimeouts,
        dialer: Dialer,
    ) -> Self {
        Self {
            name,
            timeouts,
            dialer,
            remembered: hops.iter().map(|_| ArcSwapOption::empty()).collect(),
            meter: Arc::default(),
            accounts: ChainAccounts::default(),
            rotate_after: None,
            warm: None,
            // Asked once, since these facts of a hop never change and each request would ask for
            // them.
            takes_preferences: hops.iter().any(|hop| hop.hop.describe().takes_preferences),
            requires_session: hops.iter().any(|hop| hop.hop.describe().requires_session),
            has_deciders: hops.iter().any(|hop| hop.hop.decider().is_some()),
            hops,
        }
    }

    /// Counts the bytes on the wire for `accounts`.
    #[must_use]
    pub(crate) fn counted_for(mut self, accounts: ChainAccounts) -> Self {
        self.accounts = accounts;
        self
    }

    /// Lets tunnels end at their first quiet second after this age.
    #[must_use]
    pub(crate) fn rotated_after(mut self, age: Option<Duration>) -> Self {
        self.rotate_after = age;
        self
    }

    /// The age from which a tunnel ends at its first quiet second, if there is one.
    pub(crate) fn rotate_after(&self) -> Option<Duration> {
        self.rotate_after
    }

    /// The accounts of the chain and its hops.
    pub(crate) fn accounts(&self) -> &ChainAccounts {
        &self.accounts
    }

    /// Counts the traffic of the chain with `meter`.
    #[must_use]
    pub(crate) fn metered(mut self, meter: Arc<Meter>) -> Self {
        self.meter = meter;
        self
    }

    /// Takes spare tunnels from `warm`.
    #[must_use]
    pub(crate) fn warmed(mut self, warm: Option<Arc<Warm>>) -> Self {
        self.warm = warm;
        self
    }

    /// Returns the spare tunnels, if the chain keeps any.
    pub(crate) fn warm(&self) -> Option<&Arc<Warm>> {
        self.warm.as_ref()
    }

    /// Whether a spare made for one request serves another. It does not if a hop before the last one may treat clients
    /// differently, or if a hop chooses by the target, and may leave itself out.
    pub(crate) fn can_be_warm(hops: &[ChainHop]) -> bool {
        if hops.iter().any(|hop| hop.hop.decider().is_some()) {
            return false;
        }
        let before = hops.split_last().map(|(_, before)| before);
        before.is_some_and(|before| before.iter().all(|hop| !hop.hop.describe().takes_preferences))
    }

    /// The name of the chain.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns whether a chain built of these parts would be this one: the same name, hops, timeouts and addresses to stay
    /// away from. Spare tunnels don't matter.
    pub(crate) fn is_made_of(
        &self,
        name: &str,
        hops: &[ChainHop],
        timeouts: StepTimeouts,
        dialer: &Dialer,
    ) -> bool {
        // Hops are compared by identity: one that an edit leaves alone is the same object in the
        // next generation. So its chain, and the upstream connections that clients keep, survive
        // the edit.
        let is_same = |(old, new): (&ChainHop, &ChainHop)| {
            old.name == new.name && Arc::ptr_eq(&old.hop, &new.hop)
        };
        &*self.name == name
            && self.hops.len() == hops.len()
            && self.hops.iter().zip(hops).all(is_same)
            && self.timeouts == timeouts
            && self.dialer == *dialer
    }

    /// The counts of its traffic.
    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// The hops in their order of travel.
    pub(crate) fn hops(&self) -> &[ChainHop] {
        &self.hops
    }

    /// Whether clients may state their preferences to one of the hops.
    pub(crate) fn takes_preferences(&self) -> bool {
        self.takes_preferences
    }

    /// Returns whether clients have to name a session to one of the hops.
    pub(crate) fn requires_session(&self) -> bool {
        self.requires_session
    }

    /// Opens a tunnel to the target of `request`, and describes it.
    ///
    /// # Errors
    /// As [`travel`](Self::travel).
    pub(crate) async fn connect_through(
        &self,
        request: Request<'_>,
    ) -> Result<Connected, ChainError> {
        self.travel(request, Destination::Target, &()).await
    }

    /// Opens a connection for a plain request: to the last hop if that forwards it, to the target otherwise.
    ///
    /// # Errors
    /// As [`travel`](Self::travel).
    pub(crate) async fn connect_plain(
        &self,
        request: Request<'_>,
        line: RequestLine<'_>,
    ) -> Result<Connected, ChainError> {
        self.travel(request, Destination::Forwarder(line), &()).await
    }

    /// Returns whether each hop that chooses by the request would repeat, for `request`, the choice that it made for
    /// `passage`.
    pub(crate) async fn agrees(&self, request: Request<'_>, passage: &Passage) -> bool {
        if !self.has_deciders {
            return true;
        }
        for (position, hop) in self.hops.iter().enumerate() {
            let Some(decider) = hop.hop.decider() else { continue };
            let member = passage.taken_at(position).filter(|taken| taken.address.is_some());
            let member = member.and_then(|taken| taken.member.as_deref());
            if !decider.agrees(request, member).wait().await {
                return false;
            }
        }
        true
    }

    /// Prepares another plain request on a connection that ends at `last`. Returns the fields that the hop needs, or
    /// `None` if it needs a new connection.
    ///
    /// # Errors
    /// The reason why the hop takes no request.
    pub(crate) async fn authorize(
        &self,
        last: &LastHop,
        tunnel: &mut Tunnel,
        request: Request<'_>,
        line: RequestLine<'_>,
    ) -> Result<Option<Arc<[Field]>>, ChainError> {
        // Most hops know their fields at once, and then no timer is set. Only an authentication of
        // several rounds has to talk to the hop, which may then be silent.
        let work = match last.link.authorize(tunnel, line) {
            Eventual::Ready(fields) => Eventual::Ready(fields),
            Eventual::Pending(work) => {
                let timeout = self.timeouts.handshake;
                Eventual::later(async move {
                    time::timeout(timeout, work).await.unwrap_or_else(|_| Err(HopError::Closed))
                })
            }
        };
        match work.wait().await {
            Ok(fields) => Ok(Some(fields)),
            // A connection that was kept may have ended since the last request. That is no failure
            // of the hop, so a new connection is tried, and shows whether the hop fails.
            Err(HopError::Again(_) | HopError::Closed | HopError::Io(_)) => Ok(None),
            // A refusal is the answer of a hop that works, so it goes to the client.
            Err(HopError::Refused(refusal)) => Err(self.refused(last, request.target, *refusal)),
            Err(error) => {
                let stage = self.last_stage(last, request.target);
                Err(self.error(stage, error.into()))
            }
        }
    }

    /// Opens a connection for `request` as far as `destination`, and reports each step to `trace`.
    ///
    /// # Errors
    /// The first step that failed, if no hop knows another way. The chain never goes round a hop.
    pub(crate) async fn travel<T: Trace>(
        &self,
        request: Request<'_>,
        destination: Destination<'_>,
        trace: &T,
    ) -> Result<Connected, ChainError> {
        // The time includes all detours, since the client waits for all of them.
        let begun = Instant::now();
        let Arrived { tunnel, fields, journey, is_at_hop, attempts } =
            self.go(request, destination, trace).await?;
        let (reuse, taken) = (journey.reuse(), journey.taken());
        let passage = Passage { taken: Some(taken), attempts, connect: Some(begun.elapsed()) };
        Ok(Connected { tunnel, fields, last: journey.arrive(), is_at_hop, reuse, passage })
    }

    /// Opens a connection, and returns the journey that led there.
    async fn go<T: Trace>(
        &self,
        request: Request<'_>,
        destination: Destination<'_>,
        trace: &T,
    ) -> Result<Arrived<'_>, ChainError> {
        let mut journey = Journey::new(self, request).await?;
        // The client has not been told anything before the last attempt ends, so a chain may try as
        // often as its hops know another way, within a bound that no honest hop meets.
        let mut attempts = 0;
        loop {
            attempts += 1;
            let end = match destination {
                // Decided for each attempt, since a detour may have put another link in the last
                // place.
                Destination::Forwarder(line) if journey.is_forwarded() => {
                    AttemptEnd::Forwarder(line)
                }
                Destination::Target | Destination::Forwarder(_) => AttemptEnd::Target(request),
                Destination::LastHop => AttemptEnd::LastHop,
            };
            match self.attempt(&journey, request, end, trace).await {
                Ok((tunnel, fields)) => {
                    let is_at_hop = !matches!(end, AttemptEnd::Target(_));
                    return Ok(Arrived { tunnel, fields, journey, is_at_hop, attempts });
                }
                Err(mut failed) => {
                    failed.error.attempts = attempts;
                    trace.failed(&failed.error);
                    if attempts > DETOURS_MAX {
                        return Err(failed.error);
                    }
                    journey.detour(failed).await?;
                }
            }
        }
    }

    /// Passes hop by hop to the last one, and to `end`.
    async fn attempt<T: Trace>(
        &self,
        journey: &Journey<'_>,
        request: Request<'_>,
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
        self.reach_end(tunnel, journey, target, end, trace).await
    }

    /// Dials, and passes every hop but the last, which is entered.
    async fn reach_last<T: Trace>(
        &self,
        journey: &Journey<'_>,
        request: Request<'_>,
        trace: &T,
    ) -> Result<Tunnel, FailedAttempt> {
        let hops = journey.hops();
        let connect = journey.within_deadline(self.timeouts.connect);
        let stop = hops.first().map_or(request.target, |hop| &hop.address);
        let first = (0, hops.first());
        // Look-up and connection share one timeout, since the client waits for the sum of both.
        let dial = pin!(async {
            let addresses = self.dialer.look_up(stop).await?;
            debug!(%stop, ?addresses, "looked up");
            trace.looked_up(|| self.stage(first, Step::Dial, stop));
            self.dialer.connect(addresses).await
        });
        let socket = self.step(first, Step::Dial, stop, connect, dial).await?;
        let mut tunnel = self.counted(Tunnel::socket(socket));
        trace.passed(|| self.stage(first, Step::Dial, stop));
        // Strictly one hop after the other. A hop that refuses its CONNECT would also read the one
        // that was sent ahead, with the credentials of the next hop in it.
        for (index, hop) in hops.iter().enumerate() {
            let at = (index, Some(hop));
            tunnel = self.counted_at(hop.position, tunnel);
            // A hop without TLS is entered at once. Then there is no step to time or to report.
            tunnel = match hop.link.enter(tunnel) {
                Eventual::Ready(Ok(tunnel)) => tunnel,
                enter => {
                    let connect = journey.within_deadline(self.timeouts.connect);
                    let enter = pin!(enter.wait());
                    let entered = self.step(at, Step::Enter, &hop.address, connect, enter).await?;
                    trace.passed(|| self.stage(at, Step::Enter, &hop.address));
                    entered
                }
            };
            if let Some(next) = hops.get(index + 1) {
                // Of the client's fields, only `Via` goes to a hop on the way. `pass_headers` is
                // about the last hop.
                tunnel.prepare_connect(request, None);
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
                tunnel.prepare_connect(request, listed);
                let target = request.target;
                let tunnel = self.extend(tunnel, journey, index, target, trace).await?;
                Ok((tunnel, Arc::default()))
            }
            AttemptEnd::Forwarder(line) => {
                // The request itself is sent later, by the exchange. This is for the fields that
                // the hop needs in it, which may take rounds of authentication on this very
                // connection.
                let last = &journey.hops()[index];
                let fields = match last.link.authorize(&mut tunnel, line) {
                    Eventual::Ready(Ok(fields)) => fields,
                    work => {
                        let (at, asked) = ((index, Some(last)), Instant::now());
                        let timeout = journey.within_deadline(self.timeouts.handshake);
                        let work = pin!(work.wait());
                        let fields = self.step(at, Step::Extend, target, timeout, work).await;
                        let fields = fields.map_err(|failed| failed.asked_at(asked))?;
                        self.meter.agreed(last.position, asked.elapsed());
                        trace.passed(|| self.stage(at, Step::Extend, target));
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
        tunnel: Tunnel,
        journey: &Journey<'_>,
        index: usize,
        next: &Authority,
        trace: &T,
    ) -> Result<Tunnel, FailedAttempt> {
        let hop = &journey.hops()[index];
        // If the hop asks for a new connection, its timeout still counts from here.
        let (at, asked) = ((index, Some(hop)), Instant::now());
        let extend = pin!(hop.link.extend(tunnel, next));
        let timeout = journey.within_deadline(self.timeouts.handshake);
        let extended = self.step(at, Step::Extend, next, timeout, extend).await;
        let extended = extended.map_err(|failed| failed.asked_at(asked))?;
        // The histogram is of tunnels that the hop agreed to, so a refusal is not in it.
        self.meter.agreed(hop.position, asked.elapsed());
        trace.passed(|| self.stage(at, Step::Extend, next));
        Ok(extended)
    }

    /// Runs one step within `timeout`. A failure names the step, the hop and the cause.
    async fn step<T, E: Into<Cause>>(
        &self,
        at: StepPlace<'_>,
        step: Step,
        stop: &Authority,
        timeout: Duration,
        work: Pin<&mut impl Future<Output = Result<T, E>>>,
    ) -> Result<T, FailedAttempt> {
        // The clock is read only if a line is logged.
        let begun = event_enabled!(Level::DEBUG).then(Instant::now);
        let mut cause = match time::timeout(timeout, work).await {
            Ok(Ok(done)) => {
                if let Some(begun) = begun {
                    self.log_step(&self.stage(at, step, stop), begun, None);
                }
                return Ok(done);
            }
            Ok(Err(error)) => error.into(),
            Err(_) => Cause::Timeout(timeout),
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
        if let Some(begun) = begun {
            self.log_step(&error.stage, begun, Some(&error));
        }
        Err(FailedAttempt { index: at.0, error, again, asked: Instant::now() })
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
        Stage { protocol, settings, next, ..stage }
    }

    /// Returns the name of the hop behind `hop`, if `stop` is its address.
    fn next_at(&self, hop: &ChosenHop, stop: &Authority) -> Option<Arc<str>> {
        let behind = self.hops.get(hop.position + 1..)?;
        let is_it = |next: &&ChainHop| {
            let is_at = |address: Option<&Authority>| address == Some(stop);
            is_at(next.hop.describe().address)
                || next.hop.members().iter().any(|member| is_at(member.address))
        };
        behind.iter().find(is_it).map(|next| Arc::clone(&next.name))
    }

    fn last_stage(&self, last: &LastHop, target: &Authority) -> Stage {
        let named = self.hops.get(last.position);
        let stage = Stage::new(named, last.member.clone(), Step::Extend, target.clone());
        Stage { settings: last.link.settings(), ..stage }
    }

    /// Describes an answer to a plain request for `target` that is not in the protocol of the last hop.
    pub(crate) fn misunderstood(
        &self,
        last: &LastHop,
        target: &Authority,
        spoken: Spoken,
    ) -> ChainError {
        self.error(self.last_stage(last, target), HopError::OtherProtocol(spoken).into())
    }

    /// Describes a failed TLS handshake with the target, which the user of the tunnel makes at its end.
    pub(crate) fn target_failed(&self, target: &Authority, cause: Cause) -> ChainError {
        self.error(Stage::at_target(target), cause)
    }

    /// Describes the refusal of a plain request to `target` by the last hop. No other connection learns from it: the
    /// target may have imitated it.
    pub(crate) fn refused(
        &self,
        last: &LastHop,
        target: &Authority,
        mut refusal: Refusal,
    ) -> ChainError {
        last.link.explain(&mut refusal);
        self.error(self.last_stage(last, target), HopError::from(refusal).into())
    }

    fn error(&self, stage: Stage, cause: Cause) -> ChainError {
        ChainError {
            chain: Arc::clone(&self.name),
            stage: Box::new(stage),
            cause,
            attempts: 0,
            refused: Vec::new(),
        }
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        // The keeper of the spares holds the chain weakly. It is woken to see that the chain is
        // gone.
        if let Some(warm) = &self.warm {
            warm.notice();
        }
    }
}

/// Each detour is a connection of its own; no honest hop offers more.
const DETOURS_MAX: u32 = 32;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mooltiroute_hops::{Preferences, async_trait};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    const LINE: RequestLine<'_> = RequestLine { method: "GET", uri: &"http://target.example/" };
    const TIMEOUTS: StepTimeouts =
        StepTimeouts { connect: Duration::from_secs(5), handshake: Duration::from_secs(5) };

    /// A hop that writes the address it is asked for, and reads one byte as the answer.
    #[derive(Debug)]
    struct Note {
        address: Authority,
        silent: bool,
    }

    #[async_trait]
    impl Link for Note {
        fn address(&self) -> &Authority {
            &self.address
        }

        async fn extend(&self, mut tunnel: Tunnel, next: &Authority) -> Result<Tunnel, HopError> {
            if self.silent {
                std::future::pending::<()>().await;
            }
            tunnel.write_all(format!("{next}\n").as_bytes()).await?;
            Ok(tunnel)
        }

        fn forwards(&self) -> bool {
            true
        }
    }

    fn note(name: &str, address: Authority, silent: bool) -> ChainHop {
        ChainHop { name: name.into(), hop: Arc::new(Note { address, silent }) }
    }

    #[tokio::test]
    async fn each_hop_is_asked_for_the_next_and_the_last_for_the_target() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let first = listener.local_addr().unwrap().into();
        let hops = vec![note("a", first, false), note("b", "b.example:2".parse().unwrap(), false)];
        let chain = Chain::new("default".into(), hops, TIMEOUTS, Dialer::default());
        let target = "target.example:443".parse().unwrap();
        for (is_whole, expected) in
            [(true, "b.example:2\ntarget.example:443\n"), (false, "b.example:2\n")]
        {
            let preferences = Preferences::default();
            let request = Request::new(&target, &preferences);
            let arrival = if is_whole {
                chain.connect_through(request).await
            } else {
                chain.connect_plain(request, LINE).await
            };
            assert_eq!(arrival.unwrap().is_at_hop, !is_whole);
            let mut seen = String::new();
            listener.accept().await.unwrap().0.read_to_string(&mut seen).await.unwrap();
            assert_eq!(seen, expected);
        }
    }

    #[test]
    fn an_entrance_is_called_what_it_is() {
        let hops = [note("a", "a.example:1".parse().unwrap(), false)];
        let shown = |hop, protocol| {
            let stage = Stage::new(hop, None, Step::Enter, "b.example:2".parse().unwrap());
            Stage { protocol, ..stage }.to_string()
        };
        assert_eq!(shown(hops.first(), None), "the handshake with hop `a` at `b.example:2`");
        assert_eq!(
            shown(hops.first(), Some("TLS")),
            "the TLS handshake with hop `a` at `b.example:2`"
        );
        assert_eq!(shown(None, Some("TLS")), "the TLS handshake with the target `b.example:2`");
    }

    #[tokio::test]
    async fn a_silent_hop_ends_at_its_timeout_and_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let timeouts = StepTimeouts { handshake: Duration::from_millis(20), ..TIMEOUTS };
        let hops = vec![note("corporate", listener.local_addr().unwrap().into(), true)];
        let chain = Chain::new("default".into(), hops, timeouts, Dialer::default());
        let target = "target.example:443".parse().unwrap();
        let error = chain
            .connect_through(Request::new(&target, &Preferences::default()))
            .await
            .unwrap_err();
        assert!(matches!(error.cause, Cause::Timeout(_)));
        assert_eq!(
            error.to_string(),
            "chain `default` failed at hop `corporate`, asked for `target.example:443`"
        );
    }
}
