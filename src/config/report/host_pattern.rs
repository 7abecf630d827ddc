//! Suggests a host pattern for a URL, a network with a mask, or a pattern of another program.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, IpSubnets, Ipv4Net, Ipv4Subnets, Ipv6Subnets};
use mooltiroute_hops::Authority;

use crate::router::HostPattern;

/// Returns what to write instead of `text`, if that is clear. If not `is_shown`, nothing of it is repeated.
pub(crate) fn instead(text: &str, is_shown: bool) -> Option<String> {
    if is_regular_expression(text) {
        return Some("regular expressions are not understood; write a name, or `\"*.example.com\"` for all names below \
                     one"
        .to_owned());
    }
    // Elsewhere, such a pattern matches the name itself too.
    if let Some(name) = text.strip_prefix('.').or_else(|| text.strip_prefix("+.")) {
        let is_shown = is_shown && name.parse::<HostPattern>().is_ok();
        let name = if is_shown { name } else { "HOST" };
        return Some(format!("write `hosts: [\"{name}\", \"*.{name}\"]`"));
    }
    if let Some(networks) = networks(text) {
        return Some(match is_shown {
            true => format!("write `hosts: [\"{}\"]`", networks.join("\", \"")),
            false => "write `hosts: [HOST]`".to_owned(),
        });
    }
    // A `@` may belong to credentials, and the place where they end is uncertain.
    let (pattern, port) = match text.contains('@') {
        true => (None, None),
        false => match meant(text) {
            Some(meant) => meant,
            None => return of_words(text).map(str::to_owned),
        },
    };
    let pattern = pattern.filter(|pattern| is_shown && pattern.parse::<HostPattern>().is_ok());
    let pattern = pattern.as_deref().unwrap_or("HOST");
    let quote = if pattern == "HOST" { "" } else { "\"" };
    let ports = match port {
        Some(port) if is_shown => format!(" and `ports: [{port}]`"),
        _ => String::new(),
    };
    Some(format!("write `hosts: [{quote}{pattern}{quote}]`{ports}"))
}

/// Returns what to write instead of words for local names, and of a `*` inside of a name.
fn of_words(text: &str) -> Option<&'static str> {
    if ["<local>", "<-loopback>", "local"].contains(&&*text.to_ascii_lowercase()) {
        return Some(
            "write `hosts: [localhost, 127.0.0.0/8, \"::1\"]` for this machine, and each other name without a dot by itself",
        );
    }
    // A name, and not an address or nothing but marks.
    let is_one = !text.contains([' ', ',', ';', '|']) && text.contains(char::is_alphabetic);
    (is_one && text.trim_start_matches("*.").contains('*')).then_some(
        "write the end of the names, as in `hosts: [\"*.corp.example\"]`, and each other name by itself",
    )
}

/// Returns the list to write instead of `text`, which is one pattern, or several with commas or blanks between them, some of
/// which may be written as other programs have them.
pub(crate) fn list_instead(text: &str, is_shown: bool) -> Option<String> {
    let is_between = |one: char| one.is_whitespace() || ",;|".contains(one);
    let parts = text.split(is_between).filter(|part| !part.is_empty());
    let patterns: Option<Vec<_>> = parts.map(patterns).collect();
    let patterns = patterns?.concat();
    if patterns.is_empty() {
        return None;
    }
    Some(match is_shown {
        true => format!("write `hosts: [\"{}\"]`", patterns.join("\", \"")),
        false => "write `hosts: [HOST, HOST]`".to_owned(),
    })
}

/// Returns the patterns that `part` means, if it is one, a network, or a name with the dot of `NO_PROXY` before it.
fn patterns(part: &str) -> Option<Vec<String>> {
    if part.parse::<HostPattern>().is_ok() {
        return Some(vec![part.to_owned()]);
    }
    let below = part.strip_prefix('.').filter(|name| name.parse::<HostPattern>().is_ok());
    below.map(|name| vec![name.to_owned(), format!("*.{name}")]).or_else(|| networks(part))
}

/// Returns the network that is probably meant by `text`, an address that ends with 0 and has no prefix.
pub(crate) fn without_prefix(text: &str) -> Option<Ipv4Net> {
    let address: Ipv4Addr = text.parse().ok()?;
    let zeros = address.octets().iter().rev().take_while(|octet| **octet == 0).count();
    // `0.0.0.0` is an address that some programs ask for.
    let length = 32 - 8 * u8::try_from(zeros).ok().filter(|zeros| (1..=3).contains(zeros))?;
    Ipv4Net::new(address, length).ok()
}

/// Returns the network that `text` is: an address, or a network with its prefix.
pub(crate) fn single_network(text: &str) -> Option<IpNet> {
    match text.parse::<HostPattern>() {
        Ok(HostPattern::Network(network)) => Some(network),
        _ => text.parse().ok().map(|network: IpNet| network.trunc()),
    }
}

/// Returns the networks to write as `key` instead of `text`, if that is clear.
pub(crate) fn network_instead(key: &str, text: &str, is_shown: bool) -> Option<String> {
    if let Some(network) = without_prefix(text) {
        return Some(match is_shown {
            true => format!("write `{key}: [{network}]`, or `{text}/32` for this one address"),
            false => format!("write `{key}: [NETWORK]`, such as `10.0.0.0/8`"),
        });
    }
    let networks = networks(text)?;
    Some(match is_shown {
        true => format!("write `{key}: [{}]`", networks.join(", ")),
        false => format!("write `{key}: [NETWORK]`, such as `10.0.0.0/8`"),
    })
}

/// Returns the networks that `text` means: those of a mask, of stars or of a range.
fn networks(text: &str) -> Option<Vec<String>> {
    match masked(text).or_else(|| starred(text)) {
        Some(network) => Some(vec![network.trunc().to_string()]),
        None => ranged(text),
    }
}

/// Returns the pattern that `text` means, and its port if it has one.
fn meant(text: &str) -> Option<(Option<String>, Option<u16>)> {
    if text.chars().any(|one| one.is_whitespace() || one == ',') {
        return None;
    }
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, text),
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // `10.0.0.0/99` is a network with a mistake, and no URL.
    let is_url = scheme.is_some() || (host.len() < rest.len() && !is_address(host));
    if let Ok(authority) = host.parse::<Authority>() {
        let host = authority.host().to_string();
        let host = host.trim_matches(['[', ']']).to_owned();
        return Some((Some(host), Some(authority.port())));
    }
    // `*.example.com:443` is not a host, so that it is not parsed as one.
    if let Some((host, port)) = host.rsplit_once(':')
        && let Ok(port) = port.parse::<u16>()
        && !host.contains(':')
    {
        return Some((Some(host.to_owned()), Some(port)));
    }
    is_url.then(|| (Some(host.to_owned()), None))
}

fn is_address(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

/// Reads a network with its mask, such as `10.0.0.0/255.0.0.0`.
fn masked(text: &str) -> Option<Ipv4Net> {
    let (address, mask) = text.split_once('/')?;
    let mask = mask.parse::<Ipv4Addr>().ok()?;
    Ipv4Net::with_netmask(address.parse().ok()?, mask).ok()
}

/// Reads a network with stars, such as `10.0.*` or `192.168.*.*`.
fn starred(text: &str) -> Option<Ipv4Net> {
    let parts: Vec<&str> = text.split('.').collect();
    let fixed = parts.iter().take_while(|part| **part != "*").count();
    let is_starred = fixed < parts.len() && parts[fixed..].iter().all(|part| *part == "*");
    if !is_starred || !(1..=3).contains(&fixed) || parts.len() > 4 {
        return None;
    }
    let mut octets = [0; 4];
    for (octet, part) in octets.iter_mut().zip(&parts[..fixed]) {
        *octet = part.parse().ok()?;
    }
    Ipv4Net::new(octets.into(), 8 * u8::try_from(fixed).ok()?).ok()
}

/// Reads a range such as `10.0.0.0-10.0.255.255` or `10.0.0.8-15`, if few networks cover exactly its addresses.
fn ranged(text: &str) -> Option<Vec<String>> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    let (first, last): (IpAddr, IpAddr) = match last.parse::<u8>() {
        Ok(_) => {
            let (network, _) = first.rsplit_once('.')?;
            (first.parse().ok()?, format!("{network}.{last}").parse().ok()?)
        }
        Err(_) => (first.parse().ok()?, last.parse().ok()?),
    };
    let networks = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => IpSubnets::V4(Ipv4Subnets::new(first, last, 0)),
        (IpAddr::V6(first), IpAddr::V6(last)) => IpSubnets::V6(Ipv6Subnets::new(first, last, 0)),
        _ => return None,
    };
    let networks: Vec<_> = networks.take(NETWORKS_MAX + 1).map(|one| one.to_string()).collect();
    (1..=NETWORKS_MAX).contains(&networks.len()).then_some(networks)
}

/// A range of more networks than this is not written out.
const NETWORKS_MAX: usize = 8;

fn is_regular_expression(text: &str) -> bool {
    text.starts_with('^') || text.ends_with('$') || text.contains("\\.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(instead(text, true).as_deref(), expected, "{text}");
    }

    #[test]
    fn a_url_and_what_other_programs_write_become_a_pattern() {
        check("https://api.example.com/v1", Some("write `hosts: [\"api.example.com\"]`"));
        check("api.example.com/v1", Some("write `hosts: [\"api.example.com\"]`"));
        check("https://a.test:8443/?x", Some("write `hosts: [\"a.test\"]` and `ports: [8443]`"));
        check("a.test:443", Some("write `hosts: [\"a.test\"]` and `ports: [443]`"));
        check("*.a.test:443", Some("write `hosts: [\"*.a.test\"]` and `ports: [443]`"));
        check("[::1]:443", Some("write `hosts: [\"::1\"]` and `ports: [443]`"));
        check("https://*.a.test/", Some("write `hosts: [\"*.a.test\"]`"));
        check(".example.com", Some("write `hosts: [\"example.com\", \"*.example.com\"]`"));
        check("+.a.test", Some("write `hosts: [\"a.test\", \"*.a.test\"]`"));
        check("10.0.*", Some("write `hosts: [\"10.0.0.0/16\"]`"));
        check("192.168.*.*", Some("write `hosts: [\"192.168.0.0/16\"]`"));
        check("10.1.2.3/255.0.0.0", Some("write `hosts: [\"10.0.0.0/8\"]`"));
        check("10.0.0.0-10.0.255.255", Some("write `hosts: [\"10.0.0.0/16\"]`"));
        check("10.0.0.1 - 2", Some("write `hosts: [\"10.0.0.1/32\", \"10.0.0.2/32\"]`"));
        let end = "write the end of the names, as in `hosts: [\"*.corp.example\"]`, and each other name by itself";
        check("a*.test", Some(end));
        check("*corp*", Some(end));
        check("fd00::-fd00::ffff", Some("write `hosts: [\"fd00::/112\"]`"));
    }

    #[test]
    fn what_is_not_clear_gets_no_suggestion() {
        for text in [
            "10.0.0.0/99",
            "10.0.0.0/255.0.255.0",
            "10.0.0.1-10.0.255.254",
            "10.0.0.2-1",
            "10.0.0.1-fd00::",
            "*",
            "*.*",
            "256.*",
            "a b",
            "a,b",
            "",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn patterns_in_one_text_become_a_list() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(list_instead(text, true).as_deref(), expected, "{text}");
        };
        check("a.test,*.b.test", Some("write `hosts: [\"a.test\", \"*.b.test\"]`"));
        check("a.test; 10.0.0.0/8", Some("write `hosts: [\"a.test\", \"10.0.0.0/8\"]`"));
        check("a.test", Some("write `hosts: [\"a.test\"]`"));
        check(
            "localhost,.corp.test,10.*",
            Some("write `hosts: [\"localhost\", \"corp.test\", \"*.corp.test\", \"10.0.0.0/8\"]`"),
        );
        for text in ["a.test,b*", "a.test:1", "", ","] {
            check(text, None);
        }
        assert_eq!(list_instead("a,b", false).as_deref(), Some("write `hosts: [HOST, HOST]`"));
    }

    #[test]
    fn an_address_that_ends_with_0_is_a_network_without_its_prefix() {
        let check = |text: &str, expected: Option<&str>| {
            let network = without_prefix(text).map(|network| network.to_string());
            assert_eq!(network.as_deref(), expected, "{text}");
        };
        check("10.1.2.0", Some("10.1.2.0/24"));
        check("10.0.0.0", Some("10.0.0.0/8"));
        for text in ["0.0.0.0", "10.0.0.1", "10.0.0.0/8", "a.test"] {
            check(text, None);
        }
    }

    #[test]
    fn a_network_of_another_form_is_one_under_any_key() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(network_instead("into", text, true).as_deref(), expected, "{text}");
        };
        check("10.0.*", Some("write `into: [10.0.0.0/16]`"));
        check("10.0.0.0/255.0.0.0", Some("write `into: [10.0.0.0/8]`"));
        check("10.0.0.0-10.0.1.127", Some("write `into: [10.0.0.0/24, 10.0.1.0/25]`"));
        check("corp.example", None);
        let hidden = network_instead("into", "10.0.*", false).unwrap();
        assert!(!hidden.contains("10.0.*") && !hidden.contains("/16"), "{hidden}");
    }

    #[test]
    fn credentials_and_hidden_values_are_not_repeated() {
        check("https://joe:hunter2@a.test/", Some("write `hosts: [HOST]`"));
        assert_eq!(instead("a.test:443", false).as_deref(), Some("write `hosts: [HOST]`"));
        let told = instead("^.*hunter2$", false).unwrap();
        assert!(told.starts_with("regular expressions") && !told.contains("hunter2"), "{told}");
    }
}
