//! Builds hops, each after its members.

use std::{cell::RefCell, collections::BTreeMap, hash::BuildHasher as _, sync::Arc};

use mooltiroute_hops::{
    ChooseError, Chosen, Description, Eventual, Fault, Hop, HopError, InvalidSetting, Request,
};

use super::{HopPlan, siblings::KnownHops};
use crate::config::{
    NamedHop,
    resolve::{Names, Part, Resolver, problems::some_of},
};

impl Resolver<'_> {
    /// Builds the hops, each one after its members.
    ///
    /// A hop asks for its members while it is built, and only then is it known which they are. So the list is walked again
    /// and again, and each pass builds the hops whose members exist by now. A pass that builds nothing ends it: the hops
    /// that are left name missing hops, or each other in a circle.
    pub(super) fn build(&mut self, hops: &mut [NamedHop], mut plans: Vec<HopPlan>, names: &Names) {
        // A hop that is switched off is known from the start, with nothing behind its name. So a pool can
        // tell such a member, which it leaves out, from one that does not exist or is not built yet.
        let off = hops.iter().filter(|hop| !hop.is_enabled);
        let mut known: BTreeMap<_, _> = off.map(|hop| (Arc::clone(&hop.name), None)).collect();
        loop {
            let mut waiting = Vec::new();
            let count = plans.len();
            for plan in plans {
                // Only the kind knows which of its settings name hops, so the siblings note what it asks for.
                let siblings =
                    KnownHops { registry: self.registry, hops: &known, asked: RefCell::default() };
                let context = self.context().with_siblings(&siblings);
                let context = context.with_login(login_in_words(&hops[plan.index]));
                let built = plan.kind.build(&plan.settings, &context);
                let files = context.fingerprint();
                let is_waiting = |fault: &InvalidSetting| *fault.fault() == Fault::UnknownHop;
                let asked = siblings.asked.take();
                // A hop that waits is built again in the next pass, and its files must count once.
                if let Some(files) = files
                    && !matches!(&built, Err(invalid) if invalid.iter().any(is_waiting))
                {
                    let hop = &mut hops[plan.index];
                    hop.fingerprint = self.hasher.hash_one((hop.fingerprint, files));
                    self.files.push((plan.path.clone(), files));
                }
                match built {
                    // Built only to find what else is wrong. It lacks the values of variables, so it must not be
                    // used.
                    Ok(_) if !plan.is_whole => {}
                    // A hop that is off is built as well, so that `check` finds its mistakes. `known` keeps its
                    // empty entry, so that pools leave it out.
                    Ok(built) => {
                        for warning in context.warnings() {
                            let warning = self.tree.invalid(&plan.path, &warning);
                            self.warnings.push(warning);
                        }
                        for (setting, file) in context.secret_files() {
                            self.warn_of_readers(&plan.path.clone().join(&setting), &file);
                        }
                        self.warn_of_choices_off(hops, &plan, &asked);
                        let fingerprint = self.fingerprint(hops, plan.index, &asked);
                        let hop = &mut hops[plan.index];
                        hop.fingerprint = fingerprint;
                        depend_on_members(hops, plan.index, &asked);
                        let hop = &mut hops[plan.index];
                        self.holds.insert(Arc::clone(&hop.name), asked);
                        hop.hop = Some(Arc::clone(&built));
                        if hop.is_enabled {
                            known.insert(Arc::clone(&hop.name), Some(built));
                        }
                    }
                    // Its other problems are reported once it is clear that no later pass can build it.
                    Err(invalid) if invalid.iter().any(is_waiting) => waiting.push((plan, invalid)),
                    Err(invalid)
                        if invalid.iter().all(|one| *one.fault() == Fault::SwitchedOff)
                            && may_come_on(hops, &asked) =>
                    {
                        let fingerprint = self.fingerprint(hops, plan.index, &asked);
                        depend_on_members(hops, plan.index, &asked);
                        let hop = &mut hops[plan.index];
                        hop.fingerprint = fingerprint;
                        // A pool whose members are all off is a mistake if the operator switched them off. But
                        // here at least one of them waits for its condition, and a change of the network must not
                        // make a configuration invalid. So the pool exists, and refuses for now.
                        let empty: Arc<dyn Hop> = Arc::new(MembersOff);
                        hop.has_all_members_off = true;
                        hop.hop = Some(Arc::clone(&empty));
                        if hop.is_enabled {
                            known.insert(Arc::clone(&hop.name), Some(empty));
                        }
                        self.holds.insert(Arc::clone(&hops[plan.index].name), asked);
                    }
                    Err(mut invalid) => {
                        // A pool that is itself off may have members that are all off.
                        let is_off = !hops[plan.index].is_enabled;
                        invalid.retain(|one| !(is_off && *one.fault() == Fault::SwitchedOff));
                        self.report(&plan.path, &invalid);
                    }
                }
            }
            // No hop was built in this pass, so the next one would see the same.
            if waiting.len() == count {
                return self.unresolved(&waiting, names);
            }
            plans = waiting.into_iter().map(|(plan, _)| plan).collect();
        }
    }

    /// Warns if every hop that the hop of `plan` may choose is switched off. A pool is then invalid; a PAC file may still send
    /// requests direct.
    fn warn_of_choices_off(&mut self, hops: &[NamedHop], plan: &HopPlan, asked: &[Arc<str>]) {
        let mut off: Vec<_> = asked.iter().map(Arc::clone).collect();
        off.sort();
        off.dedup();
        let is_on = |name: &Arc<str>| hops.iter().any(|hop| hop.name == *name && hop.is_enabled);
        if off.is_empty()
            || off.iter().any(is_on)
            || may_come_on(hops, asked)
            || !hops[plan.index].is_enabled
            || self.warnings.skips()
        {
            return;
        }
        let names = some_of(&off);
        let message = format!(
            "every hop that this one may choose is switched off ({names}), so it refuses each request that it does not send direct"
        );
        let problem = self.tree.problem(&plan.path, Part::Key, "choices-off", message);
        let help = "switch one of them on: `enabled: true`, or `mooltiroute hop NAME on`";
        self.warnings.push(problem.with_help(help));
    }

    /// Returns the fingerprint of a hop and its members, so that a changed member makes a new hop.
    fn fingerprint(&self, hops: &[NamedHop], index: usize, asked: &[Arc<str>]) -> u64 {
        let own = hops[index].fingerprint;
        if asked.is_empty() {
            return own;
        }
        // Members are built before their pool, so their fingerprints are final here.
        let held = hops.iter().filter(|hop| asked.contains(&hop.name));
        let held: Vec<_> = held.map(|hop| (&hop.name, hop.is_enabled, hop.fingerprint)).collect();
        self.hasher.hash_one((own, held))
    }
}

/// Returns the sources of the credentials of `hop` in words, or `None` if it has none.
fn login_in_words(hop: &NamedHop) -> Option<String> {
    let words: Vec<_> = hop.credentials.iter().map(ToString::to_string).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// Makes the hop at `index` depend on the conditions of the hops that it holds.
fn depend_on_members(hops: &mut [NamedHop], index: usize, asked: &[Arc<str>]) {
    let held = hops.iter().filter(|hop| asked.contains(&hop.name));
    let conditions: Vec<_> = held.flat_map(|hop| hop.depends_on.iter().cloned()).collect();
    hops[index].depends_on.extend(conditions);
}

/// Returns whether one of the hops named `asked` has a condition, which may switch it on later.
fn may_come_on(hops: &[NamedHop], asked: &[Arc<str>]) -> bool {
    hops.iter().any(|hop| asked.contains(&hop.name) && hop.condition.is_some())
}

/// A hop in place of one whose members are all switched off by their conditions. It refuses every request, since
/// leaving it out of its chains would send requests round it.
#[derive(Debug)]
struct MembersOff;

impl Hop for MembersOff {
    fn describe(&self) -> Description<'_> {
        Description::default()
    }

    fn choose(self: Arc<Self>, _: Request<'_>) -> Eventual<'static, Result<Chosen, ChooseError>> {
        let why = "all its members are switched off by their conditions now";
        Eventual::Ready(Err(HopError::Other(why.into()).into()))
    }
}
