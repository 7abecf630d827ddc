//! The hops and the origin behind the proxies.

use std::{net::SocketAddr, path::Path, sync::Arc};

use super::{
    kerberos::Kerberos, login::LoginScheme, process::Process, role::Role, tls_ends::Credentials,
};

/// The hops and the origin, while they run.
#[derive(Debug)]
pub(super) struct Network {
    _processes: Vec<Process>,
    hops: Vec<SocketAddr>,
    origin: SocketAddr,
    /// The first hop behind TLS.
    secure_hop: SocketAddr,
    credentials: Arc<Credentials>,
    /// The hops that want a login, in the order of [`LoginScheme::ALL`].
    login_hops: [SocketAddr; LoginScheme::ALL.len()],
    kerberos: Option<Arc<Kerberos>>,
}

impl Network {
    pub(super) fn start() -> Self {
        let parts =
            [Role::Hop(vec![]), Role::Hop(vec![]), Role::Origin].map(|role| Process::part(&role));
        let (mut processes, mut addresses): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let origin = addresses.pop().unwrap();
        let credentials = Arc::new(Credentials::new());
        let role = Role::TlsEnd(addresses[0], credentials.path().to_owned());
        let (process, secure_hop) = Process::part(&role);
        processes.push(process);
        let login_hops = LoginScheme::ALL.map(|scheme| {
            let (process, address) = Process::part(&Role::Login(scheme));
            processes.push(process);
            address
        });
        Self {
            _processes: processes,
            hops: addresses,
            origin,
            secure_hop,
            credentials,
            login_hops,
            kerberos: Kerberos::start().map(Arc::new),
        }
    }

    /// Returns the hops and the origin at the other end of a slow line, which exists as long as the returned value.
    pub(super) fn far(&self) -> Self {
        let (process, link) = Process::part(&Role::Link(self.hops[0]));
        let hops = [link].into_iter().chain(self.hops[1..].iter().copied()).collect();
        let (_processes, credentials) = (vec![process], Arc::clone(&self.credentials));
        Self { _processes, hops, credentials, kerberos: self.kerberos.clone(), ..*self }
    }

    /// Returns the first hop behind TLS.
    pub(super) fn secure_hop(&self) -> SocketAddr {
        self.secure_hop
    }

    /// Returns the hop that wants a login by this scheme.
    pub(super) fn login_hop(&self, scheme: LoginScheme) -> SocketAddr {
        let place = LoginScheme::ALL.iter().position(|one| *one == scheme);
        self.login_hops[place.unwrap()]
    }

    /// Returns the directory of the Kerberos tickets, if Kerberos is installed.
    pub(super) fn kerberos(&self) -> Option<&Path> {
        self.kerberos.as_ref().map(|kerberos| kerberos.path())
    }

    /// Returns the directory of the certificate and its key.
    pub(super) fn credentials(&self) -> &Path {
        self.credentials.path()
    }

    pub(super) fn origin(&self) -> SocketAddr {
        self.origin
    }

    /// Returns the first `count` hops.
    pub(super) fn hops(&self, count: usize) -> &[SocketAddr] {
        &self.hops[..count]
    }

    /// Returns the first `hops` hops and the origin after them.
    pub(super) fn stops(&self, hops: usize) -> Vec<SocketAddr> {
        self.hops(hops).iter().copied().chain([self.origin]).collect()
    }
}
