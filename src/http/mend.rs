//! Repairs the fields of a response that break the grammar but can be read in one way only.
//!
//! Real origins send `Name : value`, folded lines, lines without a colon and control characters. RFC 9112 says how a
//! proxy repairs most of them, and clients that connect directly never notice. The strict parser stays the only reader:
//! when it refuses a head, the head is rewritten here, line by line, and the result goes through the strict parser.
//! So nothing that was not understood is ever forwarded.
//!
//! | what arrives | what becomes of it |
//! | --- | --- |
//! | white space before the colon | removed (RFC 9112 §5.1) |
//! | a folded line | joined with one space (§5.2) |
//! | white space before the first field | the line is dropped (§2.2) |
//! | a line without a colon, or with a name that is not a token | dropped, as browsers do |
//! | a control character in a value | replaced with a space, as RFC 9110 §5.5 says of the dangerous ones |
//! | a bare CR in a value or in a reason phrase | replaced with a space (RFC 9112 §2.2), and the connection ends with this response |
//! | a bare CR elsewhere, in a trailer, or in or before a field that concerns the connection | refused: some readers end a line there |
//! | NUL | refused: some readers end a text there |
//! | any of these around `Content-Length` or `Transfer-Encoding` | refused, except for white space before the colon and a folded line of nothing else |
//!
//! The last rule keeps the framing certain: a reader that repairs a head in another way could otherwise find another
//! end of the body.

use super::{
    BadResponse,
    role::{Role, role_of},
};

/// The way to treat a bare CR in the value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BareCr {
    /// It is refused.
    Refused,
    /// It is replaced with a space (RFC 9112 §2.2), except in or before a field that concerns the connection. The caller
    /// has to [look for one](has_bare_cr): its sender may have meant the end of a line.
    Space,
}

/// Appends the field lines at the front of `lines` to `out` in the strict grammar, up to and including the empty line.
///
/// Returns how many bytes of `lines` they take, or `None` if the empty line is missing.
///
/// # Errors
/// If a line could be read in more than one way.
pub(super) fn write_fields(
    lines: &[u8],
    bare_cr: BareCr,
    out: &mut Vec<u8>,
) -> Result<Option<usize>, BadResponse> {
    let mut end = 0;
    // Before the first field there is nothing to continue, so a line that begins with white space
    // is dropped there (RFC 9112 §2.2).
    let mut previous = MendedLine::Dropped;
    while let Some((line, bytes)) = next_line(&lines[end..]) {
        end += bytes;
        if line.is_empty() {
            out.extend_from_slice(b"\r\n");
            return Ok(Some(end));
        }
        // Some readers end a text at NUL, and a line at a bare CR. For them the rest of the line
        // would be something else, such as a field of its own.
        let is_harmless = match bare_cr {
            BareCr::Refused => !line.contains(&b'\r'),
            BareCr::Space => is_value_of_cr(line, previous),
        };
        if line.contains(&b'\0') || !is_harmless {
            return Err(BadResponse::FieldLine("has NUL or a bare CR"));
        }
        if is_blank(line[0]) {
            write_continuation(line, previous, out)?;
        } else {
            previous = write_field(line, out)?;
        }
    }
    Ok(None)
}

/// Returns whether each bare CR of `line` is in the value of a field that only passes through, and nothing that follows
/// it would concern the connection if it ended the line.
fn is_value_of_cr(line: &[u8], previous: MendedLine) -> bool {
    let Some(first) = line.iter().position(|byte| *byte == b'\r') else { return true };
    let (before, rest) = line.split_at(first);
    let is_in_value = match before.iter().position(|byte| *byte == b':') {
        _ if line.first().is_some_and(|byte| is_blank(*byte)) => previous == MendedLine::Kept,
        Some(colon) => {
            let name = trim_blank(&before[..colon]);
            name.iter().copied().all(is_token_byte) && is_end_to_end(name)
        }
        None => false,
    };
    is_in_value && is_harmless_after_cr(rest)
}

/// Returns whether no part of `text` that follows a bare CR is a field that concerns the connection.
pub(super) fn is_harmless_after_cr(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\r').skip(1).all(|part| {
        let colon = part.iter().position(|byte| *byte == b':');
        colon.is_none_or(|colon| is_end_to_end(trim_blank(&part[..colon])))
            && !may_mean_framing(part)
    })
}

fn is_end_to_end(name: &[u8]) -> bool {
    matches!(role_of(name), Role::EndToEnd)
}

/// Returns whether `lines` have a CR that no LF follows.
pub(super) fn has_bare_cr(lines: &[u8]) -> bool {
    let is_bare = |pair: &[u8]| pair[0] == b'\r' && pair[1] != b'\n';
    lines.windows(2).any(is_bare)
}

/// Splits the first line off `bytes`. Returns it without its line end, which may be a bare LF (RFC 9112 §2.2), and how
/// many bytes it takes. Returns `None` if its end is missing.
pub(super) fn next_line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = &bytes[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), end + 1))
}

/// Appends `text` with a space in place of each control character.
pub(super) fn write_text(text: &[u8], out: &mut Vec<u8>) {
    let is_control = |byte: u8| byte.is_ascii_control() && byte != b'\t';
    out.extend(text.iter().map(|byte| if is_control(*byte) { b' ' } else { *byte }));
}

pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// A line that was seen, as far as the next line needs to know.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MendedLine {
    /// It was dropped, so its continuations are dropped too.
    Dropped,
    /// It is a field that has nothing to do with framing.
    Kept,
    /// It is `Content-Length` or `Transfer-Encoding`.
    Framing,
}

fn write_field(line: &[u8], out: &mut Vec<u8>) -> Result<MendedLine, BadResponse> {
    // White space before the colon is removed, as RFC 9112 §5.1 asks of a proxy.
    let colon = line.iter().position(|byte| *byte == b':');
    let name = colon.map_or(&b""[..], |colon| trim_blank(&line[..colon]));
    // Browsers ignore a line that is not a field. It may be dropped unless another reader could take it for one that
    // says how long the body is.
    if name.is_empty() || !name.iter().copied().all(is_token_byte) {
        return if may_mean_framing(line) { Err(UNCLEAR) } else { Ok(MendedLine::Dropped) };
    }
    let value = &line[colon.map_or(line.len(), |colon| colon + 1)..];
    let is_framing = is_framing_name(name);
    // The control character would become a space. In a length, that may join or part digits.
    if is_framing && value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(UNCLEAR);
    }
    // Written in the strict grammar, in which the parser then reads it.
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    write_text(trim_blank(trim_cr(value)), out);
    out.extend_from_slice(b"\r\n");
    Ok(if is_framing { MendedLine::Framing } else { MendedLine::Kept })
}

/// Joins a folded line with the field before it, which is the last thing in `out`.
///
/// A reader that does not know folding takes ` Content-Length: 5` for a field of its own, so a continuation that looks
/// like one is refused.
fn write_continuation(
    line: &[u8],
    previous: MendedLine,
    out: &mut Vec<u8>,
) -> Result<(), BadResponse> {
    match previous {
        // It adds nothing to the value, and all readers agree on that.
        MendedLine::Framing if trim_blank(line).is_empty() => Ok(()),
        // Readers that don't know folding see an empty length, or another one.
        MendedLine::Framing => Err(UNCLEAR),
        MendedLine::Dropped if may_mean_framing(line) => Err(UNCLEAR),
        MendedLine::Dropped => Ok(()),
        MendedLine::Kept => {
            let colon = line.iter().position(|byte| *byte == b':');
            if colon.is_some_and(|colon| is_framing_name(trim_blank(&line[..colon]))) {
                return Err(UNCLEAR);
            }
            // The field before is complete in `out`. Its line end makes room for the rest of the
            // value.
            out.truncate(out.len() - b"\r\n".len());
            out.push(b' ');
            write_text(trim_blank(trim_cr(line)), out);
            out.extend_from_slice(b"\r\n");
            Ok(())
        }
    }
}

fn is_framing_name(name: &[u8]) -> bool {
    matches!(role_of(name), Role::ContentLength | Role::TransferEncoding)
}

/// Returns whether a line that is not a field has the name of a framing field in it, however it is broken up.
fn may_mean_framing(line: &[u8]) -> bool {
    // Only letters are compared, so that no separator, white space or control character inside the
    // name can hide it.
    let letters: Vec<u8> =
        line.iter().filter(|byte| byte.is_ascii_alphabetic()).map(u8::to_ascii_lowercase).collect();
    let has = |name: &[u8]| letters.windows(name.len()).any(|part| part == name);
    has(b"contentlength") || has(b"transferencoding")
}

fn trim_blank(mut bytes: &[u8]) -> &[u8] {
    // Not `trim_ascii`, which would also remove a form feed: that is a control character, and
    // `write_text` decides about those.
    while let [first, rest @ ..] = bytes
        && is_blank(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_blank(*last)
    {
        bytes = rest;
    }
    bytes
}

/// Removes the CRs at the end of `text`, which would become spaces that mean nothing.
fn trim_cr(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte != b'\r').map_or(0, |last| last + 1);
    &text[..end]
}

/// Returns whether `byte` may be part of a name (RFC 9110 §5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

const UNCLEAR: BadResponse =
    BadResponse::FieldLine("is broken and may be about the length of the body");

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &str, expected: Result<&str, BadResponse>) {
        check_with(BareCr::Space, lines, expected);
    }

    #[track_caller]
    fn check_with(bare_cr: BareCr, lines: &str, expected: Result<&str, BadResponse>) {
        let input = format!("{lines}\r\nREST");
        let mut out = Vec::new();
        let mended = write_fields(input.as_bytes(), bare_cr, &mut out);
        let expected = expected.map(|fields| (format!("{fields}\r\n"), Some(lines.len() + 2)));
        let mended = mended.map(|end| (String::from_utf8_lossy(&out).into_owned(), end));
        assert_eq!(mended, expected, "{lines:?}");
        for end in 0..lines.len() {
            let part = write_fields(&input.as_bytes()[..end], bare_cr, &mut Vec::new());
            assert!(matches!(part, Ok(None) | Err(_)), "{:?}", &input[..end]);
        }
    }

    #[test]
    fn white_space_before_a_colon_is_removed() {
        check("A : b\r\n", Ok("A: b\r\n"));
        check("A\t \t:b\r\n", Ok("A: b\r\n"));
        check("Content-Length : 5\n", Ok("Content-Length: 5\r\n"));
        check("Transfer-Encoding\t: chunked\r\n", Ok("Transfer-Encoding: chunked\r\n"));
    }

    #[test]
    fn folded_lines_are_joined_with_a_space() {
        check("A: b\r\n c\r\n\td \r\nE: f\r\n", Ok("A: b c d\r\nE: f\r\n"));
        check("A:\r\n b\r\n", Ok("A:  b\r\n"));
        check("A: b\r\n \r\nC: d\r\n", Ok("A: b \r\nC: d\r\n"));
        check("Content-Length: 5\r\n \r\n\t\r\nA: b\r\n", Ok("Content-Length: 5\r\nA: b\r\n"));
        check("Transfer-Encoding: chunked\r\n  \r\n", Ok("Transfer-Encoding: chunked\r\n"));
        check("A: b\r\n Content-Length, c: d\r\n", Ok("A: b Content-Length, c: d\r\n"));
    }

    #[test]
    fn lines_that_are_no_field_are_dropped_with_their_continuations() {
        check("junk\r\nA: b\r\n", Ok("A: b\r\n"));
        check("A: b\r\njunk\r\n more: junk\r\nC: d\r\n", Ok("A: b\r\nC: d\r\n"));
        check(": b\r\n", Ok(""));
        check("A b: c\r\n", Ok(""));
        check("H\u{f6}st: c\r\n", Ok(""));
        check("HTTP/1.1 200 OK\r\nA: b\r\n", Ok("A: b\r\n"));
        check("  A: b\r\n\tC: d\r\nE: f\r\n", Ok("E: f\r\n"));
    }

    #[test]
    fn control_characters_become_spaces_and_other_bytes_stay() {
        check("A: b\u{1}c\u{7f}d\te\u{e9}\r\n", Ok("A: b c d\te\u{e9}\r\n"));
        let dangerous = BadResponse::FieldLine("has NUL or a bare CR");
        for line in ["A: b\0", "A\0: b"] {
            check(&format!("{line}\r\n"), Err(dangerous));
        }
    }

    #[test]
    fn a_bare_cr_in_a_value_becomes_a_space() {
        check("A: b\r\r\n", Ok("A: b\r\n"));
        check("A: b\r\r\r\nC: d\r\n", Ok("A: b\r\nC: d\r\n"));
        check("A: b\rc\r\n", Ok("A: b c\r\n"));
        check("A:\r b\r\n", Ok("A:   b\r\n"));
        check("A: b\r\n c\rd\r\r\n", Ok("A: b c d\r\n"));
        check("A: b\rSet-Cookie: c\r\n", Ok("A: b Set-Cookie: c\r\n"));
        for lines in ["A: b\r\r\n", "A: b\rc\n"] {
            assert!(has_bare_cr(lines.as_bytes()), "{lines:?}");
        }
        assert!(!has_bare_cr(b"A: b\r\nC: d\n\r\n"));
    }

    #[test]
    fn a_bare_cr_with_two_readings_is_refused() {
        let dangerous = BadResponse::FieldLine("has NUL or a bare CR");
        for line in [
            "\r",
            "\rA: b",
            "A\r: b",
            "A b\r: c",
            "junk\r",
            " A: b\r",
            "Content-Length: 5\r",
            "Content-Length: \r5",
            "Content-Length : 5\r",
            "Transfer-Encoding: chunked\r",
            "Connection: close\r",
            "Proxy-Connection: close\r",
            "Upgrade: a\r",
            "A: b\rContent-Length: 5",
            "A: b\r\rContent-Length : 5",
            "A: b\rc\rtransfer-encoding: chunked",
            "A: b\rConnection: close",
            "A: b\r\n c\r Content-Length: 5",
            "Content-Length: 5\r\n \r",
        ] {
            check(&format!("{line}\r\n"), Err(dangerous));
        }
        check_with(BareCr::Refused, "A: b\r\r\n", Err(dangerous));
        check_with(BareCr::Refused, "A: b\rc\r\n", Err(dangerous));
    }

    #[test]
    fn a_broken_line_that_may_frame_the_body_is_refused() {
        for line in [
            "Content-Length 5",
            "Content Length: 5",
            " Content-Length: 5",
            "x Content-Length: 5",
            "\u{b}Transfer-Encoding: chunked",
            "Transfer-Encoding\u{b}: chunked",
            "\u{feff}Content-Length: 5",
            "Content-Length: 5\u{b}",
            "Content-Length:\r\n 5",
            "Content-Length: 5\r\n \r\n 5",
            "Content-Length: 5\r\n \u{b}",
            "Transfer-Encoding: x,\r\n chunked",
            "A: b\r\n Content-Length: 5",
            "A: b\r\n\tTransfer-Encoding : chunked",
            "junk\r\n Content-Length: 5",
        ] {
            check(&format!("{line}\r\n"), Err(UNCLEAR));
        }
    }
}
