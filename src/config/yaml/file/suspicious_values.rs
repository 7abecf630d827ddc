//! Finds values that are valid and look like a mistake.

use mooltiroute_hops::{Key, KeyPath};

use super::{COLUMN_MAX, File, REST_CHARS_MAX};
use crate::config::yaml::{
    spans::{Content, Node, Span},
    suspicious_value::SuspiciousValue,
};

impl File {
    /// Returns what is suspicious about the spelling of the value at `path` in this file.
    pub(crate) fn suspicious_value(&self, path: &KeyPath) -> Option<SuspiciousValue> {
        let node = self.root.as_ref()?.get(path)?;
        self.suspicion_of(path.last_name()?, node)
    }

    fn suspicion_of(&self, key: &str, node: &Node) -> Option<SuspiciousValue> {
        let Content::Scalar(style) = node.content else { return None };
        let Span { start, end } = node.span;
        // In a very long line, counting to the column would cost more than the advice is worth.
        if start.0 != end.0 || end.1 > COLUMN_MAX {
            return None;
        }
        let mut chars = self.line(start.0).chars().skip(start.1 - 1);
        let written: String = chars.by_ref().take(end.1 - start.1).collect();
        let rest: String = chars.take(REST_CHARS_MAX).collect();
        SuspiciousValue::find(key, style, written.trim_end(), &rest)
    }

    /// Returns the first values of this file that are written in an odd way.
    pub(crate) fn suspicious_values(&self) -> Vec<(KeyPath, SuspiciousValue)> {
        let mut found = Vec::new();
        if let Some(root) = &self.root {
            self.find_suspicious_values(root, &mut Vec::new(), "", &mut found);
        }
        found
    }

    /// Searches `node`, which is at `path` and below the key `key`.
    fn find_suspicious_values(
        &self,
        node: &Node,
        path: &mut Vec<Key>,
        key: &str,
        found: &mut Vec<(KeyPath, SuspiciousValue)>,
    ) {
        if found.len() >= ODDITIES_MAX {
            return;
        }
        match &node.content {
            Content::Scalar(_) => {
                found.extend(self.suspicion_of(key, node).map(|odd| (path.clone().into(), odd)));
            }
            Content::Nothing | Content::Unread => {}
            Content::List(list) => {
                for (index, inner) in list.iter().enumerate() {
                    // The key stays that of the list, as in `suspicious_value`.
                    path.push(Key::Index(index));
                    self.find_suspicious_values(inner, path, key, found);
                    path.pop();
                }
            }
            Content::Mapping(entries) => {
                for entry in entries {
                    path.push(Key::Name(entry.name.clone()));
                    self.find_suspicious_values(&entry.value, path, &entry.name, found);
                    path.pop();
                }
            }
        }
    }
}

/// More than this many are not worth the time.
const ODDITIES_MAX: usize = 100;
