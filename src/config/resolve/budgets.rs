//! Reads the budgets of hops, and the age at which their tunnels rotate.

use std::{collections::HashSet, time::Duration};

use mooltiroute_hops::{KeptExit, Key, KeyPath};

use crate::config::{
    Budget, ChainConfig, Consequence, NamedHop, ShownSetting, Zone, raw,
    resolve::{Names, Part, Resolver},
    units::Period,
};

impl Resolver<'_> {
    /// Reads the budget at `path`. The chain that it names is checked by [`check_budgets`](Self::check_budgets).
    pub(super) fn budget(&mut self, path: &KeyPath) -> Option<Budget> {
        let raw = self.read::<raw::RawBudget>(path)?;
        let below = |key: &str| path.clone().then(Key::Name(key.to_owned()));
        let bytes = raw.bytes.0 as u64;
        if bytes == 0 {
            self.invalid(
                &below("bytes"),
                "must be at least 1; use `enabled: false` to switch the hop off",
            );
        }
        let Ok(zone) = Zone::named(&raw.zone) else {
            let message = match Zone::are_known() {
                true => {
                    "is not a time zone that this system knows; write `UTC`, or a name such as `Europe/Berlin`"
                }
                false => {
                    "can't be looked up, as this system has no time zones; install the package `tzdata`, or write `UTC`"
                }
            };
            self.invalid(&below("zone"), message);
            return None;
        };
        let warn = u64::try_from(u128::from(bytes) * u128::from(raw.warn.0) / 100);
        let then = match raw.then {
            raw::Then::Refuse => Consequence::Refuse,
            raw::Then::Chain(name) => Consequence::Chain(name.into()),
        };
        Some(Budget { bytes, per: raw.per, zone, warn: warn.unwrap_or(bytes), then, cuts: raw.cut })
    }

    /// Reads the age at `path` from which tunnels are rotated.
    pub(super) fn rotate_after(&mut self, path: &KeyPath) -> Option<Duration> {
        let Period(age) = self.read(path)?;
        if age < ROTATE_AFTER_MIN {
            self.invalid(path, "must be at least `1s`");
        }
        Some(age)
    }

    /// Checks that the chains of budgets exist and avoid the exhausted hop, and that no hop has a `budget` or a
    /// `rotate_after` without effect.
    pub(crate) fn check_budgets(
        &mut self,
        hops: &[NamedHop],
        chains: &[ChainConfig],
        names: &Names,
    ) {
        let held: HashSet<_> = self.holds.values().flatten().cloned().collect();
        for (index, hop) in hops.iter().enumerate() {
            // Bytes and tunnels are counted for the hop in the chain. If that hop chooses this one, only its own
            // settings apply, and a limit here would have no effect.
            if held.contains(&hop.name) {
                let has = [
                    ("budget", hop.budget.is_some()),
                    ("rotate_after", hop.rotate_after.is_some()),
                ];
                for (key, _) in has.iter().filter(|(_, has)| *has) {
                    let message = "has no effect on connections for which a pool or a PAC file chooses this hop; write it at the hop that chooses";
                    self.invalid(&KeyPath::of(["hops", &hop.name, key]), message);
                }
            }
            // A pool that picks the same member each time gives the client the exit that it had.
            let picks_again = hop.settings.iter().any(ShownSetting::picks_by_session);
            if hop.rotate_after.is_some() && picks_again && !self.warnings.skips() {
                let message = "ends tunnels so that clients get another exit, but `pick: sticky` gives them the same member again";
                let path = KeyPath::of(["hops", &hop.name, "rotate_after"]);
                let problem = self.tree.problem(&path, Part::Key, "same-exit", message);
                let help = "use `pick: round-robin` or `pick: random`, or remove `rotate_after`";
                self.warnings.push(problem.with_help(help));
            } else if hop.rotate_after.is_some() {
                self.warn_of_kept_exit(index, hops, chains);
            }
            let Some(Budget { then: Consequence::Chain(name), .. }) = &hop.budget else { continue };
            let path = KeyPath::of(["hops", &hop.name, "budget", "then", "chain"]);
            match chains.iter().find(|chain| chain.name == *name) {
                Some(chain) if chain.hops.contains(&index) => {
                    let message =
                        "leads through the hop whose budget is used up then; name another chain";
                    self.invalid(&path, message);
                }
                Some(chain) if chain.hops.is_empty() && !self.warnings.skips() => {
                    let message = format!(
                        "once the budget is used up, requests take chain `{name}` and go direct, from this machine's \
                         own address"
                    );
                    let problem = self.tree.problem(&path, Part::Value, "direct", message);
                    let help = "write `then: refuse` if they must not, or name a chain with hops";
                    self.warnings.push(problem.with_help(help));
                }
                Some(_) => {}
                None => self.unknown_chain(&path, name, names),
            }
        }
    }
}

impl Resolver<'_> {
    /// Warns if the `rotate_after` of the hop at `index` ends tunnels though no hop of its chains has another exit.
    fn warn_of_kept_exit(&mut self, index: usize, hops: &[NamedHop], chains: &[ChainConfig]) {
        let mut of_hop = chains.iter().filter(|chain| chain.hops.contains(&index)).peekable();
        if of_hop.peek().is_none() || self.warnings.skips() {
            return;
        }
        let mut kept = Vec::new();
        for chain in of_hop {
            // A hop that is switched off may change the exit once it is on.
            if !chain.switched_off.is_empty() {
                return;
            }
            for hop in &chain.hops {
                let Some(one) = self.kept_exit(&hops[*hop]) else { return };
                kept.push((*hop, one));
            }
        }
        let by_setting = kept.iter().find_map(|(of, kept)| match kept {
            KeptExit::Setting { key, instead } => Some((&hops[*of], *key, *instead)),
            KeptExit::OneUpstream => None,
        });
        let (message, help) = match by_setting {
            Some((of, key, instead)) => {
                let value = of.settings.iter().find(|one| one.key == key);
                let value = value.map(|one| format!(": {}", one.value)).unwrap_or_default();
                let place = match of.name == hops[index].name {
                    true => String::new(),
                    false => format!(" of hop `{}`", of.name),
                };
                let keeps = if key == "session" { "keeps one" } else { "gives each session one" };
                (format!("brings no new exit here, because `{key}{value}`{place} {keeps}"), instead)
            }
            None => (
                "brings no new exit here, because every hop of the chain has one exit".to_owned(),
                "remove it; if a hop is the gateway of a provider that changes the exit, write it as `kind: rotating` or \
                 `kind: webshare`",
            ),
        };
        let path = KeyPath::of(["hops", &hops[index].name, "rotate_after"]);
        let problem = self.tree.problem(&path, Part::Key, "same-exit", message);
        self.warnings.push(problem.with_help(help));
    }

    /// Returns what keeps the exit of `hop`, as far as it is known.
    fn kept_exit(&self, hop: &NamedHop) -> Option<KeptExit> {
        let kept = hop.hop.as_ref()?.kept_exit()?;
        // An ordinary kind may have a provider's username, which says how the exit is chosen.
        let path = KeyPath::of(["hops", &hop.name, "username"]);
        let username = self.tree.value(&path).and_then(|value| value.as_str()).unwrap_or_default();
        let username = username.to_ascii_lowercase();
        let is_of_provider =
            ["rotat", "sess", "country", "-cc-"].iter().any(|word| username.contains(word));
        (kept != KeptExit::OneUpstream || !is_of_provider).then_some(kept)
    }
}

/// A tunnel that ends sooner would only be opened again.
const ROTATE_AFTER_MIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use mooltiroute_hops::kinds;

    use crate::config::{Environment, Loader, Overrides, Source};

    #[test]
    fn a_chain_that_can_not_be_read_is_one_problem() {
        let directory = tempfile::tempdir().unwrap();
        let source = Source::Path(directory.path().to_owned());
        let environment = Environment::new(|_| None, Path::new(""));
        let loader = Loader::new(source, Overrides::default(), kinds::builtin(), environment);
        for (name, words) in [
            ("${UNSET}", "`UNSET`"),
            ("nowhere", "unknown chain `nowhere`; known chains: default, direct"),
        ] {
            let yaml = format!(
                "hops: {{ a: {{ kind: http-connect, address: \"a.test:1\", \
                 budget: {{ bytes: 1GiB, per: month, then: {{ chain: \"{name}\" }} }} }} }}\n\
                 chains: {{ default: [a] }}\n"
            );
            fs::write(directory.path().join("10.yaml"), yaml).unwrap();
            let problems = loader.load().unwrap_err().0;
            let shown = format!("{problems:?}");
            assert_eq!(problems.len(), 1, "{shown}");
            assert!(shown.contains(words), "{shown}");
        }
    }
}
