//! Decides whether a client that was accepted before a reload may make another request.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU32,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
};

use arc_swap::ArcSwapOption;

use super::generation::Generation;
use crate::{config::Protocol, tls::TlsServer};

/// The terms on which a listener accepts clients. A reload changes them while the connections that it accepted go on.
#[derive(Debug, Default)]
pub(crate) struct ListenerTerms {
    tls: ArcSwapOption<TlsServer>,
    /// How often `tls` has changed. Counted after each change, so that one who reads the count first and `tls` second
    /// never takes an old one for the present one.
    tls_changes: AtomicU32,
    is_closed: AtomicBool,
}

/// The way by which a client came in: the terms of its listener now, and those that the client met.
///
/// A configuration may ask for no credentials because every client has a certificate or comes from this machine. That
/// holds only for clients of its own listeners. A client that was accepted before a reload may have neither, so each of its
/// requests is served only if the client could still connect.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entrance {
    terms: Arc<ListenerTerms>,
    /// The TLS that this client has to speak.
    tls: Option<Arc<TlsServer>>,
    /// How often the listener's TLS had changed when the client came in.
    tls_changes: u32,
}

impl ListenerTerms {
    /// Returns the TLS of clients that are accepted from now on.
    pub(crate) fn tls(&self) -> Option<Arc<TlsServer>> {
        self.tls.load_full()
    }

    /// Replaces the TLS of clients that are accepted from now on.
    pub(crate) fn set_tls(&self, tls: Option<Arc<TlsServer>>) {
        self.tls.store(tls);
        self.tls_changes.fetch_add(1, Release);
    }

    /// Notes that the configuration no longer has the listener.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Relaxed);
    }
}

impl Entrance {
    /// Lets a client in by a listener, on the terms of this moment.
    pub(crate) fn by(terms: &Arc<ListenerTerms>) -> Self {
        let tls_changes = terms.tls_changes.load(Acquire);
        Self { terms: Arc::clone(terms), tls: terms.tls(), tls_changes }
    }

    /// Returns the TLS that the client has to speak, if any.
    pub(crate) fn tls(&self) -> Option<&Arc<TlsServer>> {
        self.tls.as_ref()
    }

    /// Returns why the client at `peer`, which speaks `protocol`, could not connect any more under `generation`, if so.
    pub(crate) fn reason_to_shut_out(
        &self,
        peer: SocketAddr,
        protocol: Protocol,
        generation: &Generation,
    ) -> Option<&'static str> {
        if !generation.protocols.contains(&protocol) {
            return Some(PROTOCOL_LEFT_OUT);
        }
        (!self.is_open_to(peer, generation)).then_some(TERMS_CHANGED)
    }

    fn is_open_to(&self, peer: SocketAddr, generation: &Generation) -> bool {
        let is_same_tls = self.terms.tls_changes.load(Acquire) == self.tls_changes;
        let meets_terms = is_same_tls
            || match (&*self.terms.tls.load(), &self.tls) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(asked), Some(met)) => {
                    Arc::ptr_eq(asked, met) || asked.asks_no_more_of_clients_than(met)
                }
            };
        // Credentials are checked for each request, and clients of this machine need none.
        let is_known = || generation.auth.is_some() || peer.ip().to_canonical().is_loopback();
        meets_terms && (!self.terms.is_closed.load(Relaxed) || is_known())
    }
}

const PROTOCOL_LEFT_OUT: &str =
    "since a reload, `server.protocols` leaves out the protocol of this connection";
const TERMS_CHANGED: &str = "since a reload, the listener of this connection is closed, or asks for TLS or for a certificate; connect \
     again, to an address that `server.listen` has now";

#[cfg(test)]
mod tests {
    use mooltiroute_hops::kinds;

    use super::*;
    use crate::config::{Environment, Loader, Overrides, Source};

    fn generation(server: &str) -> Generation {
        let yaml = format!("server: {{ {server} }}\nchains: {{ default: [] }}\n");
        let environment = Environment::new(|_| None, std::path::Path::new(""));
        let source = Source::Text(yaml.into());
        let loader = Loader::new(source, Overrides::default(), kinds::builtin(), environment);
        Generation::new(1, loader.load().unwrap(), vec![])
    }

    #[test]
    fn a_closed_listener_is_shut_to_strangers_that_need_no_credentials() {
        let (open, auth) = (generation(""), generation("auth: { username: me, password: pw }"));
        let terms = Arc::<ListenerTerms>::default();
        let entrance = Entrance::by(&terms);
        let stranger = SocketAddr::from(([192, 0, 2, 1], 1));
        let local =
            ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"].map(|at| at.parse().unwrap());
        let reason =
            |peer, generation| entrance.reason_to_shut_out(peer, Protocol::Http, generation);
        assert_eq!(reason(stranger, &open), None);
        terms.close();
        assert_eq!(reason(stranger, &open), Some(TERMS_CHANGED));
        assert_eq!(reason(stranger, &auth), None);
        for peer in local {
            assert_eq!(reason(peer, &open), None, "{peer}");
        }
        // The system may have accepted a client for it before it was closed.
        let waiting = Entrance::by(&terms);
        let reason = waiting.reason_to_shut_out(stranger, Protocol::Http, &open);
        assert_eq!(reason, Some(TERMS_CHANGED));
    }

    #[test]
    fn a_protocol_that_is_left_out_is_shut_to_all() {
        let socks = generation("protocols: [socks5]");
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let entrance = Entrance::default();
        let reason = |protocol| entrance.reason_to_shut_out(peer, protocol, &socks);
        assert_eq!(reason(Protocol::Http), Some(PROTOCOL_LEFT_OUT));
        assert_eq!(reason(Protocol::Socks5), None);
    }
}
