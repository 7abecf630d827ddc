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
//! | NUL or a bare CR | refused: some readers end a line or a text there |
//! | any of these around `Content-Length` or `Transfer-Encoding` | refused, except for white space before the colon and a folded line of nothing else |
//!
//! The last rule keeps the framing certain: a reader that repairs a head in another way could otherwise find another
//! end of the body.

use super::{
    BadResponse,
    role::{Role, role_of},
};

/// Appends the field lines at the front of `lines` to `out` in the strict grammar, up to and including the empty line.
///
/// Returns how many bytes of `lines` they take, or `None` if the empty line is missing.
///
/// # Errors
/// If a line could be read in more than one way.
pub(super) fn write_fields(lines: &[u8], out: &mut Vec<u8>) -> Result<Option<usize>, BadResponse> {
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
        if line.contains(&b'\0') || line.contains(&b'\r') {
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
#[derive(Clone, Copy)]
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
    write_text(trim_blank(value), out);
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
            write_text(trim_blank(line), out);
            out.extend_from_slice(b"\r\n");
            Ok(())
        }
    }
}

fn is_framing_name(name: &[u8]) -> bool {
    matches!(role_of(name), Role::ContentLength | Role::TransferEncoding)
}

/// Whether a line that is not a field has the name of a framing field in it, however it is broken up.
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

/// Whether `byte` may be part of a name (RFC 9110 §5.6.2).
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
        let input = format!("{lines}\r\nREST");
        let mut out = Vec::new();
        let mended = write_fields(input.as_bytes(), &mut out);
        let expected = expected.map(|fields| (format!("{fields}\r\n"), Some(lines.len() + 2)));
        let mended = mended.map(|end| (String::from_utf8_lossy(&out).into_owned(), end));
        assert_eq!(mended, expected, "{lines:?}");
        for end in 0..lines.len() {
            let part = write_fields(&input.as_bytes()[..end], &mut Vec::new());
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
        for line in ["A: b\0", "A\0: b", "A: b\rc", "\rA: b", "A: b\r", "A\r: b"] {
            check(&format!("{line}\r\n"), Err(dangerous));
        }
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
