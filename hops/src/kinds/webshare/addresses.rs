//! The addresses of the gateway.

use std::{num::NonZeroU16, sync::Arc};

use crate::{Authority, Host, InvalidSetting};

/// Returns the address of the gateway, and its fallback addresses.
pub(super) fn addresses(
    address: Option<Authority>,
    ports: Option<Vec<NonZeroU16>>,
) -> Result<(Authority, Arc<[Authority]>), InvalidSetting> {
    let gateway = Host::Name(GATEWAY.into());
    let ports = match ports {
        Some(ports) if ports.is_empty() || ports.len() > PORTS_MAX => {
            let message = format!("must have from 1 to {PORTS_MAX} ports");
            return Err(InvalidSetting::new("ports", message));
        }
        Some(ports) => ports,
        // A stock Squid lets CONNECT through to port 443 only, so the port is often what the hop before refuses. The
        // other documented ports are tried, but only at Webshare's own host: another host need not listen on them.
        None if address.as_ref().is_some_and(|address| *address.host() != gateway) => vec![],
        None => DOCUMENTED_PORTS.to_vec(),
    };
    // The first of `ports` is the first that is tried, if no address says otherwise.
    let first = ports.first().copied().unwrap_or(DOCUMENTED_PORTS[0]);
    let address = address.unwrap_or_else(|| Authority::new(gateway, first));
    let mut alternatives: Vec<Authority> = Vec::with_capacity(ports.len());
    for port in ports {
        let alternative = address.with_port(port);
        if alternative != address && !alternatives.contains(&alternative) {
            alternatives.push(alternative);
        }
    }
    Ok((address, alternatives.into()))
}

const GATEWAY: &str = "p.webshare.io";

const DOCUMENTED_PORTS: [NonZeroU16; 4] = [
    NonZeroU16::new(80).unwrap(),
    NonZeroU16::new(3128).unwrap(),
    NonZeroU16::new(1080).unwrap(),
    NonZeroU16::new(9999).unwrap(),
];

/// Each is a connection of its own to try.
const PORTS_MAX: usize = 16;
