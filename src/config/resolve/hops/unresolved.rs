//! Reports hops that name hops which are missing, or each other.

use mooltiroute_hops::{Fault, InvalidSetting, Key, KeyPath};

use super::HopPlan;
use crate::config::{
    report::problem::is_name,
    resolve::{
        Names, Resolver,
        misnamed::{instead_of_name, is_proxy},
    },
};

impl Resolver<'_> {
    /// Reports the hops that can't be built, because they name missing hops or each other.
    pub(super) fn unresolved(&mut self, waiting: &[(HopPlan, Vec<InvalidSetting>)], names: &Names) {
        // A name that seems to be unknown may be in the file that could not be read.
        let Some(names) = names else { return };
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        for (plan, invalid) in waiting {
            let (unknown, others): (Vec<_>, Vec<_>) =
                invalid.iter().cloned().partition(|one| *one.fault() == Fault::UnknownHop);
            self.report(&plan.path, &others);
            for invalid in unknown {
                let place = plan.path.clone().join(invalid.path());
                if self.failed.contains(&place) {
                    continue;
                }
                // The kind reports the place of the name only, so that its error can't quote a secret.
                let named = self.tree.settings(&place).and_then(|name| name.read::<String>().ok());
                let Some(name) = named else { continue };
                let is_named =
                    |path: &KeyPath| matches!(path.keys(), [_, Key::Name(own)] if *own == name);
                if let Some(help) = instead_of_name(&place, &name, &known) {
                    let problem = self.unknown_name(&place, &place, "hop", &known);
                    self.problems.push(problem.with_help(help));
                } else if is_proxy(&name) {
                    let problem = self.proxy_for_name(&place);
                    self.problems.push(problem);
                } else if is_named(&plan.path) {
                    self.invalid(&place, "names the hop itself; write the names of other hops");
                } else if !known.contains(&name.as_str()) {
                    // A hop can't hold itself.
                    let is_other = |known: &&&str| !matches!(plan.path.keys(), [_, Key::Name(own)] if own == **known);
                    let others: Vec<&str> = known.iter().filter(is_other).copied().collect();
                    let mut problem = self.unknown_name(&place, &place, "hop", &others);
                    // The text is shown, since it is the name of a chain, and no secret.
                    if self.tree.value(&KeyPath::of(["chains", &name])).is_some() && is_name(&name)
                    {
                        problem = problem.with_help(format!(
                            "`{name}` is a chain, and a hop is expected here: write the names of hops"
                        ));
                    }
                    self.problems.push(problem);
                } else if waiting.iter().any(|(other, _)| is_named(&other.path)) {
                    let message = "names a hop that leads back to this one or to itself; take one of these hops out";
                    self.invalid(&place, message);
                }
                // Any other hop exists but is invalid itself, and its own problem says why.
            }
        }
    }
}
