//! The keys of other programs, each with the line to write instead.

mod accounts;
mod conditional;
mod hop;
mod nested;
mod routes;
mod sections;
mod top;

use mooltiroute_hops::Key;

pub(super) use accounts::ONE_ACCOUNT_HERE;
pub(super) use routes::FOR_EVERYTHING;
pub(super) use sections::LOG_FILE;

/// Keys that mean the same in other programs, with what to write here.
struct OtherKeys {
    /// The keys, in lower case and with `_`.
    keys: &'static [&'static str],
    /// The advice. `PORT` in it stands for a number that is written at the key.
    help: &'static str,
    /// A key that must be known beside it, so that the advice is possible; empty if there is none.
    needs: &'static str,
}

/// Returns what to write instead of `name` below `above`, if other programs have such a key.
pub(super) fn instead(above: &[Key], name: &str, known: &[&str]) -> Option<&'static str> {
    let name = plain(name);
    let is_possible =
        |others: &&OtherKeys| others.needs.is_empty() || known.contains(&others.needs);
    let mut others = tables(above).into_iter().flatten();
    let found = others.find(|others| others.keys.contains(&&*name) && is_possible(others));
    found.map(|others| others.help)
}

/// Returns whether some other program has a key `name`, and so does not have it as a secret.
pub(in crate::config::yaml::tree) fn is_listed(name: &str) -> bool {
    let name = plain(name);
    let mut all = ALL.into_iter().chain(nested::ALL).chain(conditional::ALL).flatten();
    all.any(|others| others.keys.contains(&&*name))
}

/// Returns whether `name` is a word for a route that takes what no other route takes.
pub(super) fn means_everything(name: &str) -> bool {
    routes::EVERYTHING.contains(&&*plain(name))
}

fn plain(name: &str) -> String {
    name.to_ascii_lowercase().replace('-', "_")
}

/// Returns the tables of the keys below `above`, in the order in which they are searched.
fn tables(above: &[Key]) -> [&'static [OtherKeys]; 3] {
    let names: Vec<&str> = above.iter().map(|key| key.name().unwrap_or_default()).collect();
    let (first, second): (&[OtherKeys], &[OtherKeys]) = match names[..] {
        [] => (&top::TOP, &[]),
        ["server"] => (&sections::SERVER, &[]),
        ["server", "auth"] => (&accounts::AUTH, &[]),
        ["timeouts"] => (&sections::TIMEOUTS, &[]),
        ["limits"] => (&sections::LIMITS, &[]),
        ["log"] => (&sections::LOG, &[]),
        ["hops", _] | ["hops", _, "members", _] => (&nested::HOP, &hop::HOP),
        ["hops", _, "tls"] | ["hops", _, "members", _, "tls"] => (&hop::HOP_TLS, &[]),
        ["hops", _, "enabled"] => (&conditional::ENABLED, &[]),
        ["hops", _, "enabled", ..] => (&conditional::CONDITION, &[]),
        ["hops", _, key] => (nested::below(key), &[]),
        ["chains", _] => (&routes::CHAIN, &[]),
        ["routes", _] => (&routes::ROUTE, &[]),
        _ => (&[], &[]),
    };
    [first, second, &ANYWHERE]
}

/// Describes keys that need no other key.
const fn keys(keys: &'static [&'static str], help: &'static str) -> OtherKeys {
    OtherKeys { keys, help, needs: "" }
}

impl OtherKeys {
    const fn beside(self, needs: &'static str) -> Self {
        Self { needs, ..self }
    }
}

/// Words for requests that are repeated.
const RETRIES: &[&str] =
    &["retries", "retry", "max_retries", "attempts", "max_attempts", "tries", "retry_count"];
/// Words for a limit of requests in a time.
const RATES: &[&str] = &[
    "requests_per_second",
    "rate",
    "rate_limit",
    "rps",
    "qps",
    "max_requests",
    "throttle",
    "requests_per_minute",
    "rpm",
];
/// Words for checks of hops ahead of requests.
const HEALTH_CHECKS: &[&str] = &[
    "health",
    "healthy",
    "health_check",
    "healthcheck",
    "health_checks",
    "check",
    "checks",
    "check_interval",
    "probe_interval",
    "liveness",
    "max_fails",
    "fail_timeout",
    "probe",
    "probes",
];

/// All tables but those of `nested` and `conditional`.
const ALL: [&[OtherKeys]; 11] = [
    &top::TOP,
    &sections::SERVER,
    &accounts::AUTH,
    &sections::TIMEOUTS,
    &sections::LIMITS,
    &sections::LOG,
    &hop::HOP,
    &hop::HOP_TLS,
    &routes::CHAIN,
    &routes::ROUTE,
    &ANYWHERE,
];

/// Keys that are written in any section.
const ANYWHERE: [OtherKeys; 5] = [
    keys(
        &["warm", "spare", "spares", "keepalive", "keep_alive", "prewarm"],
        "a chain keeps connections ready: write `chains: { NAME: { hops: [HOP], warm: 2 } }`",
    ),
    keys(
        RATES,
        "there is no limit of requests per second; `limits: { connections: 10000 }` limits the clients, and `budget: { \
         bytes: 5GiB, per: month }` the bytes of a hop",
    ),
    keys(&["metrics", "prometheus"], "metrics are at `/metrics` of the listener; remove this key"),
    keys(
        RETRIES,
        "no request is repeated; a pool uses another member if one does not connect: `hops: { NAME: { kind: pool, members: \
         [HOP, HOP] } }`",
    ),
    keys(
        HEALTH_CHECKS,
        "no hop is checked ahead; a pool learns from requests which of its members work: `hops: { NAME: { kind: pool, \
         members: [HOP, HOP] } }`",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_in_a_table_twice() {
        for table in ALL.into_iter().chain(nested::ALL).chain(conditional::ALL) {
            let needs =
                |others: &'static OtherKeys| others.keys.iter().map(|key| (*key, others.needs));
            let mut all: Vec<_> = table.iter().flat_map(needs).collect();
            let count = all.len();
            all.sort();
            all.dedup();
            assert_eq!(all.len(), count);
            assert!(
                all.iter().all(|(key, _)| key
                    .bytes()
                    .all(|one| !one.is_ascii_uppercase() && one != b'-'))
            );
        }
    }

    #[test]
    fn advice_is_given_only_if_it_is_possible() {
        let hop = [Key::Name("hops".into()), Key::Name("a".into())];
        assert_eq!(instead(&hop, "Skip-Verify", &["ca"]), None);
        assert!(instead(&hop, "Skip-Verify", &["tls"]).is_some());
        assert_eq!(instead(&hop, "hops", &["address"]), None);
        assert_eq!(instead(&[Key::Name("x-mine".into())], "port", &[]), None);
    }
}
