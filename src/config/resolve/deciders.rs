//! Checks the chains around hops that choose by what is asked for, such as by a PAC file.

use mooltiroute_hops::KeyPath;

use crate::config::resolve::{Names, Resolver};
use crate::config::{ChainConfig, NamedHop};

impl Resolver<'_> {
    /// Checks the chains through which such hops ask, and those that hold them.
    pub(crate) fn check_deciders(
        &mut self,
        hops: &[NamedHop],
        chains: &[ChainConfig],
        chain_names: &Names,
    ) {
        for hop in hops {
            let Some(decider) = hop.decider() else { continue };
            let path = KeyPath::of(["hops", &hop.name, "via"]);
            match chains.iter().find(|chain| &*chain.name == decider.via()) {
                Some(chain) if holds_decider(chain, hops) => {
                    // The hop would wait for itself, or for one that waits for it.
                    let message =
                        "names a chain with a hop that has to ask itself before it can choose";
                    self.invalid(&path, message);
                }
                Some(_) => {}
                None => self.unknown_chain(&path, decider.via(), chain_names),
            }
        }
        for chain in chains.iter().filter(|chain| chain.warm > 0 && holds_decider(chain, hops)) {
            let path = KeyPath::of(["chains", &chain.name, "warm"]);
            let message = "can't be used: a hop of this chain chooses for each target, so no tunnel can be kept ready";
            self.invalid(&path, message);
        }
    }
}

/// Returns whether a hop of `chain` chooses by what is asked for, also one that is switched off now.
fn holds_decider(chain: &ChainConfig, hops: &[NamedHop]) -> bool {
    let on = chain.hops.iter().filter_map(|index| hops.get(*index));
    let off = hops.iter().filter(|hop| chain.switched_off.contains(&hop.name));
    on.chain(off).any(|hop| hop.decider().is_some())
}
