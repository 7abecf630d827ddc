//! One connection's way through a chain, with the detours that are allowed before its client was told anything.

use std::sync::Arc;

use mooltiroute_hops::{Authority, Hop, HopError, Request, Reuse};

use super::{Cause, Chain, ChainError, Stage, Step};
use crate::upstream::warm::Path;

/// The hops that one connection takes, and where each is to be reached.
pub(super) struct Journey<'a> {
    chain: &'a Chain,
    legs: Vec<Leg>,
}

/// One hop of a journey, as chosen for its request.
pub(super) struct Leg {
    pub(super) hop: Arc<dyn Hop>,
    /// The one of its addresses that is tried.
    pub(super) address: Authority,
    /// Those that the hop before refused to connect to.
    refused: Vec<Authority>,
}

impl<'a> Journey<'a> {
    /// Has each hop choose who serves `request`.
    pub(super) fn new(chain: &'a Chain, request: Request<'_>) -> Result<Self, ChainError> {
        let mut legs = Vec::with_capacity(chain.links.len());
        for (position, link) in chain.links.iter().enumerate() {
            let hop = match link.hop.choose(&request) {
                Ok(chosen) => chosen.unwrap_or_else(|| Arc::clone(&link.hop)),
                Err(invalid) => {
                    let stop = request.target.clone();
                    let stage = Stage::new(Some(link), None, Step::Choose, stop);
                    return Err(chain.error(stage, invalid.into()));
                }
            };
            legs.push(chain.leg(position, hop));
        }
        Ok(Self { chain, legs })
    }

    pub(super) fn legs(&self) -> &[Leg] {
        &self.legs
    }

    /// A connection that is to be used once at one of its hops is used once.
    pub(super) fn reuse(&self) -> Reuse {
        let is_once = self.legs.iter().any(|leg| leg.hop.reuse() == Reuse::Never);
        if is_once { Reuse::Never } else { Reuse::SameClient }
    }

    /// The last hop, when the journey has come to its end.
    pub(super) fn arrive(self) -> Option<Arc<dyn Hop>> {
        for (position, leg) in self.legs.iter().enumerate() {
            leg.hop.reached();
            if !leg.refused.is_empty() {
                self.chain.remember(position, Some(leg.address.clone()));
            }
        }
        self.legs.into_iter().last().map(|leg| leg.hop)
    }

    /// Looks for another way after `error`, which the hop at `position` met; gives the error back where there is none.
    pub(super) fn detour(
        &mut self,
        position: usize,
        mut error: ChainError,
    ) -> Result<(), ChainError> {
        let next = position + 1;
        if let (Step::Extend, Cause::Hop(HopError::Refused(refusal)), Some(leg)) =
            (error.stage.step, &error.cause, self.legs.get_mut(next))
            && refusal.is_by_policy()
        {
            leg.refused.push(leg.address.clone());
            self.chain.remember(next, None);
            let mut addresses = addresses(&*leg.hop);
            if let Some(other) = addresses.find(|address| !leg.refused.contains(address)) {
                leg.address = other.clone();
                return Ok(());
            }
            error.refused.clone_from(&leg.refused);
        }
        let Some(at_fault) = self.at_fault(position, &error) else {
            self.legs.iter().for_each(|leg| leg.hop.reached());
            return Err(error);
        };
        self.legs.iter().take(at_fault).for_each(|leg| leg.hop.reached());
        self.chain.remember(at_fault, None);
        match self.legs.get(at_fault).and_then(|leg| leg.hop.instead()) {
            Some(other) => {
                self.legs[at_fault] = self.chain.leg(at_fault, other);
                Ok(())
            }
            None => Err(error),
        }
    }

    /// Which hop did not do its part; `None` where it is the target that can't be reached.
    fn at_fault(&self, position: usize, error: &ChainError) -> Option<usize> {
        let is_about_next = error.stage.step == Step::Extend
            && matches!(&error.cause, Cause::Hop(HopError::Refused(refusal)) if refusal.is_about_next());
        let at_fault = if is_about_next { position + 1 } else { position };
        (at_fault < self.legs.len()).then_some(at_fault)
    }
}

impl Chain {
    /// The way to `hop`, beginning with the address that served last.
    fn leg(&self, position: usize, hop: Arc<dyn Hop>) -> Leg {
        let remembered = self.remembered.get(position).and_then(|slot| slot.load_full());
        let known = remembered.filter(|known| addresses(&*hop).any(|address| *address == **known));
        let address = known.map_or_else(|| hop.address().clone(), |known| (*known).clone());
        Leg { hop, address, refused: Vec::new() }
    }

    fn remember(&self, position: usize, address: Option<Authority>) {
        if let Some(slot) = self.remembered.get(position) {
            slot.store(address.map(Arc::new));
        }
    }
}

/// The way that a spare tunnel for a journey must have come.
pub(super) fn path(legs: &[Leg]) -> Path {
    legs.iter().map(|leg| (leg.address.clone(), leg.hop.member())).collect()
}

fn addresses(hop: &dyn Hop) -> impl Iterator<Item = &Authority> {
    std::iter::once(hop.address()).chain(hop.alternatives())
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Mutex,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use mooltiroute_hops::{InvalidPreferences, Preferences, Refusal, Tunnel, async_trait};
    use tokio::net::TcpListener;

    use super::*;
    use crate::upstream::{
        chain::{Link, StepTimeouts},
        dial::Dialer,
    };

    /// Refuses with this status whatever has another port than `allowed`, and notes what it was asked for.
    #[derive(Debug)]
    struct Strict {
        address: Authority,
        allowed: u16,
        status: u16,
        asked: Mutex<Vec<u16>>,
    }

    #[async_trait]
    impl Hop for Strict {
        fn address(&self) -> &Authority {
            &self.address
        }

        async fn extend(&self, tunnel: Tunnel, next: &Authority) -> Result<Tunnel, HopError> {
            self.asked.lock().unwrap().push(next.port());
            if next.port() == self.allowed {
                return Ok(tunnel);
            }
            Err(Refusal::new(self.status, b"No", std::iter::empty()).into())
        }
    }

    /// A hop at several ports, which reaches everything.
    #[derive(Debug)]
    struct Wide(Vec<Authority>);

    #[async_trait]
    impl Hop for Wide {
        fn address(&self) -> &Authority {
            &self.0[0]
        }

        fn alternatives(&self) -> &[Authority] {
            &self.0[1..]
        }

        async fn extend(&self, tunnel: Tunnel, _: &Authority) -> Result<Tunnel, HopError> {
            Ok(tunnel)
        }
    }

    async fn chain(allowed: u16, status: u16) -> (Chain, Arc<Strict>, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().into();
        let strict = Arc::new(Strict { address, allowed, status, asked: Mutex::default() });
        let ports = [80, 3128, 443].map(|port| format!("exit.example:{port}").parse().unwrap());
        let links = vec![
            Link { name: "corporate".into(), hop: Arc::clone(&strict) as Arc<dyn Hop> },
            Link { name: "exit".into(), hop: Arc::new(Wide(ports.into())) },
        ];
        (Chain::new("default".into(), links, TIMEOUTS, Dialer::default()), strict, listener)
    }

    async fn connect(chain: &Chain) -> Result<Tunnel, ChainError> {
        let (target, preferences) = ("target.example:443".parse().unwrap(), Preferences::default());
        chain.connect(Request::new(&target, &preferences)).await
    }

    const TIMEOUTS: StepTimeouts =
        StepTimeouts { connect: Duration::from_secs(5), handshake: Duration::from_secs(5) };

    #[tokio::test]
    async fn ports_are_tried_in_turn_and_the_one_that_works_is_remembered() {
        let (chain, strict, listener) = chain(3128, 403).await;
        connect(&chain).await.unwrap();
        assert_eq!(*strict.asked.lock().unwrap(), [80, 3128]);
        connect(&chain).await.unwrap();
        assert_eq!(*strict.asked.lock().unwrap(), [80, 3128, 3128]);
        for _ in 0..3 {
            listener.accept().await.unwrap();
        }
    }

    #[tokio::test]
    async fn where_all_ports_are_refused_the_error_names_them() {
        let (chain, strict, _listener) = chain(1, 405).await;
        let error = connect(&chain).await.unwrap_err();
        let ports: Vec<_> = error.refused.iter().map(Authority::port).collect();
        assert_eq!(ports, [80, 3128, 443]);
        assert_eq!(*strict.asked.lock().unwrap(), [80, 3128, 443]);
    }

    #[tokio::test]
    async fn another_answer_than_a_refusal_by_policy_tries_no_other_port() {
        for status in [407, 429, 502] {
            let (chain, strict, _listener) = chain(1, status).await;
            assert!(connect(&chain).await.unwrap_err().refused.is_empty());
            assert_eq!(*strict.asked.lock().unwrap(), [80], "{status}");
        }
    }

    #[tokio::test]
    async fn a_remembered_port_that_fails_is_forgotten() {
        let (chain, _strict, _listener) = chain(3128, 403).await;
        connect(&chain).await.unwrap();
        assert!(chain.remembered[1].load().is_some());
        let stop = chain.remembered[1].load_full().unwrap();
        let mut journey = Journey::new(
            &chain,
            Request::new(&"target.example:443".parse().unwrap(), &Preferences::default()),
        )
        .unwrap();
        assert_eq!(journey.legs()[1].address, *stop);
        let stage = Stage::new(chain.links.get(1), None, Step::Extend, (*stop).clone());
        journey.detour(1, chain.error(stage, HopError::Closed.into())).unwrap_err();
        assert!(chain.remembered[1].load().is_none());
    }

    /// A hop with others in its place; each counts how it went.
    #[derive(Debug)]
    struct Spare {
        address: Authority,
        next: Option<Arc<Self>>,
        reached: AtomicUsize,
    }

    #[async_trait]
    impl Hop for Spare {
        fn address(&self) -> &Authority {
            &self.address
        }

        async fn extend(&self, tunnel: Tunnel, _: &Authority) -> Result<Tunnel, HopError> {
            Ok(tunnel)
        }

        fn choose(
            &self,
            request: &Request<'_>,
        ) -> Result<Option<Arc<dyn Hop>>, InvalidPreferences> {
            match request.preferences.country {
                Some(_) => Err(InvalidPreferences::NoCountry),
                None => Ok(None),
            }
        }

        fn reached(&self) {
            self.reached.fetch_add(1, Ordering::Relaxed);
        }

        fn instead(&self) -> Option<Arc<dyn Hop>> {
            self.next.clone().map(|next| next as Arc<dyn Hop>)
        }
    }

    #[tokio::test]
    async fn a_hop_that_can_not_be_reached_gives_way_to_the_one_in_its_place() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let spare = |address, next| Arc::new(Spare { address, next, reached: AtomicUsize::new(0) });
        let second = spare(listener.local_addr().unwrap().into(), None);
        let first = spare(refusing.into(), Some(Arc::clone(&second)));
        let link = Link { name: "pool".into(), hop: Arc::clone(&first) as Arc<dyn Hop> };
        let chain = Chain::new("default".into(), vec![link], TIMEOUTS, Dialer::default());
        connect(&chain).await.unwrap();
        let counts = [&first, &second].map(|hop| hop.reached.load(Ordering::Relaxed));
        assert_eq!(counts, [0, 1]);
        drop(listener);
        assert!(matches!(connect(&chain).await.unwrap_err().cause, Cause::Dial(_)));
        let preferences = "country-us".parse().unwrap();
        let target = "target.example:443".parse().unwrap();
        let error = chain.connect(Request::new(&target, &preferences)).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "chain `default` failed at hop `pool`, told what the client prefers"
        );
    }
}
