//! The first line of a response (RFC 9112 §4).

use crate::http::{
    BadResponse,
    mend::{
        BareCr, has_bare_cr, is_blank, is_harmless_after_cr, next_line, write_fields, write_text,
    },
};

/// A response head in the strict grammar, rewritten from one that was not.
pub(in crate::http) struct MendedHead {
    pub(in crate::http) head: Vec<u8>,
    /// How many bytes the head takes as it was received.
    pub(in crate::http) received_bytes: usize,
    /// Whether its sender may mean another end of the message: it has a bare CR, which may be the end of a line to it, or
    /// the name of another version.
    pub(in crate::http) is_doubtful: bool,
}

/// Checks that `seen` begins as an HTTP/1 response does, as far as it goes.
///
/// # Errors
/// If another protocol is spoken.
pub(in crate::http) fn check_start(seen: &[u8]) -> Result<(), BadResponse> {
    let bytes = seen.len().min(START.len());
    let is_version = match seen.get(START.len()..).unwrap_or_default() {
        [] | [b'1'..=b'3'] | [b'1'..=b'3', b'.', ..] => true,
        [b'2' | b'3', after, ..] => is_blank(*after),
        _ => false,
    };
    if is_version && seen[..bytes].eq_ignore_ascii_case(&START[..bytes]) {
        Ok(())
    } else {
        Err(BadResponse::NotHttp)
    }
}

/// Rewrites the head at the front of `seen`, which the strict parser refused. Returns `None` if its end is missing.
///
/// # Errors
/// If the head can be read in more than one way, or in none.
pub(in crate::http) fn mend_head(seen: &[u8]) -> Result<Option<MendedHead>, BadResponse> {
    let Some((line, line_bytes)) = next_line(seen) else { return Ok(None) };
    let mut head = Vec::new();
    let version = write_status_line(line, &mut head)?;
    let fields_bytes = write_fields(&seen[line_bytes..], BareCr::Space, &mut head)?;
    Ok(fields_bytes.map(|bytes| {
        let received_bytes = line_bytes + bytes;
        let is_doubtful = version == Spelling::Later || has_bare_cr(&seen[..received_bytes]);
        MendedHead { head, received_bytes, is_doubtful }
    }))
}

/// Appends `line` as the strict parser expects it.
///
/// RFC 9112 §4 lets a recipient split the line at any run of white space, and RFC 9110 §2.5 has it read a higher minor
/// version as the highest one that it knows. The name of the protocol is accepted in any case, as curl does. A later major
/// version in a line of text is the mistake of a server that speaks HTTP/1.1, and other clients read it as that.
fn write_status_line(line: &[u8], out: &mut Vec<u8>) -> Result<Spelling, BadResponse> {
    check_start(line)?;
    // A version is one digit, or two with a point between them. Anything else is another protocol.
    let (spelling, rest) = match line.get(START.len()..).unwrap_or_default() {
        [b'1', b'.', b'0', rest @ ..] => (Spelling::Http10, rest),
        [b'1', b'.', b'1'..=b'9', rest @ ..] => (Spelling::Http11, rest),
        [b'2' | b'3', b'.', b'0'..=b'9', rest @ ..] => (Spelling::Later, rest),
        [b'2' | b'3', rest @ ..] => (Spelling::Later, rest),
        _ => return Err(BadResponse::NotHttp),
    };
    match rest {
        [] => return Err(BadResponse::StatusLine),
        [after, ..] if is_blank(*after) => {}
        _ => return Err(BadResponse::NotHttp),
    }
    let code_start = rest.iter().position(|byte| !is_blank(*byte)).unwrap_or(rest.len());
    // Exactly three characters, and then white space or the end: from `2000` or `200OK` readers
    // take different codes.
    let (code, reason) = match &rest[code_start..] {
        [a, b, c] => ([*a, *b, *c], &b""[..]),
        [a, b, c, after, reason @ ..] if is_blank(*after) => ([*a, *b, *c], reason),
        _ => return Err(BadResponse::StatusLine),
    };
    // As in fields, NUL would end the line for some readers, and so would a bare CR before a field.
    let is_code = code.iter().all(u8::is_ascii_digit);
    if !is_code || reason.contains(&b'\0') || !is_harmless_after_cr(reason) {
        return Err(BadResponse::StatusLine);
    }
    out.extend_from_slice(if spelling == Spelling::Http10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(&code);
    out.push(b' ');
    write_text(reason, out);
    out.extend_from_slice(b"\r\n");
    Ok(spelling)
}

/// The version that a status line names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spelling {
    Http10,
    /// 1.1 or a higher minor version.
    Http11,
    /// 2 or 3.
    Later,
}

const START: &[u8] = b"HTTP/";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Result<&str, BadResponse>) {
        let mut out = Vec::new();
        let written = write_status_line(line.as_bytes(), &mut out).map(|_| &*out);
        assert_eq!(written, expected.map(str::as_bytes), "{line:?}");
    }

    #[test]
    fn white_space_and_spellings_of_the_version_are_mended() {
        check("HTTP/1.1  200 OK", Ok("HTTP/1.1 200 OK\r\n"));
        check("HTTP/1.1\t200\tOK", Ok("HTTP/1.1 200 OK\r\n"));
        check("http/1.0 200 OK", Ok("HTTP/1.0 200 OK\r\n"));
        check("HTTP/1.2 200 OK", Ok("HTTP/1.1 200 OK\r\n"));
        check("HTTP/1.9   404", Ok("HTTP/1.1 404 \r\n"));
        check("HTTP/2.0 200 OK", Ok("HTTP/1.1 200 OK\r\n"));
        check("HTTP/2 200", Ok("HTTP/1.1 200 \r\n"));
        check("http/3.0\t200 OK", Ok("HTTP/1.1 200 OK\r\n"));
        check("HTTP/1.1 200 O\u{1}K", Ok("HTTP/1.1 200 O K\r\n"));
        check("HTTP/1.1 200 O\rK", Ok("HTTP/1.1 200 O K\r\n"));
        check("HTTP/1.1 200 OK\r", Ok("HTTP/1.1 200 OK \r\n"));
    }

    #[test]
    fn a_line_without_one_clear_version_and_code_is_refused() {
        for line in [
            "HTTP/1.10 200 OK",
            "HTTP/1.1200 OK",
            "HTTP/1. 200 OK",
            "HTTP/1 200 OK",
            "HTTP/2. 200 OK",
            "HTTP/20 200 OK",
            "HTTP/2.00 200 OK",
            "HTTP/0.9 200 OK",
            "HTTP/4.0 200 OK",
            "ICY 200",
        ] {
            check(line, Err(BadResponse::NotHttp));
        }
        for line in [
            "HTTP/1.1",
            "HTTP/1.1 ",
            "HTTP/2",
            "HTTP/2.0",
            "HTTP/1.1 20 OK",
            "HTTP/1.1 2000 OK",
            "HTTP/1.1 200OK",
            "HTTP/1.1 +20 OK",
            "HTTP/1.1 200 O\0K",
            "HTTP/1.1 200\r",
            "HTTP/1.1 2\r00 OK",
            "HTTP/1.1 200 OK\rContent-Length: 5",
            "HTTP/1.1 200 OK\rConnection: close",
        ] {
            check(line, Err(BadResponse::StatusLine));
        }
    }
}
