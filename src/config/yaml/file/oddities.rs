//! Finds values that are valid and look like a mistake.

use mooltiroute_hops::{Key, KeyPath};

use super::{COLUMN_MAX, File, REST_CHARS_MAX};
use crate::config::yaml::{
    oddity::Oddity,
    spans::{Content, Node, Span},
};

impl File {
    /// Returns the oddity in the spelling of the value at `path` in this file.
    pub(crate) fn oddity(&self, path: &KeyPath) -> Option<Oddity> {
        let node = self.root.as_ref()?.get(path)?;
        self.oddity_of(path.last_name()?, node)
    }

    fn oddity_of(&self, key: &str, node: &Node) -> Option<Oddity> {
        let Content::Scalar(style) = node.content else { return None };
        let Span { start, end } = node.span;
        // In a very long line, counting to the column would cost more than the advice is worth.
        if start.0 != end.0 || end.1 > COLUMN_MAX {
            return None;
        }
        let mut chars = self.line(start.0).chars().skip(start.1 - 1);
        let written: String = chars.by_ref().take(end.1 - start.1).collect();
        let rest: String = chars.take(REST_CHARS_MAX).collect();
        Oddity::find(key, style, written.trim_end(), &rest)
    }

    /// Returns the first values of this file that are written in an odd way.
    pub(crate) fn oddities(&self) -> Vec<(KeyPath, Oddity)> {
        let mut found = Vec::new();
        if let Some(root) = &self.root {
            self.find_oddities(root, &mut Vec::new(), "", &mut found);
        }
        found
    }

    /// Searches `node`, which is at `path` and below the key `key`.
    fn find_oddities(
        &self,
        node: &Node,
        path: &mut Vec<Key>,
        key: &str,
        found: &mut Vec<(KeyPath, Oddity)>,
    ) {
        if found.len() >= ODDITIES_MAX {
            return;
        }
        match &node.content {
            Content::Scalar(_) => {
                found.extend(self.oddity_of(key, node).map(|odd| (path.clone().into(), odd)));
            }
            Content::Nothing | Content::Unread => {}
            Content::List(list) => {
                for (index, inner) in list.iter().enumerate() {
                    // The key stays that of the list, as in `oddity`.
                    path.push(Key::Index(index));
                    self.find_oddities(inner, path, key, found);
                    path.pop();
                }
            }
            Content::Mapping(entries) => {
                for entry in entries {
                    path.push(Key::Name(entry.name.clone()));
                    self.find_oddities(&entry.value, path, &entry.name, found);
                    path.pop();
                }
            }
        }
    }
}

/// More than this many are not worth the time.
const ODDITIES_MAX: usize = 100;
