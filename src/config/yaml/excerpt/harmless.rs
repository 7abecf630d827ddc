//! Decides which keys and values are known to be no secret.

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
    is_setting && is_expected && !text.contains('@') && !text.contains("://")
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
