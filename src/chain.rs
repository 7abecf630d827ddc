//! Hops in their order of travel, and the one way through them.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use mooltiroute_hops::{Authority, Forwarding, Hop, HopError, Refusal, Tunnel};
use thiserror::Error;
use tokio::time::{self, Instant};

use crate::{
    dial::{DialError, Dialer},
    metrics::Meter,
};

/// Hops in their order of travel. Without any, the way is direct.
#[derive(Debug)]
pub struct Chain {
    name: Arc<str>,
    links: Vec<Link>,
    timeouts: StepTimeouts,
    dialer: Dialer,
    meter: Arc<Meter>,
}

/// A hop, and what the configuration calls it.
#[derive(Clone, Debug)]
pub struct Link {
    /// The key below `hops:`.
    pub name: Arc<str>,
    /// The hop itself, shared by all chains that hold it.
    pub hop: Arc<dyn Hop>,
}

/// How long each step may take.
#[derive(Clone, Copy, Debug)]
pub struct StepTimeouts {
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
    pub stage: Stage,
    /// What happened.
    #[source]
    pub cause: Cause,
}

/// One step on the way.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The hop that was dialled, entered or asked; `None`: the target itself was dialled.
    pub hop: Option<Arc<str>>,
    /// What was done.
    pub step: Step,
    /// Where it was to lead to.
    pub stop: Authority,
}

/// What is done at a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
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
    /// The step took longer than this.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

impl Chain {
    /// Puts hops in a row.
    pub fn new(name: Arc<str>, links: Vec<Link>, timeouts: StepTimeouts, dialer: Dialer) -> Self {
        Self { name, links, timeouts, dialer, meter: Arc::default() }
    }

    /// The same, counted by `meter`.
    #[must_use]
    pub fn metered(self, meter: Arc<Meter>) -> Self {
        Self { meter, ..self }
    }

    /// What the configuration calls this chain.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What counts its traffic.
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// The hops in their order of travel.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// How the last hop takes plain requests itself, if it does.
    pub fn forwarding(&self) -> Option<&Forwarding> {
        self.links.last()?.hop.forwarding()
    }

    /// Opens a tunnel to `target`, through every hop.
    ///
    /// # Errors
    /// The first step that failed. Nothing is tried another way.
    pub async fn connect(&self, target: &Authority) -> Result<Tunnel, ChainError> {
        self.travel(Some(target), target).await
    }

    /// Opens a tunnel that reaches the last hop, for a plain request that goes to `target`.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_to_last(&self, target: &Authority) -> Result<Tunnel, ChainError> {
        self.travel(None, target).await
    }

    async fn travel(
        &self,
        end: Option<&Authority>,
        target: &Authority,
    ) -> Result<Tunnel, ChainError> {
        let first = self.links.first();
        let stop = first.map_or(target, |link| link.hop.address());
        let StepTimeouts { connect, handshake } = self.timeouts;
        let dialled =
            self.step(first, Step::Dial, stop, connect, self.dialer.connect(stop)).await?;
        let mut tunnel = Tunnel::socket(dialled);
        for (position, link) in self.links.iter().enumerate() {
            let Link { hop, .. } = link;
            tunnel = self
                .step(Some(link), Step::Enter, hop.address(), connect, hop.enter(tunnel))
                .await?;
            let next = self.links.get(position + 1).map(|next| next.hop.address()).or(end);
            if let Some(next) = next {
                let asked = Instant::now();
                tunnel = self
                    .step(Some(link), Step::Extend, next, handshake, hop.extend(tunnel, next))
                    .await?;
                self.meter.agreed(position, asked.elapsed());
            }
        }
        Ok(tunnel)
    }

    async fn step<T, E: Into<Cause>>(
        &self,
        link: Option<&Link>,
        step: Step,
        stop: &Authority,
        timeout: Duration,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, ChainError> {
        let cause = match time::timeout(timeout, work).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => error.into(),
            Err(_) => Cause::Timeout(timeout),
        };
        Err(self.failed(link, step, stop, cause))
    }

    /// The error of the last hop, which a plain request to `target` got `refusal` from.
    pub fn refused(&self, target: &Authority, refusal: Refusal) -> ChainError {
        self.failed(self.links.last(), Step::Extend, target, HopError::from(refusal).into())
    }

    fn failed(
        &self,
        link: Option<&Link>,
        step: Step,
        stop: &Authority,
        mut cause: Cause,
    ) -> ChainError {
        if let (Some(link), Cause::Hop(HopError::Refused(refusal))) = (link, &mut cause) {
            link.hop.explain(refusal);
        }
        let stage =
            Stage { hop: link.map(|link| Arc::clone(&link.name)), step, stop: stop.clone() };
        ChainError { chain: Arc::clone(&self.name), stage, cause }
    }
}

impl Step {
    /// A word for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dial => "dial",
            Self::Enter => "enter",
            Self::Extend => "extend",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hop, step, stop } = self;
        match (hop, step) {
            (None, _) => write!(f, "the connection to the target `{stop}`"),
            (Some(hop), Step::Dial) => write!(f, "the connection to hop `{hop}` at `{stop}`"),
            (Some(hop), Step::Enter) => write!(f, "the TLS handshake with hop `{hop}` at `{stop}`"),
            (Some(hop), Step::Extend) => write!(f, "hop `{hop}`, asked for `{stop}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mooltiroute_hops::async_trait;
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
    }

    fn link(name: &str, address: Authority, silent: bool) -> Link {
        Link { name: name.into(), hop: Arc::new(Note { address, silent }) }
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
            let tunnel = if is_whole {
                chain.connect(&target).await
            } else {
                chain.connect_to_last(&target).await
            };
            drop(tunnel.unwrap());
            let mut seen = String::new();
            listener.accept().await.unwrap().0.read_to_string(&mut seen).await.unwrap();
            assert_eq!(seen, expected);
        }
    }

    #[tokio::test]
    async fn a_silent_hop_ends_at_its_timeout_and_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let timeouts = StepTimeouts { handshake: Duration::from_millis(20), ..TIMEOUTS };
        let links = vec![link("corporate", listener.local_addr().unwrap().into(), true)];
        let chain = Chain::new("default".into(), links, timeouts, Dialer::default());
        let error = chain.connect(&"target.example:443".parse().unwrap()).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Timeout(_)));
        assert_eq!(
            error.to_string(),
            "chain `default` failed at hop `corporate`, asked for `target.example:443`"
        );
    }
}
