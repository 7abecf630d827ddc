//! Finds the mistake in a text that is not YAML, and its place.
//!
//! A YAML parser stops where the text no longer fits the grammar, which is often a line or more after the mistake: an
//! open `{` is noticed at the next key. Its words are those of the grammar ("did not find expected key"), and it has no
//! types for them. So the text is looked at once more, up to the place where the parser stopped, by a scanner that only
//! knows quotes, brackets, comments and plain texts. What is open at the end of
//! that, and the character there, explain nearly every mistake that people make.

mod lines;
mod messages;
mod scan;

use crate::config::report::foreign_variable;

use self::scan::{Opened, Scanned, TokenKind, scan};

/// A mistake in the syntax.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SyntaxFault {
    /// A tab indents a line.
    Tab,
    /// `\` and this character are not an escape of a text in double quotes.
    Escape(char),
    /// This bracket or brace is not closed. If `is_commented`, a ` #` follows it in its line.
    Unclosed { bracket: char, is_commented: bool },
    /// This bracket or brace is still open at the `found` that closes another one. If `is_instead`, there is no other one,
    /// so that `found` was meant to close it.
    ClosedByOther { bracket: char, found: char, at: At, is_instead: bool, is_same_line: bool },
    /// This quote is not closed.
    UnclosedQuote(char),
    /// Something follows the quote that closes a text.
    AfterQuote(char),
    /// A text without quotes begins with this character, which has a meaning of its own.
    Indicator(char),
    /// `*` begins an alias of something that has no name.
    UnknownAlias,
    /// A text without quotes has a colon and a space.
    ColonInText,
    /// A key is indented below the key of line `above`, which has a value.
    Deeper { line: usize, above: usize },
    /// A variable without quotes is between brackets or braces.
    Variable,
    /// A text without quotes, between brackets or braces, is ended by this character.
    EndsText(char),
    /// A comma is missing between brackets or braces.
    Comma,
    /// A bracket or a brace is closed that was not opened, or that was opened by the other kind.
    Unopened(char),
    /// A mark that git leaves at two versions of some lines.
    ConflictMark,
    /// A line begins with a blank that is not an ordinary space.
    OddBlank,
    /// This key has no space after its colon.
    MissingSpace(String),
    /// A key has no colon after it. `None` if its name could be a secret.
    MissingColon(Option<String>),
    /// A variable in the notation of another program, with what to write instead.
    ForeignVariable(String),
    /// No space follows the `-` of an item.
    MissingDashSpace,
    /// Of two lines in one column, one is a key and the other an item of a list. These are their numbers.
    Mixed { key: usize, item: usize },
    /// More of a text follows the bracket that ends a list or a mapping.
    AfterBracket(char),
    /// A key begins in another column than the keys beside it.
    Indentation,
    /// A character that no text file has.
    ControlCharacter,
    /// Anything else, in the words of the parser.
    Other(String),
}

/// A place in a text: the line and the column, which count from one, in characters.
pub(crate) type At = (usize, usize);

/// Finds the first character that may not be in YAML, such as a control character (`c-printable` in YAML 1.2 § 5.1).
pub(crate) fn forbidden(text: &str) -> Option<At> {
    let is_allowed = |one: char| {
        let is_control = one.is_control() && !matches!(one, '\t' | '\n' | '\r' | '\u{85}');
        !is_control && !matches!(one, '\u{fffe}' | '\u{ffff}')
    };
    text.lines().enumerate().find_map(|(above, line)| {
        let before = line.chars().position(|one| !is_allowed(one))?;
        Some((above + 1, before + 1))
    })
}

/// Returns the place of the bracket before `at` that is inside of `depth` others.
pub(crate) fn opened_at_depth(text: &str, at: At, depth: usize) -> Option<At> {
    scan(text, at).open.get(depth).map(|opened| opened.at)
}

/// Finds the mistake in `text`, which the parser refuses at `at` with the words `info`.
pub(crate) fn diagnose(text: &str, at: At, info: &str) -> (SyntaxFault, At) {
    let line = text.lines().nth(at.0 - 1).unwrap_or_default();
    let before: String = line.chars().take(at.1 - 1).collect();
    let found = line.chars().nth(at.1 - 1);
    let after: String = line.chars().skip(at.1).collect();
    // The order of the checks is from certain to likely. A tab or an invisible character in the line explains
    // the fault whatever is around it.
    if line.starts_with([' ', '\t']) && line.trim_start_matches(' ').starts_with('\t') {
        let indent = line.chars().take_while(|one| *one == ' ').count();
        return (SyntaxFault::Tab, (at.0, indent + 1));
    }
    if let Some(found) = lines::find(text, at) {
        return found;
    }
    // `%NAME%` is looked for before its `%` is found to begin no text, since single quotes would make it a text.
    let word =
        line.chars().skip(at.1 - 1).take_while(|one| !one.is_whitespace() && !",}]".contains(*one));
    if let Some(help) = foreign_variable::instead("", &word.collect::<String>()) {
        return (SyntaxFault::ForeignVariable(help), at);
    }
    if let Some(control) = line.chars().position(|one| one.is_control() && one != '\t') {
        return (SyntaxFault::ControlCharacter, (at.0, control + 1));
    }
    // An invalid escape and an open quote come before the rest: what follows them is scanned as a part
    // of the text in quotes, so nothing else that was found there is reliable.
    let scanned = scan(text, at);
    if let Some((escape, at)) = scanned.bad_escape {
        return (SyntaxFault::Escape(escape), at);
    }
    if let Some((quote, opened)) = scanned.open_quote {
        return (SyntaxFault::UnclosedQuote(quote), opened);
    }
    // The parser stopped right behind a closing quote, as in `'it's'`.
    if let (Some(token), Some(_)) = (&scanned.last, found)
        && let TokenKind::Quoted(quote) = token.kind
        && token.end == at
    {
        return (SyntaxFault::AfterQuote(quote), at);
    }
    match scanned.open.last() {
        Some(opened) => in_brackets(&scanned, opened, (&before, &after), found, at),
        None => in_block(text, &before, found, at, info),
    }
}

/// Finds a mistake between brackets or braces.
fn in_brackets(
    scanned: &Scanned,
    opened: &Opened,
    (before, after): (&str, &str),
    found: Option<char>,
    at: At,
) -> (SyntaxFault, At) {
    // A line that is indented no further than the one with the bracket belongs to something after it. So the
    // mistake is the bracket, however far the parser has come.
    let unclosed =
        SyntaxFault::Unclosed { bracket: opened.bracket, is_commented: opened.is_commented };
    let is_outside =
        at.0 > opened.at.0 && before.len() - before.trim_start().len() <= opened.indent;
    let (Some(found), false) = (found, is_outside) else { return (unclosed, opened.at) };
    if let Some(fault) = closed_by_other(scanned, opened, found, after, at) {
        return (fault, opened.at);
    }
    // With a text right before it, the character was meant as a part of that text. Without, it was meant as
    // what it is.
    let joins = scanned.last.as_ref().filter(|last| last.end == at);
    match (joins.map(|last| last.kind), found) {
        (Some(TokenKind::Plain), '{') if before.ends_with('$') => (SyntaxFault::Variable, at),
        (Some(TokenKind::Plain), '{' | '[' | '}' | ']') => (SyntaxFault::EndsText(found), at),
        (_, '}' | ']') => (SyntaxFault::Unopened(found), at),
        (_, '*') => (SyntaxFault::UnknownAlias, at),
        (_, '@' | '`' | '%' | '&' | '!' | '|' | '>') => (SyntaxFault::Indicator(found), at),
        _ => (SyntaxFault::Comma, at),
    }
}

/// Reports that `found` closes a bracket or brace around `opened`, which is still open. `after` is the rest of the line.
///
/// Returns `None` if `found` is a part of a text, or too much: `opened` is closed after it.
fn closed_by_other(
    scanned: &Scanned,
    opened: &Opened,
    found: char,
    after: &str,
    at: At,
) -> Option<SyntaxFault> {
    let expected = match found {
        '}' => '{',
        ']' => '[',
        _ => return None,
    };
    let own = if opened.bracket == '{' { '}' } else { ']' };
    let has_outer = scanned.open.iter().any(|outer| outer.bracket == expected);
    let is_in_text = after.starts_with(|one: char| one.is_alphanumeric());
    let is_closed_after = match has_outer {
        true => after.trim_start().starts_with(own),
        false => after.contains(own),
    };
    (opened.bracket != expected && !is_in_text && !is_closed_after).then_some(
        SyntaxFault::ClosedByOther {
            bracket: opened.bracket,
            found,
            at,
            is_instead: !has_outer,
            is_same_line: opened.at.0 == at.0,
        },
    )
}

/// Finds a mistake outside of brackets and braces.
fn in_block(
    text: &str,
    before: &str,
    found: Option<char>,
    at: At,
    info: &str,
) -> (SyntaxFault, At) {
    let fault = match found {
        Some('*') => SyntaxFault::UnknownAlias,
        Some(':') => {
            return match lines::deeper(text, at) {
                Some(found) => found,
                None => (SyntaxFault::ColonInText, at),
            };
        }
        Some('}' | ']') => SyntaxFault::Unopened(found.unwrap_or_default()),
        Some(one @ ('@' | '`' | '%' | '&' | '!' | '|' | '>' | ',' | '{' | '[')) => {
            SyntaxFault::Indicator(one)
        }
        _ if before.trim().is_empty() => SyntaxFault::Indentation,
        Some(one) if !one.is_whitespace() && before.ends_with(['}', ']']) => {
            SyntaxFault::AfterBracket(before.chars().next_back().unwrap_or_default())
        }
        // The parser names the place after the header of a block text, such as `|x`.
        _ if before.trim_end().ends_with(['|', '>']) => {
            SyntaxFault::Indicator(before.trim_end().chars().next_back().unwrap_or_default())
        }
        _ => SyntaxFault::Other(info.to_owned()),
    };
    (fault, at)
}

#[cfg(test)]
mod tests {
    use saphyr_parser::Parser;

    use super::*;

    #[track_caller]
    fn check(text: &str, fault: SyntaxFault, at: At) {
        let error = Parser::new_from_str(text).find_map(Result::err).expect(text);
        let marker = error.marker();
        let found = diagnose(text, (marker.line(), marker.col() + 1), error.info());
        assert_eq!(found, (fault, at), "{text:?}: {} at {marker:?}", error.info());
    }

    #[test]
    fn mistakes_are_found_where_they_were_made() {
        use SyntaxFault as F;
        let unclosed = |bracket| F::Unclosed { bracket, is_commented: false };
        check("a:\n\tb: 1\n", F::Tab, (2, 1));
        check("a:\n  b: x\n\tc: 1\n", F::Tab, (3, 1));
        check("a:\n  b: x\n<<<<<<< HEAD\n  c: 1\n", F::ConflictMark, (3, 1));
        check("a:\n  b: x\n  pasword:y\n  c: 1\n", F::MissingSpace("pasword".into()), (3, 3));
        check("a:\n  address:a.test:1\n  c: 1\n", F::MissingSpace("address".into()), (2, 3));
        check("a: %CORP_PW%\n", F::ForeignVariable("write `\"${CORP_PW}\"`".into()), (1, 4));
        check("a: \"CORP\\user\"\n", F::Escape('u'), (1, 9));
        check("a: \"x\\y\"\nb: c\n", F::Escape('y'), (1, 6));
        check("a: { b: 1\nc: 2\n", unclosed('{'), (1, 4));
        check("a: [ b\nc: 2\n", unclosed('['), (1, 4));
        check("x:\n  a: { b: 1\n  c: 2\n", unclosed('{'), (2, 6));
        check("a: {b: 1", unclosed('{'), (1, 4));
        check("a: [1, 2\n", unclosed('['), (1, 4));
        check("a: {b: x #y}\n", F::Unclosed { bracket: '{', is_commented: true }, (1, 4));
        check("a: \"b\nc: 1\n", F::UnclosedQuote('"'), (1, 4));
        check("a: 'b\nc: 1\n", F::UnclosedQuote('\''), (1, 4));
        check("a: \"b", F::UnclosedQuote('"'), (1, 4));
        check("a: \"b\nc: \"d\"\n", F::UnclosedQuote('"'), (1, 4));
        check("a: \"b\"c\"\n", F::AfterQuote('"'), (1, 7));
        check("a: 'it's'\n", F::AfterQuote('\''), (1, 8));
        check("a: {b: 'it's'}\n", F::AfterQuote('\''), (1, 12));
        check("a: @b\n", F::Indicator('@'), (1, 4));
        check("a: `b\n", F::Indicator('`'), (1, 4));
        check("a: %b\n", F::Indicator('%'), (1, 4));
        check("a: {b: @c}\n", F::Indicator('@'), (1, 8));
        check("a: *b\n", F::UnknownAlias, (1, 4));
        check("a: b: c\n", F::ColonInText, (1, 5));
        check("a:\n  b: x\n      c: y\n", F::Deeper { line: 3, above: 2 }, (3, 7));
        check("a:\n  b: x\n\n    c: y\n", F::Deeper { line: 4, above: 2 }, (4, 5));
        // A comment ends the value, so the parser finds a wrong indentation.
        check("a:\n  b: x\n\n    # z\n    c: y\n", F::Indentation, (5, 5));
        check("a: {b: ${C}}\n", F::Variable, (1, 9));
        check("a: {b: p@ss:w#rd%21&{}}\n", F::EndsText('{'), (1, 21));
        check("a: {b: x{y, c: 1}\n", F::EndsText('{'), (1, 9));
        check("{\"a\": 1 \"b\": 2}\n", F::Comma, (1, 12));
        let by_other = |bracket, found, at: At, line| F::ClosedByOther {
            bracket,
            found,
            at,
            is_instead: false,
            is_same_line: at.0 == line,
        };
        check("a: { b: [c,d } }\n", by_other('[', '}', (1, 14), 1), (1, 9));
        check("a: { b: [c,d} }\n", by_other('[', '}', (1, 13), 1), (1, 9));
        check("a: { b: [1, 2 ) }\n", by_other('[', '}', (1, 17), 1), (1, 9));
        check("a: { b: { c: [d } }\n", by_other('[', '}', (1, 17), 1), (1, 14));
        check("a: [ { b: 1 ]\n", by_other('{', ']', (1, 13), 1), (1, 6));
        check("a: {\n    b: [c,\n      d },\n    }\n", by_other('[', '}', (3, 9), 2), (2, 8));
        let instead = |bracket, found, at| F::ClosedByOther {
            bracket,
            found,
            at,
            is_instead: true,
            is_same_line: true,
        };
        check("a: [b, c }\n", instead('[', '}', (1, 10)), (1, 4));
        check("a: { b: c ]\n", instead('{', ']', (1, 11)), (1, 4));
        // Here the one in the middle is too much.
        check("a: [b, c }]\n", F::Unopened('}'), (1, 10));
        check("a: { b: [c } ] }\n", F::Unopened('}'), (1, 12));
        check("a: {b: [x}y, z] }\n", F::EndsText('}'), (1, 10));
        check("a: [1, 2 )\n", unclosed('['), (1, 4));
        check("a: }b\n", F::Unopened('}'), (1, 4));
        check("a:\n    b: 1\n  c: 2\n", F::Indentation, (3, 3));
        check("a:\n  b: {user}-session-{session}\n  c: 1\n", F::AfterBracket('}'), (2, 12));
        check("a:\n  b: 1\n  - { c: 2 }\n", F::Mixed { key: 2, item: 3 }, (3, 3));
        check("a:\n  - { c: 2 }\n  b: 1\n", F::Mixed { key: 3, item: 2 }, (3, 3));
        check("a:\n  -{ c: [d], e: 1 }\n", F::MissingDashSpace, (2, 3));
    }

    proptest::proptest! {
        #[test]
        fn every_text_is_diagnosed_or_parsed(text in "[a-c:#'\"{}\\[\\],\\\\ |>@*&!$%-]{0,12}(\n[a-c:'\"{} ]{0,8}){0,3}") {
            if let Some(error) = Parser::new_from_str(&text).find_map(Result::err) {
                let marker = error.marker();
                let (_, at) = diagnose(&text, (marker.line(), marker.col() + 1), error.info());
                proptest::prop_assert!(at.0 >= 1 && at.1 >= 1);
            }
        }
    }
}
