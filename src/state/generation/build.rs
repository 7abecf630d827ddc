//! Builds a generation.

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use super::{Generation, Users};
use crate::{
    config::{ChainConfig, Config, NamedHop},
    metrics::Metrics,
    network::{Dependence, Network},
    router::{Router, Rule},
    state::saved_lists::SavedLists,
    system::memory::Peaks,
    upstream::{
        chain::{Advise, Chain, ChainAccounts, ChainHop, StepTimeouts},
        dial::Dialer,
        warm::Warm,
    },
};

/// The state that all generations share.
#[derive(Clone, Debug, Default)]
struct Lasting {
    metrics: Arc<Metrics>,
    peaks: Arc<Peaks>,
    network: Arc<Network>,
    lists: SavedLists,
    advise: Option<Advise>,
}

impl Generation {
    /// Builds what `config` describes. Its hops never dial the addresses in `listening`, which lead back to this proxy.
    #[cfg(test)]
    pub(crate) fn new(number: u64, config: Config, listening: Vec<SocketAddr>) -> Self {
        Self::build(number, config, listening, Lasting::default(), &[])
    }

    /// Builds the first generation of a proxy, whose conditions depend on the facts of `network`, and whose lists are kept
    /// in `lists`. What is logged about its failed hops, and those of the generations after it, has the advice of `advise`.
    pub(crate) fn first(
        config: Config,
        listening: Vec<SocketAddr>,
        network: &Arc<Network>,
        lists: SavedLists,
        advise: Advise,
    ) -> Self {
        let (network, advise) = (Arc::clone(network), Some(advise));
        let lasting = Lasting { network, lists, advise, ..Lasting::default() };
        Self::build(1, config, listening, lasting, &[])
    }

    /// Builds the generation that follows this one. It keeps each hop whose settings are the same, with all that the
    /// hop has learned, and each chain along the same hops, with the connections that wait for it.
    pub(crate) fn next(&self, mut config: Config, listening: Vec<SocketAddr>) -> Self {
        // The loader has built the hops again. One whose settings are the same gives its place to the old one,
        // which keeps what it has learned, such as the health of a pool's members.
        for hop in config.hops.iter_mut().filter(|hop| hop.hop.is_some()) {
            // They are sorted by name.
            let old = self.hops.binary_search_by(|old| old.name.cmp(&hop.name)).ok();
            let old = old.and_then(|index| self.hops.get(index)).filter(|old| old.hop.is_some());
            let Some(old) = old else { continue };
            let is_unchanged = old.fingerprint == hop.fingerprint;
            if let (Some(before), Some(hop)) = (&old.hop, &hop.hop) {
                hop.inherit(&**before, is_unchanged);
            }
            if is_unchanged {
                hop.hop.clone_from(&old.hop);
            }
        }
        let lasting = Lasting {
            metrics: Arc::clone(&self.metrics),
            peaks: Arc::clone(&self.peaks),
            network: Arc::clone(&self.network),
            lists: self.lists.clone(),
            advise: self.advise,
        };
        Self::build(self.number + 1, config, listening, lasting, &self.chains)
    }

    fn build(
        number: u64,
        config: Config,
        listening: Vec<SocketAddr>,
        lasting: Lasting,
        last: &[Arc<Chain>],
    ) -> Self {
        let option =
            |hop: &NamedHop| Some((Arc::clone(&hop.name), config.switched_by_option(&hop.name)?));
        let options = config.hops.iter().filter_map(option).collect();
        let Config { server, timeouts, limits, log, hops, chains, routes, outline, .. } = config;
        let Lasting { metrics, peaks, network, lists, advise } = lasting;
        // Conditions and directness are looked up by the position of the chain, and are taken from the settings
        // before these become chains.
        let dependence = |chain: &ChainConfig| Dependence::new(&network, &chain.depends_on);
        let dependences: Vec<_> = chains.iter().map(dependence).collect();
        // A hop that is switched off may be on in another network. So a chain is direct for certain only if it is
        // written without hops, and `/proxy.pac` lets clients go round the proxy for those only.
        let is_direct =
            |chain: &ChainConfig| chain.hops.is_empty() && chain.switched_off.is_empty();
        let always_direct = chains.iter().map(is_direct).collect();
        let parts = ChainParts {
            hops: &hops,
            steps: StepTimeouts { connect: timeouts.connect, handshake: timeouts.handshake },
            dialer: Dialer::new(listening.clone()),
            metrics: &metrics,
            advise,
            last,
        };
        let chains: Vec<_> = chains.into_iter().map(|chain| parts.chain(chain)).collect();
        let ledger_of = |hop: &NamedHop| {
            let ledger = metrics.members.of(&hop.name);
            hop.hop.as_ref()?.count_in(&ledger);
            Some(ledger)
        };
        let member_ledgers = hops.iter().filter_map(ledger_of).collect();
        let takes_preferences = chains.iter().any(|chain| chain.takes_preferences());
        let router = Router::new(routes.iter().map(|route| &route.rule));
        let route_accounts = routes.iter().map(|route| {
            let chain = chains.get(route.chain).map_or("", |chain| chain.name());
            metrics.usage.routes.account(&route_name(&route.rule, chain))
        });
        let route_accounts = route_accounts.collect();
        let (rules, routes) = routes.into_iter().map(|route| (route.rule, route.chain)).unzip();
        Self {
            number,
            router,
            rules,
            routes,
            route_accounts,
            has_to_be_prepared: dependences.iter().any(Option::is_some)
                || chains.iter().any(|chain| chain.has_askers()),
            chains,
            always_direct,
            dependences,
            hops,
            _member_ledgers: member_ledgers,
            options,
            network,
            lists,
            advise,
            metrics,
            // A tunnel may hold this generation long past its reload. Then its end frees memory for the system.
            _held: peaks.hold(),
            peaks,
            since: SystemTime::now(),
            listening,
            users: Users::default(),
            limits,
            timeouts,
            auth: server.auth,
            via: server.via,
            upgrades: server.upgrades,
            protocols: server.protocols,
            takes_preferences,
            is_access_logged: log.access,
            outline,
        }
    }
}

/// The parts that the chains of a generation are made of.
struct ChainParts<'a> {
    hops: &'a [NamedHop],
    steps: StepTimeouts,
    dialer: Dialer,
    metrics: &'a Metrics,
    advise: Option<Advise>,
    /// The chains of the generation before.
    last: &'a [Arc<Chain>],
}

impl ChainParts<'_> {
    /// Returns the chain that `config` describes.
    ///
    /// A chain of the same parts stays the same object. Upstream connections belong to it, so one that a client has signed
    /// on to (NTLM) outlives an unrelated reload, and so does the fallback address that worked.
    fn chain(&self, config: ChainConfig) -> Arc<Chain> {
        let Self { steps, dialer, metrics, advise, last, .. } = self;
        let of_chain = config.hops.iter().filter_map(|index| self.hops.get(*index));
        let rotate_after = of_chain.clone().filter_map(|hop| hop.rotate_after).min();
        let chain_hop = |hop: &NamedHop| {
            let (name, url) = (Arc::clone(&hop.name), hop.url.clone());
            let (hop, has_answered) = (Arc::clone(hop.hop.as_ref()?), Arc::default());
            Some(ChainHop { name, hop, url, has_answered })
        };
        let hops: Vec<_> = of_chain.filter_map(chain_hop).collect();
        let is_kept = |old: &&Arc<Chain>| {
            old.is_made_of(&config.name, &hops, *steps, dialer)
                && *old.switched_off() == *config.switched_off
                && old.warm().map_or(0, |warm| warm.limit())
                    == if Chain::can_be_warm(&hops) { config.warm } else { 0 }
        };
        if let Some(old) = last.iter().find(is_kept) {
            return Arc::clone(old);
        }
        // Counts go by name, so those of a chain that is built again go on.
        let meter = metrics.meter(&config.name, hops.iter().map(|hop| Arc::clone(&hop.name)));
        let warm = warm(&config.name, config.warm, &hops, metrics, last);
        let names = hops.iter().map(|hop| &hop.name);
        let accounts = ChainAccounts::new(&metrics.usage, &config.name, names);
        let chain = Chain::new(config.name, hops, *steps, dialer.clone());
        let chain = chain.metered(meter).counted_for(accounts).rotated_after(rotate_after);
        Arc::new(chain.warmed(warm).without(config.switched_off).advised_by(*advise))
    }
}

/// Returns the name of a route in accounts. Its number would not do: it changes when a route is added before it.
fn route_name(rule: &Rule, chain: &str) -> Arc<str> {
    let mut targets = rule.to_string();
    if let Some((end, _)) = targets.char_indices().nth(ROUTE_NAME_MAX) {
        targets.truncate(end);
        targets.push('…');
    }
    format!("{targets} -> {chain}").into()
}

/// The letters of a route's targets in its name.
const ROUTE_NAME_MAX: usize = 120;

/// Returns the spares of a chain, if it has any: those of the `last` generation if they pass the same hops.
pub(super) fn warm(
    name: &Arc<str>,
    limit: usize,
    hops: &[ChainHop],
    metrics: &Metrics,
    last: &[Arc<Chain>],
) -> Option<Arc<Warm>> {
    if limit == 0 || !Chain::can_be_warm(hops) {
        return None;
    }
    // A spare is a connection through the very same hops. It outlives a chain that is built again for another
    // reason, such as other timeouts.
    let is_same = |(old, new): (&ChainHop, &ChainHop)| Arc::ptr_eq(&old.hop, &new.hop);
    let is_kept = |old: &&Arc<Chain>| {
        old.name() == name
            && old.hops().len() == hops.len()
            && old.hops().iter().zip(hops).all(is_same)
    };
    let kept =
        last.iter().find(is_kept).and_then(|old| old.warm()).filter(|warm| warm.limit() == limit);
    Some(kept.cloned().unwrap_or_else(|| Arc::new(Warm::new(limit, metrics.warm.of(name)))))
}
