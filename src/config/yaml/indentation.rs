//! Finds keys that are indented like the key they belong to.
//!
//! In such a text the key above has no value, and its keys have become those of the mapping around it. Each of them would
//! be a problem of its own, and none of these problems says what to do.

use mooltiroute_hops::{Key, KeyPath};

use crate::config::{
    report::known_keys::{OF_HOP, OF_SECTIONS},
    yaml::spans::{Content, Entry, Node},
};

/// Keys that belong below an empty key right above them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outdented {
    /// The path of the empty key.
    pub(crate) above: KeyPath,
    /// The keys that belong below it.
    pub(crate) keys: Vec<String>,
    /// The first and the last line to indent.
    pub(crate) lines: (usize, usize),
}

/// Finds such keys in `root`.
pub(crate) fn outdented(root: &Node) -> Vec<Outdented> {
    let mut found = Vec::new();
    visit(root, &mut Vec::new(), &mut found);
    found
}

fn visit(node: &Node, path: &mut Vec<Key>, found: &mut Vec<Outdented>) {
    let Content::Mapping(entries) = &node.content else { return };
    let mut rest = entries.as_slice();
    while let Some((entry, after)) = rest.split_first() {
        rest = after;
        path.push(Key::Name(entry.name.clone()));
        if matches!(entry.value.content, Content::Nothing) {
            let count = after.iter().take_while(|next| belongs(path, entry, next)).count();
            let (keys, others) = after.split_at(count);
            if let (Some(first), Some(last)) = (keys.first(), keys.last()) {
                found.push(Outdented {
                    above: path.clone().into(),
                    keys: keys.iter().map(|key| key.name.clone()).collect(),
                    lines: (first.key.start.0, last_line(&last.value).max(last.key.start.0)),
                });
                rest = others;
            }
        } else {
            visit(&entry.value, path, found);
        }
        path.pop();
    }
}

/// Returns whether `next` belongs below `entry`, which is at `path`: it is in the same column, and has the name of a key of
/// such a mapping.
fn belongs(path: &[Key], entry: &Entry, next: &Entry) -> bool {
    let is_beside = next.key.start.1 == entry.key.start.1 && next.key.start.0 > entry.key.start.0;
    is_beside && keys_of(path).contains(&&*next.name)
}

/// Returns the last line of `node` that is not empty.
fn last_line(node: &Node) -> usize {
    match &node.content {
        Content::List(list) => list.last().map_or(0, |last| last_line(last)),
        Content::Mapping(entries) => {
            entries.last().map_or(0, |last| last_line(&last.value).max(last.key.start.0))
        }
        Content::Nothing | Content::Unread => 0,
        // The parser puts the end of a block text at the beginning of the line after it.
        Content::Scalar(_) if node.span.end.1 == 1 => node.span.end.0 - 1,
        Content::Scalar(_) => node.span.end.0,
    }
}

/// Returns the keys of the mapping at `path` that the mapping around it does not have.
fn keys_of(path: &[Key]) -> &'static [&'static str] {
    let names: Vec<&str> = path.iter().map(|key| key.name().unwrap_or_default()).collect();
    match names[..] {
        [name] => {
            let found = OF_SECTIONS.iter().find(|(section, _)| *section == name);
            found.map_or(&[], |(_, keys)| keys)
        }
        ["server", "auth"] => &["username", "password", "password_file"],
        ["server", "listen", "tls"] => &["cert", "key", "client_ca"],
        ["hops", name] if !OF_HOP.contains(&name) => &OF_HOP,
        ["hops", _, "budget"] => &["bytes", "per", "zone", "warn", "then", "cut"],
        ["hops", _, "kerberos"] => &["spn", "ccache", "keytab", "principal"],
        ["hops", _, "tls"] => &["ca", "server_name"],
        ["hops", _, "members_from"] => &["file", "url", "every", "via", "ca", "scheme"],
        ["hops", _, "enabled"] => &["when"],
        ["hops", _, "enabled", "when"] => {
            &["resolves", "into", "address_in", "interface", "reachable", "any", "all", "not"]
        }
        _ => &[],
    }
}
