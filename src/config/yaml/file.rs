//! One file of the configuration, with the place of each value.

mod read;
mod suspicious_values;

use std::{borrow::Cow, rc::Rc, sync::Arc};

use mooltiroute_hops::KeyPath;

use crate::config::{
    raw,
    report::{
        foreign_variable,
        known_keys::{key_without_colon, key_without_space},
        problem::{Excerpt, Place, Problem},
    },
    yaml::{
        excerpt::SourceLine,
        fault::YamlFault,
        foreign::ForeignFormat,
        indentation::{Misplaced, misplaced},
        spans::{Content, Node, Span, YamlError},
    },
};

/// A file whose text could be read as YAML.
#[derive(Debug)]
pub(crate) struct File {
    name: Arc<str>,
    text: String,
    /// The offset at which each line begins.
    lines: Vec<usize>,
    /// The values that could be read, and the place at which reading stopped early.
    root: Option<Rc<Node>>,
    read_to: Option<(usize, usize)>,
}

/// The part of a setting that a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Key,
    Value,
}

impl File {
    /// Builds the problem that this file is a text or a list.
    pub(crate) fn no_sections(&self) -> Problem {
        if let Some(foreign) = self.foreign() {
            return foreign;
        }
        let message = "expected a mapping of sections, such as `hops:`";
        let problem = Problem::new(&KeyPath::default(), "type", message);
        let problem = match self.locate(&KeyPath::default(), Part::Value) {
            Some((place, excerpt)) => Problem { place: Some(place), excerpt, ..problem },
            None => problem,
        };
        let lines = self.text.lines().map(str::trim_start);
        let first = lines
            .filter(|line| !line.is_empty() && !line.starts_with(['#']))
            .find(|line| *line != "---");
        let item = first.and_then(|line| line.strip_prefix("- "));
        let section = item.and_then(|item| {
            raw::SECTIONS.into_iter().find(|name| {
                item.trim_start().strip_prefix(name).is_some_and(|rest| rest.starts_with(':'))
            })
        });
        match section {
            Some(name) => problem.with_help(format!(
                "remove the `- ` before `{name}:`, and begin each section in the first column"
            )),
            None => problem.with_help(
                "begin with `mooltiroute init DIR`, which writes a commented configuration",
            ),
        }
    }

    /// Returns the problem that this file, which is not a configuration, has another format, if it has a known one.
    fn foreign(&self) -> Option<Problem> {
        let format = ForeignFormat::of(&self.text)?;
        let at = Span { start: (1, 1), end: (1, 1) };
        let problem = self.problem(YamlError::new(at, YamlFault::Foreign(format)));
        // Every line of a list may hold a password, and the first line says no more than the message.
        Some(Problem { excerpt: None, ..problem })
    }

    /// Returns the keys that are indented too little or too much.
    pub(crate) fn misplaced(&self) -> Vec<Misplaced> {
        self.root.as_deref().map(misplaced).unwrap_or_default()
    }

    /// Returns the character that has taken the value of the key at `path` away: `#` begins a comment, `!` a tag and `&` an
    /// anchor. Returns `None` if the key has a value, or none is written.
    pub(crate) fn swallowed(&self, path: &KeyPath) -> Option<char> {
        let node = self.root.as_ref()?.get(path)?;
        if !matches!(node.content, Content::Nothing) {
            return None;
        }
        let (number, column) = self.span(path, Part::Key)?.end;
        let rest = self.line(number).chars().skip(column - 1);
        let mut rest = rest.skip_while(|one| ": \t".contains(*one));
        rest.next().filter(|one| "#!&".contains(*one))
    }

    /// Returns how many steps of `path` are in this file. Returns `None` if the file has no node.
    pub(crate) fn depth(&self, path: &KeyPath) -> Option<usize> {
        self.root.as_ref().map(|root| root.find(path).0)
    }

    /// Returns the place of `part` of `path`, or of what is nearest above it, with its line.
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
            // A block that begins a line below its key is better shown by the key. So is a setting that is
            // not there: the problem is then about its parent.
            Some(_) if part == Part::Value && is_whole && self.is_key_without_colon(value) => value,
            Some(key) if part == Part::Key || !is_whole || value.start.0 != key.start.0 => key,
            _ => value,
        })
    }

    /// Returns whether the text at `span` begins with a key that has no colon or no space after it, as in `listen = a`.
    fn is_key_without_colon(&self, span: Span) -> bool {
        let (number, column) = span.start;
        let rest: String =
            self.line(number).chars().skip(column - 1).take(SPAN_CHARS_MAX).collect();
        key_without_colon(&rest).is_some() || key_without_space(&rest).is_some()
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn place_at(&self, span: Span) -> Place {
        Place { file: Arc::clone(&self.name), line: span.start.0, column: span.start.1 }
    }

    fn problem(&self, mut error: YamlError) -> Problem {
        let is_hidden =
            |Span { start: (number, column), .. }: Span| self.known_line(number).hides(column);
        // `{{ NAME }}` reads as a mapping that is the key of another one.
        if error.fault == YamlFault::Key
            && let Some((_, template)) = self.line(error.at.start.0).split_once("{{")
        {
            let name = template.split("}}").next().unwrap_or_default();
            error.fault = YamlFault::Template(foreign_variable::in_double_braces(name));
        }
        // The name is shown unless the first key is hidden too: a name that is visible elsewhere is no
        // secret.
        if matches!(error.fault, YamlFault::DuplicateKey(_)) && error.first.is_some_and(is_hidden) {
            error.fault = YamlFault::DuplicateKey(None);
        }
        // Nobody can read an encrypted value, and it is no use to anybody in a message.
        let is_encrypted = matches!(error.fault, YamlFault::Encrypted { .. });
        Problem {
            place: Some(self.place_at(error.at)),
            excerpt: if is_encrypted { None } else { self.excerpt(error.at) },
            first: error.first.map(|first| self.place_at(first)),
            help: error.fault.help().map(Cow::into_owned),
            ..Problem::new(&KeyPath::default(), error.fault.code(), error.fault.to_string())
        }
    }

    fn line(&self, number: usize) -> &str {
        let Some(start) = number.checked_sub(1).and_then(|index| self.lines.get(index)) else {
            return "";
        };
        let line = &self.text[*start..];
        line.lines().next().unwrap_or_default()
    }

    /// Returns the line that `span` begins in, as far as it can be shown.
    fn excerpt(&self, span: Span) -> Option<Excerpt> {
        self.known_line(span.start.0).excerpt(span)
    }

    /// Returns whether the text at `path` could be the end of a secret with a comma that is not in quotes.
    pub(crate) fn hides(&self, path: &KeyPath) -> bool {
        let span = self.span(path, Part::Key);
        span.is_some_and(|Span { start: (number, column), .. }| {
            self.known_line(number).hides(column)
        })
    }

    /// Returns whether the value at `path` is written somewhere else as well, perhaps as a secret.
    pub(crate) fn shares(&self, path: &KeyPath) -> bool {
        self.root.as_ref().is_some_and(|root| root.is_shared(path))
    }

    fn known_line(&self, number: usize) -> SourceLine<'_> {
        let Self { root, read_to, .. } = self;
        SourceLine { number, text: self.line(number), root: root.as_deref(), read_to: *read_to }
    }
}

/// The number of characters after a value that are looked at.
const REST_CHARS_MAX: usize = 80;

/// The last column in which an odd value is looked for.
const COLUMN_MAX: usize = 500;

/// More than any key and its value need.
const SPAN_CHARS_MAX: usize = 200;
