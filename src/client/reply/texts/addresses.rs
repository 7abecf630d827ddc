//! The address of this proxy in texts, in place of an example.

use std::{borrow::Cow, net::SocketAddr};

/// Returns `text` with this address of the proxy in place of the example, and in the commands that switch hops on.
pub(crate) fn with_addresses(text: &str, address: Option<(SocketAddr, bool)>) -> Cow<'_, str> {
    let text = with_address(text, address);
    match address {
        Some((address, _)) => with_address_of_switch(&text, address).into(),
        None => text,
    }
}

/// Returns `text` with this address of the proxy in place of the example, and whether clients speak TLS to it.
pub(crate) fn with_address(text: &str, address: Option<(SocketAddr, bool)>) -> Cow<'_, str> {
    let Some((address, is_tls)) = address.filter(|_| text.contains(EXAMPLE_ADDRESS)) else {
        return text.into();
    };
    let mut text = text.replace(EXAMPLE_ADDRESS, &address.to_string());
    if is_tls {
        text = text.replace("`http://", "`https://");
        text = text.replace(&format!(" http://{address}"), &format!(" https://{address}"));
    }
    text.into()
}

/// Names the proxy at `address` in advice to switch a hop, since the command may not find its configuration.
fn with_address_of_switch(text: &str, address: SocketAddr) -> String {
    // The name of a hop has no spaces, so the first ` on` after the beginning of a command belongs to that command.
    let mut parts = text.split(SWITCH);
    let mut addressed = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        addressed.push_str(SWITCH);
        addressed.push_str(&part.replacen(SWITCH_ON, &format!(" on --address {address}`"), 1));
    }
    addressed
}

/// The beginning of the command that switches a hop on.
pub(super) const SWITCH: &str = "`mooltiroute hop ";

/// The end of that command, after the name of the hop.
pub(super) const SWITCH_ON: &str = " on`";

/// The address of the proxy in examples. In answers, the address that the client has reached replaces it.
const EXAMPLE_ADDRESS: &str = "localhost:8888";
