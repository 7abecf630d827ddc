//! Checks the chains around hops that ask for a document, such as a PAC file or a list of proxies.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use mooltiroute_hops::{Asker, Key, KeyPath};

use crate::config::resolve::{Names, Resolver};
use crate::config::{ChainConfig, NamedHop};

/// The hops and chains of a configuration, and which hop holds which other ones.
#[derive(Clone, Copy)]
struct Ways<'a> {
    hops: &'a [NamedHop],
    chains: &'a [ChainConfig],
    holds: &'a HashMap<Arc<str>, Vec<Arc<str>>>,
}

impl Resolver<'_> {
    /// Checks the chains through which such hops ask, and those that hold them.
    pub(crate) fn check_askers(
        &mut self,
        hops: &[NamedHop],
        chains: &[ChainConfig],
        chain_names: &Names,
    ) {
        for hop in hops {
            let Some(asker) = hop.asker() else { continue };
            let keys = ["hops", &hop.name].into_iter().chain(asker.via_setting().iter().copied());
            let path = KeyPath::from(keys.map(|key| Key::Name(key.to_owned())).collect::<Vec<_>>());
            let ways = Ways { hops, chains, holds: &self.holds };
            match ways.chain(asker) {
                Some(chain) if hop.decider().is_some() && holds_decider(chain, hops) => {
                    // The hop would wait for itself, or for one that waits for it.
                    let message = "names a chain with a hop that has to fetch a list or a PAC file first; name one without such a hop, or `direct`";
                    self.invalid(&path, message);
                }
                Some(_) if ways.lead_back(hop) => {
                    let message = format!(
                        "names a chain that needs `{}` itself; name one without this hop, or `direct`",
                        hop.name
                    );
                    self.invalid(&path, message);
                }
                Some(_) => {}
                None => self.unknown_chain(&path, asker.via(), chain_names),
            }
        }
        for chain in chains.iter().filter(|chain| chain.warm > 0 && holds_decider(chain, hops)) {
            let path = KeyPath::of(["chains", &chain.name, "warm"]);
            let message = "can't be used: a hop of this chain chooses for each target, so no tunnel can be kept ready";
            self.invalid(&path, message);
        }
    }
}

impl<'a> Ways<'a> {
    /// Returns the chain through which a hop asks.
    fn chain(self, asker: &dyn Asker) -> Option<&'a ChainConfig> {
        self.chains.iter().find(|chain| &*chain.name == asker.via())
    }

    /// Returns whether `hop` needs itself to ask for its document.
    ///
    /// It needs every hop of its chain, each hop that one of these may choose, and for each of them that asks in turn,
    /// the hops of that one's chain. Hops that are switched off count too, since a condition may switch them on.
    fn lead_back(self, hop: &NamedHop) -> bool {
        let mut needed = HashSet::new();
        let mut left: Vec<_> =
            hop.asker().and_then(|asker| self.chain(asker)).into_iter().collect();
        while let Some(chain) = left.pop() {
            let on = chain.hops.iter().filter_map(|index| self.hops.get(*index));
            let names = on.map(|hop| &hop.name).chain(&chain.switched_off);
            let mut names: Vec<&'a Arc<str>> = names.collect();
            while let Some(name) = names.pop() {
                if !needed.insert(name) {
                    continue;
                }
                names.extend(self.holds.get(name).into_iter().flatten());
                let named = self.hops.iter().find(|hop| hop.name == *name);
                let asker = named.and_then(NamedHop::asker);
                left.extend(asker.and_then(|asker| self.chain(asker)));
            }
        }
        needed.contains(&hop.name)
    }
}

/// Returns whether a hop of `chain` chooses by what is asked for, also one that is switched off now.
fn holds_decider(chain: &ChainConfig, hops: &[NamedHop]) -> bool {
    let on = chain.hops.iter().filter_map(|index| hops.get(*index));
    let off = hops.iter().filter(|hop| chain.switched_off.contains(&hop.name));
    on.chain(off).any(|hop| hop.decider().is_some())
}
