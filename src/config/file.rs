//! One file: what it says, and where.

use std::{rc::Rc, sync::Arc};

use mooltiroute_hops::KeyPath;
use serde_yaml::Value;

use super::{
    found::Found,
    marks::{self, Content, Node, Span},
    problem::{Excerpt, Place, Problem, is_name, is_word},
    source::Text,
};

/// A file whose text could be read as YAML.
#[derive(Debug)]
pub(super) struct File {
    name: Arc<str>,
    text: String,
    /// Where each line begins.
    lines: Vec<usize>,
    root: Option<Rc<Node>>,
}

/// Which part of a setting a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Key,
    Value,
}

impl File {
    /// Reads `text`, which may have `nodes_max` keys and values.
    ///
    /// # Errors
    /// Everything that keeps it from being read.
    pub(super) fn read(text: Text, nodes_max: usize) -> Result<(Self, Value), Found> {
        let Text { name, text } = text;
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        let starts = text.match_indices('\n').map(|(end, _)| end + 1);
        let lines = std::iter::once(0).chain(starts).collect();
        let mut file = Self { name, text, lines, root: None };
        // The marked parse comes first: it bounds what the other one may expand.
        match marks::parse(&file.text, nodes_max) {
            Ok(root) => file.root = root,
            Err(faults) => {
                let mut found = Found::default();
                for fault in faults {
                    if !found.skips() {
                        found.push(file.problem(fault));
                    }
                }
                return Err(found);
            }
        }
        let value = serde_yaml::from_str(&file.text).and_then(|mut value: Value| {
            value.apply_merge()?;
            Ok(value)
        });
        match value {
            Ok(value) => Ok((file, value)),
            Err(error) => {
                let at = error.location().map_or((1, 1), |at| (at.line(), at.column()));
                let message = match error.location() {
                    Some(_) => error.to_string(),
                    // Those without a place are about `<<`.
                    None => format!("a merge key can't be followed: {error}"),
                };
                let span = Span { start: at, end: at };
                let fault = marks::Fault { at: span, code: "syntax", message, first: None };
                Err(file.problem(fault).into())
            }
        }
    }

    /// How many steps of `path` stand in this file; `None` where nothing does.
    pub(super) fn depth(&self, path: &KeyPath) -> Option<usize> {
        self.root.as_ref().map(|root| root.find(path).0)
    }

    /// Where `part` of `path` stands, or what is nearest above it, with its line.
    pub(super) fn locate(&self, path: &KeyPath, part: Part) -> Option<(Place, Option<Excerpt>)> {
        let span = self.span(path, part)?;
        Some((self.place_at(span), self.excerpt(span)))
    }

    /// The same, without the line.
    pub(super) fn place(&self, path: &KeyPath, part: Part) -> Option<Place> {
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

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn place_at(&self, span: Span) -> Place {
        Place { file: Arc::clone(&self.name), line: span.start.0, column: span.start.1 }
    }

    fn problem(&self, fault: marks::Fault) -> Problem {
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

    /// The line that `span` begins in, where only keys, punctuation and the values of settings that are never secret
    /// are shown. Whatever is not known to be harmless is hidden, a comment too.
    fn excerpt(&self, span: Span) -> Option<Excerpt> {
        let (number, start) = span.start;
        let line = self.line(number);
        // Counting goes no further than what is shown: a line may be as long as a file.
        let chars: Vec<char> = line.chars().take(start + WIDTH_MAX).collect();
        let mut shown = vec![false; chars.len()];
        let mut is_token = vec![false; chars.len()];
        // The span of a text in quotes goes on to the next token.
        let within = |span: Span| {
            let (first, last) = within(span, number, chars.len());
            let blanks = chars[first..last].iter().rev().take_while(|blank| **blank == ' ').count();
            (first, last - blanks)
        };
        let mut mark = |span: Span, is_shown: bool| {
            let (first, last) = within(span);
            for at in first..last {
                is_token[at] = true;
                shown[at] = is_shown;
            }
        };
        let window = (number, start.saturating_sub(WIDTH_MAX), start + WIDTH_MAX);
        visit(self.root.as_ref()?, &mut Vec::new(), window, &mut |path, span, part| {
            let is_shown = match part {
                Part::Key => is_key_shown(path),
                Part::Value => {
                    is_harmless(path) && {
                        let (first, last) = within(span);
                        let text: String = chars[first..last].iter().collect();
                        let is_expected =
                            !matches!(path, ["hops", _, "enabled"]) || is_toggle(&text);
                        is_expected
                            && span.start.0 == span.end.0
                            && !text.contains('@')
                            && !text.contains("://")
                    }
                }
            };
            mark(span, is_shown);
        });
        for at in 0..chars.len() {
            shown[at] |= !is_token[at] && " {}[],:-".contains(chars[at]);
        }
        let (first, last) = within(span);
        let mut excerpt = Excerpt { line: String::new(), start: 0, length: 0 };
        let from = first.saturating_sub(WIDTH_MAX / 2);
        let mut is_hidden = from > 0;
        if is_hidden {
            excerpt.line.push('…');
        }
        let is_comment = |at: &usize| chars[*at] == '#' && !is_token[*at];
        let end = (from..chars.len()).find(is_comment).unwrap_or(chars.len());
        for at in from..end {
            let is_first_hidden = !shown[at] && !is_hidden;
            is_hidden = !shown[at];
            if at == first {
                excerpt.start =
                    excerpt.line.chars().count() - usize::from(is_hidden && !is_first_hidden);
            }
            if shown[at] || is_first_hidden {
                excerpt.line.push(if shown[at] { chars[at] } else { '…' });
                excerpt.length += usize::from((first..last).contains(&at));
            }
        }
        excerpt.length = excerpt.length.max(1);
        let end = excerpt.line.trim_end().len();
        excerpt.line.truncate(end);
        Some(excerpt)
    }
}

/// The indices of the characters of line `number` that are part of `span`.
fn within(span: Span, number: usize, length: usize) -> (usize, usize) {
    let first = if span.start.0 == number { span.start.1 - 1 } else { 0 };
    let last = if span.end.0 == number { span.end.1 - 1 } else { length };
    (first.min(length), last.clamp(first.min(length), length))
}

/// Calls `found` with every key and scalar in `window`, a line and its first and last column, and its path without
/// indices. A key may stand beside it.
fn visit<'a>(
    node: &'a Node,
    path: &mut Vec<&'a str>,
    window: (usize, usize, usize),
    found: &mut impl FnMut(&[&'a str], Span, Part),
) {
    let (number, first, last) = window;
    let Span { start, end } = node.span;
    if start > (number, last) || end < (number, first) {
        return;
    }
    match &node.content {
        Content::Scalar => found(path, node.span, Part::Value),
        Content::Nothing => {}
        Content::List(list) => {
            for node in list {
                visit(node, path, window, found);
            }
        }
        Content::Mapping(entries) => {
            for entry in entries {
                path.push(&entry.name);
                // A key without a value may be the end of a text with a comma that is not in quotes.
                let has_value = !matches!(entry.value.content, Content::Nothing);
                if has_value && (entry.key.start.0..=entry.key.end.0).contains(&number) {
                    found(path, entry.key, Part::Key);
                }
                visit(&entry.value, path, window, found);
                path.pop();
            }
        }
    }
}

/// What to do about a fault that the parser found, by its words for it.
fn help_for(message: &str) -> Option<&'static str> {
    let has = |part: &str| message.contains(part);
    if has("unknown anchor") {
        Some("a text that begins with `*` is written in quotes, as in `\"*.example.com\"`")
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

/// Whether the last key of `path` is one that may be shown: a name that operators choose, or a plain word.
fn is_key_shown(path: &[&str]) -> bool {
    match path {
        ["hops" | "chains", name] => is_name(name),
        [.., name] => is_word(name),
        [] => false,
    }
}

/// Whether the value of the setting at `path` is known to be no secret. An address is not: people write whole proxy
/// URLs there.
fn is_harmless(path: &[&str]) -> bool {
    matches!(
        path,
        ["server", "listen"]
            | ["timeouts" | "limits" | "log", _]
            | ["hops", _, "kind" | "enabled"]
            | ["chains", _]
            | ["chains", _, "hops" | "warm"]
            | ["routes", "hosts" | "ports" | "chain"]
    )
}

/// Whether `text` is what people write for a boolean, or a variable. Anything else beside `enabled` may be the end of a
/// password with a comma.
fn is_toggle(text: &str) -> bool {
    let is_variable = text.starts_with("${") && text.ends_with('}');
    is_variable || ["true", "false", "yes", "no", "on", "off"].contains(&text.trim_matches('"'))
}

/// How many characters of a line are shown, at most about.
const WIDTH_MAX: usize = 120;
