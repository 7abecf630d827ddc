//! Writes the fields of text logs as `name=value`, for parsers of logfmt.

use std::{borrow::Cow, fmt};

use tracing::field::{Field, Visit};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{FormatFields, format::Writer},
};

/// Writes the fields of events and spans as `name=value`. Values of all types follow the rule of [`in_form`].
pub(super) struct Logfmt;

/// Writes one field after the other.
struct FieldWriter<'a> {
    writer: Writer<'a>,
    is_first: bool,
    written: fmt::Result,
}

impl<'w> FormatFields<'w> for Logfmt {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut visitor = FieldWriter { writer, is_first: true, written: Ok(()) };
        fields.record(&mut visitor);
        visitor.written
    }
}

impl Visit for FieldWriter<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.written = self.written.and_then(|()| self.write(field.name(), value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

impl FieldWriter<'_> {
    fn write(&mut self, name: &str, value: &str) -> fmt::Result {
        if !std::mem::take(&mut self.is_first) {
            self.writer.write_char(' ')?;
        }
        if name == "message" {
            return escape(value, &mut self.writer);
        }
        let name = name.strip_prefix("r#").unwrap_or(name);
        if self.writer.has_ansi_escapes() {
            write!(self.writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m")?;
        } else {
            write!(self.writer, "{name}=")?;
        }
        self.writer.write_str(&in_form(value))
    }
}

/// Returns a value for a text log: unchanged if it is a single word, and otherwise in quotes, with the escapes of JSON.
pub(super) fn in_form(value: &str) -> Cow<'_, str> {
    if is_word(value) {
        return Cow::Borrowed(value);
    }
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    for part in value.split_inclusive(['"', '\\']) {
        let (plain, special) = match part.strip_suffix(['"', '\\']) {
            Some(plain) => (plain, &part[plain.len()..]),
            None => (part, ""),
        };
        // Writing into memory does not fail.
        let _ = escape(plain, &mut quoted);
        if !special.is_empty() {
            quoted.push('\\');
            quoted.push_str(special);
        }
    }
    quoted.push('"');
    Cow::Owned(quoted)
}

/// Returns whether a parser reads `value` as one word even without quotes.
fn is_word(value: &str) -> bool {
    // Most values have only these characters, which are checked byte by byte.
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'=');
    if value.as_bytes().iter().all(is_plain) {
        return !value.is_empty();
    }
    !value.chars().any(|one| one.is_whitespace() || one.is_control() || matches!(one, '"' | '='))
}

/// Writes `text` with its control characters escaped. By a line feed, a peer could forge a line of the log, and by an escape
/// character it could control a terminal.
fn escape(text: &str, out: &mut impl fmt::Write) -> fmt::Result {
    if !text.contains(char::is_control) {
        return out.write_str(text);
    }
    text.chars().try_for_each(|character| match character {
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        control if control.is_control() => write!(out, "\\u{:04x}", u32::from(control)),
        other => out.write_char(other),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Splits a line as parsers of logfmt do. Returns the fields, and `None` if the line is not in that form.
    fn parse(mut line: &str) -> Option<Vec<(String, String)>> {
        let mut fields = Vec::new();
        while !line.is_empty() {
            let (name, rest) = line.split_once('=')?;
            if name.contains([' ', '"']) {
                return None;
            }
            let end = if rest.starts_with('"') {
                let mut is_escaped = true;
                let is_end = |(_, byte): &(usize, u8)| match byte {
                    b'"' if !is_escaped => true,
                    b'\\' if !is_escaped => {
                        is_escaped = true;
                        false
                    }
                    _ => {
                        is_escaped = false;
                        false
                    }
                };
                rest.bytes().enumerate().find(is_end).map(|(at, _)| at + 1)?
            } else {
                rest.find(' ').unwrap_or(rest.len())
            };
            let (value, rest) = rest.split_at(end);
            let value = match value.starts_with('"') {
                true => serde_json::from_str(value).ok()?,
                false if value.contains(['"', '=']) => return None,
                false => value.to_owned(),
            };
            fields.push((name.to_owned(), value));
            line = match rest {
                "" => "",
                rest => rest.strip_prefix(' ')?,
            };
        }
        Some(fields)
    }

    #[test]
    fn a_value_is_in_quotes_unless_it_is_a_single_word() {
        for (value, expected) in [
            ("exits", "exits"),
            ("1.234567s", "1.234567s"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
            (r"C:\logs", r"C:\logs"),
            ("münchen.test:443", "münchen.test:443"),
            ("", r#""""#),
            ("client left", r#""client left""#),
            ("exits.line 1@192.0.2.7:80", r#""exits.line 1@192.0.2.7:80""#),
            ("hops.corporate.enabled=off", r#""hops.corporate.enabled=off""#),
            (r#"a "b" \c"#, r#""a \"b\" \\c""#),
            ("a\nb\u{1b}[1m", r#""a\nb\u001b[1m""#),
            ("a\u{a0}b", "\"a\u{a0}b\""),
        ] {
            assert_eq!(in_form(value), expected);
        }
    }

    proptest! {
        #[test]
        fn every_value_comes_back_from_a_parser(first in any::<String>(), second in any::<String>()) {
            let line = format!("a={} b={}", in_form(&first), in_form(&second));
            prop_assert!(!line.contains(char::is_control));
            let expected = vec![("a".to_owned(), first), ("b".to_owned(), second)];
            prop_assert_eq!(parse(&line), Some(expected));
        }
    }
}
