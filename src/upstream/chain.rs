//! Hops in their order of travel, and the one way through them.

mod attempt;
mod counted;
mod error;
mod failed_members;
mod journey;
mod last_hop;
mod passage;
mod spares;
mod trace;
mod travel;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use mooltiroute_hops::{Authority, Eventual, Field, Hop, Request, Reuse, Tunnel};

use self::{attempt::FailedAttempt, travel::Arrived};
pub(crate) use self::{
    counted::ChainAccounts,
    error::{Cause, ChainError, DirectHop, Stage, Step},
    failed_members::{FailedMember, FailedMembers, MemberFailure},
    last_hop::{LastHop, REFUSING_MEMBER},
    passage::{Passage, TakenHop},
    spares::ChainSpares,
    trace::Trace,
    travel::{Destination, LastAnswer, PlainOutcome, Unproved},
};
use crate::{
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
    /// Whether a hop may have to ask before it can choose.
    has_askers: bool,
    /// The names of the hops that the configuration lists too, and that are switched off.
    switched_off: Arc<[Arc<str>]>,
    advise: Option<Advise>,
}

/// Returns what an operator can do about a failure, for the log. The words belong to the answers of clients, above this
/// module.
pub(crate) type Advise = fn(&ChainError) -> String;

/// A hop of a chain, with its name.
#[derive(Clone, Debug)]
pub(crate) struct ChainHop {
    /// The key below `hops:`.
    pub name: Arc<str>,
    /// The hop itself, shared by all chains that hold it.
    pub hop: Arc<dyn Hop>,
    /// The words that name its URL, if it comes from the command line.
    pub url: Option<Arc<str>>,
    /// Whether it has given any answer in its own protocol. Only known of a hop that chooses no other one.
    pub has_answered: Arc<AtomicBool>,
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
            has_askers: hops.iter().any(|hop| hop.hop.asker().is_some()),
            hops,
            switched_off: Arc::default(),
            advise: None,
        }
    }

    /// Adds the advice of `advise` to what is logged about failed hops.
    #[must_use]
    pub(crate) fn advised_by(mut self, advise: Option<Advise>) -> Self {
        self.advise = advise;
        self
    }

    /// Notes the hops that are missing since they are switched off, for errors.
    #[must_use]
    pub(crate) fn without(mut self, switched_off: Vec<Arc<str>>) -> Self {
        self.switched_off = switched_off.into();
        self
    }

    /// Returns the names of the hops that are switched off.
    pub(crate) fn switched_off(&self) -> &[Arc<str>] {
        &self.switched_off
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

    /// Returns the age from which a tunnel ends at its first quiet second, if there is one.
    pub(crate) fn rotate_after(&self) -> Option<Duration> {
        self.rotate_after
    }

    /// Returns the accounts of the chain and its hops.
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

    /// Returns whether a spare made for one request serves another. It does not if a hop before the last one may treat
    /// clients differently, or if a hop chooses by the target, and may leave itself out.
    pub(crate) fn can_be_warm(hops: &[ChainHop]) -> bool {
        if hops.iter().any(|hop| hop.hop.decider().is_some()) {
            return false;
        }
        let before = hops.split_last().map(|(_, before)| before);
        before.is_some_and(|before| before.iter().all(|hop| !hop.hop.describe().takes_preferences))
    }

    /// Returns the name of the chain.
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

    /// Returns the counts of its traffic.
    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// Returns the hops in their order of travel.
    pub(crate) fn hops(&self) -> &[ChainHop] {
        &self.hops
    }

    /// Returns whether its hops are URLs of the command line.
    pub(crate) fn is_of_urls(&self) -> bool {
        self.hops.iter().any(|hop| hop.url.is_some())
    }

    /// Returns the names of the hops that chose a member for `passage`, and those of the hops that they chose to go through.
    pub(crate) fn hops_with_choice<'a>(
        &'a self,
        passage: &'a Passage,
    ) -> impl Iterator<Item = &'a Arc<str>> {
        let taken = passage.taken.iter().flat_map(|taken| taken.iter());
        let chosen = taken.filter(|taken| taken.member.is_some());
        chosen.flat_map(|taken| {
            let named = self.hops.get(taken.position).map(|hop| &hop.name);
            named.into_iter().chain(taken.through.iter())
        })
    }

    /// Returns whether clients may state their preferences to one of the hops.
    pub(crate) fn takes_preferences(&self) -> bool {
        self.takes_preferences
    }

    /// Returns whether clients have to name a session to one of the hops.
    pub(crate) fn requires_session(&self) -> bool {
        self.requires_session
    }

    /// Returns whether [`prepare`](Self::prepare) may have to wait.
    pub(crate) fn has_askers(&self) -> bool {
        self.has_askers
    }

    /// Waits until the documents that hops choose by have come, or can't be had.
    pub(crate) fn prepare(&self) -> Eventual<'static, ()> {
        if !self.has_askers {
            return Eventual::Ready(());
        }
        // All are asked for at once.
        let askers = self.hops.iter().filter_map(|hop| hop.hop.asker());
        let pending = askers.filter_map(|asker| match asker.prepare() {
            Eventual::Ready(()) => None,
            Eventual::Pending(wait) => Some(wait),
        });
        let pending: Vec<_> = pending.collect();
        if pending.is_empty() {
            return Eventual::Ready(());
        }
        Eventual::later(async {
            for wait in pending {
                wait.await;
            }
        })
    }

    /// Returns whether each hop that chooses by the request would repeat, for `request`, the choice that it made for
    /// `passage`.
    pub(crate) async fn agrees(&self, request: &Request<'_>, passage: &Passage) -> bool {
        if !self.has_deciders {
            return true;
        }
        for (position, hop) in self.hops.iter().enumerate() {
            let Some(decider) = hop.hop.decider() else { continue };
            let member = passage.taken_at(position).filter(|taken| taken.address.is_some());
            let member = member.and_then(|taken| taken.member.as_deref());
            if !decider.agrees(*request, member).wait().await {
                return false;
            }
        }
        true
    }

    /// Describes a failed TLS handshake with the target, which the user of the tunnel makes at its end.
    pub(crate) fn target_failed(&self, target: &Authority, cause: Cause) -> ChainError {
        self.error(Stage::at_target(target), cause)
    }

    fn error(&self, stage: Stage, cause: Cause) -> ChainError {
        ChainError {
            chain: Arc::clone(&self.name),
            stage: Box::new(stage),
            cause,
            attempts: 0,
            refused: Vec::new(),
            failed_members: None,
            switched_off: Arc::clone(&self.switched_off),
            direct_hops: Vec::new(),
            taken: None,
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mooltiroute_hops::{HopError, Link, PlainRequest, Preferences, RequestLine, async_trait};
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
        ChainHop {
            name: name.into(),
            hop: Arc::new(Note { address, silent }),
            url: None,
            has_answered: Arc::default(),
        }
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
                chain.travel(&request, Destination::Target, &()).await
            } else {
                let plain = PlainRequest::new(LINE, &target);
                chain.travel(&request, Destination::Forwarder(plain), &()).await
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
            .travel(&Request::new(&target, &Preferences::default()), Destination::Target, &())
            .await
            .unwrap_err();
        assert!(matches!(error.cause, Cause::Timeout(..)));
        assert_eq!(
            error.to_string(),
            "chain `default` failed at hop `corporate`, asked for `target.example:443`"
        );
    }
}
