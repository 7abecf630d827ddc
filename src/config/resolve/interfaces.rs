//! Warns of patterns of interfaces that are written in the notation of another program.

use mooltiroute_hops::{Key, KeyPath};
use serde_yaml::Value;

use crate::config::resolve::{Part, Resolver};

impl Resolver<'_> {
    /// Warns of each `interface` in the condition at `path` that looks like a regular expression or a pattern of a shell.
    /// An interface may have such a name, so it is not a problem.
    pub(super) fn warn_of_interface_patterns(&mut self, path: &KeyPath) {
        let mut found = Vec::new();
        if let Some(condition) = self.tree.value(path) {
            visit(condition, path, &mut found);
        }
        for path in found {
            if self.warnings.skips() {
                return;
            }
            let message =
                "this looks like a pattern of another program: only `*` and `?` are special here";
            let problem = self.tree.problem(&path, Part::Value, "interface-pattern", message);
            self.warnings.push(problem.with_help(
                "write `*` for any characters and `?` for one, as in `tun*`, or `any: [{ interface: tun0 }, { interface: \
                 tun1 }]`",
            ));
        }
    }
}

fn visit(value: &Value, path: &KeyPath, found: &mut Vec<KeyPath>) {
    match value {
        Value::Mapping(mapping) => {
            for (key, value) in mapping {
                let path = path.clone().then(Key::Name(key.as_str().unwrap_or_default().into()));
                visit(value, &path, found);
            }
        }
        Value::Sequence(list) => {
            for (index, value) in list.iter().enumerate() {
                visit(value, &path.clone().then(Key::Index(index)), found);
            }
        }
        Value::String(text) if path.last_name() == Some("interface") && is_foreign(text) => {
            found.push(path.clone());
        }
        _ => {}
    }
}

/// Returns whether `text` has characters that are special in regular expressions or shells and rare in names.
fn is_foreign(text: &str) -> bool {
    let has_class = text.contains('[') && text.contains(']');
    let has_braces = text.contains('{') && text.contains('}');
    let has_repeat = [".*", ".+", ".?", "\\d", "|"].iter().any(|part| text.contains(part));
    has_class || has_braces || has_repeat || text.starts_with('^') || text.ends_with('$')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_other_programs_are_told_from_names() {
        for text in ["tun[0-9]", "tun.*", "^tun", "tun\\d", "tun{0,1}", "tun0|tun1", "tun.+"] {
            assert!(is_foreign(text), "{text}");
        }
        for text in ["tun*", "tun?", "eth0.100", "Ethernet 2 (VPN)", "br-1a2b", "wlan0@if3"] {
            assert!(!is_foreign(text), "{text}");
        }
    }
}
