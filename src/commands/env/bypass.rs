//! The hosts that clients may reach without the proxy, for `no_proxy`.

use ipnet::IpNet;

use crate::{
    config::{ChainConfig, Config, Route},
    router::{HostPattern, RuleParts},
};

/// Returns the entries of `no_proxy`: hosts that every route sends direct, whatever the port.
///
/// Programs disagree on how far an entry reaches. For most of them `example.com` stands for all names below it too, for
/// some `.example.com` stands for `example.com` itself. So a name becomes an entry only if it goes direct together with
/// everything below it; else a program could go around a hop that the configuration asks for. Python's requests compares
/// the ends of names without a dot between them, so `example.com` also stands for `my-example.com` and `localhost` for
/// `api.localhost`. An entry is left out if the configuration sends such a host through a hop. A host that is left out
/// still goes direct, by way of the proxy.
pub(in crate::commands) fn no_proxy(config: &Config) -> Vec<String> {
    let mut entries = Vec::new();
    let direct = config.routes.iter().filter(|route| is_direct(route, config));
    for pattern in direct.flat_map(|route| route.rule.parts().hosts) {
        let (entry, reach) = match pattern {
            HostPattern::Name(name) | HostPattern::Suffix(name) => (name.to_string(), below(name)),
            HostPattern::Network(_) => (pattern.to_string(), vec![pattern.clone()]),
        };
        let is_safe = reach.iter().all(|reached| goes_direct(reached, config))
            && !ends_a_name_of_a_hop(&entry, config);
        if is_safe && !entries.contains(&entry) {
            entries.push(entry);
        }
    }
    entries
}

/// Returns the patterns that an entry for `name` may stand for.
fn below(name: &std::sync::Arc<str>) -> Vec<HostPattern> {
    let exact = HostPattern::Name(name.clone());
    // RFC 6761 section 6.3: names below `localhost` are this machine too, and no program asks a proxy for them.
    if &**name == "localhost" {
        return vec![exact];
    }
    vec![exact, HostPattern::Suffix(name.clone())]
}

/// Returns whether `entry` is the end of a name that a route sends through hops.
fn ends_a_name_of_a_hop(entry: &str, config: &Config) -> bool {
    let through_hops = config.routes.iter().filter(|route| !is_direct(route, config));
    through_hops.flat_map(|route| route.rule.parts().hosts).any(|pattern| match pattern {
        HostPattern::Name(name) | HostPattern::Suffix(name) => {
            name.ends_with(entry) && !goes_direct(pattern, config)
        }
        HostPattern::Network(_) => false,
    })
}

/// Returns whether every target of `pattern` goes direct. The first route that matches decides, so a route through hops
/// that takes only some of the targets, or some of their ports, is enough for a no.
fn goes_direct(pattern: &HostPattern, config: &Config) -> bool {
    // In the order in which the proxy tries them, until one decides for all of the pattern.
    for route in &config.routes {
        let RuleParts { hosts, ports } = route.rule.parts();
        if is_direct(route, config) {
            let is_all = hosts.is_empty() || hosts.iter().any(|wider| covers(wider, pattern));
            if is_all && ports.is_empty() {
                return true;
            }
        } else if hosts.is_empty() || hosts.iter().any(|other| overlap(other, pattern)) {
            return false;
        }
    }
    false
}

/// Returns whether the chain of `route` is written without hops. One whose hops are only switched off may have them again in
/// another network, or after the next edit, and a program reads its variables once.
fn is_direct(route: &Route, config: &Config) -> bool {
    let is_direct = |chain: &ChainConfig| chain.hops.is_empty() && chain.switched_off.is_empty();
    config.chains.get(route.chain).is_some_and(is_direct)
}

fn overlap(one: &HostPattern, other: &HostPattern) -> bool {
    covers(one, other) || covers(other, one)
}

/// Returns whether `wider` matches every host that `pattern` matches.
fn covers(wider: &HostPattern, pattern: &HostPattern) -> bool {
    match (wider, pattern) {
        (HostPattern::Name(wider), HostPattern::Name(name)) => wider == name,
        (HostPattern::Suffix(wider), HostPattern::Name(name)) => is_below(name, wider),
        (HostPattern::Suffix(wider), HostPattern::Suffix(suffix)) => {
            wider == suffix || is_below(suffix, wider)
        }
        (HostPattern::Network(IpNet::V4(wider)), HostPattern::Network(IpNet::V4(network))) => {
            wider.contains(network)
        }
        (HostPattern::Network(IpNet::V6(wider)), HostPattern::Network(IpNet::V6(network))) => {
            wider.contains(network)
        }
        _ => false,
    }
}

fn is_below(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mooltiroute_hops::kinds;

    use super::*;
    use crate::config::{Environment, Loader, Overrides, Source};

    #[track_caller]
    fn check(routes: &str, expected: &[&str]) {
        let yaml = format!(
            "hops: {{ h: {{ kind: http-connect, address: 'h.test:1' }} }}\n\
             chains: {{ default: [h] }}\nroutes: [{routes}, {{ chain: default }}]\n"
        );
        let source = Source::Text(yaml.as_str().into());
        let environment = Environment::new(|_| None, Path::new(""));
        let loader = Loader::new(source, Overrides::default(), kinds::builtin(), environment);
        assert_eq!(no_proxy(&loader.load().unwrap()), expected, "{routes}");
    }

    #[test]
    fn a_chain_whose_hop_is_switched_off_is_not_direct_for_certain() {
        let yaml = "hops: { h: { kind: http-connect, address: 'h.test:1', enabled: false } }\n\
                    chains: { default: [], off: [h] }\n\
                    routes: [{ hosts: [a.test, '*.a.test'], chain: off }, { hosts: [10.0.0.0/8], chain: default }, { chain: default }]\n";
        let source = Source::Text(yaml.into());
        let environment = Environment::new(|_| None, Path::new(""));
        let loader = Loader::new(source, Overrides::default(), kinds::builtin(), environment);
        assert_eq!(no_proxy(&loader.load().unwrap()), ["10.0.0.0/8"]);
    }

    #[test]
    fn only_hosts_that_go_direct_for_certain_are_bypassed() {
        check(
            "{ hosts: [localhost, 127.0.0.0/8, '::1'], chain: direct }",
            &["localhost", "127.0.0.0/8", "::1"],
        );
        check("{ hosts: ['*.corp.test', corp.test], chain: direct }", &["corp.test"]);
        check("{ hosts: [corp.test], chain: direct }", &[]);
        check("{ hosts: ['*.corp.test'], chain: direct }", &[]);
        check("{ hosts: [10.0.0.0/8], ports: [80], chain: direct }", &[]);
        check(
            "{ hosts: [10.1.0.0/16], chain: default }, { hosts: [10.0.0.0/8], chain: direct }",
            &[],
        );
        check(
            "{ hosts: [a.corp.test], ports: [22], chain: default }, \
             { hosts: [corp.test, '*.corp.test'], chain: direct }",
            &[],
        );
        check(
            "{ hosts: [other.test], chain: default }, \
             { hosts: [corp.test, '*.corp.test', 10.1.2.3], chain: direct }",
            &["corp.test", "10.1.2.3"],
        );
    }

    #[test]
    fn an_entry_that_ends_another_name_on_its_way_through_a_hop_is_left_out() {
        const LOCAL: &str = "{ hosts: [localhost, 127.0.0.1], chain: direct }";
        for host in ["api.localhost", "'*.api.localhost'", "'*.localhost'", "mylocalhost"] {
            let through_hop = format!("{{ hosts: [{host}], chain: default }}");
            check(&format!("{through_hop}, {LOCAL}"), &["127.0.0.1"]);
            check(&format!("{LOCAL}, {through_hop}"), &["127.0.0.1"]);
        }
        // The first route that matches decides, so this one has no effect.
        check(
            "{ hosts: [localhost, '*.localhost'], chain: direct }, \
             { hosts: [api.localhost], chain: default }",
            &["localhost"],
        );
        check(
            "{ hosts: [my-corp.test], chain: default }, \
             { hosts: [corp.test, '*.corp.test'], chain: direct }",
            &[],
        );
    }
}
