//! Functions about addresses that are shorter in Rust than in JavaScript.

use std::{cmp::Ordering, net::IpAddr};

/// Returns whether a text has the form of an IPv4 address, even if a part of it is too large. Such a text is not a name.
pub(crate) fn looks_like_ipv4(text: &str) -> bool {
    let is_part = |part: &str| {
        (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    text.split('.').count() == 4 && text.split('.').all(is_part)
}

/// Reads an IPv4 address. Its parts are decimal even if they begin with a zero.
fn ipv4(text: &str) -> Option<u32> {
    let mut parts = text.split('.').map(|part| part.parse::<u8>().ok());
    let mut part = || parts.next().flatten();
    looks_like_ipv4(text).then(|| Some(u32::from_be_bytes([part()?, part()?, part()?, part()?])))?
}

/// Returns an IPv4 address as the signed number that JavaScript's bit operations yield, or zero for any other text.
pub(crate) fn number(text: &str) -> i32 {
    ipv4(text).unwrap_or_default().cast_signed()
}

/// Returns whether `address` is in the network of `network` and `mask`. A text that is not an address is in none.
pub(crate) fn is_in_net(address: &str, network: &str, mask: &str) -> bool {
    match (ipv4(address), ipv4(network), ipv4(mask)) {
        (Some(address), Some(network), Some(mask)) => address & mask == network & mask,
        _ => false,
    }
}

/// Returns the first IPv4 address of a list that is separated by semicolons.
pub(crate) fn first_ipv4(list: &str) -> Option<&str> {
    list.split(';').find(|address| ipv4(address).is_some())
}

/// Returns whether `address` is in the network `prefix`, such as `10.0.0.0/8`. Returns `false` if either is malformed.
pub(crate) fn is_in_prefix(address: &str, prefix: &str) -> bool {
    let Some((network, length)) = prefix.trim().split_once('/') else { return false };
    let network: Option<IpAddr> = network.parse().ok();
    let (Ok(length), Some(network), Ok(address)) =
        (length.parse::<u32>(), network, address.trim().parse::<IpAddr>())
    else {
        return false;
    };
    let (own, other, bits) = match (address, network) {
        (IpAddr::V4(own), IpAddr::V4(other)) => {
            (u128::from(own.to_bits()) << 96, u128::from(other.to_bits()) << 96, 32)
        }
        (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits(), 128),
        _ => return false,
    };
    // A shift by all bits would overflow.
    let mask = u128::MAX.checked_shl(128 - length.min(128)).unwrap_or(0);
    length <= bits && own & mask == other & mask
}

/// Sorts a list of addresses that is separated by semicolons: IPv6 before IPv4, each by number. Returns an empty text if one of
/// them is not an address.
pub(crate) fn sorted(list: &str) -> String {
    let addresses = list.split(';').map(|address| address.trim().parse::<IpAddr>());
    let Ok(mut addresses) = addresses.collect::<Result<Vec<_>, _>>() else { return String::new() };
    addresses.sort_by(|one, other| match (one, other) {
        (IpAddr::V6(_), IpAddr::V4(_)) => Ordering::Less,
        (IpAddr::V4(_), IpAddr::V6(_)) => Ordering::Greater,
        _ => one.cmp(other),
    });
    joined(&addresses)
}

/// Joins the addresses with semicolons.
pub(crate) fn joined(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(";")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_holds_only_addresses_of_its_family() {
        for (address, prefix, expected) in [
            ("10.1.2.3", "10.0.0.0/8", true),
            ("11.1.2.3", "10.0.0.0/8", false),
            ("10.1.2.3", "0.0.0.0/0", true),
            ("10.1.2.3", "10.1.2.3/32", true),
            ("10.1.2.3", "10.1.2.3/33", false),
            ("fd00::1", "fd00::/8", true),
            ("fe00::1", "fd00::/8", false),
            ("fd00::1", "::/0", true),
            ("10.1.2.3", "::/0", false),
            ("fd00::1", "fd00::/129", false),
            ("name.example", "10.0.0.0/8", false),
            ("10.1.2.3", "10.0.0.0", false),
            ("10.1.2.3", "", false),
        ] {
            assert_eq!(is_in_prefix(address, prefix), expected, "{address} in {prefix}");
        }
    }

    #[test]
    fn a_list_is_sorted_by_family_and_number() {
        assert_eq!(
            sorted("10.2.3.9;2001:db8::2;10.2.3.8;::1"),
            "::1;2001:db8::2;10.2.3.8;10.2.3.9"
        );
        assert_eq!(sorted("10.2.3.9;x"), "");
        assert_eq!(sorted(""), "");
    }
}
