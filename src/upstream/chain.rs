//! Hops in their order of travel, and the one way through them.

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
    Authority, Eventual, Field, Hop, HopError, Link, Refusal, Request, RequestLine, Reuse, Tunnel,
};
use tokio::time::{self, Instant};
use tracing::{Level, debug, event_enabled, field::display};

use self::journey::{ChosenHop, Journey};
pub(crate) use self::{
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
    warm: Option<Arc<Warm>>,
    takes_preferences: bool,
    requires_session: bool,
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

/// The error of one attempt, and the position of the hop that met it.
struct FailedAttempt {
    position: usize,
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

/// The hop of a step, by its position; the target if there is no hop.
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
    /// Puts hops in a row.
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
            warm: None,
            takes_preferences: hops.iter().any(|hop| hop.hop.describe().takes_preferences),
            requires_session: hops.iter().any(|hop| hop.hop.describe().requires_session),
            hops,
        }
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

    /// The spare tunnels, if the chain keeps any.
    pub(crate) fn warm(&self) -> Option<&Arc<Warm>> {
        self.warm.as_ref()
    }

    /// Whether a spare made for one request serves another. It does not if a hop before the last one may treat clients
    /// differently.
    pub(crate) fn can_be_warm(hops: &[ChainHop]) -> bool {
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
            // A connection that was kept may have ended since; a new one shows whether the hop fails.
            Err(HopError::Again(_) | HopError::Closed | HopError::Io(_)) => Ok(None),
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
        let mut attempts = 0;
        loop {
            attempts += 1;
            let end = match destination {
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
        if let (Some(warm), AttemptEnd::Target(_)) = (&self.warm, end)
            && let Some(spare) = warm.take(&journey.path(), target).await
        {
            debug!(chain = %self.name, "a spare tunnel is used");
            match self.reach_end(spare, journey, target, end, trace).await {
                // The spare was dead without a sign. Nothing of the client was sent on it, so a new one takes over.
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
        let dial = pin!(async {
            let addresses = self.dialer.look_up(stop).await?;
            debug!(%stop, ?addresses, "looked up");
            trace.looked_up(|| self.stage(first, Step::Dial, stop));
            self.dialer.connect(addresses).await
        });
        let mut tunnel = Tunnel::socket(self.step(first, Step::Dial, stop, connect, dial).await?);
        trace.passed(|| self.stage(first, Step::Dial, stop));
        for (position, hop) in hops.iter().enumerate() {
            let at = (position, Some(hop));
            tunnel = match hop.chosen.link.enter(tunnel) {
                Eventual::Ready(Ok(tunnel)) => tunnel,
                enter => {
                    let connect = journey.within_deadline(self.timeouts.connect);
                    let enter = pin!(enter.wait());
                    let entered = self.step(at, Step::Enter, &hop.address, connect, enter).await?;
                    trace.passed(|| self.stage(at, Step::Enter, &hop.address));
                    entered
                }
            };
            if let Some(next) = hops.get(position + 1) {
                tunnel.prepare_connect(request, None);
                tunnel = self.extend(tunnel, journey, position, &next.address, trace).await?;
            }
        }
        Ok(tunnel)
    }

    /// Has the last hop do its part.
    async fn reach_end<T: Trace>(
        &self,
        mut tunnel: Tunnel,
        journey: &Journey<'_>,
        target: &Authority,
        end: AttemptEnd<'_>,
        trace: &T,
    ) -> Result<(Tunnel, Arc<[Field]>), FailedAttempt> {
        let Some(position) = journey.hops().len().checked_sub(1) else {
            return Ok((tunnel, Arc::default()));
        };
        match end {
            AttemptEnd::LastHop => Ok((tunnel, Arc::default())),
            AttemptEnd::Target(request) => {
                let listed = journey.hops()[position].chosen.link.pass_headers();
                tunnel.prepare_connect(request, listed);
                let target = request.target;
                let tunnel = self.extend(tunnel, journey, position, target, trace).await?;
                Ok((tunnel, Arc::default()))
            }
            AttemptEnd::Forwarder(line) => {
                let last = &journey.hops()[position];
                let fields = match last.chosen.link.authorize(&mut tunnel, line) {
                    Eventual::Ready(Ok(fields)) => fields,
                    work => {
                        let (at, asked) = ((position, Some(last)), Instant::now());
                        let timeout = journey.within_deadline(self.timeouts.handshake);
                        let work = pin!(work.wait());
                        let fields = self.step(at, Step::Extend, target, timeout, work).await;
                        let fields = fields.map_err(|failed| failed.asked_at(asked))?;
                        self.meter.agreed(position, asked.elapsed());
                        trace.passed(|| self.stage(at, Step::Extend, target));
                        fields
                    }
                };
                Ok((tunnel, fields))
            }
        }
    }

    /// Has the hop at `position` extend the tunnel to `next`.
    async fn extend<T: Trace>(
        &self,
        tunnel: Tunnel,
        journey: &Journey<'_>,
        position: usize,
        next: &Authority,
        trace: &T,
    ) -> Result<Tunnel, FailedAttempt> {
        let hop = &journey.hops()[position];
        let (at, asked) = ((position, Some(hop)), Instant::now());
        let extend = pin!(hop.chosen.link.extend(tunnel, next));
        let timeout = journey.within_deadline(self.timeouts.handshake);
        let extended = self.step(at, Step::Extend, next, timeout, extend).await;
        let extended = extended.map_err(|failed| failed.asked_at(asked))?;
        self.meter.agreed(position, asked.elapsed());
        trace.passed(|| self.stage(at, Step::Extend, next));
        Ok(extended)
    }

    /// Waits for one step, as long as it may take.
    async fn step<T, E: Into<Cause>>(
        &self,
        at: StepPlace<'_>,
        step: Step,
        stop: &Authority,
        timeout: Duration,
        work: Pin<&mut impl Future<Output = Result<T, E>>>,
    ) -> Result<T, FailedAttempt> {
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
        let mut again = None;
        match (at.1, &mut cause) {
            (Some(hop), Cause::Hop(HopError::Refused(refusal))) => hop.chosen.link.explain(refusal),
            (Some(_), Cause::Hop(HopError::Again(link))) => again = Some(Arc::clone(link)),
            _ => {}
        }
        let error = self.error(self.stage(at, step, stop), cause);
        if let Some(begun) = begun {
            self.log_step(&error.stage, begun, Some(&error));
        }
        Err(FailedAttempt { position: at.0, error, again, asked: Instant::now() })
    }

    /// Logs a step that has ended, for those who look for the cause of a failure.
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

    fn stage(&self, (position, hop): StepPlace<'_>, step: Step, stop: &Authority) -> Stage {
        let member = hop.and_then(|hop| hop.chosen.member());
        let protocol = hop.and_then(|hop| hop.chosen.link.entered_by());
        let stage = Stage::new(self.hops.get(position), member, step, stop.clone());
        Stage { protocol, ..stage }
    }

    fn last_stage(&self, last: &LastHop, target: &Authority) -> Stage {
        Stage::new(self.hops.last(), last.member.clone(), Step::Extend, target.clone())
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
