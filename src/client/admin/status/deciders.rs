//! The state of the PAC files, for the status of a running proxy.

use std::collections::BTreeMap;

use mooltiroute_hops::DeciderState;
use serde::Serialize;

use crate::{state::generation::Generation, timestamp::rfc_3339};

/// A PAC file, by which a hop chooses.
#[derive(Debug, Serialize)]
pub(crate) struct PacFile {
    /// The file or URL that it is read from.
    pub source: String,
    /// Whether requests can be served.
    pub loaded: bool,
    /// When the one in use was read.
    pub loaded_at: Option<String>,
    /// When it was last asked for.
    pub checked_at: Option<String>,
    /// Why the last attempt to read it failed. The one in use stays in use.
    pub problem: Option<String>,
}

impl PacFile {
    /// Returns the PAC files of `generation`, by the names of their hops.
    pub(super) fn all(generation: &Generation) -> BTreeMap<String, Self> {
        let state = |hop: &dyn mooltiroute_hops::Hop| hop.decider().map(|decider| decider.state());
        let named = generation.built_hops().map(|(name, hop)| (name, state(&**hop)));
        named.filter_map(|(name, state)| Some((name.to_string(), state?.into()))).collect()
    }
}

impl From<DeciderState> for PacFile {
    fn from(state: DeciderState) -> Self {
        Self {
            loaded: state.loaded.is_some(),
            loaded_at: state.loaded.map(rfc_3339),
            checked_at: state.checked.map(rfc_3339),
            problem: state.problem,
            source: state.source,
        }
    }
}
