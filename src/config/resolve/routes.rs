//! Resolves routes to the chains that they name.

use std::{collections::HashMap, num::NonZeroU16};

use mooltiroute_hops::{Key, KeyPath};

use crate::config::resolve::{Names, Part, Resolver, chains::DEFAULT};
use crate::{
    config::{ChainConfig, Problem, Route, raw, report::host_pattern},
    router::{Router, Rule},
};

impl Resolver<'_> {
    /// Reads the routes in written order. If none is written, everything takes chain `default`.
    pub(crate) fn routes(&mut self, chains: &[ChainConfig], chain_names: &Names) -> Vec<Route> {
        let section = KeyPath::of(["routes"]);
        let count = match self.tree.length(&section) {
            Ok(count) => count,
            Err(problems) => {
                self.problems.extend(problems.0);
                return Vec::new();
            }
        };
        if count == 0 {
            return self.default_route(chains, chain_names).into_iter().collect();
        }
        let paths = (0..count).map(|index| section.clone().then(Key::Index(index)));
        let by_name = chains.iter().enumerate().map(|(index, chain)| (&*chain.name, index));
        let chains: HashMap<&str, usize> = by_name.collect();
        let routes: Vec<Route> =
            paths.filter_map(|path| self.route(&path, &chains, chain_names)).collect();
        // What an invalid route would have taken is unknown, so warnings about the other routes could be
        // wrong.
        if routes.len() == count {
            self.warn_of_routes(&routes);
            self.warn_of_networks(count);
        }
        routes
    }

    /// Warns of targets without a route, and of routes that can never apply.
    fn warn_of_routes(&mut self, routes: &[Route]) {
        let section = KeyPath::of(["routes"]);
        // Checked before the router is built, whose table has an entry for each pair.
        if routes.iter().map(|route| route.rule.pairs()).sum::<usize>() > PAIRS_MAX {
            let message =
                format!("the routes have over {PAIRS_MAX} combinations of a host and a port");
            let problem = self.tree.problem(&section, Part::Key, "size", message);
            self.problems.push(problem.with_help("write fewer ports, or leave `ports` out"));
            return;
        }
        let router = Router::new(routes.iter().map(|route| &route.rule));
        for (index, route) in routes.iter().enumerate() {
            let Some(before) = router.covering(index, &route.rule) else { continue };
            if self.warnings.skips() {
                continue;
            }
            let path = section.clone().then(Key::Index(index));
            let message = format!(
                "this route never applies, because the routes before it, up to `routes[{before}]`, take all of its targets"
            );
            let problem = self.tree.problem(&path, Part::Value, "never", message);
            self.warnings.push(problem.with_help("move it up, or remove it"));
        }
        if !routes.iter().any(|route| route.rule.is_for_everything()) {
            let message = "no route is for all hosts, so requests for other hosts are refused";
            let mut problem = self.tree.problem(&section, Part::Key, "no-default", message);
            let mut help = "write a last one, such as `- { chain: default }`";
            // The log has no help, so the message says it too.
            if let Some(first) = problem.first.take() {
                problem.message =
                    format!("these routes take the place of all at {first}; {message}");
                help = "routes of several files are not joined: write all in one file, with one such as `- { chain: default }` \
                        as the last";
            }
            self.warnings.push(problem.with_help(help));
        }
    }

    /// Warns of addresses that are probably networks without their prefixes.
    fn warn_of_networks(&mut self, count: usize) {
        for index in 0..count {
            let path = KeyPath::of(["routes"]).then(Key::Index(index));
            let path = path.then(Key::Name("hosts".to_owned()));
            for entry in 0..self.tree.list(&path).map_or(0, <[_]>::len) {
                let path = path.clone().then(Key::Index(entry));
                let text = self.tree.value(&path).and_then(|value| value.as_str());
                let Some(network) = text.and_then(host_pattern::without_prefix) else { continue };
                if self.warnings.skips() {
                    continue;
                }
                let message =
                    "this is one address; a network has its size after it, as in `10.0.0.0/8`";
                let problem = self.tree.problem(&path, Part::Value, "no-prefix", message);
                let address = network.addr();
                let help = match self.tree.is_hidden(&path) {
                    false => format!("write `{network}`, or `{address}/32` for this one address"),
                    true => "write `NETWORK/PREFIX`, such as `10.0.0.0/8`".to_owned(),
                };
                self.warnings.push(problem.with_help(help));
            }
        }
    }

    fn default_route(&mut self, chains: &[ChainConfig], chain_names: &Names) -> Option<Route> {
        let path = KeyPath::of(["chains", "default"]);
        let Some(chain) = chains.iter().position(|chain| &*chain.name == DEFAULT) else {
            if chain_names.is_some() && !self.problems.skips() {
                let message =
                    "there is neither a route nor a chain `default`, so no request can be served";
                // There is no text to point at, so the problem is shown at the section that the operator has
                // begun.
                let section = ["chains", "hops"].map(|section| KeyPath::of([section]));
                let place = section.iter().find(|path| self.tree.value(path).is_some());
                let place = place.unwrap_or(&section[0]);
                let problem = self.tree.problem(place, Part::Key, "no-default", message);
                let path = Problem::new(&section[0], "no-default", "").path;
                // A name in other letters is another name.
                let near = chains.iter().find(|chain| chain.name.eq_ignore_ascii_case(DEFAULT));
                let help = match near {
                    Some(chain) => format!("write `default` in place of `{}`", chain.name),
                    None => "write `chains: { default: [HOP] }` with the hops in the order of travel, or \
                             `chains: { default: [] }` to go direct"
                        .to_owned(),
                };
                self.problems.push(Problem { path, ..problem }.with_help(help));
            }
            return None;
        };
        let place = self.tree.place(&path, Part::Key);
        Some(Route { rule: Rule::default(), chain, place })
    }

    fn route(
        &mut self,
        path: &KeyPath,
        chains: &HashMap<&str, usize>,
        chain_names: &Names,
    ) -> Option<Route> {
        let raw::RawRoute { hosts, ports, chain } = self.read(path)?;
        // An empty list reads as if it matched nothing, but it would match everything, as an omitted key
        // does.
        for (key, is_empty) in [
            ("hosts", hosts.as_ref().is_some_and(Vec::is_empty)),
            ("ports", ports.as_ref().is_some_and(Vec::is_empty)),
        ] {
            if is_empty {
                let path = path.clone().then(Key::Name(key.to_owned()));
                self.invalid(&path, format!("is empty; leave `{key}` out to match all"));
            }
        }
        let Some(index) = chains.get(&*chain).copied() else {
            let path = path.clone().then(Key::Name("chain".to_owned()));
            self.unknown_chain(&path, &chain, chain_names);
            return None;
        };
        let ports = ports.unwrap_or_default().into_iter().map(NonZeroU16::get).collect();
        let rule = Rule::new(hosts.unwrap_or_default(), ports);
        let place = self.tree.place(path, Part::Value);
        Some(Route { rule, chain: index, place })
    }

    /// Reports that there is no chain of the name at `path`, unless the names are not known or the name could not be
    /// read, which is reported already.
    pub(super) fn unknown_chain(&mut self, path: &KeyPath, name: &str, known: &Names) {
        let Some(known) = known else { return };
        if self.failed.contains(path) || self.problems.skips() {
            return;
        }
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let mut problem = self.unknown_name(path, path, "chain", &known);
        // A chain is asked for, even if it has one hop only.
        if self.tree.value(&KeyPath::of(["hops", name])).is_some() {
            let help = "that is a hop; write a chain of it below `chains`, as in `NAME: [HOP]`";
            problem.help.get_or_insert_with(|| help.into());
        }
        self.problems.push(problem);
    }
}

/// The limit of host and port pairs. Each costs a look-up and an entry of the router.
const PAIRS_MAX: usize = 100_000;
