//! Hops in their order of travel, and the one way through them.

mod journey;
mod trace;

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwapOption;
use mooltiroute_hops::{
    Authority, Hop, HopError, InvalidPreferences, Preferences, Refusal, Request, Reuse, Tunnel, tls,
};
use thiserror::Error;
use tokio::time::{self, Instant};

use self::journey::{Journey, Leg};
pub(crate) use self::trace::Trace;
use crate::{
    metrics::Meter,
    upstream::{
        dial::{DialError, Dialer},
        warm::{Path, Warm},
    },
};

/// Hops in their order of travel. Without any, the way is direct.
#[derive(Debug)]
pub(crate) struct Chain {
    name: Arc<str>,
    links: Vec<Link>,
    timeouts: StepTimeouts,
    dialer: Dialer,
    /// For each hop, the one of its addresses that served when the first was refused.
    remembered: Vec<ArcSwapOption<Authority>>,
    meter: Arc<Meter>,
    warm: Option<Arc<Warm>>,
}

/// A hop, and what the configuration calls it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// The key below `hops:`.
    pub name: Arc<str>,
    /// The hop itself, shared by all chains that hold it.
    pub hop: Arc<dyn Hop>,
}

/// Where a connection for a plain request has come to.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// The connection.
    pub tunnel: Tunnel,
    /// The last hop that it passes, as chosen for the request.
    pub last: Option<Arc<dyn Hop>>,
    /// Whether it ends at that hop, which is to forward the request, and not at the target.
    pub is_at_hop: bool,
    /// Whether it may carry another request of its client, as all hops on its way have it.
    pub reuse: Reuse,
}

/// Where a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// At the target.
    Target,
    /// At the last hop where that forwards plain requests, at the target otherwise.
    Forwarder,
    /// At the last hop, which is sent nothing.
    LastHop,
}

/// How long each step may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StepTimeouts {
    /// For a look-up and TCP, and for TLS with a hop.
    pub connect: Duration,
    /// For each hop's whole answer.
    pub handshake: Duration,
}

/// Where on its way a connection failed, and why.
#[derive(Debug, Error)]
#[error("chain `{chain}` failed at {stage}")]
pub struct ChainError {
    /// The chain's name.
    pub chain: Arc<str>,
    /// The step that failed.
    pub stage: Box<Stage>,
    /// What happened.
    #[source]
    pub cause: Cause,
    /// Every address of the next hop that was refused, where it has more than one.
    pub refused: Vec<Authority>,
}

/// One step on the way.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The hop that was dialled, entered or asked; `None`: the target itself was dialled, or entered.
    pub hop: Option<Arc<str>>,
    /// Which of the hops that this one holds it was.
    pub member: Option<String>,
    /// What was done.
    pub step: Step,
    /// Where it was to lead to.
    pub stop: Authority,
    /// The protocol of an entrance, where it has a name.
    pub protocol: Option<&'static str>,
}

/// What is done at a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Choosing who serves the request.
    Choose,
    /// Look-up and TCP to the first stop.
    Dial,
    /// Preparing the tunnel for the hop, such as by TLS.
    Enter,
    /// Asking the hop for the next stop.
    Extend,
}

/// Why a step failed.
#[derive(Debug, Error)]
pub enum Cause {
    /// No connection to the first stop.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The hop failed, or refused.
    #[error(transparent)]
    Hop(#[from] HopError),
    /// The client prefers what the hop can't do.
    #[error(transparent)]
    Preferences(#[from] InvalidPreferences),
    /// The step took longer than this.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

impl Chain {
    /// Puts hops in a row.
    pub(crate) fn new(
        name: Arc<str>,
        links: Vec<Link>,
        timeouts: StepTimeouts,
        dialer: Dialer,
    ) -> Self {
        let remembered = links.iter().map(|_| ArcSwapOption::empty()).collect();
        Self { name, links, timeouts, dialer, remembered, meter: Arc::default(), warm: None }
    }

    /// The same, counted by `meter`.
    #[must_use]
    pub(crate) fn metered(mut self, meter: Arc<Meter>) -> Self {
        self.meter = meter;
        self
    }

    /// The same, with spare tunnels from `warm`, which this chain is to [keep](Warm::keep).
    #[must_use]
    pub(crate) fn warmed(mut self, warm: Option<Arc<Warm>>) -> Self {
        self.warm = warm;
        self
    }

    /// The spare tunnels, where the chain has such.
    pub(crate) fn warm(&self) -> Option<&Arc<Warm>> {
        self.warm.as_ref()
    }

    /// Whether a spare made for one request serves another: not where a hop before the last one may tell them apart.
    pub(crate) fn can_be_warm(links: &[Link]) -> bool {
        let before = links.split_last().map(|(_, before)| before);
        before.is_some_and(|before| before.iter().all(|link| !link.hop.takes_preferences()))
    }

    /// What the configuration calls this chain.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether a chain that is built of these parts would be this one: of this name, along the same hops, with the same
    /// timeouts and the same addresses to stay away from. Its spare tunnels don't matter.
    pub(crate) fn is_made_of(
        &self,
        name: &str,
        links: &[Link],
        timeouts: StepTimeouts,
        dialer: &Dialer,
    ) -> bool {
        let is_same =
            |(old, new): (&Link, &Link)| old.name == new.name && Arc::ptr_eq(&old.hop, &new.hop);
        &*self.name == name
            && self.links.len() == links.len()
            && self.links.iter().zip(links).all(is_same)
            && self.timeouts == timeouts
            && self.dialer == *dialer
    }

    /// What counts its traffic.
    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// The hops in their order of travel.
    pub(crate) fn links(&self) -> &[Link] {
        &self.links
    }

    /// Whether a hop is among these that clients may tell their preferences.
    pub(crate) fn takes_preferences(&self) -> bool {
        self.links.iter().any(|link| link.hop.takes_preferences())
    }

    /// Opens a tunnel to the target of `request`, through every hop.
    ///
    /// # Errors
    /// The first step that failed, where no hop knows another way. Nothing goes round a hop.
    pub(crate) async fn connect(&self, request: Request<'_>) -> Result<Tunnel, ChainError> {
        self.connect_through(request).await.map(|arrival| arrival.tunnel)
    }

    /// Opens a tunnel to the target of `request`, and says how it came there.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub(crate) async fn connect_through(
        &self,
        request: Request<'_>,
    ) -> Result<Arrival, ChainError> {
        self.travel(request, Destination::Target, &()).await
    }

    /// Opens what a plain request needs: a tunnel to the last hop where that forwards it, to the target otherwise.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub(crate) async fn connect_plain(&self, request: Request<'_>) -> Result<Arrival, ChainError> {
        self.travel(request, Destination::Forwarder, &()).await
    }

    /// Opens a tunnel that reaches the last hop and has sent it nothing, as if for `target`.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub(crate) async fn spare(&self, target: &Authority) -> Result<(Path, Tunnel), ChainError> {
        let nobodys = Preferences::default();
        let request = Request::new(target, &nobodys);
        let (tunnel, journey, _) = self.go(request, Destination::LastHop, &()).await?;
        let path = journey::path(journey.legs());
        journey.arrive();
        Ok((path, tunnel))
    }

    /// Opens a connection for `request` as far as `destination`, with `trace` told of each step.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub(crate) async fn travel<T: Trace>(
        &self,
        request: Request<'_>,
        destination: Destination,
        trace: &T,
    ) -> Result<Arrival, ChainError> {
        let (tunnel, journey, is_at_hop) = self.go(request, destination, trace).await?;
        let reuse = journey.reuse();
        Ok(Arrival { tunnel, last: journey.arrive(), is_at_hop, reuse })
    }

    /// The same, with the journey that led there, and whether it ended at the last hop.
    async fn go<T: Trace>(
        &self,
        request: Request<'_>,
        destination: Destination,
        trace: &T,
    ) -> Result<(Tunnel, Journey<'_>, bool), ChainError> {
        let mut journey = Journey::new(self, request)?;
        let mut attempts = 0;
        loop {
            let forwards = |leg: &Leg| leg.hop.forwarding().is_some();
            let is_at_hop = match destination {
                Destination::Target => false,
                Destination::Forwarder => journey.legs().last().is_some_and(forwards),
                Destination::LastHop => true,
            };
            let end = (!is_at_hop).then_some(request.target);
            match self.attempt(journey.legs(), request.target, end, trace).await {
                Ok(tunnel) => return Ok((tunnel, journey, is_at_hop)),
                Err((position, error)) => {
                    trace.failed(&error);
                    if attempts == DETOURS_MAX {
                        return Err(error);
                    }
                    journey.detour(position, error)?;
                }
            }
            attempts += 1;
        }
    }

    /// Passes hop by hop to the last one, and to `end` if there is one; says which hop it was that met an error.
    async fn attempt<T: Trace>(
        &self,
        legs: &[Leg],
        target: &Authority,
        end: Option<&Authority>,
        trace: &T,
    ) -> Result<Tunnel, (usize, ChainError)> {
        if let (Some(warm), Some(end)) = (&self.warm, end)
            && let Some(spare) = warm.take(&journey::path(legs), target).await
        {
            match self.extend_last(spare, legs, Some(end), trace).await {
                // It was dead, though it did not seem so. Nothing of the client's was sent, so a new one does.
                Err((_, error)) if error.is_without_answer() => warm.stale(),
                done => return done,
            }
        }
        let tunnel = self.reach_last(legs, target, trace).await?;
        self.extend_last(tunnel, legs, end, trace).await
    }

    /// Dials, and passes every hop but the last, which is entered.
    async fn reach_last<T: Trace>(
        &self,
        legs: &[Leg],
        target: &Authority,
        trace: &T,
    ) -> Result<Tunnel, (usize, ChainError)> {
        let connect = self.timeouts.connect;
        let stop = legs.first().map_or(target, |leg| &leg.address);
        let first = (0, legs.first());
        let dial = pin!(async {
            let addresses = self.dialer.look_up(stop).await?;
            trace.looked_up(|| self.stage(first, Step::Dial, stop));
            self.dialer.connect(addresses).await
        });
        let mut tunnel = Tunnel::socket(self.step(first, Step::Dial, stop, connect, dial).await?);
        trace.passed(|| self.stage(first, Step::Dial, stop));
        for (position, leg) in legs.iter().enumerate() {
            let (mut enter, mut polls) = (leg.hop.enter(tunnel), 0_u32);
            let enter = pin!(poll_fn(|cx| {
                polls = polls.saturating_add(1);
                enter.as_mut().poll(cx)
            }));
            let at = (position, Some(leg));
            tunnel = self.step(at, Step::Enter, &leg.address, connect, enter).await?;
            // One that is done at once has asked nobody for anything.
            if polls > 1 {
                trace.passed(|| self.stage(at, Step::Enter, &leg.address));
            }
            if let Some(next) = legs.get(position + 1) {
                tunnel = self.extend(tunnel, at, leg, &next.address, trace).await?;
            }
        }
        Ok(tunnel)
    }

    async fn extend_last<T: Trace>(
        &self,
        tunnel: Tunnel,
        legs: &[Leg],
        end: Option<&Authority>,
        trace: &T,
    ) -> Result<Tunnel, (usize, ChainError)> {
        match (legs.last(), end) {
            (Some(last), Some(end)) => {
                self.extend(tunnel, (legs.len() - 1, Some(last)), last, end, trace).await
            }
            _ => Ok(tunnel),
        }
    }

    async fn extend<T: Trace>(
        &self,
        tunnel: Tunnel,
        at: (usize, Option<&Leg>),
        leg: &Leg,
        next: &Authority,
        trace: &T,
    ) -> Result<Tunnel, (usize, ChainError)> {
        let asked = Instant::now();
        let extend = pin!(leg.hop.extend(tunnel, next));
        let extended = self.step(at, Step::Extend, next, self.timeouts.handshake, extend).await?;
        self.meter.agreed(at.0, asked.elapsed());
        trace.passed(|| self.stage(at, Step::Extend, next));
        Ok(extended)
    }

    async fn step<T, E: Into<Cause>>(
        &self,
        at: (usize, Option<&Leg>),
        step: Step,
        stop: &Authority,
        timeout: Duration,
        work: Pin<&mut impl Future<Output = Result<T, E>>>,
    ) -> Result<T, (usize, ChainError)> {
        let mut cause = match time::timeout(timeout, work).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => error.into(),
            Err(_) => Cause::Timeout(timeout),
        };
        if let (Some(leg), Cause::Hop(HopError::Refused(refusal))) = (at.1, &mut cause) {
            leg.hop.explain(refusal);
        }
        Err((at.0, self.error(self.stage(at, step, stop), cause)))
    }

    fn stage(&self, (position, leg): (usize, Option<&Leg>), step: Step, stop: &Authority) -> Stage {
        let member = leg.and_then(|leg| leg.hop.member());
        let protocol = leg.and_then(|leg| leg.hop.entered_by());
        let stage = Stage::new(self.links.get(position), member, step, stop.clone());
        Stage { protocol, ..stage }
    }

    /// The error of the TLS handshake with the target, which whoever has the tunnel makes at its end.
    pub(crate) fn target_failed(&self, target: &Authority, cause: Cause) -> ChainError {
        self.error(Stage::at_target(target), cause)
    }

    /// The error of the last hop, as chosen, which a plain request to `target` got `refusal` from. Nothing is learned
    /// from it for other connections: the target may have made it look so.
    pub(crate) fn refused(
        &self,
        last: &dyn Hop,
        target: &Authority,
        mut refusal: Refusal,
    ) -> ChainError {
        last.explain(&mut refusal);
        let stage = Stage::new(self.links.last(), last.member(), Step::Extend, target.clone());
        self.error(stage, HopError::from(refusal).into())
    }

    fn error(&self, stage: Stage, cause: Cause) -> ChainError {
        ChainError {
            chain: Arc::clone(&self.name),
            stage: Box::new(stage),
            cause,
            refused: Vec::new(),
        }
    }
}

impl Stage {
    fn new(link: Option<&Link>, member: Option<String>, step: Step, stop: Authority) -> Self {
        Self { hop: link.map(|link| Arc::clone(&link.name)), member, step, stop, protocol: None }
    }

    /// The TLS handshake with the target, which whoever has the tunnel makes at its end.
    pub fn at_target(target: &Authority) -> Self {
        let stage = Self::new(None, None, Step::Enter, target.clone());
        Self { protocol: Some(tls::PROTOCOL), ..stage }
    }

    /// What the hop is called, with the member of it that it was.
    pub fn hop_name(&self) -> Option<String> {
        let hop = self.hop.as_ref()?;
        Some(match &self.member {
            Some(member) => format!("{hop}.{member}"),
            None => hop.to_string(),
        })
    }
}

impl Step {
    /// A word for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Choose => "choose",
            Self::Dial => "dial",
            Self::Enter => "enter",
            Self::Extend => "extend",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, stop, protocol, .. } = self;
        let what = match (step, protocol) {
            (Step::Enter, Some(protocol)) => &*format!("{protocol} handshake with"),
            (Step::Enter, None) => "handshake with",
            _ => "connection to",
        };
        let Some(hop) = self.hop_name() else { return write!(f, "the {what} the target `{stop}`") };
        match step {
            Step::Choose => write!(f, "hop `{hop}`, told what the client prefers"),
            Step::Dial | Step::Enter => write!(f, "the {what} hop `{hop}` at `{stop}`"),
            Step::Extend => write!(f, "hop `{hop}`, asked for `{stop}`"),
        }
    }
}

impl ChainError {
    /// Whether the hop was asked and nothing came back, not even a refusal.
    fn is_without_answer(&self) -> bool {
        matches!(&self.cause, Cause::Hop(HopError::Io(_) | HopError::Closed))
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        if let Some(warm) = &self.warm {
            warm.notice();
        }
    }
}

/// Each is a whole connection more; hops that know so many ways are at fault.
const DETOURS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mooltiroute_hops::{Forwarding, Preferences, async_trait};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    const TIMEOUTS: StepTimeouts =
        StepTimeouts { connect: Duration::from_secs(5), handshake: Duration::from_secs(5) };

    /// Writes where it is asked to go, and reads one byte as the answer.
    #[derive(Debug)]
    struct Note {
        address: Authority,
        silent: bool,
        forwarding: Forwarding,
    }

    #[async_trait]
    impl Hop for Note {
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

        fn forwarding(&self) -> Option<&Forwarding> {
            Some(&self.forwarding)
        }
    }

    fn link(name: &str, address: Authority, silent: bool) -> Link {
        Link {
            name: name.into(),
            hop: Arc::new(Note { address, silent, forwarding: Forwarding::default() }),
        }
    }

    #[tokio::test]
    async fn each_hop_is_asked_for_the_next_and_the_last_for_the_target() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let first = listener.local_addr().unwrap().into();
        let links = vec![link("a", first, false), link("b", "b.example:2".parse().unwrap(), false)];
        let chain = Chain::new("default".into(), links, TIMEOUTS, Dialer::default());
        let target = "target.example:443".parse().unwrap();
        for (is_whole, expected) in
            [(true, "b.example:2\ntarget.example:443\n"), (false, "b.example:2\n")]
        {
            let preferences = Preferences::default();
            let request = Request::new(&target, &preferences);
            let arrival = if is_whole {
                chain.connect_through(request).await
            } else {
                chain.connect_plain(request).await
            };
            assert_eq!(arrival.unwrap().is_at_hop, !is_whole);
            let mut seen = String::new();
            listener.accept().await.unwrap().0.read_to_string(&mut seen).await.unwrap();
            assert_eq!(seen, expected);
        }
    }

    #[test]
    fn an_entrance_is_called_what_it_is() {
        let links = [link("a", "a.example:1".parse().unwrap(), false)];
        let shown = |link, protocol| {
            let stage = Stage::new(link, None, Step::Enter, "b.example:2".parse().unwrap());
            Stage { protocol, ..stage }.to_string()
        };
        assert_eq!(shown(links.first(), None), "the handshake with hop `a` at `b.example:2`");
        assert_eq!(
            shown(links.first(), Some("TLS")),
            "the TLS handshake with hop `a` at `b.example:2`"
        );
        assert_eq!(shown(None, Some("TLS")), "the TLS handshake with the target `b.example:2`");
    }

    #[tokio::test]
    async fn a_silent_hop_ends_at_its_timeout_and_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let timeouts = StepTimeouts { handshake: Duration::from_millis(20), ..TIMEOUTS };
        let links = vec![link("corporate", listener.local_addr().unwrap().into(), true)];
        let chain = Chain::new("default".into(), links, timeouts, Dialer::default());
        let target = "target.example:443".parse().unwrap();
        let error =
            chain.connect(Request::new(&target, &Preferences::default())).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Timeout(_)));
        assert_eq!(
            error.to_string(),
            "chain `default` failed at hop `corporate`, asked for `target.example:443`"
        );
    }
}
