//! Suggests the nearest known name ("did you mean").

use crate::config::report::problem::is_too_long;

/// Returns the one of `known` that `name` is most likely a misspelling of.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The distance costs the product of the lengths, and a long text is not a misspelling.
    if is_too_long(name) {
        return None;
    }
    let plain = |text: &str| text.to_lowercase().replace('_', "-");
    let name = plain(name);
    let known: Vec<&str> = known.into_iter().take(KNOWN_MAX).collect();
    let distance = |one: &str| strsim::damerau_levenshtein(&plain(one), &name);
    let (distance, nearest) = known.iter().map(|one| (distance(one), *one)).min()?;
    if distance <= (name.chars().count() / 3).max(1) {
        return Some(nearest);
    }
    // One may abbreviate the other, as `user` does `username`. Other programs also use other words.
    let is_short = |short: &str, long: &str| short.len() >= SHORT_MIN && long.starts_with(short);
    let is_related = |one: &str| is_short(&name, one) || is_short(one, &name);
    let elsewhere = ELSEWHERE.iter().find(|(other, _)| *other == name).map(|(_, ours)| *ours);
    known.into_iter().find(|one| is_related(&plain(one)) || elsewhere == Some(*one))
}

/// Returns the one of `known` that `name` spells differently, or that other programs call `name`.
///
/// It is one of `known` and not a part of `name`, so it may be shown even if `name` may not.
pub(crate) fn same_name<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    if is_too_long(name) {
        return None;
    }
    let plain = |text: &str| text.to_lowercase().replace(['_', '-', ' '], "");
    let name = plain(name);
    let elsewhere = ELSEWHERE.iter().find(|(other, _)| plain(other) == name).map(|(_, ours)| *ours);
    known.iter().copied().find(|one| plain(one) == name || elsewhere == Some(*one))
}

/// Names that other programs use for a setting, with ours.
const ELSEWHERE: [(&str, &str); 37] = [
    ("http", "http-connect"),
    ("kerberos", "negotiate"),
    ("krb5", "negotiate"),
    ("spnego", "negotiate"),
    ("gssapi", "negotiate"),
    ("sspi", "negotiate"),
    ("ntlmv2", "ntlm"),
    ("ntlm2", "ntlm"),
    ("rr", "round-robin"),
    ("cycle", "round-robin"),
    ("rand", "random"),
    ("leastconn", "least-used"),
    ("least-conn", "least-used"),
    ("least-connections", "least-used"),
    ("ip-hash", "sticky"),
    ("source-hash", "sticky"),
    ("fallback", "failover"),
    ("fifo", "failover"),
    ("first", "failover"),
    ("priority", "failover"),
    ("socks", "socks5"),
    ("socks5h", "socks5"),
    ("socks4", "socks4a"),
    ("load-balance", "pool"),
    ("url-test", "pool"),
    ("balancer", "pool"),
    ("critical", "error"),
    ("fatal", "error"),
    ("notice", "info"),
    ("silent", "off"),
    ("verbose", "debug"),
    ("host", "address"),
    ("port", "address"),
    ("server", "address"),
    ("url", "address"),
    ("type", "kind"),
    ("domains", "hosts"),
];

/// The number of names that are compared. More are not worth the time.
const KNOWN_MAX: usize = 1_000;

/// A shorter common beginning is coincidence.
const SHORT_MIN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_another_spelling_is_known_without_being_shown() {
        let picks = ["failover", "round-robin", "random", "sticky", "least-used"];
        for name in ["roundrobin", "RoundRobin", "round_robin", "round robin", "rr", "RR"] {
            assert_eq!(same_name(name, &picks), Some("round-robin"), "{name}");
        }
        assert_eq!(same_name("LEAST_CONN", &picks), Some("least-used"));
        assert_eq!(same_name("Kerberos", &["negotiate", "ntlm"]), Some("negotiate"));
        // A name that is only near says something about the value that may be hidden.
        assert_eq!(same_name("stick", &picks), None);
        assert_eq!(same_name("kerberos", &["ntlm"]), None);
        assert_eq!(same_name("", &picks), None);
    }

    #[track_caller]
    fn check(name: &str, known: &[&str], expected: Option<&str>) {
        assert_eq!(nearest(name, known.iter().copied()), expected);
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        check("http-conect", &["http-connect", "webshare"], Some("http-connect"));
        check("HTTP_CONNECT", &["http-connect", "webshare"], Some("http-connect"));
        check("lisen", &["listen", "auth", "via"], Some("listen"));
        check("port", &["listen", "auth", "via"], None);
        check("user", &["username", "password"], Some("username"));
        check("user", &["kind", "tls", "username", "password"], Some("username"));
        check("http", &["http-connect", "webshare"], Some("http-connect"));
        check("host", &["kind", "address"], Some("address"));
        check("host", &["hosts", "address"], Some("hosts"));
        check("warning", &["off", "error", "warn", "info"], Some("warn"));
        check("", &["a-name"], None);
        check(&"x".repeat(100_000), &["listen"], None);
    }
}
