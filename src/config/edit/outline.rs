//! The mappings of a YAML text with the bytes that each key and value takes.
//!
//! The tree of [`spans`](crate::config::yaml) serves messages: it follows aliases, and a block ends at whatever comes
//! next. An edit must know what is written at one place and nowhere else, and where its last byte is. So this one keeps
//! aliases as what they are, and lets a block end with its last scalar, before the comments behind it.

use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle};

/// A value, and the bytes that it takes without its anchor and tag.
#[derive(Debug)]
pub(super) struct OutlineNode {
    pub(super) bytes: Range<usize>,
    pub(super) content: OutlineContent,
}

#[derive(Debug)]
pub(super) enum OutlineContent {
    Scalar(String),
    List,
    Mapping(Vec<OutlineEntry>),
    Alias,
}

/// A key and its value.
#[derive(Debug)]
pub(super) struct OutlineEntry {
    pub(super) name: String,
    pub(super) key: Range<usize>,
    pub(super) value: OutlineNode,
}

/// A list or mapping whose end has not come.
struct OpenNode {
    start: usize,
    /// The end of the last scalar in it.
    last: usize,
    is_list: bool,
    key: Option<(String, Range<usize>)>,
    entries: Vec<OutlineEntry>,
}

impl OutlineNode {
    /// Returns the entry called `name`, if this is a mapping that has one of its own.
    pub(super) fn entry(&self, name: &str) -> Option<&OutlineEntry> {
        let OutlineContent::Mapping(entries) = &self.content else { return None };
        entries.iter().find(|entry| entry.name == name)
    }
}

/// Reads `text`. Returns `None` if it is empty or can't be read.
pub(super) fn read(text: &str) -> Option<OutlineNode> {
    let lines = OutlineLines::of(text);
    let mut open: Vec<OpenNode> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.ok()?;
        let bytes = lines.byte(span.start.line(), span.start.col())?
            ..lines.byte(span.end.line(), span.end.col())?;
        let node = match event {
            Event::Scalar(scalar, style, ..) => {
                // The parser gives a value that is not written the place of the next token. Here it is empty,
                // right after the last scalar.
                let is_written = !bytes.is_empty();
                let last = open.last().map_or(0, |open| open.last);
                let bytes = match style {
                    _ if !is_written => last..last,
                    ScalarStyle::DoubleQuoted | ScalarStyle::SingleQuoted => {
                        bytes.start..quoted_end(text, bytes.start)
                    }
                    _ => bytes.start..bytes.start + text[bytes].trim_end().len(),
                };
                OutlineNode { bytes, content: OutlineContent::Scalar(scalar.into_owned()) }
            }
            Event::Alias(_) => OutlineNode { bytes, content: OutlineContent::Alias },
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                let is_list = matches!(event, Event::SequenceStart(..));
                let (start, last) = (bytes.start, bytes.end);
                open.push(OpenNode { start, last, is_list, key: None, entries: Vec::new() });
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => {
                let OpenNode { start, last, is_list, entries, .. } = open.pop()?;
                // A collection in brackets ends with its bracket, behind which the parser takes blanks too. A
                // block has no end of its own: the parser ends it at the next token, with all comments before
                // that. So it ends with its last scalar.
                let is_flow = text[bytes.clone()].starts_with(['}', ']']);
                let end = if is_flow { bytes.start + 1 } else { last };
                let content =
                    if is_list { OutlineContent::List } else { OutlineContent::Mapping(entries) };
                OutlineNode { bytes: start..end, content }
            }
            _ => continue,
        };
        // The root is complete. More documents would be refused when the file is loaded.
        let Some(parent) = open.last_mut() else { return Some(node) };
        parent.take(node)?;
    }
    None
}

impl OpenNode {
    fn take(&mut self, node: OutlineNode) -> Option<()> {
        self.last = self.last.max(node.bytes.end);
        match self.key.take() {
            // Items of lists are dropped, since a switch is never in one.
            _ if self.is_list => {}
            None => match node.content {
                OutlineContent::Scalar(name) => self.key = Some((name, node.bytes)),
                _ => return None,
            },
            Some((name, key)) => self.entries.push(OutlineEntry { name, key, value: node }),
        }
        Some(())
    }
}

/// Returns the end of the scalar in quotes that begins at `start`. The parser's own end is behind the comment that follows.
fn quoted_end(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    let quote = bytes[start];
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'\\' if quote == b'"' => 2,
            // Two single quotes stand for one.
            byte if *byte == quote && quote == b'\'' && bytes.get(at + 1) == Some(&quote) => 2,
            byte if *byte == quote => return at + 1,
            _ => 1,
        };
    }
    text.len()
}

/// The offsets at which the lines of a text begin.
struct OutlineLines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> OutlineLines<'a> {
    fn of(text: &'a str) -> Self {
        let bytes = text.as_bytes();
        // A `\r` alone ends a line in YAML too (YAML 1.2 §5.4).
        let is_end = |index: usize| match bytes[index] {
            b'\n' => true,
            b'\r' => bytes.get(index + 1) != Some(&b'\n'),
            _ => false,
        };
        let starts = (0..bytes.len()).filter(|index| is_end(*index)).map(|end| end + 1);
        Self { text, starts: std::iter::once(0).chain(starts).collect() }
    }

    /// Returns the byte at a line, counted from one, and a column in characters, counted from zero.
    fn byte(&self, line: usize, column: usize) -> Option<usize> {
        let Some(start) = line.checked_sub(1).and_then(|line| self.starts.get(line)) else {
            return Some(self.text.len());
        };
        let rest = &self.text[*start..];
        let within = rest.char_indices().nth(column).map_or(rest.len(), |(byte, _)| byte);
        Some(start + within)
    }
}
