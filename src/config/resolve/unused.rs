//! Warns of what is valid and probably not meant: hops and chains that nothing uses, and odd values.

use std::collections::HashSet;

use mooltiroute_hops::KeyPath;

use crate::config::resolve::{Part, Resolver};
use crate::config::{ChainConfig, Consequence, NamedHop, Route};

impl Resolver<'_> {
    /// Warns of hops in no chain, and of chains of no route.
    pub(crate) fn warn_of_unused(
        &mut self,
        hops: &[NamedHop],
        chains: &[ChainConfig],
        routes: &[Route],
    ) {
        // If there are problems, a thing may only seem unused.
        if !self.problems.is_empty() || !self.is_complete {
            return;
        }
        let on = chains.iter().flat_map(|chain| &chain.hops).map(|hop| &hops[*hop].name);
        let off = chains.iter().flat_map(|chain| &chain.switched_off);
        let passed: HashSet<_> =
            on.chain(off).chain(self.holds.values().flatten()).cloned().collect();
        for hop in hops {
            if !passed.contains(&hop.name) {
                let message = "no chain names this hop, so it is not used";
                self.warn_of("hops", &hop.name, "unused-hop", message);
            }
        }
        let taken: HashSet<usize> = routes.iter().map(|route| route.chain).collect();
        // A hop may ask for its document through a chain, and a budget may send requests through one.
        let asked = hops.iter().filter_map(|hop| Some(hop.asker()?.via()));
        let instead = hops.iter().filter_map(|hop| match &hop.budget.as_ref()?.then {
            Consequence::Chain(name) => Some(&**name),
            Consequence::Refuse => None,
        });
        let named: HashSet<&str> = asked.chain(instead).collect();
        // The first chain is the built-in `direct`.
        for (index, chain) in chains.iter().enumerate().skip(1) {
            if !taken.contains(&index) && !named.contains(&*chain.name) {
                let message = "no route names this chain, so it is not used";
                self.warn_of("chains", &chain.name, "unused-chain", message);
            }
        }
    }

    /// Warns of values that YAML reads in another way than most people expect.
    pub(crate) fn warn_of_suspicious_values(&mut self) {
        if !self.problems.is_empty() {
            return;
        }
        for (path, suspicious_value) in self.tree.suspicious_values() {
            if self.warnings.skips() {
                continue;
            }
            let problem =
                self.tree.problem(&path, Part::Value, "odd", suspicious_value.to_string());
            self.warnings.push(problem.with_help(suspicious_value.help()));
        }
    }

    fn warn_of(&mut self, section: &str, name: &str, code: &'static str, message: &str) {
        if self.warnings.skips() {
            return;
        }
        let path = KeyPath::of([section, name]);
        self.warnings.push(self.tree.problem(&path, Part::Key, code, message));
    }
}
