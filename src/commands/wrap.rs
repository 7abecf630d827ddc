//! Wraps lines of text at the width of a terminal.

use std::io::{self, Write};

/// A writer that wraps lines between words. A continued line is indented by two more blanks than its beginning.
///
/// An excerpt of a file keeps its lines, since the marks below it would point elsewhere.
#[derive(Debug)]
pub(super) struct Wrapped<W: Write> {
    inner: W,
    /// The width of a line, or `None` to write everything as it is.
    width: Option<usize>,
    /// The line that has not ended.
    line: Vec<u8>,
}

impl<W: Write> Wrapped<W> {
    /// Wraps what is written to `inner` at `width` columns, if that is known.
    pub(super) fn new(inner: W, width: Option<usize>) -> Self {
        let width = width.filter(|width| *width >= WIDTH_MIN);
        Self { inner, width, line: Vec::new() }
    }

    fn end_line(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        // A text may be written in parts that end within a character or a word, so only complete lines are
        // wrapped.
        match (self.width, std::str::from_utf8(&line)) {
            (Some(width), Ok(text)) if !is_excerpt(text) => {
                self.inner.write_all(wrap(text, width).as_bytes())
            }
            _ => self.inner.write_all(&line),
        }
    }
}

impl<W: Write> Write for Wrapped<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.width.is_none() {
            return self.inner.write(bytes);
        }
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.end_line()?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.end_line()?;
        self.inner.flush()
    }
}

impl<W: Write> Drop for Wrapped<W> {
    fn drop(&mut self) {
        // A failure was reported by an earlier write, or can't be reported at all.
        let _ = self.end_line();
    }
}

/// Returns `line` with line ends in place of some of its blanks, so that it fits in `width` columns.
fn wrap(line: &str, width: usize) -> String {
    let blanks = line.len() - line.trim_start_matches(' ').len();
    // A deep indentation must leave room for words.
    let indent = " ".repeat((blanks + 2).min(width / 2));
    let (mut wrapped, mut column) = (line[..blanks].to_owned(), blanks);
    for (index, word) in line[blanks..].split(' ').enumerate() {
        let length = columns(word);
        // A word that is longer than a line keeps its length: a path or a URL must stay in one piece to be
        // copied.
        if index > 0 && column + 1 + length > width && column > indent.len() {
            wrapped.push('\n');
            wrapped.push_str(&indent);
            column = indent.len();
        } else if index > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += length;
    }
    wrapped
}

/// Returns how many columns `word` takes, without its escape sequences for colours.
fn columns(word: &str) -> usize {
    let (mut count, mut is_escape) = (0, false);
    for one in word.chars() {
        match one {
            '\x1b' => is_escape = true,
            'm' if is_escape => is_escape = false,
            '\n' => {}
            _ if !is_escape => count += 1,
            _ => {}
        }
    }
    count
}

/// Returns whether `line` is a line of an excerpt: blanks, perhaps a number, and the margin.
fn is_excerpt(line: &str) -> bool {
    let Some((before, _)) = line.split_once(" | ") else { return false };
    before.starts_with("  ") && before.trim().bytes().all(|byte| byte.is_ascii_digit())
}

/// A narrower terminal is not worth wrapping for.
const WIDTH_MIN: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, width: Option<usize>, expected: &str) {
        for step in [1, 7, text.len()] {
            let mut written = Vec::new();
            let mut wrapped = Wrapped::new(&mut written, width);
            for part in text.as_bytes().chunks(step) {
                wrapped.write_all(part).unwrap();
            }
            drop(wrapped);
            assert_eq!(String::from_utf8(written).unwrap(), expected, "in steps of {step}");
        }
    }

    #[test]
    fn lines_are_wrapped_between_words_and_indented() {
        let text = "one two three four five six\n";
        check(text, None, text);
        check(text, Some(100), text);
        check(text, Some(20), "one two three four\n  five six\n");
        check("  help: one two three four", Some(20), "  help: one two\n    three four");
        check("\x1b[1mone two three four\x1b[0m\n", Some(20), "\x1b[1mone two three four\x1b[0m\n");
        check(&format!("{}\n", "x".repeat(50)), Some(20), &format!("{}\n", "x".repeat(50)));
    }

    #[test]
    fn an_excerpt_keeps_its_lines() {
        let text = "  12 | address: a b c d e f g h i j k\n     |          ^^^^^^^ ^ ^ ^ ^ ^\n";
        check(text, Some(20), text);
    }
}
