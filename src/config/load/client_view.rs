//! The parts of a configuration that matter to clients.

use mooltiroute_hops::{Key, KeyPath};

use super::Loader;
use crate::config::{
    Config, Credential, CredentialSource, Place, Problems,
    report::first_problems::Found,
    resolve::Resolver,
    yaml::{file::Part, tree::Tree},
};

/// The parts of a configuration that matter to clients.
#[derive(Debug)]
pub(crate) struct ClientView {
    /// The configuration. Its hops may be incomplete.
    pub config: Config,
    /// The reasons why `server.auth` is not known, though it is written.
    pub auth_problems: Problems,
    /// The places of the credentials in `server.auth` that are written out, by their keys.
    pub auth_places: Vec<(String, Place)>,
}

impl Loader {
    /// Loads what clients have to know. Problems with hops don't count, nor does a missing value of `server.auth`, since
    /// a client uses neither. A hop with a problem is there, but not built.
    ///
    /// The configuration must not serve requests.
    ///
    /// # Errors
    /// All other problems.
    pub(crate) fn load_for_clients(&self) -> Result<ClientView, Problems> {
        let (texts, Problems(unreadable)) = self.source.read();
        let (mut tree, faults) = Tree::new(texts);
        let mut problems = Found::default();
        problems.extend(unreadable);
        problems.append(faults);
        self.apply_overrides(&mut tree);
        let mut resolver = Resolver::new(self, &mut tree, problems.is_empty());
        resolver.fills_in_hops = true;
        let mut config = resolver.resolve();
        problems.append(resolver.problems);
        let place = |credential: &Credential| {
            let key = Key::Name(credential.setting.clone());
            let path = KeyPath::of(["server", "auth"]).then(key);
            let is_written = credential.origin == CredentialSource::Written;
            let place = is_written.then(|| tree.place(&path, Part::Value)).flatten()?;
            Some((credential.setting.clone(), place))
        };
        let auth_places = config.server.credentials.iter().filter_map(place).collect();
        let (hops, auth) = (KeyPath::of(["hops"]), KeyPath::of(["server", "auth"]));
        let mut problems = problems.into_problems().0;
        problems.retain(|problem| problem.path.below(&hops).is_none());
        let (of_auth, others): (Vec<_>, Vec<_>) =
            problems.into_iter().partition(|problem| problem.path.below(&auth).is_some());
        if !others.is_empty() {
            return Err(self.shown(Problems(others)));
        }
        if !of_auth.is_empty() {
            // A part of it may be a template that was not completed.
            config.server.auth = None;
        }
        Ok(ClientView { config, auth_problems: self.shown(Problems(of_auth)), auth_places })
    }
}
