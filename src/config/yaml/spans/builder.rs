//! Builds nodes from the events of a parser.

use std::{collections::HashMap, rc::Rc};

use mooltiroute_hops::Encryption;
use saphyr_parser::{Event, ScalarStyle};

use super::{Content, Entry, ExpandedSize, Node, OLD_LINE_ENDS, Span, YamlError};
use crate::config::{
    report::problem::{MERGE, is_word},
    yaml::fault::YamlFault,
};

/// Builds nodes from events. The length of its stack bounds the depth.
#[derive(Default)]
pub(super) struct Builder {
    limit: ExpandedSize,
    documents: usize,
    size: ExpandedSize,
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    pub(super) root: Option<Rc<Node>>,
    pub(super) faults: Vec<YamlError>,
    pub(super) has_tags: bool,
    /// The first key or value with a character of [`OLD_LINE_ENDS`].
    pub(super) old_line_end: Option<Span>,
    /// The end of the last key, value or beginning of a list or mapping.
    pub(super) read_to: (usize, usize),
}

/// A list or a mapping whose end has not come.
struct Open {
    anchor: usize,
    start: Span,
    size: ExpandedSize,
    kind: Kind,
}

enum Kind {
    List(Vec<Rc<Node>>),
    Mapping { entries: Vec<Entry>, names: HashMap<String, Span>, key: Option<(String, Span)> },
}

impl Builder {
    /// Returns a builder that takes no more than `limit`.
    pub(super) fn new(limit: ExpandedSize) -> Self {
        Self { limit, read_to: (1, 1), ..Self::default() }
    }

    pub(super) fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), YamlError> {
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
                let size = ExpandedSize { nodes: 1, bytes: text.len() };
                self.count(size, span)?;
                if text.contains(OLD_LINE_ENDS) {
                    self.old_line_end.get_or_insert(span);
                }
                // Ansible marks an encrypted value by this tag. Reading goes on, so that all such values are known.
                let is_vault =
                    tag.is_some_and(|tag| ["vault", "vault-encrypted"].contains(&&*tag.suffix));
                let encryption = Encryption::of(text.as_bytes());
                if let Some(encryption) =
                    encryption.or(is_vault.then_some(Encryption::AnsibleVault))
                {
                    let fault = YamlFault::Encrypted { encryption, is_file: false };
                    self.faults.push(YamlError::new(span, fault));
                }
                self.read_to = span.end;
                // The parser reports a value that is not written as an empty plain scalar. `''` and `""` are
                // written.
                let is_nothing = text.is_empty() && style == ScalarStyle::Plain;
                let content = if is_nothing { Content::Nothing } else { Content::Scalar(style) };
                let node = Rc::new(Node { span, content, size });
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
                // serde_yaml copies the node and its texts for each alias. Counting its full size bounds the memory
                // that a small file can expand to.
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
        self.count(ExpandedSize::NODE, start)?;
        self.read_to = start.end;
        self.open.push(Open { anchor, start, size: ExpandedSize::NODE, kind });
        Ok(())
    }

    /// Closes the collections that are open at a fault.
    pub(super) fn close_all(&mut self, at: (usize, usize)) {
        // From the innermost collection outwards: each becomes the value of the key that waits for one in the
        // collection around it. `root` carries it from one round to the next. The innermost key may have no
        // value at all.
        let unread = |start| {
            let span = Span { start, end: at };
            Rc::new(Node { span, content: Content::Unread, size: ExpandedSize::NODE })
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
        open.size = open.size.plus(node.size);
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

    fn count(&mut self, added: ExpandedSize, at: Span) -> Result<(), YamlError> {
        self.size = self.size.plus(added);
        if self.size.nodes > self.limit.nodes {
            return Err(YamlError::new(at, YamlFault::Size));
        }
        if self.size.bytes > self.limit.bytes {
            return Err(YamlError::new(at, YamlFault::ExpandedTexts));
        }
        Ok(())
    }
}

/// Far more than a configuration has, and little enough for every recursion over it.
pub(super) const DEPTH_MAX: usize = 48;
