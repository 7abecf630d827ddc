//! Proxies and patterns that are written in place of the name of a hop.

use mooltiroute_hops::{Authority, Key, KeyPath};

use crate::config::{
    Problem,
    report::proxy_url::{listed_instead, settings_instead},
    resolve::{Part, Resolver},
};

impl Resolver<'_> {
    /// Returns the problem that a proxy is written at `place`, which takes the name of a hop.
    pub(super) fn proxy_for_name(&self, place: &KeyPath) -> Problem {
        let message = "expected the name of a hop, found the address of a proxy";
        let problem = self.tree.problem(place, Part::Value, "unknown-hop", message);
        let is_member = place.keys().iter().any(|key| key.name() == Some("members"));
        problem.with_help(if is_member { PROXIES_AS_MEMBERS } else { PROXY_AS_HOP })
    }
}

/// Returns whether `name` is a URL, an address with a port or a line of a list of proxies, and so the name of no hop.
pub(super) fn is_proxy(name: &str) -> bool {
    name.parse::<Authority>().is_ok()
        || settings_instead(name, true).is_some()
        || listed_instead(name, true).is_some()
}

/// Returns what to write at `place` instead of `name`, if that was not meant as the name of a hop.
pub(super) fn instead_of_name(place: &KeyPath, name: &str, known: &[&str]) -> Option<String> {
    let is_pattern =
        matches!(place.keys().last(), Some(Key::Name(last)) if last.eq_ignore_ascii_case("direct"));
    if name.eq_ignore_ascii_case("direct") && !is_pattern {
        return direct_for_name(place).map(str::to_owned);
    }
    // In the `hops` of a PAC hop, a pattern leads to a hop. People also write the hop first.
    let [_, _, Key::Name(hops), Key::Name(pattern)] = place.keys() else { return None };
    if hops != "hops" {
        return None;
    }
    if pattern.eq_ignore_ascii_case("direct") {
        return Some(
            "remove this entry: `DIRECT` in a PAC file leaves this hop out without one".to_owned(),
        );
    }
    let is_known = known.contains(&pattern.as_str());
    is_known
        .then(|| format!("the pattern of a proxy comes first, as in `\"HOST:PORT\": {pattern}`"))
}

/// Returns what to write at `place` instead of `direct`, which is not a hop.
fn direct_for_name(place: &KeyPath) -> Option<&'static str> {
    let key = |index: usize| place.keys().get(index).and_then(Key::name);
    Some(match (key(2)?, place.keys().len()) {
        ("unknown", 3) => {
            "a proxy that the PAC file names is never left out: write `unknown: HOP`, or `unknown: refuse`"
        }
        ("hops", 4) => {
            "write the name of a hop, or leave this entry out; `DIRECT` in a PAC file leaves this hop out without one"
        }
        ("members", _) => {
            "going direct is not a hop; for targets that go direct write a route, as in `routes: [{ hosts: [HOST], chain: direct }, { \
             chain: default }]`"
        }
        _ => return None,
    })
}

const PROXIES_AS_MEMBERS: &str = "write the proxies into a file, one `HOST:PORT:USER:PASSWORD` or URL a line, and \
                                  `members_from: { file: FILE }` in place of `members`";
const PROXY_AS_HOP: &str = "write the proxy as a hop, as in `hops: { NAME: { kind: http-connect, address: \"HOST:PORT\" } }`, \
                            and its name here";
