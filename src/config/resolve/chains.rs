//! Resolves chains to hops.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use mooltiroute_hops::{Key, KeyPath};

use crate::config::resolve::{Names, Part, Resolver, misnamed::is_proxy, problems::some_of};
use crate::config::{ChainConfig, NamedHop, raw, report::problem::is_name};

impl Resolver<'_> {
    /// Returns the chains in written order, after the built-in one, and their names.
    pub(crate) fn chains(
        &mut self,
        hops: &[NamedHop],
        hop_names: &Names,
    ) -> (Vec<ChainConfig>, Names) {
        // At index 0. The drawing of `check --graph` and the warning of unused chains rely on that.
        let direct = ChainConfig { name: DIRECT.into(), ..ChainConfig::default() };
        let section = KeyPath::of(["chains"]);
        let mut names = self.names(&section);
        let mut chains = vec![direct];
        for name in self.tree.names(&section).unwrap_or_default() {
            let path = section.clone().then(Key::Name(name.clone()));
            // With another meaning of `direct`, a route that reads as if it went direct could go through
            // hops, or the reverse.
            if name == DIRECT {
                let message = "the chain name `direct` is reserved; give this chain another name";
                self.problems.push(self.tree.problem(&path, Part::Key, "name", message));
                continue;
            }
            let chain = self.chain(&path, hops, hop_names);
            chains.push(ChainConfig { name: name.into(), ..chain });
        }
        // Without the names, a chain `default` may be in the file that could not be read.
        if let Some(names) = &mut names
            && self.implies_default(hops, names)
        {
            let default = ChainConfig { name: DEFAULT.into(), ..ChainConfig::default() };
            chains.push(default);
            names.push(DEFAULT.to_owned());
        }
        if let Some(names) = &mut names {
            names.push(DIRECT.to_owned());
        }
        (chains, names)
    }

    /// Returns whether the chain `default` goes direct without being written, and warns of it.
    ///
    /// It does so only if no hop and no route is written. With one, an omitted chain is a mistake, and going direct
    /// would go around the hop.
    fn implies_default(&mut self, hops: &[NamedHop], names: &[String]) -> bool {
        if !hops.is_empty() || names.iter().any(|name| name == DEFAULT) {
            return false;
        }
        if self.tree.length(&KeyPath::of(["routes"])) != Ok(0) {
            return false;
        }
        if !self.warnings.skips() {
            let (message, help) = match self.tree.sections().next() {
                None => ("the configuration is empty, so everything goes direct", EMPTY),
                Some(_) => (
                    "no hop is written, and no chain `default`: everything goes direct",
                    HOW_TO_BEGIN,
                ),
            };
            let problem = self.tree.problem(&KeyPath::of(["chains"]), Part::Key, "direct", message);
            self.warnings.push(problem.with_help(help));
        }
        true
    }

    /// Reads the chain at `path`. An invalid chain still defines its name.
    fn chain(&mut self, path: &KeyPath, hops: &[NamedHop], hop_names: &Names) -> ChainConfig {
        let mut chain = ChainConfig::default();
        let Some(raw) = self.read::<raw::RawChain>(path) else { return chain };
        chain.warm = raw.warm;
        let below = |key: &str| path.clone().then(Key::Name(key.to_owned()));
        if chain.warm > WARM_MAX {
            self.invalid(&below("warm"), format!("must be at most {WARM_MAX}"));
        }
        let list = if raw.is_long { below("hops") } else { path.clone() };
        // The hops are sorted by name.
        for (index, name) in raw.hops.iter().enumerate() {
            let found = hops.binary_search_by(|hop| (*hop.name).cmp(name)).ok();
            // A hop that is off counts too: requests must wait while it is undecided whether its condition
            // has switched it on.
            if let Some(hop) = found.and_then(|index| hops.get(index)) {
                chain.depends_on.extend(hop.depends_on.iter().cloned());
            }
            match found {
                Some(index) if hops[index].is_enabled => chain.hops.push(index),
                Some(index) => chain.switched_off.push(Arc::clone(&hops[index].name)),
                None => {
                    let place = list.clone().then(Key::Index(index));
                    self.unknown_hop(&list, &place, hop_names);
                }
            }
        }
        // Switching hops off is one of the ways to ask for direct connections, so this is valid, but it must
        // not go unnoticed.
        if chain.hops.is_empty() && !chain.switched_off.is_empty() && !self.warnings.skips() {
            let off = some_of(&chain.switched_off);
            let message =
                format!("every hop of this chain is switched off ({off}), so it goes direct");
            let path = path.clone();
            self.warnings.push(self.tree.problem(&path, Part::Key, "direct", message));
        }
        if !self.warn_of_fallback(&list, &raw.hops) {
            self.warn_of_same_address(&list, &raw.hops, hops);
        }
        self.warn_of_repeated(&list, &raw.hops);
        chain
    }

    /// Warns of a hop that a chain passes twice: it is written twice, or another hop of the chain may choose it too.
    fn warn_of_repeated(&mut self, list: &KeyPath, names: &[String]) {
        // Collected once for all names: a chain by mistake may have thousands.
        let mut holders: HashMap<&str, &str> = HashMap::new();
        for holder in names {
            for chosen in self.chosen_by(holder) {
                holders.entry(chosen).or_insert(holder);
            }
        }
        let mut earlier = HashSet::new();
        let mut repeated = Vec::new();
        for (index, name) in names.iter().enumerate() {
            if !earlier.insert(name) {
                let message = "this hop is in the chain twice: each connection passes it twice";
                repeated.push((index, message.to_owned()));
            } else if let Some(holder) = holders.get(&**name) {
                let message = format!(
                    "this hop is also one that `{holder}` may choose: connections may pass it twice"
                );
                repeated.push((index, message));
            }
        }
        for (index, message) in repeated {
            if self.warnings.skips() {
                continue;
            }
            let place = list.clone().then(Key::Index(index));
            let problem = self.tree.problem(&place, Part::Value, "repeated-hop", message);
            self.warnings.push(
                problem.with_help(
                    "a chain names each hop once, in the order of travel; remove this one",
                ),
            );
        }
    }

    /// Returns the hops that the hop `holder` may choose, itself or by a hop that it chooses.
    fn chosen_by<'a>(&'a self, holder: &'a str) -> HashSet<&'a str> {
        // Pools may share members, so each hop is looked at once.
        let (mut seen, mut left) = (HashSet::new(), vec![holder]);
        while let Some(holder) = left.pop() {
            let held = self.holds.get(holder).into_iter().flatten().map(|held| &**held);
            left.extend(held.filter(|held| seen.insert(*held)));
        }
        seen
    }

    /// Warns of the first hops of the chain that follow each other and have one address. They are probably
    /// several logins at one provider, and each request should use only one of them.
    fn warn_of_same_address(&mut self, list: &KeyPath, names: &[String], hops: &[NamedHop]) {
        let address = |name: &String| {
            let index = hops.binary_search_by(|hop| (*hop.name).cmp(name)).ok()?;
            let hop = hops.get(index)?;
            // A hop with a condition may be the one that is on while the other is off. The address of a pool is
            // that of a member.
            let is_fixed = hop.is_enabled && hop.depends_on.is_empty() && hop.kind != "pool";
            let address = hop.hop.as_ref().filter(|_| is_fixed)?.describe().address?;
            Some(address.to_string().to_ascii_lowercase())
        };
        let is_pair = |pair: &[String]| {
            pair[0] != pair[1]
                && address(&pair[0]).is_some_and(|one| address(&pair[1]) == Some(one))
        };
        let Some(first) = names.windows(2).position(is_pair) else { return };
        if self.warnings.skips() {
            return;
        }
        let more = names[first..].windows(2).take_while(|pair| is_pair(pair)).count();
        let message = match more {
            1 => {
                "this hop has the same address as the one before it: each request passes both, in this order"
            }
            _ => {
                "this hop and those after it have the same address as the one before: each request passes all of them, in this order"
            }
        };
        let place = list.clone().then(Key::Index(first + 1));
        let problem = self.tree.problem(&place, Part::Value, "same-address", message);
        self.warnings.push(problem.with_help(format!(
            "to use one or the other, write {}",
            pool_in_place_of(&names[first..=first + more])
        )));
    }

    /// Warns of a hop that is called a fallback. A chain passes all of its hops, and none of them in place of another.
    /// Returns whether there is one.
    fn warn_of_fallback(&mut self, list: &KeyPath, names: &[String]) -> bool {
        const WORDS: [&str; 6] =
            ["backup", "fallback", "failover", "secondary", "standby", "reserve"];
        let is_fallback = |name: &String| {
            let mut words = name.split(['-', '_', '.']);
            words.any(|word| WORDS.iter().any(|known| word.eq_ignore_ascii_case(known)))
        };
        let Some(index) = names.iter().skip(1).position(is_fallback).map(|index| index + 1) else {
            return false;
        };
        if self.warnings.skips() {
            return true;
        }
        let message =
            "a chain passes all of its hops, one after the other; this one is not a fallback";
        let place = list.clone().then(Key::Index(index));
        let problem = self.tree.problem(&place, Part::Value, "fallback", message);
        self.warnings.push(problem.with_help(format!(
            "to use it in place of the one before it, write {}",
            pool_in_place_of(&names[index - 1..=index])
        )));
        true
    }

    fn unknown_hop(&mut self, path: &KeyPath, place: &KeyPath, known: &Names) {
        let Some(known) = known else { return };
        if self.failed.contains(place) || self.problems.skips() {
            return;
        }
        // A hop that is not indented below `hops` has already been reported as an unknown section.
        let is_outside = |name| self.tree.value(&KeyPath::of([name])).is_some();
        if self.tree.shown(place).is_some_and(is_outside) {
            return;
        }
        let is_address =
            self.tree.value(place).and_then(|name| name.as_str()).is_some_and(is_proxy);
        if is_address {
            let problem = self.proxy_for_name(place);
            self.problems.push(problem);
            return;
        }
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        // The path is that of the list, as operators know it; the place is that of the item.
        let mut problem = self.unknown_name(path, place, "hop", &known);
        let name = self.tree.shown(place).unwrap_or_default();
        let help = match name {
            DIRECT => Some("a chain without a hop, `[]`, goes direct".to_owned()),
            name if self.tree.value(&KeyPath::of(["chains", name])).is_some() => {
                Some(format!("`{name}` is a chain; write the hops that it has"))
            }
            _ => None,
        };
        problem.help = problem.help.or(help);
        self.problems.push(problem);
    }
}

/// Returns how to write a pool in place of the hops called `names`.
fn pool_in_place_of(names: &[String]) -> String {
    let members = match names.iter().all(|name| is_name(name)) {
        true => names.join(", "),
        false => "HOP, HOP".to_owned(),
    };
    let them = if names.len() == 2 { "both" } else { "them" };
    format!(
        "a hop `NAME: {{ kind: pool, members: [{members}] }}`, and `NAME` here in place of {them}"
    )
}

const EMPTY: &str = "if a file was emptied by mistake, restore it; to begin, `mooltiroute init DIR` writes examples, and `chains: { \
                     default: [] }` says that going direct is meant";
const HOW_TO_BEGIN: &str = "write hops and a chain through them, or `chains: { default: [] }` if that is meant; \
                            `mooltiroute init DIR` writes examples";

/// The chain that takes everything as long as no routes are written.
pub(crate) const DEFAULT: &str = "default";
pub(crate) const DIRECT: &str = "direct";

/// The limit of `warm`, since each spare is a connection that waits at an upstream.
const WARM_MAX: usize = 64;
