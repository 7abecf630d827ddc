//! Parses a YAML text into nodes, with the place of each key and value.

use std::{collections::HashMap, rc::Rc};

use mooltiroute_hops::{Key, KeyPath};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use crate::config::{
    report::problem::{MERGE, is_word},
    yaml::{
        fault::YamlFault,
        syntax::{At, diagnose},
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
    /// The number of its nodes once its aliases are expanded, itself included.
    size: usize,
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

/// Parses at most `nodes_max` nodes of `text`. Stops at the first fault, except that equal keys are only recorded.
pub(crate) fn parse(text: &str, nodes_max: usize) -> Parsed {
    let mut builder = Builder { nodes_max, read_to: (1, 1), ..Builder::default() };
    let mut is_whole = true;
    for event in Parser::new_from_str(text) {
        let result = match event {
            Ok((event, span)) => builder.take(event, span.into()),
            Err(error) => {
                let (fault, at) = diagnose(text, position(error.marker()), error.info());
                Err(YamlError::new(Span { start: at, end: at }, YamlFault::Syntax(fault)))
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
    let Builder { root, faults, read_to, has_tags, .. } = builder;
    Parsed { root, read_to: (!is_whole).then_some(read_to), has_tags, faults }
}

impl Node {
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

impl YamlError {
    pub(crate) fn new(at: Span, fault: YamlFault) -> Self {
        Self { at, fault, first: None }
    }
}

/// Builds nodes from events. The length of its stack bounds the depth.
#[derive(Default)]
struct Builder {
    nodes_max: usize,
    documents: usize,
    size: usize,
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    root: Option<Rc<Node>>,
    faults: Vec<YamlError>,
    has_tags: bool,
    /// The end of the last key, value or beginning of a list or mapping.
    read_to: (usize, usize),
}

/// A list or a mapping whose end has not come.
struct Open {
    anchor: usize,
    start: Span,
    size: usize,
    kind: Kind,
}

enum Kind {
    List(Vec<Rc<Node>>),
    Mapping { entries: Vec<Entry>, names: HashMap<String, Span>, key: Option<(String, Span)> },
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), YamlError> {
        match event {
            Event::DocumentStart(_) => {
                // A file is one document. serde_yaml requires that too.
                self.documents += 1;
                if self.documents > 1 {
                    return Err(YamlError::new(span, YamlFault::Documents));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.has_tags |= tag.is_some();
                self.count(1, span)?;
                self.read_to = span.end;
                // The parser reports a value that is not written as an empty plain scalar. `''` and `""` are
                // written.
                let is_nothing = text.is_empty() && style == ScalarStyle::Plain;
                let content = if is_nothing { Content::Nothing } else { Content::Scalar(style) };
                let node = Rc::new(Node { span, content, size: 1 });
                return self.add(node, anchor, Some(text.into_owned()));
            }
            Event::SequenceStart(anchor, tag) => {
                self.has_tags |= tag.is_some();
                return self.open(anchor, span, Kind::List(Vec::new()));
            }
            Event::MappingStart(anchor, tag) => {
                self.has_tags |= tag.is_some();
                let kind = Kind::Mapping { entries: Vec::new(), names: HashMap::new(), key: None };
                return self.open(anchor, span, kind);
            }
            Event::SequenceEnd | Event::MappingEnd => return self.close(span),
            Event::Alias(anchor) => {
                // The parser itself refuses an alias without an anchor. An anchor that it knows and that is
                // not here yet belongs to a collection that is still open, so this alias is inside of what it
                // stands for.
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(YamlError::new(span, YamlFault::Alias));
                };
                // serde_yaml copies the node for each alias. Counting its full size bounds what a small file
                // can expand to.
                self.count(node.size, span)?;
                return self.add(node, 0, None);
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn open(&mut self, anchor: usize, start: Span, kind: Kind) -> Result<(), YamlError> {
        // All later walks over the tree recurse, so the depth is bounded here, before any of them.
        if self.open.len() >= DEPTH_MAX {
            return Err(YamlError::new(start, YamlFault::Depth(DEPTH_MAX)));
        }
        self.count(1, start)?;
        self.read_to = start.end;
        self.open.push(Open { anchor, start, size: 1, kind });
        Ok(())
    }

    /// Ends what is open at a fault.
    fn close_all(&mut self, at: (usize, usize)) {
        // From the innermost collection outwards: each becomes the value of the key that waits for one in the
        // collection around it. `root` carries it from one round to the next. The innermost key may have no
        // value at all.
        let unread = |start| {
            Rc::new(Node { span: Span { start, end: at }, content: Content::Unread, size: 1 })
        };
        while let Some(mut open) = self.open.pop() {
            if let Kind::Mapping { entries, key, .. } = &mut open.kind
                && let Some((name, key)) = key.take()
            {
                let value = self.root.take().unwrap_or_else(|| unread(key.end));
                entries.push(Entry { name, key, value });
            } else if let (Kind::List(list), Some(inner)) = (&mut open.kind, self.root.take()) {
                list.push(inner);
            }
            let content = match open.kind {
                Kind::List(list) => Content::List(list),
                Kind::Mapping { entries, .. } => Content::Mapping(entries),
            };
            let span = Span { start: open.start.start, end: at };
            self.root = Some(Rc::new(Node { span, content, size: open.size }));
        }
    }

    fn close(&mut self, end: Span) -> Result<(), YamlError> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let content = match open.kind {
            Kind::List(list) => Content::List(list),
            Kind::Mapping { entries, .. } => Content::Mapping(entries),
        };
        let span = Span { start: open.start.start, end: end.end };
        self.add(Rc::new(Node { span, content, size: open.size }), open.anchor, None)
    }

    /// Adds a complete node to the collection that is open. `text` is the text of a scalar, in case that it is a key.
    fn add(
        &mut self,
        node: Rc<Node>,
        anchor: usize,
        text: Option<String>,
    ) -> Result<(), YamlError> {
        // An anchor is known once its node is complete; see `YamlFault::Alias`.
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.size += node.size;
        match &mut open.kind {
            Kind::List(list) => list.push(node),
            Kind::Mapping { entries, names, key } => match key.take() {
                Some((name, key)) => {
                    // serde_yaml refuses this too, but without a place.
                    if name == MERGE && !node.can_be_merged() {
                        return Err(YamlError::new(key, YamlFault::MergeValue));
                    }
                    entries.push(Entry { name, key, value: node });
                }
                None => {
                    let Some(text) = text else {
                        return Err(YamlError::new(node.span, YamlFault::Key));
                    };
                    // Reading goes on, so that all equal keys are reported at once. Only a plain word is named: a
                    // misplaced password as a key nearly always has a digit.
                    if let Some(first) = names.insert(text.clone(), node.span) {
                        let name = is_word(&text).then(|| text.clone());
                        let fault = YamlError::new(node.span, YamlFault::DuplicateKey(name));
                        self.faults.push(YamlError { first: Some(first), ..fault });
                    }
                    *key = Some((text, node.span));
                }
            },
        }
        Ok(())
    }

    fn count(&mut self, added: usize, at: Span) -> Result<(), YamlError> {
        self.size = self.size.saturating_add(added);
        if self.size > self.nodes_max {
            return Err(YamlError::new(at, YamlFault::Size));
        }
        Ok(())
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

/// Far more than a configuration has, and little enough for every recursion over it.
const DEPTH_MAX: usize = 48;
