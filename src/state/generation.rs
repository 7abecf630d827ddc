//! The configuration in force, built and ready: a generation.

mod budgets;
mod build;
mod leaving;
mod live;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicUsize},
    time::SystemTime,
};

use arc_swap::ArcSwap;
use mooltiroute_hops::{Hop, Host, MemberLedger};

pub(crate) use self::{
    budgets::OverBudget,
    leaving::is_cut,
    live::{Live, settled},
};
use crate::{
    config::{Auth, Limits, NamedHop, Outline, Protocol, Timeouts},
    metrics::Metrics,
    network::{Dependence, Network, NetworkCondition},
    router::{Query, Router, Rule},
    state::{hop_services::HopServices, saved_lists::SavedLists},
    system::memory::{Held, Peaks},
    upstream::{
        chain::{Advise, Chain},
        warm::Warm,
    },
    usage::UsageAccount,
};

/// A configuration that was in force from one reload to the next. A request takes one and keeps it to its end, so it
/// is dropped with the last request that began under it.
#[derive(Debug)]
pub(crate) struct Generation {
    number: u64,
    router: Router,
    rules: Vec<Rule>,
    /// For each route, the chain it leads to.
    routes: Vec<usize>,
    /// For each route, the account of what it carries.
    route_accounts: Vec<Arc<UsageAccount>>,
    chains: Vec<Arc<Chain>>,
    /// For each chain, whether it is written without a hop.
    always_direct: Vec<bool>,
    /// For each chain, the conditions of the network that its hops depend on.
    dependences: Vec<Option<Dependence>>,
    /// Whether a request may have to wait before it begins: a chain has such conditions, or a hop that has to ask first.
    has_to_be_prepared: bool,
    /// Every hop, for the next generation to keep those that stay the same.
    hops: Vec<NamedHop>,
    /// The counts of the hops' members, which are kept at least as long as a generation has the hops.
    _member_ledgers: Vec<Arc<MemberLedger>>,
    /// The options of the command line that switch hops, by their names.
    options: Vec<(Arc<str>, &'static str)>,
    network: Arc<Network>,
    /// The lists that are kept for the next start.
    lists: SavedLists,
    /// Adds advice to the log of its chains.
    advise: Option<Advise>,
    metrics: Arc<Metrics>,
    peaks: Arc<Peaks>,
    _held: Held,
    /// Since when it is in force.
    pub since: SystemTime,
    /// The addresses that are listened on.
    pub listening: Vec<SocketAddr>,
    /// The requests and tunnels that use it.
    pub users: Users,
    /// The limits of a client connection.
    pub limits: Limits,
    /// The timeouts of its steps.
    pub timeouts: Timeouts,
    /// The credentials that clients must present, if any.
    pub auth: Option<Auth>,
    /// The pseudonym for `Via` fields.
    pub via: Option<Box<str>>,
    /// The protocols that a plain request may switch to.
    pub upgrades: Vec<Box<str>>,
    /// The protocols that clients may speak.
    pub protocols: Vec<Protocol>,
    /// Whether clients may state preferences to a hop of any chain.
    takes_preferences: bool,
    /// Whether each tunnel and request is logged.
    pub is_access_logged: bool,
    /// The fingerprint of its configuration, to tell what a later one changes.
    pub outline: Outline,
}

/// The users of a generation.
#[derive(Debug, Default)]
pub(crate) struct Users {
    /// Open tunnels.
    pub tunnels: AtomicUsize,
    /// Requests under way, those for a tunnel among them.
    pub requests: AtomicUsize,
}

/// The route and the chain that a target takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way<'a> {
    /// The route that matched, counted from one.
    pub route: usize,
    /// The account of what this route carries.
    pub account: &'a Arc<UsageAccount>,
    /// The chain it leads to.
    pub chain: &'a Arc<Chain>,
    /// The conditions of the network that the hops of the chain depend on, if there are any.
    pub dependence: Option<&'a Dependence>,
}

impl Generation {
    /// Returns its number. The first generation of a proxy is one.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Returns the counts of this and all other generations.
    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Returns the record of memory peaks, which is notified when a generation is gone.
    pub(crate) fn peaks(&self) -> &Arc<Peaks> {
        &self.peaks
    }

    /// Activates the outcomes of conditions that this generation was built with.
    pub(crate) fn put_outcomes_in_force(&self) {
        // A hop without a condition depends on the network too if it has to ask for a document.
        let is_followed = self.hops.iter().any(|hop| hop.asker().is_some());
        self.network.put_in_force(outcomes(&self.hops), is_followed);
    }

    /// Returns the option of the command line that switches the hop `name`, whatever the configuration says.
    pub(crate) fn option_of(&self, name: &str) -> Option<&'static str> {
        self.options.iter().find(|(hop, _)| **hop == *name).map(|(_, option)| *option)
    }

    /// Returns the facts about the network.
    pub(crate) fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// Returns the hops that are built, with their names.
    pub(crate) fn built_hops(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<dyn Hop>)> {
        self.hops.iter().filter_map(|named| Some((&named.name, named.hop.as_ref()?)))
    }

    /// Returns the chains that keep spare tunnels, with those.
    pub(crate) fn warm_chains(&self) -> impl Iterator<Item = (&Arc<Chain>, &Arc<Warm>)> {
        self.chains.iter().filter_map(|chain| Some((chain, chain.warm()?)))
    }

    /// Returns the chain of this name.
    pub(crate) fn chain(&self, name: &str) -> Option<&Arc<Chain>> {
        self.chains.get(self.chain_index(name)?)
    }

    /// Returns the conditions of the network that the hops of the chain `name` depend on, if there are any.
    pub(crate) fn dependence_of(&self, name: &str) -> Option<&Dependence> {
        self.dependences.get(self.chain_index(name)?)?.as_ref()
    }

    /// Gives its services to each hop that has to ask before it can choose. `in_force` holds the generation in force, so
    /// that the hop always asks through a chain of that one.
    fn attach_services(&self, in_force: &Arc<ArcSwap<Self>>) {
        for named in &self.hops {
            let Some(asker) = named.asker() else { continue };
            asker.attach(Arc::new(HopServices {
                hop: Arc::clone(&named.name),
                via: asker.via().into(),
                in_force: Arc::downgrade(in_force),
                network: Arc::clone(&self.network),
                lists: self.lists.clone(),
            }));
        }
    }

    /// Sets the budgets of this generation, also those of hops that are switched off. They keep their use until
    /// the hops are on again.
    fn set_budgets(&self) {
        let budgets = self.hops.iter().filter_map(|hop| Some((&hop.name, hop.budget.as_ref()?)));
        self.metrics.usage.set_budgets(budgets);
    }

    /// Returns the chains.
    pub(crate) fn chains(&self) -> &[Arc<Chain>] {
        &self.chains
    }

    /// Returns all hops, sorted by name.
    pub(crate) fn hops(&self) -> &[NamedHop] {
        &self.hops
    }

    /// Returns whether clients may state preferences to a hop of any chain.
    pub(crate) fn takes_preferences(&self) -> bool {
        self.takes_preferences
    }

    /// Returns whether a chain that a route leads to refuses clients that name no session.
    pub(crate) fn requires_session(&self) -> bool {
        self.chains_led_to().any(|chain| chain.requires_session())
    }

    /// Returns the chains that a route leads to, in the order of the routes. Other chains are out of reach for clients.
    pub(crate) fn chains_led_to(&self) -> impl Iterator<Item = &Arc<Chain>> {
        self.routes.iter().filter_map(|chain| self.chains.get(*chain))
    }

    /// Returns whether a request may have to wait before it begins, for a condition of the network or a document.
    pub(crate) fn has_to_be_prepared(&self) -> bool {
        self.has_to_be_prepared
    }

    /// Returns the rules of the routes, in written order.
    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Returns the rules of the routes, each with whether its chain is direct in any network: it has no hop, and none
    /// that is only switched off.
    pub(crate) fn rules_and_directness(&self) -> impl Iterator<Item = (&Rule, bool)> {
        let is_direct = |chain: &usize| self.always_direct.get(*chain) == Some(&true);
        self.rules.iter().zip(self.routes.iter().map(is_direct))
    }

    /// Returns the way that `query` takes by the first route that matches, or `None` if none does.
    pub(crate) fn way(&self, query: &Query<'_>) -> Option<Way<'_>> {
        let route = self.router.find(query)?;
        self.way_through(route + 1, *self.routes.get(route)?)
    }

    /// Returns whether the client of `query` may have looked up a name that has a route: it asks for an address, `way` is
    /// that of a route for every host, and a route before it sends names another way.
    pub(crate) fn passes_routes_by_name(&self, query: &Query<'_>, way: &Way<'_>) -> bool {
        let Some(taken) = way.route.checked_sub(1) else { return false };
        if !matches!(query.target.host(), Host::Address(_))
            || !self.rules.get(taken).is_some_and(|rule| rule.parts().hosts.is_empty())
        {
            return false;
        }
        // Mostly one of the first routes decides.
        let mut before = self.rules.iter().zip(&self.routes).take(taken);
        before.any(|(rule, chain)| {
            rule.is_for_names_at(query)
                && self.chains.get(*chain).is_some_and(|chain| !Arc::ptr_eq(chain, way.chain))
        })
    }

    /// Returns the way by the route with this number, counted from one, through the chain at `index`.
    fn way_through(&self, route: usize, index: usize) -> Option<Way<'_>> {
        let (chain, dependence) = (self.chains.get(index)?, self.dependences.get(index)?.as_ref());
        let account = self.route_accounts.get(route.checked_sub(1)?)?;
        Some(Way { route, account, chain, dependence })
    }

    /// Returns the position of the chain of this name.
    fn chain_index(&self, name: &str) -> Option<usize> {
        self.chains.iter().position(|chain| **chain.name() == *name)
    }
}

/// Returns the conditions of the network, each with the outcome that `hops` were built with.
fn outcomes(hops: &[NamedHop]) -> impl Iterator<Item = (Arc<NetworkCondition>, bool)> {
    hops.iter().filter_map(|hop| Some((hop.condition.clone()?, hop.is_enabled)))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, sync::Weak};

    use mooltiroute_hops::kinds;

    use super::*;
    use crate::config::{Config, Environment, Loader, Overrides, Source};

    /// A configuration on disk, and what loads it again and again.
    struct Written {
        directory: tempfile::TempDir,
        loader: Loader,
    }

    impl Written {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let source = Source::Path(directory.path().to_owned());
            let environment = Environment::new(|_| None, Path::new(""));
            let loader = Loader::new(source, Overrides::default(), kinds::builtin(), environment);
            Self { directory, loader }
        }

        /// Loads a configuration with two hops; `address` is that of the second one.
        fn load(&self, address: &str) -> Config {
            let yaml = format!(
                "hops:\n  same: {{ kind: http-connect, address: \"same.test:1\" }}\n  \
                 other: {{ kind: http-connect, address: \"{address}\" }}\n\
                 chains: {{ default: [same, other] }}\n"
            );
            fs::write(self.directory.path().join("10.yaml"), yaml).unwrap();
            self.loader.load().unwrap()
        }
    }

    #[test]
    fn a_chain_is_kept_while_nothing_of_it_changes() {
        let written = Written::new();
        let first = Generation::new(1, written.load("other.test:1"), vec![]);
        let more = "routes: [{ hosts: [a.test], chain: direct }, { chain: default }]\n";
        fs::write(written.directory.path().join("20.yaml"), more).unwrap();
        let second = first.next(written.load("other.test:1"), vec![]);
        let chain = |generation: &Generation| {
            Arc::clone(
                generation
                    .way(&Query { target: &"target.test:443".parse().unwrap() })
                    .unwrap()
                    .chain,
            )
        };
        assert!(Arc::ptr_eq(&chain(&first), &chain(&second)));
        let third = second.next(written.load("other.test:2"), vec![]);
        assert!(!Arc::ptr_eq(&chain(&second), &chain(&third)), "a hop is another one");
        let listening = vec!["127.0.0.1:1".parse().unwrap()];
        let fourth = third.next(written.load("other.test:2"), listening);
        assert!(!Arc::ptr_eq(&chain(&third), &chain(&fourth)), "it must not dial that address");
    }

    fn hops(generation: &Generation) -> [Weak<dyn Hop>; 2] {
        let way = generation.way(&Query { target: &"target.test:443".parse().unwrap() }).unwrap();
        let [same, other] = way.chain.hops() else { panic!("two hops") };
        [Arc::downgrade(&same.hop), Arc::downgrade(&other.hop)]
    }

    #[test]
    fn a_hop_that_no_edit_touched_is_kept() {
        let written = Written::new();
        let first = Generation::new(1, written.load("other.test:1"), vec![]);
        let second = first.next(written.load("other.test:2"), vec![]);
        let ([same, other], [same_later, other_later]) = (hops(&first), hops(&second));
        assert!(same.ptr_eq(&same_later) && !other.ptr_eq(&other_later));
        assert_eq!((first.number(), second.number()), (1, 2));
        let after_all = second.next(written.load("other.test:1"), vec![]);
        assert!(!hops(&after_all)[1].ptr_eq(&other), "only the last generation is looked at");
    }

    #[test]
    fn nothing_of_a_generation_outlives_its_last_user() {
        let written = Written::new();
        let live = Live::new(Generation::new(1, written.load("other.test:1"), vec![]));
        let user = live.current();
        let [same, other] = hops(&user);
        live.replace(live.current().next(written.load("other.test:2"), vec![]));
        let numbers = |live: &Live| {
            live.alive().iter().map(|generation| generation.number()).collect::<Vec<_>>()
        };
        assert_eq!(numbers(&live), [1, 2]);
        assert!(other.strong_count() > 0);
        drop(user);
        assert_eq!(numbers(&live), [2]);
        assert_eq!(other.strong_count(), 0, "its own hop is gone with it");
        assert!(same.strong_count() > 0, "the one that was kept is not");
    }
}
