//! Why the strict parser refused a request.

use std::str;

use mooltiroute_hops::InvalidAuthority;

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
        [method, target, ..] => {
            // A space in the URL looks like the end of it. A request line that is complete shows otherwise.
            let target = match words[..] {
                [_, _, next, _] if line_bytes.is_some() && !next.is_empty() => {
                    let end = [&b" HTTP/1.1"[..], b" HTTP/1.0"];
                    end.iter().find_map(|end| line[method.len() + 1..].strip_suffix(*end))
                }
                _ => None,
            }
            .unwrap_or(target);
            bad_byte_of(method, target).unwrap_or(BadRequest::RequestLine)
        }
        _ => BadRequest::RequestLine,
    }
}

/// Names the first byte of `target` that makes it no URL, if the two words are a method and a target otherwise.
fn bad_byte_of(method: &[u8], target: &[u8]) -> Option<BadRequest> {
    let is_method = !method.is_empty() && method.iter().all(u8::is_ascii_alphabetic);
    let scheme_bytes = target.windows(3).position(|part| part == b"://");
    let is_target = target.starts_with(b"/") || scheme_bytes.is_some_and(|bytes| bytes > 0);
    if !is_method || !is_target {
        return None;
    }
    let not_utf8 = str::from_utf8(target).err().map(|error| error.valid_up_to());
    let is_bad = |byte: &u8| *byte == b' ' || byte.is_ascii_control();
    let bad = target.iter().position(is_bad).into_iter().chain(not_utf8).min()?;
    // A name is not percent-encoded: a client writes it in ASCII, as IDNA does.
    let is_in_host = scheme_bytes.is_some_and(|bytes| {
        !target[bytes + 3..bad.max(bytes + 3)].iter().any(|byte| b"/?".contains(byte))
    });
    Some(match is_in_host {
        true => BadRequest::Authority(InvalidAuthority::InvalidName),
        false => BadRequest::TargetByte(target[bad]),
    })
}

/// Returns whether `word` is a version of HTTP that is not served, or the start of one.
fn is_other_version(word: &[u8]) -> bool {
    let number = word.strip_prefix(b"HTTP/").unwrap_or_default();
    let is_number = match number {
        [major] | [major, b'.'] => major.is_ascii_digit(),
        [major, b'.', minor] => major.is_ascii_digit() && minor.is_ascii_digit(),
        _ => false,
    };
    is_number && !b"1.0".starts_with(number) && !b"1.1".starts_with(number)
}
