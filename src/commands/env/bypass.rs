//! The hosts that clients may reach without the proxy, for `no_proxy`.

use crate::{
    config::{ChainConfig, Config, Route},
    router::bypassed_hosts,
};

/// Returns the entries of `no_proxy`: hosts that every route of `config` sends direct, whatever the port.
pub(in crate::commands) fn no_proxy(config: &Config) -> Vec<String> {
    let routes: Vec<_> =
        config.routes.iter().map(|route| (&route.rule, is_direct(route, config))).collect();
    bypassed_hosts(&routes)
}

/// Returns whether the chain of `route` is written without hops. One whose hops are only switched off may have them again in
/// another network, or after the next edit, and a program reads its variables once.
fn is_direct(route: &Route, config: &Config) -> bool {
    let is_direct = |chain: &ChainConfig| chain.hops.is_empty() && chain.switched_off.is_empty();
    config.chains.get(route.chain).is_some_and(is_direct)
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
