//! The configuration in force, built and ready: a generation.

use std::{net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;
use mooltiroute_hops::Authority;
use tracing::{debug, info};

use crate::{
    chain::{Chain, Link, StepTimeouts},
    config::{Auth, Config, Limits, Outline, Timeouts},
    dial::Dialer,
    router::Router,
};

/// The generation in force. Reading it never waits; replacing it is one step.
#[derive(Debug)]
pub struct Live(ArcSwap<Generation>);

/// A configuration that was in force from one reload to the next. A request takes one and keeps it to its end, so it
/// is dropped with the last request that began under it.
#[derive(Debug)]
pub struct Generation {
    number: u64,
    router: Router,
    /// For each route, the chain it leads to.
    routes: Vec<usize>,
    chains: Vec<Chain>,
    /// The limits of a client connection.
    pub limits: Limits,
    /// The timeouts of its steps.
    pub timeouts: Timeouts,
    /// What clients must authenticate as, where they must.
    pub auth: Option<Auth>,
    /// The pseudonym for `Via` fields.
    pub via: Option<Box<str>>,
    /// Whether each tunnel and request is logged.
    pub is_access_logged: bool,
    /// What it was built from, to tell what a later one changes.
    pub outline: Outline,
}

/// Where a target goes.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    /// The route that matched, counted from one.
    pub route: usize,
    /// The chain it leads to.
    pub chain: &'a Chain,
}

impl Live {
    /// Begins with `first`.
    pub fn new(first: Generation) -> Self {
        Self(ArcSwap::from_pointee(first))
    }

    /// The generation in force.
    pub fn current(&self) -> Arc<Generation> {
        self.0.load_full()
    }

    /// Puts `next` in force: every request that begins from now on takes it.
    pub fn replace(&self, next: Generation) {
        self.0.store(Arc::new(next));
    }
}

impl Generation {
    /// Builds what `config` describes; `listening`: the addresses that would lead back to this proxy.
    pub fn new(number: u64, config: Config, listening: Vec<SocketAddr>) -> Self {
        let Config { server, timeouts, limits, log, hops, chains, routes, outline, .. } = config;
        let dialer = Dialer::new(listening);
        let steps = StepTimeouts { connect: timeouts.connect, handshake: timeouts.handshake };
        let chains = chains.into_iter().map(|chain| {
            let link = |index: usize| {
                let hop = hops.get(index)?;
                Some(Link { name: Arc::clone(&hop.name), hop: Arc::clone(hop.hop.as_ref()?) })
            };
            let links = chain.hops.into_iter().filter_map(link).collect();
            Chain::new(chain.name, links, steps, dialer.clone())
        });
        let chains = chains.collect();
        let router = Router::new(routes.iter().map(|route| &route.rule));
        let routes = routes.iter().map(|route| route.chain).collect();
        Self {
            number,
            router,
            routes,
            chains,
            limits,
            timeouts,
            auth: server.auth,
            via: server.via,
            is_access_logged: log.access,
            outline,
        }
    }

    /// Counts the configurations that were in force, from one.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Says in the log how its chains travel: what goes direct in plain words, all else in detail.
    pub fn describe(&self) {
        // The first one is `direct`, which says so itself.
        for chain in self.chains.iter().skip(1) {
            let names: Vec<&str> = chain.links().iter().map(|link| &*link.name).collect();
            match names.as_slice() {
                [] => info!(chain = %chain.name(), "goes direct: no hop of it is switched on"),
                names => {
                    debug!(chain = %chain.name(), hops = names.join(", "), "goes through hops")
                }
            }
        }
    }

    /// The way to `target`: what the first route that matches says; `None` where none does.
    pub fn way(&self, target: &Authority) -> Option<Way<'_>> {
        let route = self.router.find(target)?;
        let chain = self.chains.get(*self.routes.get(route)?)?;
        Some(Way { route: route + 1, chain })
    }
}
