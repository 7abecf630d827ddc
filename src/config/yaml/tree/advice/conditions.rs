//! Values of the conditions in `enabled: { when: … }` that belong to another condition, or are written in another form.

use mooltiroute_hops::{Authority, Host};
use serde_yaml::Value;

use crate::config::report::{host_pattern, proxy_url::proxy_address};

/// Returns what to write instead of `value`, which the condition `key` can't have. If not `is_shown`, nothing of the value
/// is repeated.
pub(super) fn instead(key: &str, value: &Value, is_shown: bool) -> Option<String> {
    if let ("interface", Value::Sequence(list)) = (key, value) {
        return several_interfaces(list, is_shown);
    }
    let text = value.as_str()?.trim();
    match key {
        "address_in" => host_pattern::network_instead(key, text, is_shown).or_else(|| {
            is_interface(text).then(|| {
                let name = if is_shown { quoted(text) } else { "NAME".to_owned() };
                format!("an interface is another condition: write `interface: {name}`")
            })
        }),
        "into" => host_pattern::network_instead(key, text, is_shown),
        "interface" => {
            let networks = host_pattern::network_instead("address_in", text, is_shown);
            let networks = networks.or_else(|| {
                let network = host_pattern::single_network(text)?;
                let network = if is_shown { network.to_string() } else { "NETWORK".to_owned() };
                Some(format!("write `address_in: [{network}]`"))
            });
            networks.map(|help| format!("an address is another condition: {help}"))
        }
        "resolves" => {
            let host = host_of(text)?;
            let (name, address) = match (is_shown, proxy_address(text)) {
                (true, Some(address)) => (host, address),
                (true, None) => (host.clone(), format!("{host}:PORT")),
                (false, _) => ("NAME".to_owned(), "HOST:PORT".to_owned()),
            };
            Some(format!(
                "write `resolves: {name}`, the name alone; `reachable: \"{address}\"` asks whether a port accepts connections"
            ))
        }
        "reachable" => {
            let address = proxy_address(text)?;
            let address = if is_shown { address } else { "HOST:PORT".to_owned() };
            Some(format!("write `reachable: \"{address}\"`"))
        }
        _ => None,
    }
}

fn several_interfaces(list: &[Value], is_shown: bool) -> Option<String> {
    let names: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
    let names = names.filter(|names| is_shown && names.iter().all(|name| is_interface(name)));
    let names = names.unwrap_or_else(|| vec!["NAME"; 2]);
    let conditions: Vec<_> =
        names.iter().map(|name| format!("{{ interface: {} }}", quoted(name))).collect();
    Some(format!("write `any: [{}]` in place of `interface`", conditions.join(", ")))
}

/// Returns the host of a URL or an address with a port, without credentials.
fn host_of(text: &str) -> Option<String> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next()?;
    // The place where credentials end is uncertain.
    if text.contains('@') {
        return None;
    }
    let host = match authority.parse::<Authority>() {
        Ok(authority) => authority.host().to_string(),
        Err(_) => authority.to_owned(),
    };
    matches!(host.parse(), Ok(Host::Name(_))).then_some(host)
}

/// Returns whether `text` is the name of an interface, perhaps with stars, by the prefixes that systems use.
fn is_interface(text: &str) -> bool {
    let is_valid = |one: char| one.is_ascii_alphanumeric() || "*?-_.".contains(one);
    let lower = text.to_ascii_lowercase();
    let prefix = INTERFACES.iter().find(|prefix| lower.starts_with(*prefix));
    // A host such as `enterprise.example` begins like an interface too.
    let rest = prefix.map_or("", |prefix| &lower[prefix.len()..]);
    let is_number = rest.contains(|one: char| one.is_ascii_digit() || "*?".contains(one));
    text.len() <= NAME_BYTES_MAX && text.chars().all(is_valid) && prefix.is_some() && is_number
}

fn quoted(name: &str) -> String {
    match name.contains(['*', '?']) {
        true => format!("\"{name}\""),
        false => name.to_owned(),
    }
}

/// How the names of interfaces begin on Linux, macOS and BSD.
const INTERFACES: [&str; 13] =
    ["eth", "en", "wl", "tun", "tap", "utun", "ppp", "wg", "wwan", "br", "vpn", "ipsec", "lo"];
/// Linux allows 15 bytes.
const NAME_BYTES_MAX: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: &str, value: &str, expected: &str) {
        let value = serde_yaml::from_str(value).unwrap();
        assert_eq!(instead(key, &value, true).unwrap_or_default(), expected, "{key}: {value:?}");
    }

    #[test]
    fn an_address_and_an_interface_are_told_apart() {
        check(
            "interface",
            "10.0.0.5",
            "an address is another condition: write `address_in: [10.0.0.5/32]`",
        );
        check(
            "interface",
            "10.0.*",
            "an address is another condition: write `address_in: [10.0.0.0/16]`",
        );
        check(
            "interface",
            "fd00::/8",
            "an address is another condition: write `address_in: [fd00::/8]`",
        );
        check("interface", "tun0", "");
        check("address_in", "eth0", "an interface is another condition: write `interface: eth0`");
        check(
            "address_in",
            "'tun*'",
            "an interface is another condition: write `interface: \"tun*\"`",
        );
        check("address_in", "enterprise.example", "");
        check(
            "interface",
            "[eth0, 'tun*']",
            "write `any: [{ interface: eth0 }, { interface: \"tun*\" }]` in place of `interface`",
        );
        let hidden = serde_yaml::from_str("10.0.0.5").unwrap();
        assert!(instead("interface", &hidden, false).is_some_and(|help| !help.contains("10.0")));
    }

    #[test]
    fn a_url_becomes_a_name_or_an_address() {
        let name = "write `resolves: proxy.corp`, the name alone; `reachable: \"proxy.corp:8080\"` asks whether a port \
                    accepts connections";
        check("resolves", "http://proxy.corp:8080", name);
        check("resolves", "'proxy.corp:8080'", name);
        check("resolves", "http://joe:hunter2@proxy.corp:8080", "");
        check("reachable", "http://proxy.corp:8080/", "write `reachable: \"proxy.corp:8080\"`");
    }
}
