//! Mends keys that are indented like the key they belong to.

use mooltiroute_hops::{Key, KeyPath};
use serde_yaml::{Mapping, Value};

use crate::config::{
    report::first_problems::Found,
    yaml::{
        file::{File, Part},
        indentation::Outdented,
        tree::Tree,
    },
};

impl Tree {
    /// Moves each group of such keys below its key, and returns one problem for each. So the rest of the configuration is
    /// checked as it was meant.
    pub(in crate::config) fn indent_keys(&mut self) -> Found {
        let mut problems = Found::default();
        let outdented: Vec<_> = self.files.iter().flat_map(File::outdented).collect();
        for Outdented { above, keys, lines } in outdented {
            if !self.move_below(&above, &keys) || problems.skips() {
                continue;
            }
            let Some(Key::Name(name)) = above.keys().last() else { continue };
            let (lines, pronoun) = match lines {
                (first, last) if first == last => (format!("line {first}"), "it belongs"),
                (first, last) if first + 1 == last => {
                    (format!("lines {first} and {last}"), "they belong")
                }
                (first, last) => (format!("lines {first} to {last}"), "they belong"),
            };
            let message = "has nothing below it: the next keys begin in the same column";
            let problem = self.problem(&above, Part::Key, "indentation", message);
            let help = format!("indent {lines} by two more spaces; {pronoun} to `{name}:`");
            problems.push(problem.with_help(help));
        }
        problems
    }

    /// Moves the keys beside the key at `above` below it. Returns whether it has no value in the merged files either.
    fn move_below(&mut self, above: &KeyPath, keys: &[String]) -> bool {
        let Some((Key::Name(name), around)) = above.keys().split_last() else { return false };
        let mapping = match around {
            [] => Some(&mut self.root),
            around => match self.value_mut(&KeyPath::from(around.to_vec())) {
                Some(Value::Mapping(mapping)) => Some(mapping),
                _ => None,
            },
        };
        let Some(mapping) = mapping else { return false };
        // A section without a value is not merged at all.
        if mapping.get(name.as_str()).is_some_and(|value| !value.is_null()) {
            return false;
        }
        let mut below = Mapping::new();
        for key in keys {
            if let Some(value) = mapping.remove(key.as_str()) {
                below.insert(key.as_str().into(), value);
            }
        }
        mapping.insert(name.as_str().into(), Value::Mapping(below));
        true
    }
}
