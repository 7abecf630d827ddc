//! The keys that any part of a configuration has.

use crate::config::{raw, report::problem::is_name};

/// Returns whether `name` is a key of some section or hop, or a misspelling of one.
///
/// Such a text is a key wherever it is, and no secret. The misspelling must be close, and keys of up to three letters are
/// left out, since a short text is near them by coincidence.
pub(crate) fn is_near_a_key(name: &str) -> bool {
    // The distance costs the product of the lengths, and a long text is not a key.
    if name.chars().nth(KEY_CHARS_MAX).is_some() {
        return false;
    }
    let name = name.to_ascii_lowercase().replace('-', "_");
    let letters = name.chars().count();
    let is_near = |key: &&str| {
        let slips_max = if key.len() < 5 { 0 } else { key.len() / 5 + 1 };
        // The distance is at least the difference of the lengths, which is quickly known.
        key.len().abs_diff(letters) <= slips_max
            && strsim::damerau_levenshtein(key, &name) <= slips_max
    };
    let of_sections = OF_SECTIONS.iter().flat_map(|(_, keys)| *keys);
    let keys = raw::SECTIONS.iter().chain(of_sections).chain(&OF_HOP).chain(&OTHERS);
    keys.filter(|key| key.len() > 3).any(is_near)
}

/// Returns what to write if `text` is one of the keys `known` and its value, without a space between them.
pub(crate) fn space_after_colon(text: &str, known: &[&str]) -> Option<String> {
    let (key, _) = text.split_once(':')?;
    known.contains(&key).then(|| format!("write a space after the colon of `{key}:`"))
}

/// Returns the key that `text` begins with, if a blank or a `=` follows it in place of the colon, as in `kind webshare`.
pub(crate) fn key_without_colon(text: &str) -> Option<&str> {
    let end = text.find(|one: char| one.is_whitespace() || one == '=')?;
    let (key, rest) = text.split_at(end);
    let has_value =
        !rest.trim_start_matches(|one: char| one.is_whitespace() || one == '=').is_empty();
    // In `kind: webshare`, the colon belongs to the first word.
    let is_key = is_name(key) && key.len() > 3 && is_near_a_key(key);
    (has_value && is_key).then_some(key)
}

/// Returns the key of a line such as `password:x`, in which YAML sees no key.
pub(crate) fn key_without_space(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let (key, rest) = line.strip_prefix("- ").unwrap_or(line).trim_start().split_once(':')?;
    let is_text = rest.starts_with(|next: char| !next.is_whitespace() && next != '/');
    // Only the name of a key, or nearly so, is one. In `alice:x` either part may be a secret.
    (is_text && is_name(key) && key.len() > 3 && is_near_a_key(key)).then_some(key)
}

/// The keys of the sections that have a fixed set of keys.
pub(crate) const OF_SECTIONS: [(&str, &[&str]); 4] = [
    ("server", &["listen", "auth", "via", "upgrades", "protocols", "workers"]),
    (
        "timeouts",
        &["header", "connect", "handshake", "response", "stall", "idle", "half_closed", "drain"],
    ),
    ("limits", &["connections", "header_bytes", "header_fields"]),
    ("log", &["level", "format", "access"]),
];

/// Keys that only hops have. A key that is also a likely name of a hop is left out.
pub(crate) const OF_HOP: [&str; 24] = [
    "kind",
    "enabled",
    "on_leave",
    "budget",
    "rotate_after",
    "address",
    "auth",
    "username",
    "password",
    "password_file",
    "nt_hash",
    "kerberos",
    "tls",
    "ports",
    "country",
    "city",
    "session",
    "sessions",
    "members",
    "members_from",
    "pick",
    "url",
    "headers",
    "pass_headers",
];

/// Every other key of more than three letters.
const OTHERS: [&str; 21] = [
    "cert",
    "client_ca",
    "bytes",
    "zone",
    "warn",
    "then",
    "ccache",
    "keytab",
    "principal",
    "server_name",
    "file",
    "scheme",
    "unknown",
    "otherwise",
    "when",
    "resolves",
    "address_in",
    "interface",
    "reachable",
    "hosts",
    "chain",
];

/// Longer than every key.
const KEY_CHARS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_without_its_colon_is_found() {
        for text in ["kind webshare", "kind=webshare", "password  = x", "listen \"127.0.0.1:1\""] {
            assert!(key_without_colon(text).is_some(), "{text}");
        }
        for other in ["kind: webshare", "address: a:1", "kind", "kind=", "hunter two", ""] {
            assert_eq!(key_without_colon(other), None, "{other}");
        }
    }

    #[test]
    fn only_keys_and_close_misspellings_are_near() {
        for key in ["password", "pasword", "Password", "adress", "nt-hash", "kind", "listen"] {
            assert!(is_near_a_key(key), "{key}");
        }
        for other in ["hunter", "secret", "passwordhunter", "kin", "mind", "alice", "", "x"] {
            assert!(!is_near_a_key(other), "{other}");
        }
    }
}
