//! Parses a YAML text into nodes, with the place of each key and value.

mod builder;

use std::rc::Rc;

use mooltiroute_hops::{Key, KeyPath};
use saphyr_parser::{Marker, Parser, ScalarStyle};

use self::builder::{Builder, DEPTH_MAX};
use crate::config::{
    report::problem::MERGE,
    yaml::{
        fault::YamlFault,
        syntax::{At, SyntaxFault, diagnose, opened_at_depth},
    },
};

/// A part of a text. Lines and columns count from one; the end is the place after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) start: (usize, usize),
    pub(crate) end: (usize, usize),
}

/// A value. An alias shares the node that it stands for, so a text that expands without end is small here.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) content: Content,
    /// Its size, itself included.
    size: ExpandedSize,
}

/// The size of values once their aliases are expanded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExpandedSize {
    /// The number of keys and values.
    pub(crate) nodes: usize,
    /// The length of their texts.
    pub(crate) bytes: usize,
}

#[derive(Debug)]
pub(crate) enum Content {
    Scalar(ScalarStyle),
    /// Nothing is written, as after a key alone; its place is that of what comes next.
    Nothing,
    /// This value could not be read.
    Unread,
    List(Vec<Rc<Node>>),
    Mapping(Vec<Entry>),
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) key: Span,
    pub(crate) value: Rc<Node>,
}

/// The reason why a text can't be read, with its place.
#[derive(Debug)]
pub(crate) struct YamlError {
    pub(crate) at: Span,
    pub(crate) fault: YamlFault,
    /// The place of the first key, if the fault is a second equal one.
    pub(crate) first: Option<Span>,
}

/// The readable part of a text.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// `None` if the text is empty.
    pub(crate) root: Option<Rc<Node>>,
    /// The place at which reading stopped, if it did before the end.
    pub(crate) read_to: Option<(usize, usize)>,
    /// Whether a value has a tag, such as `!!int`.
    pub(crate) has_tags: bool,
    pub(crate) faults: Vec<YamlError>,
}

/// Parses `text` up to `limit`. Stops at the first fault, except that equal keys are only recorded.
///
/// A key or value with one of [`OLD_LINE_ENDS`] is a fault, so that only comments have them.
pub(crate) fn parse(text: &str, limit: ExpandedSize) -> Parsed {
    let mut builder = Builder::new(limit);
    let mut is_whole = true;
    for event in Parser::new_from_str(text) {
        let result = match event {
            Ok((event, span)) => builder.take(event, span.into()),
            Err(error) => {
                let stopped = position(error.marker());
                // The parser reads ahead of its events, and gives up at a depth of its own.
                let (fault, at) = match opened_at_depth(text, stopped, DEPTH_MAX) {
                    Some(at) => (YamlFault::Depth(DEPTH_MAX), at),
                    None => {
                        let (fault, at) = diagnose(text, stopped, error.info());
                        (YamlFault::Syntax(fault), at)
                    }
                };
                Err(YamlError::new(Span { start: at, end: at }, fault))
            }
        };
        if let Err(fault) = result {
            // What was read before the fault is kept. The excerpt of the faulty line needs it to know which
            // of its parts could be secrets.
            builder.close_all(fault.at.end);
            builder.faults.push(fault);
            is_whole = false;
            break;
        }
    }
    let Builder { root, mut faults, read_to, has_tags, old_line_end, .. } = builder;
    // In a text without any, an escape stands for it, which both parsers read alike.
    if let Some(Span { start, .. }) = old_line_end.filter(|_| text.contains(OLD_LINE_ENDS)) {
        let at = first_old_line_end(text, start).unwrap_or(start);
        let fault = YamlFault::Syntax(SyntaxFault::ControlCharacter);
        faults.push(YamlError::new(Span { start: at, end: at }, fault));
    }
    Parsed { root, read_to: (!is_whole).then_some(read_to), has_tags, faults }
}

/// Returns the place of the first of [`OLD_LINE_ENDS`] from `start` on. Returns `None` if a lone CR ends a line before it.
fn first_old_line_end(text: &str, start: At) -> Option<At> {
    text.split('\n').enumerate().skip(start.0 - 1).find_map(|(above, line)| {
        let before = if above + 1 == start.0 { start.1 - 1 } else { 0 };
        let column = line.chars().skip(before).position(|one| OLD_LINE_ENDS.contains(&one))?;
        Some((above + 1, before + column + 1))
    })
}

/// The characters that end a line in YAML 1.1, which serde_yaml reads, and not in YAML 1.2, which this parser reads (§ 5.4).
pub(crate) const OLD_LINE_ENDS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];

impl Node {
    /// Adds the spans of all keys and scalars to `spans`.
    pub(crate) fn add_texts_to(&self, spans: &mut Vec<Span>) {
        match &self.content {
            Content::Scalar(_) => spans.push(self.span),
            Content::Nothing | Content::Unread => {}
            Content::List(list) => list.iter().for_each(|node| node.add_texts_to(spans)),
            Content::Mapping(entries) => entries.iter().for_each(|entry| {
                spans.push(entry.key);
                entry.value.add_texts_to(spans);
            }),
        }
    }

    /// Returns how many steps of `path` exist, and the spans of the key and the value there. If the path ends early,
    /// these are the spans of its nearest existing parent.
    pub(crate) fn find(&self, path: &KeyPath) -> (usize, Option<Span>, Span) {
        let (mut node, mut key) = (self, None);
        for (depth, step) in path.keys().iter().enumerate() {
            let Some((inner_key, inner)) = node.child(step) else {
                return (depth, key, node.span);
            };
            (node, key) = (inner, inner_key);
        }
        // A value that is not written has the place of the next token, which would point at another setting.
        let value = match (&node.content, key) {
            (Content::Nothing, Some(key)) => key,
            _ => node.span,
        };
        (path.keys().len(), key, value)
    }

    /// Returns the value at `path`, if all of the path is there.
    pub(crate) fn get(&self, path: &KeyPath) -> Option<&Self> {
        let mut steps = path.keys().iter();
        steps.try_fold(self, |node, step| node.child(step).map(|(_, inner)| &**inner))
    }

    /// Returns whether the value at `path` is written somewhere else as well: an alias stands for it, or for a list
    /// or mapping around it. The anchor may be at a password, so such a value must not be shown.
    ///
    /// The parser's own references are gone by now, so only aliases share a node.
    pub(crate) fn is_shared(&self, path: &KeyPath) -> bool {
        let mut node = self;
        for step in path.keys() {
            let Some((_, inner)) = node.child(step) else { return false };
            if Rc::strong_count(inner) > 1 {
                return true;
            }
            node = inner;
        }
        false
    }

    fn can_be_merged(&self) -> bool {
        match &self.content {
            Content::Mapping(_) => true,
            Content::List(list) => {
                list.iter().all(|node| matches!(node.content, Content::Mapping(_)))
            }
            Content::Scalar(_) | Content::Nothing | Content::Unread => false,
        }
    }

    fn child(&self, step: &Key) -> Option<(Option<Span>, &Rc<Self>)> {
        match (step, &self.content) {
            (Key::Index(index), Content::List(list)) => Some((None, list.get(*index)?)),
            (Key::Name(name), Content::Mapping(entries)) => {
                // A key of the mapping itself wins over one that `<<` brings in. If `<<` has a list, the
                // first mapping wins. serde_yaml merges by the same rules.
                let own = entries.iter().find(|entry| entry.name == *name);
                let own = own.map(|entry| (Some(entry.key), &entry.value));
                own.or_else(|| {
                    entries.iter().filter(|entry| entry.name == MERGE).find_map(
                        |entry| match &entry.value.content {
                            Content::List(list) => list.iter().find_map(|node| node.child(step)),
                            _ => entry.value.child(step),
                        },
                    )
                })
            }
            _ => None,
        }
    }
}

impl ExpandedSize {
    /// The size of a node without a text.
    pub(crate) const NODE: Self = Self { nodes: 1, bytes: 0 };

    pub(crate) fn plus(self, added: Self) -> Self {
        Self {
            nodes: self.nodes.saturating_add(added.nodes),
            bytes: self.bytes.saturating_add(added.bytes),
        }
    }

    pub(crate) fn minus(self, used: Self) -> Self {
        Self {
            nodes: self.nodes.saturating_sub(used.nodes),
            bytes: self.bytes.saturating_sub(used.bytes),
        }
    }
}

impl YamlError {
    pub(crate) fn new(at: Span, fault: YamlFault) -> Self {
        Self { at, fault, first: None }
    }
}

impl From<saphyr_parser::Span> for Span {
    fn from(span: saphyr_parser::Span) -> Self {
        Self { start: position(&span.start), end: position(&span.end) }
    }
}

fn position(marker: &Marker) -> At {
    (marker.line(), marker.col() + 1)
}
