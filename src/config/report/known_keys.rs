//! The keys that any part of a configuration has.

/// Returns whether `name` is a key of some section or hop, or a misspelling of one.
///
/// Such a text is a key wherever it is, and no secret. The misspelling must be close, and keys of up to three letters are
/// left out, since a short text is near them by coincidence.
pub(crate) fn is_near_a_key(name: &str) -> bool {
    // The distance costs the product of the lengths, and a long text is no key.
    if name.chars().nth(KEY_CHARS_MAX).is_some() {
        return false;
    }
    let name = name.to_ascii_lowercase().replace('-', "_");
    let is_near = |key: &&str| {
        strsim::damerau_levenshtein(key, &name) <= key.len() / 5 + 1 - usize::from(key.len() < 5)
    };
    KEYS.iter().any(is_near)
}

/// The keys of all sections and of all kinds of hops that have more than three letters.
const KEYS: [&str; 67] = [
    "server",
    "timeouts",
    "limits",
    "hops",
    "chains",
    "routes",
    "listen",
    "protocols",
    "workers",
    "auth",
    "upgrades",
    "cert",
    "client_ca",
    "header",
    "connect",
    "handshake",
    "response",
    "stall",
    "idle",
    "half_closed",
    "drain",
    "connections",
    "header_bytes",
    "header_fields",
    "level",
    "format",
    "access",
    "kind",
    "enabled",
    "on_leave",
    "budget",
    "bytes",
    "zone",
    "warn",
    "then",
    "rotate_after",
    "address",
    "username",
    "password",
    "password_file",
    "nt_hash",
    "kerberos",
    "ccache",
    "keytab",
    "principal",
    "server_name",
    "headers",
    "pass_headers",
    "ports",
    "country",
    "city",
    "session",
    "sessions",
    "members",
    "members_from",
    "file",
    "scheme",
    "pick",
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
    fn only_keys_and_close_misspellings_are_near() {
        for key in ["password", "pasword", "Password", "adress", "nt-hash", "kind", "listen"] {
            assert!(is_near_a_key(key), "{key}");
        }
        for other in ["hunter", "secret", "passwordhunter", "kin", "mind", "alice", "", "x"] {
            assert!(!is_near_a_key(other), "{other}");
        }
    }
}
