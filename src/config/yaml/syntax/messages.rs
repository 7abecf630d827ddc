//! Says what is wrong with the syntax, and how to mend it.

use std::{borrow::Cow, fmt};

use super::SyntaxFault;

impl SyntaxFault {
    /// Returns advice on how to mend it.
    pub(in crate::config::yaml) fn help(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::Tab => "indent with spaces; YAML allows no tab before a key".into(),
            Self::ConflictMark => "decide for one of the two versions, and remove the marks".into(),
            Self::OddBlank => "type ordinary spaces in its place".into(),
            Self::MissingSpace(_) => {
                "write a space after the colon, or write the line in quotes if it is a text".into()
            }
            Self::MissingColon(Some(key)) => {
                format!("write a colon and a space after it, as in `{key}: VALUE`").into()
            }
            Self::MissingColon(None) => "write a colon after it, as in `NAME:`".into(),
            Self::ForeignVariable(help) => help.clone().into(),
            Self::Escape(_) => {
                "write the text in single quotes, where `\\` is an ordinary character, or write `\\\\`".into()
            }
            Self::Unclosed { bracket, is_commented: true } => format!(
                "all that comes after ` #` is a comment, the `{}` too; if it belongs to a text, write that text in \
                 quotes",
                closing(*bracket)
            )
            .into(),
            Self::Unclosed { bracket, .. } => format!(
                "write `{}` at its end, or write a text that begins with `{bracket}` in quotes",
                closing(*bracket)
            )
            .into(),
            Self::ClosedByOther { bracket, found, is_instead: true, .. } => {
                format!("write `{}` in place of that `{found}`", closing(*bracket)).into()
            }
            Self::ClosedByOther { bracket, found, .. } => format!(
                "write `{}` before that `{found}`, or write a text that begins with `{bracket}` in quotes",
                closing(*bracket)
            )
            .into(),
            Self::UnclosedQuote(quote) => {
                format!("write `{quote}` at the end of the text").into()
            }
            Self::AfterQuote('\'') => "write `''` for a single quote inside of single quotes".into(),
            Self::AfterQuote(_) => {
                "write the text in single quotes if it has a `\"`, or write `\\\"` for each".into()
            }
            Self::Indicator(_) | Self::EndsText(_) => {
                "write the text in single quotes, which take every character but a single quote as it is".into()
            }
            Self::UnknownAlias => {
                "a text that begins with `*` is written in quotes, as in `\"*.example.com\"`".into()
            }
            Self::MissingDashSpace => "write a space after each `-`".into(),
            Self::Mixed { .. } => {
                "write either items, each with `- ` before it, or keys; below a key of an item, indent by two more spaces".into()
            }
            Self::AfterBracket(_) => "a text that begins with `{` or `[` is written in quotes, as in `username: \
                                      \"{user}-session-{session}\"`"
                .into(),
            Self::Deeper { .. } => "begin both lines in the same column; only a key with nothing after its colon has \
            keys below it".into(),
            Self::ColonInText => "each key begins a line of its own; a text with a colon and a space in it is \
                                  written in quotes"
                .into(),
            Self::Variable => "write a variable in quotes, as in `\"${NAME}\"`, if it is between `{ }` or `[ ]`".into(),
            Self::Comma => {
                "write a comma before it, or write the text before it in quotes if this is a part of it".into()
            }
            Self::Unopened(_) => "remove it, or write a text that has it in quotes".into(),
            Self::Indentation => {
                "the keys of one mapping begin in the same column, each with a colon and a space after it".into()
            }
            Self::ControlCharacter => "remove it; an editor shows it if asked for invisible characters, and in double quotes it is written as an escape, such as `\\x07`".into(),
            Self::Other(_) => return None,
        })
    }
}

impl fmt::Display for SyntaxFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tab => f.write_str("this line is indented with a tab"),
            Self::ConflictMark => f.write_str("this line is a mark of a merge conflict in git"),
            Self::OddBlank => {
                f.write_str("this line begins with a blank that is not an ordinary space")
            }
            Self::MissingSpace(key) => write!(f, "a space is missing after `{key}:`"),
            Self::MissingColon(Some(key)) => write!(f, "a colon is missing after `{key}`"),
            Self::MissingColon(None) => f.write_str("a colon is missing after this key"),
            Self::ForeignVariable(_) => f.write_str("this is not a variable here"),
            Self::Escape(one) if one.is_ascii_alphanumeric() => {
                write!(
                    f,
                    "in double quotes, `\\` begins a special character, and `\\{one}` is none"
                )
            }
            Self::Escape(_) => {
                f.write_str("in double quotes, `\\` begins a special character, and this is none")
            }
            Self::Unclosed { bracket, .. } => write!(f, "this `{bracket}` is not closed"),
            Self::ClosedByOther { bracket, found, at: (_, column), is_same_line: true, .. } => {
                write!(f, "this `{bracket}` is not closed before the `{found}` at column {column}")
            }
            Self::ClosedByOther { bracket, found, at: (line, column), .. } => write!(
                f,
                "this `{bracket}` is not closed before the `{found}` at line {line}, column {column}"
            ),
            Self::UnclosedQuote(quote) => {
                write!(f, "the text that begins with this `{quote}` does not end")
            }
            Self::AfterQuote(quote) => {
                write!(f, "the text ends at the `{quote}` before this, and more of it follows")
            }
            Self::Indicator(one) => write!(f, "a text without quotes can't begin with `{one}`"),
            Self::UnknownAlias => f.write_str(
                "in YAML, a `*` at the beginning refers to an anchor, and there is no such anchor",
            ),
            Self::ColonInText => f.write_str("a colon with a space after it can't be here"),
            Self::Deeper { line, above } => write!(
                f,
                "line {line} is indented more than line {above}, which already has a value, so it is read as more of that value"
            ),
            Self::Variable => {
                f.write_str("a variable without quotes can't be between `{ }` or `[ ]`")
            }
            Self::EndsText(one) => write!(f, "`{one}` ends a text that has no quotes"),
            Self::Comma => f.write_str("a comma is missing before this"),
            Self::Unopened(one) => write!(f, "this `{one}` closes nothing"),
            Self::MissingDashSpace => f.write_str("a space is missing after `-`"),
            Self::Mixed { key, item } => write!(
                f,
                "items of a list and keys are mixed here: line {key} is a key, and line {item} an item"
            ),
            Self::AfterBracket(one) => write!(f, "`{one}` ends the value, and more of it follows"),
            Self::Indentation => {
                f.write_str("this line is indented neither like the keys above it nor below them")
            }
            Self::ControlCharacter => {
                f.write_str("a character here is invisible and belongs in no text file")
            }
            Self::Other(info) => f.write_str(info),
        }
    }
}

fn closing(bracket: char) -> char {
    if bracket == '{' { '}' } else { ']' }
}
