//! One problem of a configuration, and how it is shown.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    sync::Arc,
};

use mooltiroute_hops::{Key, KeyPath};

/// An error or a warning about the configuration. It contains nothing that could be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an unreported problem makes the configuration look valid"]
pub struct Problem {
    /// The place in a file, if there is one.
    pub place: Option<Place>,
    /// The path of the setting. It is empty for a problem of a file.
    pub path: KeyPath,
    /// A short, stable name for this kind of problem, for programs.
    pub code: &'static str,
    /// The expected and the found, as one clause.
    pub message: String,
    /// The line, with possible secrets hidden.
    pub excerpt: Option<Excerpt>,
    /// Examples of the problem, such as the first bad lines of a file, each for a line of its own.
    pub details: Vec<String>,
    /// The place of the first definition, if the problem is a second one.
    pub first: Option<Place>,
    /// Advice: what to do.
    pub help: Option<String>,
    /// Whether the advice is a known name that is near the written one.
    pub is_suggestion: bool,
}

/// A place in a file. Lines and columns count from one, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file's path, as the operator writes it.
    pub file: Arc<str>,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// A line of a file, and the part of it that the problem is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The line, with `…` in place of possible secrets.
    pub line: String,
    /// The number of characters before the part.
    pub start: usize,
    /// The number of characters of the part, at least one.
    pub length: usize,
}

/// All problems of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

/// Shows problems with colours.
#[derive(Clone, Copy, Debug)]
pub struct Coloured<'a>(&'a [Problem]);

/// Shows problems on one line, for the log.
#[derive(Clone, Copy, Debug)]
pub struct Brief<'a>(&'a [Problem]);

impl Problem {
    /// Creates a problem without a place. A key that does not look like a name is hidden, since it could be a misplaced
    /// secret.
    pub fn new(path: &KeyPath, code: &'static str, message: impl Into<String>) -> Self {
        // A text in place of a key may be anything, such as a password that was split at a comma.
        let keys = path.keys().iter().map(|key| match key {
            Key::Name(name) if !is_name(name) && name != MERGE => Key::Name("…".into()),
            key => key.clone(),
        });
        let path = keys.collect::<Vec<_>>().into();
        let message = message.into();
        Self {
            place: None,
            path,
            code,
            message,
            excerpt: None,
            details: Vec::new(),
            first: None,
            help: None,
            is_suggestion: false,
        }
    }

    /// Shows place, path and message on one line.
    pub fn brief(&self) -> Brief<'_> {
        Brief(std::slice::from_ref(self))
    }

    /// Adds advice.
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self.is_suggestion = false;
        self
    }

    /// Suggests `near` in place of the written name. Without a near name, the problem has no advice.
    pub(crate) fn with_suggestion(mut self, near: Option<&str>) -> Self {
        self.help = near.map(|name| format!("did you mean `{name}`?"));
        self.is_suggestion = near.is_some();
        self
    }

    fn write_subject(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        let path = self.path_beside_message();
        if !path.keys().is_empty() {
            write!(f, "{path}: ")?;
        }
        Ok(())
    }

    /// Returns the path without its last key if the message begins with that.
    fn path_beside_message(&self) -> Cow<'_, KeyPath> {
        match self.path.keys().split_last() {
            Some((Key::Name(last), above))
                if self
                    .message
                    .strip_prefix('`')
                    .and_then(|rest| rest.strip_prefix(&**last))
                    .is_some_and(|rest| rest.starts_with("` ")) =>
            {
                Cow::Owned(above.to_vec().into())
            }
            _ => Cow::Borrowed(&self.path),
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, colours: &Colours) -> fmt::Result {
        let Colours { bold, mark, help, reset } = colours;
        f.write_str(bold)?;
        self.write_subject(f)?;
        write!(f, "{reset}{}", Printable(&self.message))?;
        if let Some(Excerpt { line, start, length }) = &self.excerpt {
            // `start` and `length` count characters of the line as it is shown, so the marks need no
            // knowledge of what was hidden.
            let number = self.place.as_ref().map_or(0, |place| place.line).to_string();
            let (margin, marks) = (" ".repeat(number.len()), "^".repeat(*length));
            let line = Printable(line);
            write!(f, "\n  {number} | {line}\n  {margin} | {:start$}{mark}{marks}{reset}", "")?;
        }
        for detail in &self.details {
            write!(f, "\n  {}", Printable(detail))?;
        }
        if let Some(first) = &self.first {
            write!(f, "\n  first defined at {first}")?;
        }
        match &self.help {
            Some(text) => write!(f, "\n  {help}help{reset}: {}", Printable(text)),
            None => Ok(()),
        }
    }
}

impl Problems {
    /// Shows the place, path and message of each problem on one line.
    pub fn brief(&self) -> Brief<'_> {
        Brief(&self.0)
    }

    /// Shows the problems with colours.
    pub fn coloured(&self) -> Coloured<'_> {
        Coloured(&self.0)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, &PLAIN)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_all(f, &self.0, &PLAIN)
    }
}

impl std::error::Error for Problem {}
impl std::error::Error for Problems {}

impl fmt::Display for Coloured<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_all(f, self.0, &ANSI)
    }
}

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("; ")?;
            }
            problem.write_subject(f)?;
            write!(f, "{}", Printable(&problem.message))?;
            if !problem.details.is_empty() {
                write!(f, ": {}", problem.details.join("; "))?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", Printable(&self.file), self.line, self.column)
    }
}

/// A text in which a control character can't reach a terminal: a file may have any name.
struct Printable<'a>(&'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |one: char| !one.is_control() || matches!(one, '\n' | '\t');
        self.0.chars().try_for_each(|one| match is_plain(one) {
            true => f.write_char(one),
            false => write!(f, "{}", one.escape_unicode()),
        })
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl<'a> From<&'a [Problem]> for Coloured<'a> {
    fn from(problems: &'a [Problem]) -> Self {
        Self(problems)
    }
}

fn write_all(f: &mut fmt::Formatter<'_>, problems: &[Problem], colours: &Colours) -> fmt::Result {
    for (position, problem) in problems.iter().enumerate() {
        if position > 0 {
            f.write_str("\n")?;
        }
        problem.write(f, colours)?;
    }
    Ok(())
}

/// Returns whether `text` may be shown as a name. The letters of every language are allowed.
pub(crate) fn is_name(text: &str) -> bool {
    let is_valid = |one: char| one.is_alphanumeric() || "-_.".contains(one);
    !text.is_empty() && !is_too_long(text) && text.chars().all(is_valid)
}

/// Returns whether `text` has more characters than a name may have.
pub(crate) fn is_too_long(text: &str) -> bool {
    // Nothing is counted beyond the limit: a key may be as long as a file.
    text.chars().nth(NAME_CHARS_MAX).is_some()
}

/// Returns whether `text` may be shown as an unknown key. A misplaced credential nearly always contains a digit.
pub(crate) fn is_word(text: &str) -> bool {
    is_name(text) && !text.chars().any(char::is_numeric)
}

/// Returns whether `text` may be shown as a pattern of a host, perhaps with a port. A login has letters after its colon.
pub(crate) fn is_host_pattern(text: &str) -> bool {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let is_host = |one: char| one.is_ascii_alphanumeric() || "-._*?".contains(one);
    let is_port = |one: char| one == '*' || one.is_ascii_digit();
    let is_valid = !host.is_empty() && host.chars().all(is_host) && port.chars().all(is_port);
    // Without a dot or a star, digits may be those of a misplaced password.
    let is_clear = host.contains(['.', '*']) || !host.contains(|one: char| one.is_ascii_digit());
    is_valid && is_clear && port.len() <= PORT_CHARS_MAX && !is_too_long(text)
}

/// The digits of a port, and one too many.
const PORT_CHARS_MAX: usize = 6;

pub(crate) const NAME_CHARS_MAX: usize = 64;

/// The key that merges another mapping into the one that has it (<https://yaml.org/type/merge.html>).
pub(crate) const MERGE: &str = "<<";

struct Colours {
    bold: &'static str,
    mark: &'static str,
    help: &'static str,
    reset: &'static str,
}

const PLAIN: Colours = Colours { bold: "", mark: "", help: "", reset: "" };
const ANSI: Colours =
    Colours { bold: "\x1b[1m", mark: "\x1b[31m", help: "\x1b[36m", reset: "\x1b[0m" };
