//! The file of variables of a service, as systemd reads it (systemd.exec(5), `EnvironmentFile=`).
//!
//! A shell reads the same text otherwise: systemd knows no `export`, expands nothing, and drops a backslash outside of
//! quotes, as in `CORP\joe`. So the file is read here by the rules of systemd, and lines that a shell would read otherwise are
//! named.

use std::{fs, io, path::Path};

use mooltiroute_hops::Secret;

/// The variables of a file, and the lines that are probably not read as they were meant.
#[derive(Debug, Default)]
pub(super) struct EnvironmentFile {
    pub(super) variables: Vec<(String, Secret)>,
    pub(super) doubts: Vec<String>,
}

/// The place of the next character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    BeforeKey,
    Comment,
    Key,
    BeforeValue,
    Value,
    InSingleQuotes,
    InDoubleQuotes,
}

impl EnvironmentFile {
    /// Reads the file at `path`. A file that is not there has no variables.
    ///
    /// # Errors
    /// It can't be read.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    fn parse(text: &str) -> Self {
        let mut file = Self::default();
        let (mut state, mut line, mut begun) = (State::BeforeKey, 1, 1);
        let (mut key, mut value) = (String::new(), String::new());
        // Blanks at the end of a value that is not in quotes don't count.
        let mut kept = 0;
        let mut chars = text.chars();
        while let Some(one) = chars.next() {
            let is_end = one == '\n';
            match state {
                State::BeforeKey if one.is_whitespace() => {}
                State::BeforeKey if one == '#' || one == ';' => state = State::Comment,
                State::BeforeKey => {
                    (state, begun) = (State::Key, line);
                    key.push(one);
                }
                State::Comment if is_end => state = State::BeforeKey,
                State::Comment => {}
                State::Key if is_end => {
                    file.doubts.push(format!("line {begun} has no `=`"));
                    key.clear();
                    state = State::BeforeKey;
                }
                State::Key if one == '=' => state = State::BeforeValue,
                State::Key => key.push(one),
                State::BeforeValue | State::Value if is_end => {
                    value.truncate(kept);
                    file.add(&mut key, &mut value, begun);
                    (state, kept) = (State::BeforeKey, 0);
                }
                State::BeforeValue if one == '\'' => state = State::InSingleQuotes,
                State::BeforeValue if one == '"' => state = State::InDoubleQuotes,
                State::BeforeValue if one.is_whitespace() => {}
                State::BeforeValue | State::Value => {
                    state = State::Value;
                    let is_escape = one == '\\';
                    let next = if is_escape { chars.next() } else { Some(one) };
                    match next {
                        // The value goes on in the next line.
                        Some('\n') => line += 1,
                        Some(next) => {
                            if is_escape {
                                file.doubts.push(format!(
                                    "line {line} has a `\\` outside of quotes, which systemd leaves out; write the value in \
                                     single quotes"
                                ));
                            }
                            value.push(next);
                            if is_escape || !next.is_whitespace() {
                                kept = value.len();
                            }
                        }
                        None => {}
                    }
                }
                State::InSingleQuotes if one == '\'' => {
                    (state, kept) = (State::BeforeValue, value.len());
                }
                State::InDoubleQuotes if one == '"' => {
                    (state, kept) = (State::BeforeValue, value.len());
                }
                State::InDoubleQuotes if one == '\\' => match chars.next() {
                    Some('\n') => line += 1,
                    Some(next) if "\"\\`$".contains(next) => value.push(next),
                    Some(next) => value.extend(['\\', next]),
                    None => {}
                },
                State::InSingleQuotes | State::InDoubleQuotes => value.push(one),
            }
            line += usize::from(is_end);
        }
        match state {
            State::Key => file.doubts.push(format!("line {begun} has no `=`")),
            State::InSingleQuotes | State::InDoubleQuotes => {
                file.doubts.push(format!(
                    "the quote in line {begun} is not closed, so the lines after it belong to its value"
                ));
                file.add(&mut key, &mut value, begun);
            }
            State::BeforeValue | State::Value => {
                value.truncate(kept);
                file.add(&mut key, &mut value, begun);
            }
            State::BeforeKey | State::Comment => {}
        }
        file
    }

    /// Adds a variable, and leaves both texts empty. A later value of the same name counts.
    fn add(&mut self, key: &mut String, value: &mut String, line: usize) {
        let (key, value) = (std::mem::take(key), Secret::new(std::mem::take(value)));
        let key = key.trim_end();
        let is_name = |name: &str| {
            let is_valid = |one: char| one.is_ascii_alphanumeric() || one == '_';
            !name.is_empty()
                && name.chars().all(is_valid)
                && !name.starts_with(|one: char| one.is_ascii_digit())
        };
        if is_name(key) {
            self.variables.retain(|(known, _)| known != key);
            self.variables.push((key.to_owned(), value));
        } else if key.strip_prefix("export").is_some_and(|name| is_name(name.trim_start())) {
            self.doubts.push(format!(
                "line {line} begins with `export`, and systemd skips such a line; remove that word"
            ));
        } else {
            // The text may be a part of a secret, so it is not repeated.
            self.doubts
                .push(format!("line {line} has no variable name before its `=`, and is skipped"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, variables: &[(&str, &str)], doubts: &[&str]) {
        let file = EnvironmentFile::parse(text);
        let found = file.variables.iter().map(|(name, value)| (&**name, value.expose()));
        assert_eq!(found.collect::<Vec<_>>(), variables, "{text:?}");
        assert_eq!(file.doubts.len(), doubts.len(), "{text:?}: {:?}", file.doubts);
        for (found, words) in file.doubts.iter().zip(doubts) {
            assert!(found.contains(words), "{text:?}: {found}");
            assert!(!found.contains("hunter2"), "{found}");
        }
    }

    #[test]
    fn variables_are_read_as_systemd_reads_them() {
        check("", &[], &[]);
        check("# A=1\n; B=2\n\n  C = 3 \nD=\n", &[("C", "3"), ("D", "")], &[]);
        check(
            "A='b c' \nB=\"d\\\"e\\x\"\nC=f g # h",
            &[("A", "b c"), ("B", "d\"e\\x"), ("C", "f g # h")],
            &[],
        );
        check("A='b'\"c\"", &[("A", "bc")], &[]);
        check("A='CORP\\joe'\nA=$HOME\n", &[("A", "$HOME")], &[]);
        check("A=b\\\nc\nD=it's\n", &[("A", "bc"), ("D", "it's")], &[]);
    }

    #[test]
    fn lines_that_a_shell_reads_otherwise_are_named() {
        check("export A=hunter2\nB=1\n", &[("B", "1")], &["line 1 begins with `export`"]);
        check("A=CORP\\joe\n", &[("A", "CORPjoe")], &["line 1 has a `\\` outside of quotes"]);
        check(
            "A='hunter2\nB=2\n",
            &[("A", "hunter2\nB=2\n")],
            &["the quote in line 1 is not closed"],
        );
        check("\nhunter2\nA=1", &[("A", "1")], &["line 2 has no `=`"]);
        check("hunter 2=1\n", &[], &["line 1 has no variable name"]);
        check("A", &[], &["line 1 has no `=`"]);
    }
}
