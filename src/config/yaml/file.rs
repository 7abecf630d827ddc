//! One file of the configuration, with the place of each value.

use std::{rc::Rc, sync::Arc};

use mooltiroute_hops::KeyPath;
use serde_yaml::Value;

use crate::config::{
    report::{
        first_problems::Found,
        problem::{Excerpt, Place, Problem},
    },
    source::Text,
    yaml::{
        excerpt::SourceLine,
        spans::{self, Node, Span},
    },
};

/// A file whose text could be read as YAML.
#[derive(Debug)]
pub(crate) struct File {
    name: Arc<str>,
    text: String,
    /// Where each line begins.
    lines: Vec<usize>,
    /// The values that could be read, and the place where reading stopped early.
    root: Option<Rc<Node>>,
    read_to: Option<(usize, usize)>,
}

/// Which part of a setting a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Key,
    Value,
}

impl File {
    /// Reads `text`, which may have `nodes_max` keys and values.
    ///
    /// # Errors
    /// Everything that keeps it from being read.
    pub(crate) fn read(text: Text, nodes_max: usize) -> Result<(Self, Value), Found> {
        let Text { name, text } = text;
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        let starts = text.match_indices('\n').map(|(end, _)| end + 1);
        let lines = std::iter::once(0).chain(starts).collect();
        let mut file = Self { name, text, lines, root: None, read_to: None };
        // The marked parse comes first: it bounds what the other one may expand.
        let spans::Parsed { root, read_to, has_tags, faults } = spans::parse(&file.text, nodes_max);
        (file.root, file.read_to) = (root, read_to);
        if !faults.is_empty() {
            let mut found = Found::default();
            for fault in faults {
                if !found.skips() {
                    found.push(file.problem(fault));
                }
            }
            return Err(found);
        }
        match serde_yaml::from_str(&file.text) {
            Ok(value) => file.merged(value),
            Err(error) => {
                let at = error.location().map_or((1, 1), |at| (at.line(), at.column()));
                Err(file.unreadable(at, has_tags).into())
            }
        }
    }

    /// Puts what `<<` stands for into `value`, the content of this file.
    fn merged(self, mut value: Value) -> Result<(Self, Value), Found> {
        // Its errors name no place and quote nothing.
        if let Err(error) = value.apply_merge() {
            let message = format!("a merge key can't be followed: {error}");
            let at = Span { start: (1, 1), end: (1, 1) };
            let fault = spans::YamlError { at, code: "syntax", message, first: None };
            return Err(self.problem(fault).into());
        }
        Ok((self, value))
    }

    /// Returns the problem for a text that serde_yaml refuses although the marked parse has taken it.
    ///
    /// serde_yaml's own message is never repeated: it quotes the value that does not fit its tag, which may be a
    /// password (`!!int s3cret`), the key that stands twice once numbers are read (`1` and `0x1`), and the keys above
    /// it. Only the place is taken from it.
    fn unreadable(&self, at: (usize, usize), has_tags: bool) -> Problem {
        let message = match has_tags {
            true => "what stands here does not fit its YAML tag; remove the tag",
            false => "what stands here can't be read; write texts and keys in quotes",
        };
        let at = Span { start: at, end: at };
        self.problem(spans::YamlError { at, code: "syntax", message: message.into(), first: None })
    }

    /// Returns how many steps of `path` are in this file. Returns `None` if the file has no node.
    pub(crate) fn depth(&self, path: &KeyPath) -> Option<usize> {
        self.root.as_ref().map(|root| root.find(path).0)
    }

    /// Where `part` of `path` stands, or what is nearest above it, with its line.
    pub(crate) fn locate(&self, path: &KeyPath, part: Part) -> Option<(Place, Option<Excerpt>)> {
        let span = self.span(path, part)?;
        Some((self.place_at(span), self.excerpt(span)))
    }

    /// Returns the place of `part` of `path`, without the line.
    pub(crate) fn place(&self, path: &KeyPath, part: Part) -> Option<Place> {
        self.span(path, part).map(|span| self.place_at(span))
    }

    fn span(&self, path: &KeyPath, part: Part) -> Option<Span> {
        let (depth, key, value) = self.root.as_ref()?.find(path);
        let is_whole = depth == path.keys().len();
        Some(match key {
            // A block that begins a line below its key is better shown by the key.
            Some(key) if part == Part::Key || !is_whole || value.start.0 != key.start.0 => key,
            _ => value,
        })
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn place_at(&self, span: Span) -> Place {
        Place { file: Arc::clone(&self.name), line: span.start.0, column: span.start.1 }
    }

    fn problem(&self, mut fault: spans::YamlError) -> Problem {
        let is_hidden =
            |Span { start: (number, column), .. }: Span| self.known_line(number).hides(column);
        // A name that stands elsewhere in the open is no secret.
        if fault.code == "duplicate-key" && fault.first.is_some_and(is_hidden) {
            fault.message = "this key stands twice in one mapping".into();
        }
        let line = self.line(fault.at.start.0);
        let help = if line.starts_with([' ', '\t'])
            && line.trim_start_matches(' ').starts_with('\t')
        {
            Some("indent with spaces; a tab has no place before a key")
        } else if fault.code == "syntax" && line.contains("${") {
            Some(
                "write a variable in quotes, as in `\"${NAME}\"`, where it stands between `{ }` or `[ ]`",
            )
        } else if fault.code == "syntax" {
            help_for(&fault.message)
        } else {
            None
        };
        Problem {
            place: Some(self.place_at(fault.at)),
            excerpt: self.excerpt(fault.at),
            first: fault.first.map(|first| self.place_at(first)),
            help: help.map(str::to_owned),
            ..Problem::new(&KeyPath::default(), fault.code, fault.message)
        }
    }

    fn line(&self, number: usize) -> &str {
        let Some(start) = number.checked_sub(1).and_then(|index| self.lines.get(index)) else {
            return "";
        };
        let line = &self.text[*start..];
        line.lines().next().unwrap_or_default()
    }

    /// The line that `span` begins in, as far as it can be shown.
    fn excerpt(&self, span: Span) -> Option<Excerpt> {
        self.known_line(span.start.0).excerpt(span)
    }

    /// Whether what stands at `path` could be the end of a secret with a comma that is not in quotes.
    pub(crate) fn hides(&self, path: &KeyPath) -> bool {
        let span = self.span(path, Part::Key);
        span.is_some_and(|Span { start: (number, column), .. }| {
            self.known_line(number).hides(column)
        })
    }

    /// Whether what is at `path` is written somewhere else as well, perhaps as a secret.
    pub(crate) fn shares(&self, path: &KeyPath) -> bool {
        self.root.as_ref().is_some_and(|root| root.is_shared(path))
    }

    fn known_line(&self, number: usize) -> SourceLine<'_> {
        let Self { root, read_to, .. } = self;
        SourceLine { number, text: self.line(number), root: root.as_deref(), read_to: *read_to }
    }
}

/// Returns advice for a fault that the parser found, by the parser's message.
fn help_for(message: &str) -> Option<&'static str> {
    let has = |part: &str| message.contains(part);
    if has("unknown anchor") {
        Some("a text that begins with `*` is written in quotes, as in `\"*.example.com\"`")
    } else if has("mapping values") {
        Some(
            "each key begins a line of its own; a text with a colon and a space in it is written in quotes",
        )
    } else if has("unexpected character") || has("unprintable") || has("unknown escape") {
        Some(
            "write the text in quotes; single ones take every character but a single quote as it is",
        )
    } else if has("expected key") || has("expected '-'") {
        Some(
            "the keys of one mapping begin in the same column, each with a colon and a space after it",
        )
    } else if has("illegal placement") || has("quoted") || has("expected ','") {
        Some("a comma is missing here, or a bracket, a brace or a quote before it is not closed")
    } else {
        None
    }
}
