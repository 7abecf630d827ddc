//! One stop of a request, and what it receives.

use std::collections::BTreeMap;

use mooltiroute_hops::Preferences;
use serde::Serialize;

use crate::{commands::json::ShownCredential, config::NamedHop};

/// One stop, and the request that it receives.
#[derive(Serialize)]
pub(in crate::commands::explain) struct ExplainedStep<'a> {
    /// The hop's name, or `None` for the target.
    pub(in crate::commands::explain) hop: Option<&'a str>,
    pub(super) kind: Option<&'a str>,
    pub(super) address: String,
    /// The request that it receives.
    pub(super) request: String,
    pub(super) credentials: Vec<ShownCredential<'a>>,
    #[serde(skip)]
    pub(super) words: String,
    /// The parts of the login that depend on the client, without secrets.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) login: BTreeMap<String, String>,
    /// The meanings of the settings about sessions.
    #[serde(skip)]
    pub(super) sessions: Vec<String>,
}

impl ExplainedStep<'_> {
    /// Says that the credentials come from the URL of `--hop`.
    pub(in crate::commands::explain) fn take_credentials_from_url(&mut self) {
        let from_url = |one: &ShownCredential<'_>| format!(", {} from `--hop`", one.setting);
        self.words = self.credentials.iter().map(from_url).collect();
    }
}

/// Returns the login of `hop` for a client with these preferences, as far as it depends on them.
pub(super) fn login(hop: &NamedHop, preferences: &Preferences) -> BTreeMap<String, String> {
    let shapes = hop.hop.as_ref().map(|hop| hop.login_shape(preferences)).unwrap_or_default();
    shapes.into_iter().take(SHAPES_MAX).map(|shape| (shape.name, shape.text)).collect()
}

/// A pool may have many members with a login of this kind.
const SHAPES_MAX: usize = 10;
