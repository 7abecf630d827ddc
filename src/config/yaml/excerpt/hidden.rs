//! Finds the beginning of what could be a secret in a line.

use super::{SourceLine, harmless::is_harmless};
use crate::config::{
    credentials::Credential,
    raw,
    yaml::spans::{Content, Node, Span},
};

impl SourceLine<'_> {
    /// Returns the index of the first character that could be part of a secret.
    pub(super) fn hidden_from(&self) -> usize {
        self.root.map_or(0, |root| self.hidden_in(root, &mut Vec::new()))
    }

    fn hidden_in<'a>(&self, node: &'a Node, path: &mut Vec<&'a str>) -> usize {
        // The first value on this line that could be a secret decides. In `{ password: a, kind: hunter2 }`
        // the password may be `a, kind: hunter2`, so what looks like the next setting can't be trusted.
        let covers = |span: Span| span.start.0 <= self.number && span.end > (self.number, 1);
        let mut hidden_from = usize::MAX;
        match &node.content {
            _ if !covers(node.span) => {}
            Content::Scalar(_) | Content::Nothing | Content::Unread => {}
            Content::List(list) => {
                for node in list {
                    hidden_from = hidden_from.min(self.hidden_in(node, path));
                }
            }
            Content::Mapping(entries) => {
                for entry in entries {
                    path.push(&entry.name);
                    let (key, value) = (entry.key, &entry.value);
                    let from = if !self.is_guarded(path, value) {
                        self.hidden_in(value, path)
                    } else if key.end.0 == self.number {
                        self.after_colon(key.end.1 - 1)
                    // The value began on an earlier line, so this one is hidden from its first character.
                    } else if key.end.0 < self.number && covers(value.span) {
                        0
                    } else {
                        usize::MAX
                    };
                    hidden_from = hidden_from.min(from);
                    path.pop();
                }
            }
        }
        hidden_from
    }

    /// Returns the index after a key that ends at `end`, its colon and the blanks.
    fn after_colon(&self, end: usize) -> usize {
        let rest = self.text.chars().skip(end);
        end + rest.take_while(|one| [':', ' '].contains(one)).count()
    }

    /// Returns whether `item` is the name of a hop or a chain of this file, or is written on other lines.
    fn is_other_line_or_known_hop(&self, item: &Node) -> bool {
        let Span { start, end } = item.span;
        if start.0 > self.number || end.0 < self.number {
            return true;
        }
        if !matches!(item.content, Content::Scalar(_)) || start.0 != end.0 {
            return false;
        }
        let text: String = self.text.chars().skip(start.1 - 1).take(end.1 - start.1).collect();
        let text = text.trim().trim_matches(['"', '\'']);
        let Some(Content::Mapping(sections)) = self.root.map(|root| &root.content) else {
            return false;
        };
        let mut named = sections.iter().filter(|one| ["hops", "chains"].contains(&&*one.name));
        named.any(|section| match &section.value.content {
            Content::Mapping(entries) => entries.iter().any(|entry| entry.name == text),
            _ => false,
        })
    }

    /// Returns whether `value` could be a secret, or the beginning of one.
    fn is_guarded(&self, path: &[&str], value: &Node) -> bool {
        let is_secret = path.last().is_some_and(|key| Credential::is_named_so(key));
        // The first arm that fits decides. If in doubt, a value is guarded; the arms name what is known to be
        // harmless, or a collection whose values are judged one by one.
        match (&value.content, path) {
            // A merge brings in settings, and each of these has a path of its own to be judged by.
            (_, [.., "<<"]) => false,
            // No setting of these sections holds a credential.
            (_, ["timeouts" | "limits" | "log" | "chains" | "routes", ..]) => is_secret,
            // A text alone is not a list of names, whatever it is.
            (Content::Scalar(_), ["hops", _, "members"]) => true,
            // The names of hops are not secret, unlike the proxies that people write in their place.
            (Content::List(items), ["hops", _, "members"]) => {
                !items.iter().all(|item| self.is_other_line_or_known_hop(item))
            }
            (Content::List(_) | Content::Mapping(_), ["hops", _, key]) => {
                is_secret || !["tls", "kind", "enabled", "hops", "budget"].contains(key)
            }
            (Content::List(_) | Content::Mapping(_), _) => is_secret,
            // Nothing could be read of the value, but the keys above it tell that a section or a hop begins
            // here.
            (Content::Unread, [section]) => !raw::SECTIONS.contains(section),
            (Content::Unread, ["hops", _]) => false,
            // People write whole proxy URLs as an address, and credentials in a URL end in an `@`.
            (Content::Scalar(_), ["hops", _, "address"]) => {
                value.span.start.0 != value.span.end.0 || self.text.contains('@')
            }
            _ => !is_harmless(path, ""),
        }
    }
}
