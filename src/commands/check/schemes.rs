//! The authentication schemes of hops, and whether this machine can use them now.

use mooltiroute_hops::{Key, KeyPath, Readiness, Unready};

use crate::config::{Config, Loader, NamedHop, Problem, sort_by_place};

/// For each hop of a configuration, its schemes that this machine has to be ready for.
pub(super) struct Schemes(Vec<Vec<Readiness>>);

impl Schemes {
    /// Looks for the credentials of each hop in force. Sends nothing, and may block for a file or a library.
    pub(super) fn look_up(config: &Config) -> Self {
        let of_hop = |hop: &NamedHop| {
            let built = hop.hop.as_ref().filter(|_| hop.is_enabled);
            built.map_or_else(Vec::new, |built| built.readiness())
        };
        Self(config.hops.iter().map(of_hop).collect())
    }

    /// Returns each hop of `config` with its schemes.
    pub(super) fn of_each<'a>(
        &'a self,
        config: &'a Config,
    ) -> impl Iterator<Item = (&'a NamedHop, &'a [Readiness])> {
        config.hops.iter().zip(self.0.iter().map(Vec::as_slice))
    }

    /// Adds a warning for each scheme that can't be used now. A missing ticket or library is a problem of this machine, so
    /// the configuration stays valid.
    pub(super) fn warn(&self, config: &mut Config, loader: &Loader) {
        let warnings: Vec<_> = self
            .of_each(config)
            .flat_map(|(hop, schemes)| {
                let has_other = schemes.iter().any(|one| one.credentials.is_ok());
                schemes.iter().filter_map(move |one| warning(hop, one, has_other, loader))
            })
            .collect();
        if !warnings.is_empty() {
            config.warnings.extend(warnings);
            sort_by_place(&mut config.warnings);
        }
    }
}

/// Returns a warning if `scheme` can't be used now. `has_other` says whether another scheme of the hop can.
fn warning(
    hop: &NamedHop,
    scheme: &Readiness,
    has_other: bool,
    loader: &Loader,
) -> Option<Problem> {
    let Readiness { scheme, credentials: Err(Unready { reason, advice }) } = scheme else {
        return None;
    };
    let path = KeyPath::of(["hops", &hop.name]).then(Key::Name("auth".into()));
    let instead =
        if has_other { "the other schemes are used" } else { "requests through this hop fail" };
    let message = format!("{} can't be used now, so {instead}: {reason}", scheme.name());
    Some(loader.problem_at(&path, "not-ready", message).with_help(advice))
}
