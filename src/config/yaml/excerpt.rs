//! A line of a file, without what could be a secret.

mod harmless;
mod hidden;

use self::harmless::{is_harmless, is_key_shown};
use crate::config::{
    report::{
        known_keys::{key_without_colon, key_without_space},
        problem::{Excerpt, is_word},
    },
    yaml::{
        spans::{Content, Node, Span},
        tree::is_public_key,
    },
};

/// A line, and the parts of it that the parser has understood.
pub(crate) struct SourceLine<'a> {
    pub(crate) number: usize,
    pub(crate) text: &'a str,
    /// Everything that could be read of the file.
    pub(crate) root: Option<&'a Node>,
    /// The place at which reading stopped, if it did before the end.
    pub(crate) read_to: Option<(usize, usize)>,
}

impl SourceLine<'_> {
    /// Returns whether the text at `column` comes after a value that could be a secret with a comma in it, and so
    /// could be the end of it.
    pub(crate) fn hides(&self, column: usize) -> bool {
        self.hidden_from() < column
    }

    /// Returns the line with only keys, punctuation and the values of settings that are never secret. Everything that is
    /// not known to be harmless is hidden, a comment too, and so is all that comes after it. Returns `None` if nothing
    /// else is left.
    pub(crate) fn excerpt(&self, span: Span) -> Option<Excerpt> {
        let start = span.start.1;
        // Counting goes no further than what is shown: a line may be as long as a file.
        let chars: Vec<char> = self.text.chars().take(start + WIDTH_MAX).collect();
        let (mut shown, is_token) = self.tokens(start, &chars);
        let (first, last) = within(span, self.number, chars.len());
        if self.read_to.is_none() && is_public_key_at(&chars, first, last) {
            shown[first..last].fill(true);
        }
        // A mark below a run of several hidden settings would be taken for the first of them, so the key of the value is
        // shown too.
        if self.read_to.is_none()
            && let Some((key, end)) = key_before(&chars, first)
            && !shown[key]
        {
            shown[key..end].fill(true);
        }
        // After a syntax error, a key without its colon is a part of a text that was not read.
        let rest: String = chars.iter().skip(first).collect();
        let key = key_without_colon(&rest).or_else(|| key_without_space(&rest));
        if let Some(key) =
            key.filter(|_| self.read_to.is_some() || !is_public_key_at(&chars, first, last))
        {
            let is_first = chars[..first].iter().all(|one| *one == ' ');
            let from = if is_first { 0 } else { first };
            shown[from..first + key.len()].fill(true);
        }
        // Each run of hidden characters becomes one `…`. So the marks below the line are counted in what has
        // been written so far and not in columns of the file.
        let mut excerpt = Excerpt { line: String::new(), start: 0, length: 0 };
        // A long line begins half a width before the place, so that the place is in the part that is shown.
        let from = first.saturating_sub(WIDTH_MAX / 2);
        let mut is_hidden = from > 0;
        if is_hidden {
            excerpt.line.push('…');
        }
        // A `#` inside of a value begins no comment. Comments are cut off: they may hold anything, such as an
        // old password.
        let is_comment = |at: &usize| chars[*at] == '#' && !is_token[*at];
        let end = (from..chars.len()).find(is_comment).unwrap_or(chars.len());
        for at in from..end {
            let is_first_hidden = !shown[at] && !is_hidden;
            is_hidden = !shown[at];
            // If the place is inside of a run of hidden characters, the mark points at the `…` that is
            // already written.
            if at == first {
                excerpt.start =
                    excerpt.line.chars().count() - usize::from(is_hidden && !is_first_hidden);
            }
            if shown[at] || is_first_hidden {
                excerpt.line.push(if shown[at] { chars[at] } else { '…' });
                excerpt.length += usize::from((first..last).contains(&at));
            }
        }
        // The place may be after all that is shown.
        if first >= end {
            excerpt.start = excerpt.line.chars().count();
        }
        excerpt.length = excerpt.length.max(1);
        let end = excerpt.line.trim_end().len();
        excerpt.line.truncate(end);
        // After a syntax error there may be nothing left but punctuation.
        let is_useful = self.read_to.is_none() || excerpt.line.contains(char::is_alphanumeric);
        is_useful.then_some(excerpt)
    }

    /// Returns which of `chars` are shown, and which are part of a key or a value.
    fn tokens(&self, start: usize, chars: &[char]) -> (Vec<bool>, Vec<bool>) {
        let mut shown = vec![false; chars.len()];
        let mut is_token = vec![false; chars.len()];
        // The span of a text in quotes goes on to the next token.
        let within = |span: Span| {
            let (first, last) = within(span, self.number, chars.len());
            let blanks = chars[first..last].iter().rev().take_while(|blank| **blank == ' ').count();
            (first, last - blanks)
        };
        // Only values near the place are visited. A long line may have thousands of mistakes, and visiting
        // all of its values for each of them took seconds.
        let window = (self.number, start.saturating_sub(WIDTH_MAX), start + WIDTH_MAX);
        let mut mark = |path: &[&str], span: Span, part| {
            let (first, last) = within(span);
            let text: String = chars[first..last].iter().collect();
            let is_shown = match part {
                ExcerptPart::Key => is_key_shown(path),
                // Of a value with several lines, only a part is in this one, which says nothing about the
                // rest.
                ExcerptPart::Value => span.start.0 == span.end.0 && is_harmless(path, &text),
            };
            shown[first..last].fill(is_shown);
            is_token[first..last].fill(true);
        };
        if let Some(root) = self.root {
            visit(root, &mut Vec::new(), window, &mut mark);
        }
        // Outside of keys and values, only punctuation is known to be harmless. An anchor, a tag or a comment
        // is not.
        for at in 0..chars.len() {
            shown[at] |= !is_token[at] && PUNCTUATION.contains(chars[at]);
        }
        let mut hidden_from = self.hidden_from();
        if let Some(unread) = self.unread_from() {
            let rest = chars.get(unread..).unwrap_or_default();
            let blanks = rest.iter().take_while(|one| PUNCTUATION.contains(**one)).count();
            let begin = unread + blanks;
            let line: String = chars[begin.min(chars.len())..].iter().collect();
            let word = line.split(':').next().unwrap_or_default();
            // Nothing after the fault is known. At most its first word is shown, if it looks like the key of
            // the line: it may be the key that is out of place.
            let is_key = unread == 0 && is_word(word) && chars.get(begin + word.len()).is_some();
            let end = if is_key { begin + word.len() + 1 } else { begin };
            shown[begin.min(chars.len())..end.min(chars.len())].fill(true);
            hidden_from = hidden_from.min(end);
        }
        // Last, since it wins over everything that was marked before.
        shown.iter_mut().skip(hidden_from).for_each(|shown| *shown = false);
        (shown, is_token)
    }

    /// Returns the index of the first character that could not be read. Returns `None` if all could.
    fn unread_from(&self) -> Option<usize> {
        let (number, column) = self.read_to?;
        match number.cmp(&self.number) {
            std::cmp::Ordering::Less => Some(0),
            std::cmp::Ordering::Equal => Some(column - 1),
            std::cmp::Ordering::Greater => None,
        }
    }
}

/// The part of a setting that a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ExcerptPart {
    Key,
    Value,
}

/// Returns whether `chars` has the key of a setting from `first` to `last`, and a colon behind it. Such a key is shown where
/// all else is hidden, since the problem is about it.
fn is_public_key_at(chars: &[char], first: usize, last: usize) -> bool {
    let key: String = chars[first..last].iter().collect();
    let mut rest = chars[last..].iter().skip_while(|one| **one == ' ');
    rest.next() == Some(&':') && is_public_key(&key)
}

/// Returns the range of the key of a setting whose value begins at `at`, and of all between the two.
fn key_before(chars: &[char], at: usize) -> Option<(usize, usize)> {
    let before: String = chars.get(..at)?.iter().collect();
    let key_and_colon = before.trim_end();
    let (rest, key) = key_and_colon.strip_suffix(':')?.rsplit_once([' ', '{', ','])?;
    // The comma before the key tells it from the value before that.
    let start = rest.trim_end_matches([' ', ',']).chars().count();
    is_public_key(key).then_some((start, at))
}

/// Returns the first and the last index of the characters of line `number` that are part of `span`.
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
    found: &mut impl FnMut(&[&'a str], Span, ExcerptPart),
) {
    let (number, first, last) = window;
    let Span { start, end } = node.span;
    if start > (number, last) || end < (number, first) {
        return;
    }
    match &node.content {
        Content::Scalar(_) => found(path, node.span, ExcerptPart::Value),
        Content::Nothing | Content::Unread => {}
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
                    found(path, entry.key, ExcerptPart::Key);
                }
                visit(&entry.value, path, window, found);
                path.pop();
            }
        }
    }
}

const PUNCTUATION: &str = " {}[],:-";

/// The approximate number of characters of a line that are shown.
const WIDTH_MAX: usize = 120;
