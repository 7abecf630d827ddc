//! Finds keys that are indented too little or too much.
//!
//! Such a key has become one of the mapping around its own, or of one of its siblings. It would be a problem there, its own
//! mapping would lack it, and neither problem says what to do.

use mooltiroute_hops::{Key, KeyPath};

use crate::config::{
    raw,
    report::{
        known_keys::{OF_HOP, OF_SECTIONS},
        problem::is_name,
    },
    yaml::spans::{Content, Entry, Node},
};

/// Keys that belong to another mapping than the one that has them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misplaced {
    /// The mapping that has the keys.
    pub(crate) from: KeyPath,
    /// The mapping that the keys belong to.
    pub(crate) to: KeyPath,
    /// The keys.
    pub(crate) keys: Vec<String>,
    /// The first and the last line to move.
    pub(crate) lines: (usize, usize),
    /// How they are written.
    pub(crate) indentation: Indentation,
}

/// How misplaced keys are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Indentation {
    /// Like their key, which has nothing below it.
    BesideEmpty,
    /// Like their key, which has other keys below it. The number of spaces is missing.
    TooLittle(usize),
    /// Below their key, whose other keys are in braces.
    BehindBraces,
    /// Deeper than the keys that they belong to, by this number of spaces.
    TooMuch(usize),
}

/// A problem with misplaced keys.
#[derive(Debug)]
pub(crate) struct MisplacedInWords {
    /// The key that it is about.
    pub(crate) at: KeyPath,
    /// A clause about that key.
    pub(crate) message: String,
    pub(crate) help: String,
}

impl Misplaced {
    /// Describes the problem with these keys.
    pub(crate) fn in_words(&self) -> MisplacedInWords {
        let Self { from, to, keys, lines, indentation } = self;
        let (lines, pronoun) = match *lines {
            (first, last) if first == last => (format!("line {first}"), "it belongs"),
            (first, last) if first + 1 == last => {
                (format!("lines {first} and {last}"), "they belong")
            }
            (first, last) => (format!("lines {first} to {last}"), "they belong"),
        };
        let owner = to.last_name().map(shown).unwrap_or_default();
        let first = keys.first().cloned().unwrap_or_default();
        let at = from.clone().then(Key::Name(first));
        match indentation {
            Indentation::BesideEmpty => MisplacedInWords {
                at: to.clone(),
                message: "has nothing below it: the next keys begin in the same column".to_owned(),
                help: format!("indent {lines} by two more spaces; {pronoun} to `{owner}:`"),
            },
            Indentation::TooLittle(spaces) => MisplacedInWords {
                at,
                message: format!(
                    "is a key of `{owner}`, and begins in the column of `{owner}` itself"
                ),
                help: format!(
                    "indent {lines} by {}; {pronoun} to `{owner}:`",
                    in_spaces(*spaces, "more")
                ),
            },
            Indentation::BehindBraces => MisplacedInWords {
                at,
                message: format!("is a key of `{owner}`, and is outside of its braces"),
                help: format!("write it between the braces of `{owner}: {{ … }}`"),
            },
            Indentation::TooMuch(spaces) => {
                let inside = from.last_name().map(shown).unwrap_or_default();
                let what = match to.keys() {
                    [] => "a section of its own".to_owned(),
                    [_] if owner == "hops" => "a hop of its own".to_owned(),
                    _ => format!("a key of `{owner}`"),
                };
                MisplacedInWords {
                    at,
                    message: format!("is {what}, and is indented below `{inside}`"),
                    help: format!("indent {lines} by {}", in_spaces(*spaces, "fewer")),
                }
            }
        }
    }
}

/// Finds such keys in `root`.
pub(crate) fn misplaced(root: &Node) -> Vec<Misplaced> {
    let mut found = Vec::new();
    visit(root, &mut Vec::new(), &[], &mut found);
    found
}

/// Looks for such keys in `node`, which is at `path`. `columns` has the columns of the keys of `path`, and the line of the
/// last one.
fn visit(node: &Node, path: &mut Vec<Key>, above: &[&Entry], found: &mut Vec<Misplaced>) {
    let Content::Mapping(entries) = &node.content else { return };
    let mut rest = entries.as_slice();
    while let Some((entry, after)) = rest.split_first() {
        rest = after;
        if let Some(depth) = depth_above(path, entry, above) {
            add_too_deep(entry, path, depth, above, found);
            continue;
        }
        let around = KeyPath::from(path.clone());
        path.push(Key::Name(entry.name.clone()));
        let is_empty = matches!(entry.value.content, Content::Nothing);
        let count = after.iter().take_while(|next| belongs(path, entry, next)).count();
        let (keys, others) = after.split_at(count);
        if let (Some(first), Some(last)) = (keys.first(), keys.last()) {
            found.push(Misplaced {
                from: around,
                to: path.clone().into(),
                keys: keys.iter().map(|key| key.name.clone()).collect(),
                lines: (first.key.start.0, last_line(&last.value).max(last.key.start.0)),
                indentation: missing_indentation(entry),
            });
            rest = others;
        }
        if !is_empty {
            visit(&entry.value, path, &[above, &[entry]].concat(), found);
        }
        path.pop();
    }
}

/// Adds `entry` of the mapping at `path`, which belongs to the one at the first `depth` keys of it.
fn add_too_deep(
    entry: &Entry,
    path: &[Key],
    depth: usize,
    above: &[&Entry],
    found: &mut Vec<Misplaced>,
) {
    let (from, to) = (KeyPath::from(path.to_vec()), KeyPath::from(path[..depth].to_vec()));
    let begins = entry.key.start.0;
    let ends = last_line(&entry.value).max(begins);
    let spaces = above.get(depth).map_or(0, |beside| entry.key.start.1 - beside.key.start.1);
    let indentation = Indentation::TooMuch(spaces);
    // Several that follow each other are one mistake.
    if let Some(last) = found.last_mut()
        && (&last.from, &last.to, last.indentation) == (&from, &to, indentation)
    {
        last.keys.push(entry.name.clone());
        last.lines.1 = ends;
        return;
    }
    let keys = vec![entry.name.clone()];
    found.push(Misplaced { from, to, keys, lines: (begins, ends), indentation });
}

/// Returns how many keys of `path`, whose mapping has `entry`, lead to the mapping that `entry` belongs to. Returns `None` if
/// that is the mapping in which it is. `above` has the entries of `path`.
fn depth_above(path: &[Key], entry: &Entry, above: &[&Entry]) -> Option<usize> {
    let parent = above.last()?;
    // A mapping in braces has no indentation that could be wrong.
    let is_below = entry.key.start.0 > parent.key.start.0 && entry.key.start.1 > parent.key.start.1;
    if !is_below {
        return None;
    }
    if is_section(entry) {
        return Some(0);
    }
    let name = &*entry.name;
    let names: Vec<&str> = path.iter().map(|key| key.name().unwrap_or_default()).collect();
    let is_known = || keys_of(path).contains(&name);
    match names[..] {
        ["hops", _] if is_hop(entry) => Some(1),
        // Below another key, `enabled` is a habit of other programs.
        ["hops", _, key] if OF_HOP.contains(&key) && name != "enabled" => {
            (!keys_of(path).is_empty() && OF_HOP.contains(&name) && !is_known()).then_some(2)
        }
        ["server", "auth"] => {
            let of_server = OF_SECTIONS.iter().find(|(section, _)| *section == "server");
            of_server.is_some_and(|(_, keys)| keys.contains(&name)).then_some(1)
        }
        _ => None,
    }
}

/// Returns whether `entry` is a hop: a mapping with a `kind`, and no key of a hop.
fn is_hop(entry: &Entry) -> bool {
    let is_key = OF_HOP.contains(&&*entry.name) || raw::SECTIONS.contains(&&*entry.name);
    !is_key && has_kind(&entry.value)
}

fn has_kind(node: &Node) -> bool {
    matches!(&node.content, Content::Mapping(entries) if entries.iter().any(|entry| entry.name == "kind"))
}

/// Returns whether `entry` has the name and the content of a section. Some of the names mean something elsewhere too.
fn is_section(entry: &Entry) -> bool {
    let keys = OF_SECTIONS.iter().find(|(section, _)| *section == entry.name);
    let is_mapping = |node: &Node| matches!(node.content, Content::Mapping(_));
    match (&*entry.name, &entry.value.content, keys) {
        ("routes", Content::List(list), _) => {
            !list.is_empty() && list.iter().all(|route| is_mapping(route))
        }
        ("hops", Content::Mapping(hops), _) => {
            !hops.is_empty() && hops.iter().all(|hop| has_kind(&hop.value))
        }
        ("chains", Content::Mapping(chains), _) => {
            let is_chain = |chain: &Entry| !matches!(chain.value.content, Content::Scalar(_));
            !chains.is_empty() && !has_kind(&entry.value) && chains.iter().all(is_chain)
        }
        (_, Content::Mapping(entries), Some((_, keys))) => {
            !entries.is_empty() && entries.iter().all(|entry| keys.contains(&&*entry.name))
        }
        _ => false,
    }
}

/// Returns whether `next` belongs below `entry`, which is at `path`: it is in the same column, and has the name of a key of
/// such a mapping.
fn belongs(path: &[Key], entry: &Entry, next: &Entry) -> bool {
    let is_beside = next.key.start.1 == entry.key.start.1 && next.key.start.0 > entry.key.start.0;
    if !is_beside || !keys_of(path).contains(&&*next.name) {
        return false;
    }
    match &entry.value.content {
        Content::Nothing => true,
        Content::Mapping(keys) => {
            // A hop may have the name of a key.
            !keys.iter().any(|key| key.name == next.name) && !has_kind(&next.value)
        }
        _ => false,
    }
}

/// Returns how the keys after `entry` are written, which belong below it.
fn missing_indentation(entry: &Entry) -> Indentation {
    let Content::Mapping(keys) = &entry.value.content else { return Indentation::BesideEmpty };
    match keys.first() {
        Some(first) if first.key.start.0 > entry.key.start.0 => {
            Indentation::TooLittle(first.key.start.1.saturating_sub(entry.key.start.1))
        }
        _ => Indentation::BehindBraces,
    }
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

fn in_spaces(count: usize, direction: &str) -> String {
    match count {
        1 => format!("one space {direction}"),
        2 => format!("two {direction} spaces"),
        count => format!("{count} {direction} spaces"),
    }
}

/// Returns `name`, or a word in place of a text that may be a secret.
pub(crate) fn shown(name: &str) -> &str {
    if is_name(name) { name } else { "NAME" }
}
