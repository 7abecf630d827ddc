//! Warns of hops that lead back to this proxy.

use std::net::SocketAddr;

use mooltiroute_hops::{Authority, Hop, Host, Key, KeyPath};

use crate::config::{
    Listener, NamedHop,
    resolve::{Part, Resolver},
};

impl Resolver<'_> {
    /// Warns of hops whose address is one that this proxy listens on. Each request through them is refused with 508.
    pub(crate) fn warn_of_self_loops(&mut self, hops: &[NamedHop], listeners: &[Listener]) {
        if !self.problems.is_empty() || !self.is_complete {
            return;
        }
        let own: Vec<SocketAddr> =
            listeners.iter().flat_map(|listener| listener.address.sockets()).collect();
        for NamedHop { name, hop, .. } in hops.iter().filter(|hop| hop.is_enabled) {
            let Some(hop) = hop else { continue };
            let Some((address, is_member)) = leads_back(&**hop, &own) else { continue };
            if self.warnings.skips() {
                return;
            }
            let path = KeyPath::of(["hops", name]);
            let (path, subject) = match is_member {
                true => (path, format!("its member `{address}`")),
                false => (path.then(Key::Name("address".into())), format!("`{address}`")),
            };
            let message = format!(
                "{subject} is an address of `server.listen`: the proxy would call itself, and refuses such requests with 508"
            );
            let problem = self.tree.problem(&path, Part::Value, "self-loop", message);
            self.warnings.push(problem.with_help(HELP));
        }
    }
}

/// Returns the address at which `hop` reaches one of the sockets `own`, and whether it is that of a member.
fn leads_back(hop: &dyn Hop, own: &[SocketAddr]) -> Option<(Authority, bool)> {
    let members = hop.members();
    if members.is_empty() {
        let address = hop.describe().address?;
        return is_own(address, own).then(|| (address.clone(), false));
    }
    let mut addresses = members.into_iter().filter_map(|member| member.address);
    addresses.find(|address| is_own(address, own)).map(|address| (address, true))
}

fn is_own(address: &Authority, own: &[SocketAddr]) -> bool {
    own.iter().filter(|own| own.port() == address.port()).any(|own| {
        let ip = own.ip().to_canonical();
        match address.host() {
            // A listener on all addresses has others than loopback too, which are not known here.
            Host::Address(to) => {
                let to = to.to_canonical();
                to == ip || to.is_unspecified() || (ip.is_unspecified() && to.is_loopback())
            }
            Host::Name(name) => {
                name.eq_ignore_ascii_case("localhost") && (ip.is_loopback() || ip.is_unspecified())
            }
        }
    })
}

const HELP: &str = "write the address of the next proxy, or let this one listen at another port";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_lead_back() {
        let check =
            |address: &str, own: &str| is_own(&address.parse().unwrap(), &[own.parse().unwrap()]);
        for (address, own) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("localhost:80", "127.0.0.1:80"),
            ("Localhost:80", "[::]:80"),
            ("127.0.0.9:80", "0.0.0.0:80"),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80"),
            ("192.0.2.1:80", "192.0.2.1:80"),
        ] {
            assert!(check(address, own), "{address} {own}");
        }
        for (address, own) in [
            ("127.0.0.1:81", "127.0.0.1:80"),
            ("127.0.0.2:80", "127.0.0.1:80"),
            ("192.0.2.1:80", "0.0.0.0:80"),
            ("proxy.test:80", "127.0.0.1:80"),
            ("localhost:80", "192.0.2.1:80"),
        ] {
            assert!(!check(address, own), "{address} {own}");
        }
    }
}
