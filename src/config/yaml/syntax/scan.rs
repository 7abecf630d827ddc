//! A scanner of YAML that knows quotes, brackets, comments and plain texts, and nothing of the structure.

use std::{iter::Peekable, str::Chars};

use super::At;

/// The state of a text at one place.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    /// The brackets and braces that are open, the innermost one last.
    pub(super) open: Vec<Opened>,
    /// The quote that is open, and its place.
    pub(super) open_quote: Option<(char, At)>,
    /// The first escape that is none, and the place of its `\`.
    pub(super) bad_escape: Option<(char, At)>,
    /// The last token before the place.
    pub(super) last: Option<Token>,
}

/// An open bracket or brace.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) bracket: char,
    pub(super) at: At,
    /// The number of blanks that its line begins with.
    pub(super) indent: usize,
    /// Whether a comment follows it in its line.
    pub(super) is_commented: bool,
}

/// A text, with its end: the place after its last character.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) end: At,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    Plain,
    Quoted(char),
}

/// Scans `text` up to `until`. A quote that begins at or before it is scanned to its end.
pub(super) fn scan(text: &str, until: At) -> Scanned {
    let rest = text.chars().peekable();
    let mut scanner =
        Scanner { rest, at: (1, 1), indent: 0, until, previous: '\n', found: Scanned::default() };
    scanner.run();
    scanner.found
}

struct Scanner<'a> {
    rest: Peekable<Chars<'a>>,
    at: At,
    /// The number of blanks that the current line begins with.
    indent: usize,
    until: At,
    previous: char,
    found: Scanned,
}

impl Scanner<'_> {
    fn run(&mut self) {
        while let Some(next) = self.rest.peek().copied() {
            // A quote at the very place is still scanned: the parser names the beginning of a text whose end
            // is missing.
            let is_quote = ['"', '\''].contains(&next);
            if self.at > self.until || (self.at == self.until && !is_quote) {
                return;
            }
            match next {
                ' ' | '\t' | '\r' | '\n' => _ = self.step(),
                '#' if self.previous.is_whitespace() => self.comment(),
                '"' | '\'' => self.quoted(next),
                '{' | '[' => self.open(next),
                // Only the matching kind closes. Another one is left for `SyntaxFault::Unopened`.
                '}' | ']' if self.closes(next) => {
                    self.found.open.pop();
                    self.found.last = None;
                    self.step();
                }
                ',' if !self.found.open.is_empty() => {
                    self.found.last = None;
                    self.step();
                }
                // These are punctuation before a blank only. Otherwise they begin a text, as in `-1` or
                // `:8080`.
                '-' | '?' | ':' => {
                    self.step();
                    if self.rest.peek().is_none_or(|next| next.is_whitespace()) {
                        self.found.last = None;
                    } else {
                        self.plain();
                    }
                }
                // YAML has block texts only outside of brackets (YAML 1.2 §8.1).
                '|' | '>' if self.found.open.is_empty() => self.block_text(),
                // A bracket of the wrong kind. As a text it would hide the next token.
                '}' | ']' if !self.found.open.is_empty() => _ = self.step(),
                _ => self.plain(),
            }
        }
    }

    /// Takes one character.
    fn step(&mut self) -> Option<char> {
        let one = self.rest.next()?;
        if one == '\n' {
            (self.at, self.indent) = ((self.at.0 + 1, 1), 0);
        } else {
            // Only blanks at the beginning of the line count, each right after the previous one.
            if one == ' ' && self.at.1 == self.indent + 1 {
                self.indent += 1;
            }
            self.at.1 += 1;
        }
        self.previous = one;
        Some(one)
    }

    fn open(&mut self, bracket: char) {
        let (at, indent) = (self.at, self.indent);
        self.found.open.push(Opened { bracket, at, indent, is_commented: false });
        self.found.last = None;
        self.step();
    }

    fn closes(&self, bracket: char) -> bool {
        let expected = if bracket == '}' { '{' } else { '[' };
        self.found.open.last().is_some_and(|opened| opened.bracket == expected)
    }

    fn comment(&mut self) {
        // In `{ password: a #b }` the comment has swallowed the `}`, which the advice then says.
        if let Some(opened) = self.found.open.last_mut() {
            opened.is_commented |= opened.at.0 == self.at.0;
        }
        self.line();
    }

    fn line(&mut self) {
        while self.rest.peek().is_some_and(|one| *one != '\n') {
            self.step();
        }
    }

    /// Scans a text in quotes. One that goes on in a line which is not indented further is not closed.
    fn quoted(&mut self, quote: char) {
        let (begin, indent) = (self.at, self.indent);
        let is_nested = !self.found.open.is_empty();
        self.step();
        loop {
            let (at, is_new_line) = (self.at, self.previous == '\n');
            // Without this, a quote that is not closed would run to the next quote of the file, maybe many
            // lines below. Between brackets the lines may be indented in any way.
            if is_new_line && !is_nested && self.is_outdented(indent) {
                break;
            }
            let Some(one) = self.step() else { break };
            if one == '\\' && quote == '"' {
                // An escape takes its next character along, so that `\"` does not end the text. The parser
                // fails at the first bad one.
                let escaped = self.step().unwrap_or_default();
                if !self.is_escape(escaped) && self.found.bad_escape.is_none() {
                    self.found.bad_escape = Some((escaped, at));
                }
            } else if one == quote {
                // Two single quotes stand for one.
                if quote == '\'' && self.rest.peek() == Some(&'\'') {
                    self.step();
                    continue;
                }
                self.found.last = Some(Token { kind: TokenKind::Quoted(quote), end: self.at });
                return;
            }
        }
        self.found.open_quote = Some((quote, begin));
    }

    /// Returns whether the line that begins here has a text at or before column `indent`.
    fn is_outdented(&self, indent: usize) -> bool {
        let mut ahead = self.rest.clone();
        let blanks = std::iter::from_fn(|| ahead.next_if_eq(&' ')).count();
        blanks <= indent && ahead.peek().is_some_and(|one| !one.is_whitespace())
    }

    /// Returns whether `\` and `escaped` are an escape (YAML 1.2 §5.7). Takes no more characters.
    fn is_escape(&self, escaped: char) -> bool {
        let digits = match escaped {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => return "0abt\tnvfre \"/\\N_LP\n\r".contains(escaped),
        };
        let mut ahead = self.rest.clone();
        (0..digits).all(|_| ahead.next().is_some_and(|one| one.is_ascii_hexdigit()))
    }

    /// Scans a text without quotes, to its last character before the end.
    fn plain(&mut self) {
        let is_nested = !self.found.open.is_empty();
        let mut end = self.at;
        while let Some(next) = self.rest.peek().copied() {
            // A comma, bracket or brace ends a text only between brackets.
            let is_end = match next {
                '\n' => true,
                '#' => self.previous.is_whitespace(),
                ':' => self.is_before_blank(is_nested),
                ',' | '{' | '}' | '[' | ']' => is_nested,
                _ => false,
            };
            if is_end || self.at >= self.until {
                break;
            }
            self.step();
            if !next.is_whitespace() {
                end = self.at;
            }
        }
        self.found.last = Some(Token { kind: TokenKind::Plain, end });
    }

    /// Returns whether the next character is followed by a blank, or by what ends a text between brackets.
    fn is_before_blank(&self, is_nested: bool) -> bool {
        let mut ahead = self.rest.clone();
        ahead.next();
        let ends = |one: &char| one.is_whitespace() || (is_nested && ",{}[]".contains(*one));
        ahead.peek().is_none_or(ends)
    }

    /// Scans a text that `|` or `>` begins, and whose lines are indented further than this one.
    fn block_text(&mut self) {
        let indent = self.indent;
        self.line();
        while self.step().is_some() {
            let mut ahead = self.rest.clone();
            let blanks = std::iter::from_fn(|| ahead.next_if_eq(&' ')).count();
            // An empty line belongs to the text, whatever its indentation.
            let is_empty = ahead.peek().is_none_or(|one| one.is_whitespace());
            if self.at >= self.until || (blanks <= indent && !is_empty) {
                return;
            }
            self.line();
        }
    }
}
