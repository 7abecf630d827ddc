//! Why the strict parser refused a request.

use crate::http::{BadRequest, HeadLimits, proxy_protocol};

/// Explains an error of the parser, and recognises other protocols by the bytes `seen` so far. `empty_lines` were skipped
/// before these.
pub(in crate::http) fn explain(
    error: httparse::Error,
    seen: &[u8],
    empty_lines: usize,
    limits: HeadLimits,
) -> BadRequest {
    // Other protocols come first. It makes no difference what the parser says about their bytes:
    // the client must learn that it speaks the wrong protocol to this port. 0x16 begins a TLS
    // handshake, and 4 and 5 are versions of SOCKS.
    match (seen, error) {
        ([0x16, ..], _) => return BadRequest::Tls,
        ([version @ (4 | 5), ..], _) => return BadRequest::Socks(*version),
        _ if seen.starts_with(b"PRI * HTTP/2.0") => return BadRequest::Http2,
        _ if proxy_protocol::is_begun(seen, empty_lines) => return BadRequest::ProxyProtocol,
        (_, httparse::Error::TooManyHeaders) => {
            return BadRequest::TooManyFields { limit: limits.fields };
        }
        (_, httparse::Error::HeaderName) => {
            return BadRequest::FieldLine(
                "has no colon, no name, or white space before the name or the colon",
            );
        }
        (_, httparse::Error::HeaderValue) => {
            return BadRequest::FieldLine("has a control character or a bare CR in its value");
        }
        _ => {}
    }
    // The parser has one error for the whole first line, so the line is split again to say which of
    // its words is wrong. HTTP/0.9 has no version, and no method but GET.
    let line_bytes = seen.iter().position(|byte| *byte == b'\n');
    let line = seen[..line_bytes.unwrap_or(seen.len())].trim_ascii_end();
    let words: Vec<&[u8]> = line.splitn(4, |byte| *byte == b' ').collect();
    match words[..] {
        [b"GET", _] if line_bytes.is_some() => BadRequest::NoVersion,
        [_, _, version] if is_other_version(version) => BadRequest::Version,
        _ => BadRequest::RequestLine,
    }
}

/// Whether `word` is a version of HTTP that is not served, or the start of one.
fn is_other_version(word: &[u8]) -> bool {
    let number = word.strip_prefix(b"HTTP/").unwrap_or_default();
    let is_number = match number {
        [major] | [major, b'.'] => major.is_ascii_digit(),
        [major, b'.', minor] => major.is_ascii_digit() && minor.is_ascii_digit(),
        _ => false,
    };
    is_number && !b"1.0".starts_with(number) && !b"1.1".starts_with(number)
}
