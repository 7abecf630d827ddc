//! The state of the documents that hops depend on, for the status of a running proxy.

use std::{collections::BTreeMap, time::UNIX_EPOCH};

use mooltiroute_hops::{Hop, SourceKind, SourceState};
use serde::Serialize;

use crate::{state::generation::Generation, timestamp::rfc_3339};

/// A document that a hop depends on: a PAC file, or a list of proxies.
#[derive(Debug, Serialize)]
pub(crate) struct SourceStatus {
    /// The file or URL that it is read from. Of the URL of a list, only the server is shown.
    pub source: String,
    /// Whether the hop reads it by itself. A list in a file is read with the configuration.
    #[serde(skip)]
    pub is_fetched: bool,
    /// Whether requests can be served.
    pub loaded: bool,
    /// When the one in use was read.
    pub loaded_at: Option<String>,
    /// The number of proxies in use, if it is a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<usize>,
    /// The number of proxies of the list before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members_before: Option<usize>,
    /// When it was last asked for.
    pub checked_at: Option<String>,
    /// When it was last asked for with success: it was new, or still the one in use.
    pub confirmed_at: Option<String>,
    /// That time, in seconds since 1970.
    #[serde(skip)]
    pub confirmed_seconds: Option<f64>,
    /// The time after which a request asks for it again.
    pub retry_seconds: Option<f64>,
    /// Why the last attempt to read it failed. The one in use stays in use.
    pub problem: Option<String>,
    /// Why a part of the one in use was left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
}

impl SourceStatus {
    /// Returns the documents of this kind that `generation` depends on, by the names of their hops.
    pub(super) fn all(generation: &Generation, kind: SourceKind) -> BTreeMap<String, Self> {
        let status = |hop: &dyn Hop| {
            let state = hop.source().filter(|state| state.kind == kind)?;
            Some(Self { is_fetched: hop.asker().is_some(), ..Self::from(state) })
        };
        let all = generation.built_hops();
        all.filter_map(|(name, hop)| Some((name.to_string(), status(&**hop)?))).collect()
    }
}

impl From<SourceState> for SourceStatus {
    fn from(state: SourceState) -> Self {
        Self {
            is_fetched: true,
            loaded: state.loaded.is_some(),
            loaded_at: state.loaded.map(rfc_3339),
            members: state.members,
            members_before: state.members_before,
            checked_at: state.checked.map(rfc_3339),
            confirmed_at: state.confirmed.map(rfc_3339),
            confirmed_seconds: state
                .confirmed
                .and_then(|at| at.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64())),
            retry_seconds: state.retry.map(|pause| pause.as_secs_f64()),
            problem: state.problem,
            doubt: state.doubt,
            source: state.source,
        }
    }
}
