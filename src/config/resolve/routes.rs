//! The routes of a configuration, to chains that exist.

use std::num::NonZeroU16;

use mooltiroute_hops::{Key, KeyPath};

use super::{Names, Part, Resolver, chains::DIRECT};
use crate::{
    config::{Chain, Problem, Route, raw},
    router::Rule,
};

impl Resolver<'_> {
    /// The routes in written order; where none is written, everything takes chain `default`.
    pub(super) fn routes(&mut self, chains: &[Chain], chain_names: &Names) -> Vec<Route> {
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
        let routes: Vec<Route> =
            paths.filter_map(|path| self.route(&path, chains, chain_names)).collect();
        let is_everything = |route: &Route| route.rule == Rule::default();
        match routes.iter().position(is_everything) {
            None if routes.len() == count => {
                let message = "no route is for everything: what none is for is refused";
                let problem = self.tree.problem(&section, Part::Key, "no-default", message);
                self.warnings
                    .push(problem.with_help("write a last one, such as `- { chain: default }`"));
            }
            Some(first) if first + 1 < routes.len() && routes.len() == count => {
                let path = section.then(Key::Index(first + 1));
                let message =
                    "this route, and any after it, never applies: the one before is for everything";
                self.warnings.push(self.tree.problem(&path, Part::Value, "never", message));
            }
            _ => {}
        }
        routes
    }

    fn default_route(&mut self, chains: &[Chain], chain_names: &Names) -> Option<Route> {
        let path = KeyPath::of(["chains", "default"]);
        let Some(chain) = chains.iter().position(|chain| &*chain.name == "default") else {
            if chain_names.is_some() {
                let message = "there is no route, and no chain `default` for everything to take";
                let problem = Problem::new(&KeyPath::of(["chains"]), "no-default", message);
                self.problems.push(problem.with_help(
                    "write `chains: { default: [HOP] }` with the hops in the order of travel, or \
                     `chains: { default: [] }` to go direct",
                ));
            }
            return None;
        };
        let place = self.tree.problem(&path, Part::Key, "", "").place;
        Some(Route { rule: Rule::default(), chain, place })
    }

    fn route(&mut self, path: &KeyPath, chains: &[Chain], chain_names: &Names) -> Option<Route> {
        let raw::Route { hosts, ports, chain } = self.read(path)?;
        for (key, is_empty) in [
            ("hosts", hosts.as_ref().is_some_and(Vec::is_empty)),
            ("ports", ports.as_ref().is_some_and(Vec::is_empty)),
        ] {
            if is_empty {
                let path = path.clone().then(Key::Name(key.to_owned()));
                self.invalid(&path, format!("is empty; leave `{key}` out to match all"));
            }
        }
        let Some(index) = chains.iter().position(|known| *known.name == *chain) else {
            let path = path.clone().then(Key::Name("chain".to_owned()));
            if let Some(known) = chain_names
                && !self.failed.contains(&path)
                && chain != DIRECT
            {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                self.unknown_name(&path, &path, "chain", &known);
            }
            return None;
        };
        let ports = ports.unwrap_or_default().into_iter().map(NonZeroU16::get).collect();
        let rule = Rule { hosts: hosts.unwrap_or_default(), ports };
        let place = self.tree.problem(path, Part::Value, "", "").place;
        Some(Route { rule, chain: index, place })
    }
}
