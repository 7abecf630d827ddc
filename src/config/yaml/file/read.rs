//! Reads a file with two parsers: one knows places, the other one types.

use mooltiroute_hops::{Encryption, KeyPath};
use serde_yaml::Value;

use super::{File, Part, SPAN_CHARS_MAX};
use crate::config::{
    report::{first_problems::Found, problem::Problem},
    source::Text,
    yaml::{
        fault::YamlFault,
        indentation::{Misplaced, MisplacedInWords, shown},
        spans::{self, ExpandedSize, OLD_LINE_ENDS, Span, YamlError},
        syntax::{self, SyntaxFault},
    },
};

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
}

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
