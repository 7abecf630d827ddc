//! The addresses that a PAC file has asked for.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _, UdpSocket},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, SystemTime},
};

use mooltiroute_pac::Surroundings;
use tokio::{sync::OnceCell, time::Instant};

use crate::{
    Host, Services,
    kinds::blocking::{BlockingCalls, CallError},
};

/// The addresses of names, for a short time.
#[derive(Debug)]
pub(super) struct Names {
    known: Mutex<KnownNames>,
    /// Each look-up holds a thread until the system ends it, so their number is limited.
    calls: BlockingCalls,
}

/// The names that were looked up in the present network.
#[derive(Debug, Default)]
struct KnownNames {
    by_name: HashMap<String, KnownAddresses>,
    /// The look-ups that are under way.
    pending: HashMap<String, Weak<LookUp>>,
    /// The number of the network. It grows with each change.
    network: u64,
}

/// One look-up, for all calls that need the name at this time. It has the number of the network in which it began, and the
/// addresses.
type LookUp = OnceCell<(u64, Vec<IpAddr>)>;

#[derive(Clone, Debug)]
struct KnownAddresses {
    addresses: Vec<IpAddr>,
    until: Instant,
}

impl Default for Names {
    fn default() -> Self {
        let calls = BlockingCalls::new("pac-names", LOOKUPS_AT_ONCE, LOOKUP_MAX);
        Self { known: Mutex::default(), calls }
    }
}

impl Names {
    /// Returns the addresses of `name`, or `None` if it was not looked up lately.
    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        let known = self.known();
        let found = known.by_name.get(name).filter(|known| known.until > Instant::now())?;
        Some(found.addresses.clone())
    }

    /// Looks up `name` with the system's resolver, as a dial does. Without an answer within [`LOOKUP_MAX`], the name
    /// counts as one without an address.
    ///
    /// Calls that need one name at the same time share a look-up: a script may ask for the same name for every host, and a
    /// name server that says nothing would soon have all threads wait for it.
    ///
    /// Returns the addresses, and the number of the network in which the look-up began. If the network has changed since
    /// then, the addresses are not kept.
    async fn look_up(&self, name: &str) -> (u64, Vec<IpAddr>) {
        let look_up = self.known().pending(name);
        // The first call looks the name up. If its client leaves, the next one that waits takes over.
        look_up.get_or_init(|| self.look_up_now(name)).await.clone()
    }

    async fn look_up_now(&self, name: &str) -> (u64, Vec<IpAddr>) {
        let network = self.known().network;
        let (addresses, keep) = match self.found(name).await {
            Ok(addresses) => (addresses, KEEP),
            Err(_) => (Vec::new(), KEEP_SILENCE),
        };
        let mut known = self.known();
        if known.network == network {
            known.pending.remove(name);
            if known.by_name.len() >= NAMES_MAX {
                known.by_name.clear();
            }
            let (addresses, until) = (addresses.clone(), Instant::now() + keep);
            known.by_name.insert(name.to_owned(), KnownAddresses { addresses, until });
        }
        (network, addresses)
    }

    async fn found(&self, name: &str) -> Result<Vec<IpAddr>, CallError> {
        // A script may ask for anything, and only names reach a resolver.
        let Ok(Host::Name(name)) = name.parse() else { return Ok(Vec::new()) };
        let look_up = move || {
            let addresses = (&*name, 0).to_socket_addrs().into_iter().flatten();
            let mut addresses: Vec<_> =
                addresses.map(|address| address.ip().to_canonical()).collect();
            addresses.dedup();
            addresses
        };
        self.calls.run(look_up).await
    }

    /// Forgets all names after a change of the network. Look-ups that are under way are not kept either.
    pub(super) fn clear(&self) {
        let mut known = self.known();
        known.by_name.clear();
        known.pending.clear();
        known.network += 1;
    }

    fn known(&self) -> MutexGuard<'_, KnownNames> {
        // Nothing in here panics half-way.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KnownNames {
    /// Returns the look-up of `name` that is under way, or another one that has not begun.
    fn pending(&mut self, name: &str) -> Arc<LookUp> {
        if let Some(pending) = self.pending.get(name).and_then(Weak::upgrade) {
            return pending;
        }
        // Those whose clients have all left are gone.
        self.pending.retain(|_, pending| pending.strong_count() > 0);
        let pending = Arc::<LookUp>::default();
        self.pending.insert(name.to_owned(), Arc::downgrade(&pending));
        pending
    }
}

/// The facts that a script may ask for, without waiting, while it decides about one request.
#[derive(Debug)]
pub(super) struct PacFacts {
    names: Arc<Names>,
    /// The names that were looked up for this request, each with the number of the network. They don't expire before the
    /// script has decided. One in `names` may expire while a slow name server is asked for the next one, so that the
    /// script would have them looked up in turns without end.
    own: Mutex<HashMap<String, (u64, Vec<IpAddr>)>>,
    services: Option<Arc<dyn Services>>,
}

impl PacFacts {
    pub(super) fn new(names: Arc<Names>, services: Option<Arc<dyn Services>>) -> Self {
        Self { names, own: Mutex::default(), services }
    }

    /// Looks up `name` for the next calls of the script. The caller limits how many.
    pub(super) async fn look_up(&self, name: String) {
        let found = self.names.look_up(&name).await;
        self.own().insert(name, found);
    }

    fn own(&self) -> MutexGuard<'_, HashMap<String, (u64, Vec<IpAddr>)>> {
        // Nothing in here panics half-way.
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Surroundings for PacFacts {
    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        // A script may ask for anything, also for texts of megabytes. One that is not a name has no address, and is
        // neither looked up nor kept.
        if !matches!(name.parse(), Ok(Host::Name(_))) {
            return Some(Vec::new());
        }
        let network = self.names.known().network;
        let own = self.own().get(name).filter(|(of, _)| *of == network).cloned();
        own.map(|(_, addresses)| addresses).or_else(|| self.names.addresses(name))
    }

    fn own_addresses(&self) -> Vec<IpAddr> {
        let routes: [SocketAddr; 2] = [FAR_IPV4.into(), FAR_IPV6.into()];
        routes.into_iter().filter_map(own_address).collect()
    }

    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn alert(&self, text: &str) {
        if let Some(services) = &self.services {
            services.said(text);
        }
    }
}

/// Returns the address of this machine that datagrams to `far` would have. Sends nothing.
fn own_address(far: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match far {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(far).ok()?;
    let own = socket.local_addr().ok()?.ip();
    (!own.is_loopback() && !own.is_unspecified()).then_some(own)
}

/// Addresses for documentation, which the default route leads to.
const FAR_IPV4: ([u8; 4], u16) = ([192, 0, 2, 1], 53);
const FAR_IPV6: ([u16; 8], u16) = ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 53);
/// How long a script waits for a name.
const LOOKUP_MAX: Duration = Duration::from_secs(2);
/// The threads that may wait for name servers. One page names some dozens of hosts.
const LOOKUPS_AT_ONCE: usize = 32;
/// How long an address counts.
const KEEP: Duration = Duration::from_secs(60);
/// How long a look-up without an answer is remembered.
const KEEP_SILENCE: Duration = Duration::from_secs(5);
/// The names that are kept.
const NAMES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_name_is_known_after_its_look_up_and_until_it_is_forgotten() {
        let names = Names::default();
        assert_eq!(names.addresses("localhost"), None);
        names.look_up("localhost").await;
        let addresses = names.addresses("localhost").unwrap();
        assert!(!addresses.is_empty() && addresses.iter().all(IpAddr::is_loopback));
        names.clear();
        assert_eq!(names.addresses("localhost"), None);
    }

    #[tokio::test]
    async fn a_text_that_is_no_name_has_no_address_and_reaches_no_resolver() {
        let names = Names { calls: BlockingCalls::new("test", 0, LOOKUP_MAX), ..Names::default() };
        for text in ["", "a b", "-", "1.2.3", "http://a/"] {
            names.look_up(text).await;
            assert_eq!(names.addresses(text), Some(Vec::new()), "{text}");
        }
        let facts = PacFacts::new(Arc::default(), None);
        for text in ["", "a b", "1.2.3", &"x".repeat(64), &"x.".repeat(1 << 20)] {
            assert_eq!(facts.addresses(text), Some(Vec::new()), "no look-up is called for");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_up_that_began_in_another_network_is_not_kept() {
        let calls = BlockingCalls::new("test", 0, LOOKUP_MAX);
        let names = Arc::new(Names { calls, ..Names::default() });
        let facts = PacFacts::new(Arc::clone(&names), None);
        let change = async { names.clear() };
        tokio::join!(facts.look_up("a.test".into()), change);
        assert_eq!((names.addresses("a.test"), facts.addresses("a.test")), (None, None));
        facts.look_up("a.test".into()).await;
        assert_eq!(names.addresses("a.test"), Some(Vec::new()));
    }

    #[tokio::test]
    async fn calls_that_need_one_name_share_its_look_up() {
        // With one thread, look-ups of their own would come one after the other.
        let calls = BlockingCalls::new("test", 1, LOOKUP_MAX);
        let names = Names { calls, ..Names::default() };
        let first = names.known().pending("a.test");
        let mut shared = std::pin::pin!(names.look_up("a.test"));
        // Another call looks it up, and leaves.
        let left = first.get_or_init(std::future::pending::<(u64, Vec<IpAddr>)>);
        assert!(timeout(Duration::ZERO, left).await.is_err());
        let other = first.get_or_init(async || (0, vec![[192, 0, 2, 7].into()]));
        let (other, shared) = tokio::join!(other, &mut shared);
        assert_eq!(other, &shared);
        drop(first);
        // A look-up that ended is not joined any more.
        let again = names.look_up("localhost").await;
        assert!(again.1.iter().all(IpAddr::is_loopback) && names.known().pending.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_keeps_the_names_that_were_looked_up_for_it() {
        let calls = BlockingCalls::new("test", 0, LOOKUP_MAX);
        let names = Arc::new(Names { calls, ..Names::default() });
        let facts = PacFacts::new(Arc::clone(&names), None);
        for name in ["a.test", "b.test", "c.test", "d.test"] {
            facts.look_up(name.into()).await;
        }
        assert_eq!(names.addresses("a.test"), None, "a silence is kept for less than four of them");
        assert_eq!(facts.addresses("a.test"), Some(Vec::new()));
        names.clear();
        assert_eq!(facts.addresses("a.test"), None, "the network has changed");
    }
}
