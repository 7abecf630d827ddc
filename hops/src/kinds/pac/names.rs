//! The addresses that a PAC file has asked for.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _, UdpSocket},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use mooltiroute_pac::Surroundings;
use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{Instant, timeout},
};

use crate::{Host, Services};

/// The addresses of names, for a short time.
#[derive(Debug)]
pub(super) struct Names {
    known: Mutex<HashMap<String, Known>>,
    /// Each look-up holds a thread until the system ends it, so there may be a few only.
    places: Arc<Semaphore>,
}

#[derive(Clone, Debug)]
struct Known {
    addresses: Vec<IpAddr>,
    until: Instant,
}

impl Default for Names {
    fn default() -> Self {
        Self { known: Mutex::default(), places: Arc::new(Semaphore::new(LOOKUPS_AT_ONCE)) }
    }
}

impl Names {
    /// Returns the addresses of `name`, or `None` if it was not looked up lately.
    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        let known = self.known();
        let found = known.get(name).filter(|known| known.until > Instant::now())?;
        Some(found.addresses.clone())
    }

    /// Looks up `name` with the system's resolver, as a dial does. Without an answer within [`LOOKUP_MAX`], the name
    /// counts as one without an address.
    pub(super) async fn look_up(&self, name: &str) {
        let found = timeout(LOOKUP_MAX, self.found(name)).await;
        let (addresses, keep) = match found {
            Ok(addresses) => (addresses, KEEP),
            Err(_) => (Vec::new(), KEEP_SILENCE),
        };
        let mut known = self.known();
        if known.len() >= NAMES_MAX {
            known.clear();
        }
        known.insert(name.to_owned(), Known { addresses, until: Instant::now() + keep });
    }

    async fn found(&self, name: &str) -> Vec<IpAddr> {
        // A script may ask for anything, and only names reach a resolver.
        let Ok(Host::Name(name)) = name.parse() else { return Vec::new() };
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return Vec::new() };
        let look_up = move || {
            let found = (&*name, 0).to_socket_addrs();
            drop(place);
            let addresses = found.into_iter().flatten();
            let mut addresses: Vec<_> =
                addresses.map(|address| address.ip().to_canonical()).collect();
            addresses.dedup();
            addresses
        };
        spawn_blocking(look_up).await.unwrap_or_default()
    }

    /// Forgets all names.
    pub(super) fn clear(&self) {
        self.known().clear();
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The facts that a script may ask for, without waiting.
#[derive(Debug)]
pub(super) struct PacFacts {
    pub(super) names: Arc<Names>,
    pub(super) services: Option<Arc<dyn Services>>,
}

impl Surroundings for PacFacts {
    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        self.names.addresses(name)
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
/// The threads that may wait for name servers.
const LOOKUPS_AT_ONCE: usize = 8;
/// How long an address counts.
const KEEP: Duration = Duration::from_secs(60);
/// How long a look-up without an answer is remembered.
const KEEP_SILENCE: Duration = Duration::from_secs(5);
/// The names that are kept.
const NAMES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
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
        let names = Names { places: Arc::new(Semaphore::new(0)), ..Names::default() };
        for text in ["", "a b", "-", "1.2.3", "http://a/"] {
            names.look_up(text).await;
            assert_eq!(names.addresses(text), Some(Vec::new()), "{text}");
        }
    }
}
