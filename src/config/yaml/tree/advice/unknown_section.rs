//! Advice on a key at the top of a file that is not a section.

use mooltiroute_hops::KeyPath;
use serde_yaml::{Mapping, Value};

use crate::config::{
    raw,
    report::{known_keys::OF_SECTIONS, problem::is_word},
    yaml::tree::{
        Tree,
        advice::{
            keys,
            named_entries::{EXAMPLE_HOP, HOP_KEYS},
        },
    },
};

impl Tree {
    /// Returns the right place of a setting that is written at the top level, as `name`.
    pub(super) fn advice_on_section(&self, path: &KeyPath, name: &str) -> Option<String> {
        // The value decides before the name: hops and chains are recognised by what is in them, whatever they
        // are called.
        let shown = if is_word(name) { name } else { "NAME" };
        let value = self.value(path)?;
        let has = |key: &str| value.as_mapping().is_some_and(|mapping| mapping.contains_key(key));
        if has("kind") || (has("address") && has("username")) {
            return Some(format!("indent `{shown}:` and its lines below `hops:`"));
        }
        let is_section = |key: &Value| key.as_str().is_some_and(|key| raw::SECTIONS.contains(&key));
        let holds_sections =
            |mapping: &Mapping| !mapping.is_empty() && mapping.keys().all(is_section);
        if value.as_mapping().is_some_and(holds_sections) {
            return Some(format!("remove `{shown}:`, and begin the sections in the first column"));
        }
        let hops = self.names(&KeyPath::of(["hops"])).unwrap_or_default();
        let names_a_hop =
            |item: &Value| item.as_str().is_some_and(|item| hops.iter().any(|hop| hop == item));
        let is_chain = value.as_sequence().is_some_and(|list| list.iter().any(names_a_hop));
        // Without a chain `default`, a chain of another name would be one that no request takes.
        let has_default = self.value(&KeyPath::of(["chains", "default"])).is_some();
        if is_chain && name != "default" && keys::is_listed(name) && !has_default {
            return Some("write the hops as a chain: `chains: { default: [HOP, HOP] }`".to_owned());
        }
        if is_chain || name == "default" || has("warm") {
            return Some(format!("indent `{shown}:` below `chains:`"));
        }
        // A key of a section that was written without the section, or not indented below it.
        // Some programs begin each key with a capital letter.
        let lower = name.to_ascii_lowercase();
        let belongs = OF_SECTIONS.iter().find(|(_, keys)| keys.contains(&&*lower));
        if let Some((section, _)) = belongs {
            return Some(format!("write `{lower}` below `{section}`"));
        }
        if HOP_KEYS.contains(&&*lower) {
            let example = match &*lower {
                "members" | "members_from" | "pick" => EXAMPLE_POOL,
                _ => EXAMPLE_HOP,
            };
            return Some(format!(
                "`{lower}` belongs to a hop: write it below the hop's name, as in {example}"
            ));
        }
        for section in ["hops", "chains"] {
            let names = self.names(&KeyPath::of([section])).unwrap_or_default();
            if names.iter().any(|known| known == name) {
                return Some(format!("write it below `{section}:`, indented by two spaces"));
            }
        }
        None
    }
}

const EXAMPLE_POOL: &str =
    "`hops: { NAME: { kind: pool, members: [HOP, HOP] } }` and `chains: { default: [NAME] }`";
