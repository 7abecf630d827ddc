//! Lists the values that a later file replaces, and warns of hops that are mixed of two files by mistake.

use mooltiroute_hops::{Key, KeyPath};

use crate::config::{
    Credential, Problem,
    resolve::{Part, Resolver},
};

impl Resolver<'_> {
    /// Returns the values of earlier files that later ones replace, each with both places. That is how a directory of files
    /// is meant to be used, and it also happens to two hops that got one name by mistake.
    pub(super) fn replaced(&self) -> Vec<Problem> {
        let differ = self.tree.replaced().iter().filter(|replaced| replaced.differs);
        let mut replaced: Vec<KeyPath> =
            differ.map(|replaced| replaced.path.clone()).take(LISTED_MAX).collect();
        replaced.sort();
        // A third file may replace the value of the second.
        replaced.dedup();
        let notes = replaced.iter().filter_map(|path| {
            let note = self.tree.problem(path, Part::Key, "replaced", "");
            let message = format!("replaces the value at {}", note.first.as_ref()?);
            Some(Problem { message, first: None, excerpt: None, ..note })
        });
        notes.collect()
    }

    /// Warns of a hop whose address one file replaces while another one has its credentials. These then go to a server that
    /// they were not written for.
    pub(super) fn warn_of_mixed_hops(&mut self) {
        let differ = self.tree.replaced().iter().filter(|replaced| replaced.differs);
        let addresses: Vec<KeyPath> =
            differ.map(|replaced| &replaced.path).filter(is_address).cloned().collect();
        for address in addresses {
            let (Some(place), Some(hop)) =
                (self.tree.place(&address, Part::Value), above(&address))
            else {
                continue;
            };
            let names = self.tree.names(&hop).unwrap_or_default();
            let mut credentials = names.iter().filter(|name| Credential::is_named_so(name));
            let elsewhere = credentials.find_map(|name| {
                let path = hop.clone().then(Key::Name(name.clone()));
                let of = self.tree.place(&path, Part::Key)?;
                (of.file != place.file).then_some((name, of))
            });
            let Some((name, of)) = elsewhere else { continue };
            if self.warnings.skips() {
                continue;
            }
            let message = format!("this address gets the `{name}` of another file, {of}");
            let problem = self.tree.problem(&address, Part::Value, "mixed-hop", message);
            self.warnings.push(Problem { first: None, ..problem }.with_help(
                "two files have a hop of this name, and are merged key by key: write the credentials beside this address \
                 too, or give one of the hops another name",
            ));
        }
    }
}

/// Returns whether `path` is the address of a hop.
fn is_address(path: &&KeyPath) -> bool {
    let [section, _, key] = path.keys() else { return false };
    section.name() == Some("hops") && key.name() == Some("address")
}

/// Returns the path of the mapping that has the setting at `path`.
fn above(path: &KeyPath) -> Option<KeyPath> {
    let (_, above) = path.keys().split_last()?;
    Some(above.to_vec().into())
}

/// More replaced values than this are not listed.
const LISTED_MAX: usize = 100;
