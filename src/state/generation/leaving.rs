//! Hops that a reload switches off, and the tunnels that are cut for that.

use std::sync::Arc;

use super::Generation;
use crate::{
    config::{NamedHop, OnLeave},
    state::connections::OpenConnection,
};

impl Generation {
    /// Returns the hops that are on in this generation, are off or gone in `next`, and have `on_leave: cut`.
    pub(crate) fn hops_that_leave(&self, next: &Self) -> Vec<Arc<str>> {
        let is_on_in_next =
            |name: &str| next.hops.iter().any(|hop| &*hop.name == name && hop.is_enabled);
        let leaves = |hop: &&NamedHop| {
            hop.on_leave == OnLeave::Cut && hop.is_enabled && !is_on_in_next(&hop.name)
        };
        self.hops.iter().filter(leaves).map(|hop| Arc::clone(&hop.name)).collect()
    }
}

/// Returns whether `row` is a tunnel through one of the hops `left`, which were switched off.
///
/// `on_leave` is about tunnels, which may stay open for days. A plain request ends with its answer, and the next one on
/// its connection takes the new way.
pub(crate) fn is_cut(row: &OpenConnection, left: &[Arc<str>]) -> bool {
    row.is_tunnel() && left.iter().any(|name| row.passes(name))
}
