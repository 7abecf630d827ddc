//! Counts the bytes of a chain's connections on the wire.

use std::sync::Arc;

use mooltiroute_hops::Tunnel;

use super::Chain;
use crate::usage::{CountedWire, UsageAccount, UsageLedger};

/// The accounts that the connections of a chain count for. By default there are none, and nothing is counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChainAccounts {
    usage: Arc<UsageLedger>,
    /// The account of the chain, and then those of its hops.
    all: Box<[Arc<UsageAccount>]>,
}

impl ChainAccounts {
    /// Returns the accounts of the chain `name` along `hops`.
    pub(crate) fn new<'a>(
        usage: &Arc<UsageLedger>,
        name: &Arc<str>,
        hops: impl Iterator<Item = &'a Arc<str>>,
    ) -> Self {
        let all = std::iter::once(usage.chains.account(name));
        let all = all.chain(hops.map(|hop| usage.hops.account(hop))).collect();
        Self { usage: Arc::clone(usage), all }
    }

    /// Returns the account of the chain, and then those of its hops.
    pub(crate) fn all(&self) -> &[Arc<UsageAccount>] {
        &self.all
    }
}

impl Chain {
    /// Begins to count a connection that was just made, for the chain itself.
    pub(super) fn counted(&self, tunnel: Tunnel) -> Tunnel {
        self.counted_by(0, tunnel)
    }

    /// Counts the bytes of `tunnel` from here on for the hop at `position`, which the tunnel has just reached.
    pub(super) fn counted_at(&self, position: usize, tunnel: Tunnel) -> Tunnel {
        self.counted_by(position + 1, tunnel)
    }

    /// Counts the bytes of `tunnel` from here on for the hops `names`, which the hop that it has just reached chose.
    pub(super) fn counted_for_chosen(&self, names: &[Arc<str>], tunnel: Tunnel) -> Tunnel {
        let ChainAccounts { usage, all } = &self.accounts;
        if all.is_empty() {
            return tunnel;
        }
        names
            .iter()
            .fold(tunnel, |tunnel, name| count(tunnel, usage, Some(&usage.hops.account(name))))
    }

    /// Counts the bytes of `tunnel` from here on for the account at `index` of all.
    fn counted_by(&self, index: usize, tunnel: Tunnel) -> Tunnel {
        let ChainAccounts { usage, all } = &self.accounts;
        count(tunnel, usage, all.get(index))
    }
}

/// Counts the bytes of `tunnel` from here on for `account` too. A tunnel that a hop has wrapped, as in TLS, is a new
/// stream and gets a counter of its own; the one below it goes on.
fn count(tunnel: Tunnel, usage: &Arc<UsageLedger>, account: Option<&Arc<UsageAccount>>) -> Tunnel {
    let Some(account) = account else { return tunnel };
    if let Some(wire) = tunnel.wire().and_then(CountedWire::of) {
        wire.passes(account, tunnel.ahead());
        return tunnel;
    }
    let wire = usage.wire();
    wire.passes(account, 0);
    tunnel.counted(wire)
}
