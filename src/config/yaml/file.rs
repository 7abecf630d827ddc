//! One file of the configuration, with the place of each value.

mod suspicious_values;

use std::{borrow::Cow, rc::Rc, sync::Arc};

use mooltiroute_hops::{Encryption, KeyPath};
use serde_yaml::Value;

use crate::config::{
    raw,
    report::{
        first_problems::Found,
        foreign_variable,
        known_keys::{key_without_colon, key_without_space},
        problem::{Excerpt, Place, Problem},
    },
    source::Text,
    yaml::{
        excerpt::SourceLine,
        fault::YamlFault,
        foreign::ForeignFormat,
        indentation::{Misplaced, MisplacedInWords, misplaced, shown},
        spans::{self, Content, ExpandedSize, Node, OLD_LINE_ENDS, Span, YamlError},
        syntax::{self, SyntaxFault},
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
    /// Reads `text`, which may be as large as `limit`.
    ///
    /// # Errors
    /// Everything that keeps it from being read.
    pub(crate) fn read(text: Text, limit: ExpandedSize) -> Result<(Self, Value), Found> {
        let Text { name, text } = text;
        // Editors of Windows write a byte order mark, which is not part of the first key.
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        let starts = text.match_indices('\n').map(|(end, _)| end + 1);
        let lines = std::iter::once(0).chain(starts).collect();
        let mut file = Self { name, text, lines, root: None, read_to: None };
        // Two parsers read the text: this one knows places, serde_yaml knows types. This one is first, since
        // it bounds how far the aliases may expand in the other.
        let spans::Parsed { root, read_to, has_tags, faults } = spans::parse(&file.text, limit);
        (file.root, file.read_to) = (root, read_to);
        if !faults.is_empty() {
            let faults = file.encrypted_as_one(faults);
            if let Some(foreign) = file.foreign() {
                return Err(foreign.into());
            }
            let mut found = Found::default();
            let is_indentation = file.explains_repeated(&faults);
            if is_indentation {
                found.extend(file.misplaced().iter().map(|misplaced| file.indented(misplaced)));
            }
            for fault in faults.into_iter().filter(|_| !is_indentation) {
                if !found.skips() {
                    found.push(file.problem(fault));
                }
            }
            return Err(found);
        }
        // Only comments have these by now. serde_yaml would read the rest of such a comment as settings.
        match serde_yaml::from_str(&file.text.replace(OLD_LINE_ENDS, " ")) {
            Ok(value) => file.merged(value),
            Err(error) => {
                let at = error.location().map_or((1, 1), |at| (at.line(), at.column()));
                Err(file.unreadable(at, has_tags).into())
            }
        }
    }

    /// Returns `faults` with one in place of all encrypted values if SOPS has encrypted this file.
    fn encrypted_as_one(&self, mut faults: Vec<YamlError>) -> Vec<YamlError> {
        let names_sops = KeyPath::of(["sops"]);
        if self.root.as_ref().is_none_or(|root| root.get(&names_sops).is_none()) {
            return faults;
        }
        let mut is_known = false;
        faults.retain_mut(|YamlError { fault, .. }| {
            let YamlFault::Encrypted { encryption, is_file } = fault else { return true };
            // The keys of the file are encrypted by other tools. SOPS keeps them below its own key.
            (*encryption, *is_file) = (Encryption::Sops, true);
            !std::mem::replace(&mut is_known, true)
        });
        faults
    }

    /// Puts the settings that `<<` stands for into `value`, the content of this file.
    fn merged(self, mut value: Value) -> Result<(Self, Value), Found> {
        // Its errors name no place and quote nothing. Most of its causes were found with their place before.
        if let Err(error) = value.apply_merge() {
            let at = Span { start: (1, 1), end: (1, 1) };
            let fault = YamlFault::Merge(error.to_string());
            return Err(self.problem(YamlError::new(at, fault)).into());
        }
        Ok((self, value))
    }

    /// Returns the problem for a text that serde_yaml refuses although the marked parse has taken it.
    ///
    /// serde_yaml's own message is never repeated: it quotes the value that does not fit its tag, which may be a
    /// password (`!!int s3cret`), the key that occurs twice once numbers are read (`1` and `0x1`), and the keys above
    /// it. Only the place is taken from it.
    fn unreadable(&self, at: (usize, usize), has_tags: bool) -> Problem {
        // The parser of the marks takes every character. serde_yaml tells no place for one that YAML does not have.
        let (fault, at) = match syntax::forbidden(&self.text) {
            Some(at) => (YamlFault::Syntax(SyntaxFault::ControlCharacter), at),
            None if has_tags => (YamlFault::Tag, at),
            None => match self.too_large_number() {
                Some(at) => (YamlFault::Number, at),
                None => (YamlFault::Unreadable, at),
            },
        };
        self.problem(YamlError::new(Span { start: at, end: at }, fault))
    }

    /// Returns the place of a number that no setting can have, and that serde_yaml has no type for.
    fn too_large_number(&self) -> Option<(usize, usize)> {
        let is_too_large = |text: &str| {
            text.parse::<u128>().is_ok_and(|number| number > u64::MAX.into())
                || text.parse::<i128>().is_ok_and(|number| number < i64::MIN.into())
        };
        let mut texts = Vec::new();
        self.root.as_ref()?.add_texts_to(&mut texts);
        let number = texts.into_iter().find(|Span { start, end }| {
            let length = end.1.saturating_sub(start.1);
            let text = self.line(start.0).chars().skip(start.1 - 1).take(length);
            start.0 == end.0 && length <= SPAN_CHARS_MAX && is_too_large(&text.collect::<String>())
        });
        Some(number?.start)
    }

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

    /// Returns whether `faults` are only keys that appear twice because they are indented like the keys they belong to, as the
    /// keys of two hops.
    fn explains_repeated(&self, faults: &[YamlError]) -> bool {
        let misplaced = self.misplaced();
        let is_explained = |fault: &YamlError| {
            let line = fault.at.start.0;
            matches!(fault.fault, YamlFault::DuplicateKey(_))
                && misplaced.iter().any(|one| (one.lines.0..=one.lines.1).contains(&line))
        };
        faults.iter().all(is_explained)
    }

    /// Builds the problem for `misplaced`.
    fn indented(&self, misplaced: &Misplaced) -> Problem {
        let MisplacedInWords { at, message, help } = misplaced.in_words();
        let name = at.last_name().unwrap_or_default();
        let problem = Problem::new(&at, "indentation", format!("`{}` {message}", shown(name)));
        let (place, excerpt) = self.locate(&at, Part::Key).unzip();
        Problem { place, excerpt: excerpt.flatten(), help: Some(help), ..problem }
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

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: ExpandedSize = ExpandedSize { nodes: 100, bytes: 1000 };

    #[test]
    fn a_comment_ends_where_yaml_1_2_says() {
        for end in ['\u{85}', '\u{2028}', '\u{2029}'] {
            for value in ["ß", "'it''s ß'", r#""a \" b""#, "[x, 'y']", "{ x: \"y\" }", ""] {
                let text = format!("# one{end}a: 1\nb: {value} # it's two{end}c: 1\nd: 2\n");
                let (_, read) = File::read(Text { name: "a.yaml".into(), text }, LIMIT).unwrap();
                let keys = read.as_mapping().unwrap().keys().map(|key| key.as_str().unwrap());
                assert_eq!(keys.collect::<Vec<_>>(), ["b", "d"], "{value}");
            }
            // Its lines are counted in two ways.
            let text = format!("a: 1\rb: 2\n\nc: 3 # one{end}d: 4\n");
            let _ = File::read(Text { name: "a.yaml".into(), text }, LIMIT);
            for value in [
                format!("x{end}y"),
                format!("'x''{end}y'"),
                format!(r#""x \"{end}y""#),
                format!("{{ x{end}y: 1 }}"),
            ] {
                let text = format!("a: 1\nb: {value}\n");
                assert!(
                    File::read(Text { name: "a.yaml".into(), text }, LIMIT).is_err(),
                    "{value}"
                );
            }
        }
    }
}
