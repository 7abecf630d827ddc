//! Decides which keys and values are known to be no secret.

use std::net::Ipv6Addr;

use crate::config::report::problem::{is_host_pattern, is_name, is_word};

/// Returns whether the last key of `path` may be shown: it is a name that operators choose, or a plain word.
pub(super) fn is_key_shown(path: &[&str]) -> bool {
    match path {
        ["hops" | "chains", name] => is_name(name),
        ["hops", _, "hops", pattern] => is_host_pattern(pattern),
        [.., name] => is_word(name),
        [] => false,
    }
}

/// Returns whether `text` as the value of the setting at `path` is known to be no secret. An address is not: people
/// write whole proxy URLs there.
pub(super) fn is_harmless(path: &[&str], text: &str) -> bool {
    let is_setting = matches!(
        path,
        ["server", "listen"]
            | ["server", "listen", "address"]
            | ["server", "listen", "tls", "cert" | "client_ca"]
            | ["timeouts" | "limits" | "log", _]
            | ["server", "via" | "workers" | "protocols"]
            | ["hops", _, "kind" | "enabled" | "pick" | "members"]
            | ["hops", _, "budget", "bytes" | "per" | "zone" | "warn"]
            | ["chains", _]
            | ["chains", _, "hops" | "warm"]
            | ["routes", "hosts" | "ports" | "chain"]
    );
    // In `password: pass, enabled: word` the `enabled` may be a part of the password, so its value is shown
    // only if it is a plausible one.
    let is_expected = match path {
        _ if text.is_empty() => true,
        ["hops", _, "enabled"] => is_toggle(text),
        ["hops", _, "budget", _] => is_word(text) || is_amount(text),
        ["hops", _, "pick"] => is_word(text),
        // Proxies and logins have other characters in them.
        ["hops", _, "members"] => is_name(text),
        _ => true,
    };
    is_setting && is_expected && !may_have_login(text)
}

/// Returns whether `text` may be a proxy with its credentials: a URL, or a line of a proxy list such as
/// `host:port:username:password`. Some operators write one in place of a hop's name.
fn may_have_login(text: &str) -> bool {
    let text = text.trim_matches(['"', '\'']);
    let is_url = text.contains('@') || text.contains("://") || text.contains("%40");
    let is_parted = text.matches([';', '|', '\t']).count() > 2;
    let has_parts = is_parted || (text.contains(':') && text.contains([';', '|', '\t', ' ']));
    is_url || has_parts || (text.matches(':').count() > 2 && !is_ipv6(text))
}

/// Returns whether `text` is an IPv6 address, alone or with a port or the length of a network.
fn is_ipv6(text: &str) -> bool {
    let (address, rest) = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((address, rest)) => (address, rest.strip_prefix(':').unwrap_or(rest)),
        None => text.split_once('/').unwrap_or((text, "")),
    };
    address.parse::<Ipv6Addr>().is_ok() && rest.chars().all(|one| one.is_ascii_digit())
}

/// Returns whether `text` is a boolean as people write it, or a variable.
fn is_toggle(text: &str) -> bool {
    let is_variable = text.starts_with("${") && text.ends_with('}');
    is_variable || ["true", "false", "yes", "no", "on", "off"].contains(&text.trim_matches('"'))
}

/// Returns whether `text` begins as a size or a percentage does, and is as short.
fn is_amount(text: &str) -> bool {
    text.len() <= AMOUNT_BYTES_MAX && text.starts_with(|one: char| one.is_ascii_digit())
}

/// As in `500 gigabytes`.
const AMOUNT_BYTES_MAX: usize = 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proxy_lists_are_not_shown_in_any_setting() {
        let lines = [
            "203.0.113.5:8080:alice:Zq7",
            "\"alice:Zq7:203.0.113.5:8080\"",
            "[2001:db8::5]:8080:alice:Zq7",
            "2001:db8::5:8080:alice:Zq7",
            "203.0.113.5:8080|alice|Zq7",
            "203.0.113.5;8080;alice;Zq7",
            "203.0.113.5:8080 alice Zq7",
            "alice:Zq7@203.0.113.5:8080",
            "alice:Zq7%40203.0.113.5:8080",
        ];
        let settings: [&[&str]; 6] = [
            &["chains", "default"],
            &["chains", "default", "hops"],
            &["server", "listen"],
            &["routes", "hosts"],
            &["routes", "chain"],
            &["hops", "a", "kind"],
        ];
        for path in settings {
            for line in lines {
                assert!(!is_harmless(path, line), "{path:?}: {line}");
            }
        }
    }

    #[test]
    fn addresses_and_times_are_shown() {
        for text in [
            "127.0.0.1:8888",
            "[::1]:8888",
            "::1",
            "2001:db8::/32",
            "\"fe80::1:2:3\"",
            "10 seconds",
        ] {
            assert!(is_harmless(&["routes", "hosts"], text), "{text}");
        }
    }
}
