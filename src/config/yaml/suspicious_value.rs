//! Values that YAML reads in another way than most people expect.

use std::fmt;

use saphyr_parser::ScalarStyle;

use crate::config::credentials::Credential;

/// The reason why a value is probably not the intended one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SuspiciousValue {
    /// It has no quotes, and ends where a comment begins.
    CutByComment,
    /// It has this character after a `\` in double quotes, which together are an escape.
    Escape(char),
    /// It begins with this typographic quote, which is a part of the value.
    TypographicQuote(char),
}

impl SuspiciousValue {
    /// Finds what is odd about the value of `key`, which is written as `written` in `style`, with `rest` after it in its line.
    pub(crate) fn find(key: &str, style: ScalarStyle, written: &str, rest: &str) -> Option<Self> {
        match style {
            ScalarStyle::Plain => {
                // YAML takes such a quote for a letter, so it becomes a part of the value, and blanks and `#`
                // are not protected by it.
                let first = written.chars().next().filter(|first| is_quote(*first));
                first.map(Self::TypographicQuote).or_else(|| {
                    // Most comments have a blank after the `#`. A `#` without one is probably a part of the
                    // value, as in `pass #word!`. For a secret every `#` is suspicious, since the rest of it
                    // would be lost unnoticed.
                    let comment = rest.trim_start().strip_prefix('#')?;
                    let is_variable = written.starts_with("${") && written.ends_with('}');
                    let is_close =
                        comment.starts_with(|next: char| !next.is_whitespace() && next != '#');
                    let is_password = Credential::is_secret(key) && !key.ends_with("_file");
                    ((is_close || is_password) && !is_variable).then_some(Self::CutByComment)
                })
            }
            ScalarStyle::DoubleQuoted if Credential::is_named_so(key) => {
                // `\"` and `\\` are written on purpose. A letter after a `\` rarely is: `"CORP\nina"`
                // contains the end of a line.
                let mut chars = written.trim_start_matches('"').chars();
                while let Some(one) = chars.next() {
                    if one != '\\' {
                        continue;
                    }
                    match chars.next() {
                        Some(escaped) if escaped.is_ascii_alphabetic() || escaped == '_' => {
                            return Some(Self::Escape(escaped));
                        }
                        _ => {}
                    }
                }
                None
            }
            _ => None,
        }
    }

    /// Returns what to write instead.
    pub(crate) fn help(self) -> String {
        match self {
            Self::CutByComment => {
                "write the value in quotes; the comment, if it is one, goes after them".into()
            }
            Self::Escape(_) => {
                "write the value in single quotes, where `\\` is an ordinary character, or write `\\\\`".into()
            }
            Self::TypographicQuote(quote) => format!("write `\"` in place of `{quote}`, at the end too"),
        }
    }
}

impl fmt::Display for SuspiciousValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutByComment => f.write_str("the value ends before ` #`, which begins a comment"),
            Self::Escape(one) => {
                write!(
                    f,
                    "in double quotes, `\\{one}` means one special character, and not a `\\` and a `{one}`"
                )
            }
            Self::TypographicQuote(quote) => {
                write!(f, "`{quote}` is not a quote in YAML, so it is a part of the value")
            }
        }
    }
}

/// Returns whether `one` is a quote of typography, which word processors and chat programs write in place of `"`.
fn is_quote(one: char) -> bool {
    "“”„‟‘’‚‛«»‹›".contains(one)
}

/// Returns the first character of `text` that looks like another one, with its name and the one that it looks like.
pub(crate) fn look_alike(text: &str) -> Option<(&'static str, &'static str)> {
    text.chars().find_map(|one| {
        // Copying from a document or a web page brings these along, and they look right on the screen.
        Some(match one {
            _ if is_quote(one) => ("a typographic quote", "write `\"` instead, at both ends"),
            '\u{a0}' | '\u{202f}' | '\u{2007}' | '\u{3000}' => {
                ("a blank that is not an ordinary space", "remove it, or type an ordinary blank")
            }
            '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' => {
                ("an invisible character", "remove it, such as by typing the value again")
            }
            '\u{2010}'..='\u{2015}' | '\u{2212}' => ("a dash that is no `-`", "type `-` instead"),
            '：' | '︓' => ("a wide colon", "type `:` instead"),
            '．' | '。' => ("a wide dot", "type `.` instead"),
            _ => return None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_values_are_found_and_ordinary_ones_are_not() {
        let find = SuspiciousValue::find;
        use ScalarStyle::{DoubleQuoted, Plain, SingleQuoted};
        assert_eq!(find("password", Plain, "pass", " #word!"), Some(SuspiciousValue::CutByComment));
        assert_eq!(
            find("password", Plain, "pass", "  # mine"),
            Some(SuspiciousValue::CutByComment)
        );
        assert_eq!(find("address", Plain, "a:1", " #2"), Some(SuspiciousValue::CutByComment));
        assert_eq!(find("address", Plain, "a:1", " # the second"), None);
        assert_eq!(find("address", Plain, "a:1", " ## the second"), None);
        assert_eq!(find("password_file", Plain, "pw", " # mine"), None);
        assert_eq!(find("password", Plain, "${P}", " #x"), None);
        assert_eq!(find("password", SingleQuoted, "'pass'", " #word!"), None);
        assert_eq!(
            find("username", DoubleQuoted, "\"CORP\\nick\"", ""),
            Some(SuspiciousValue::Escape('n'))
        );
        assert_eq!(find("username", DoubleQuoted, "\"CORP\\\\nick\"", ""), None);
        assert_eq!(find("username", SingleQuoted, "'CORP\\nick'", ""), None);
        assert_eq!(
            find("username", Plain, "‘u’", ""),
            Some(SuspiciousValue::TypographicQuote('‘'))
        );
    }
}
