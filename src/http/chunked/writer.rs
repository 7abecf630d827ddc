//! Encoding a chunked body.

use super::{SIZE_DIGITS_MAX, trailers};
use crate::http::Fields;

/// The size line of a chunk, stored on the stack. [`CHUNK_END`] follows the data.
#[derive(Clone, Copy, Debug)]
pub struct ChunkLine {
    bytes: [u8; LINE_BYTES_MAX],
    start: usize,
}

impl ChunkLine {
    /// Creates the line for `size` bytes of data, at least one: an empty chunk would end the body.
    pub fn new(size: usize) -> Self {
        debug_assert!(size > 0, "an empty chunk would end the body");
        let mut line = Self { bytes: *b"0000000000000000\r\n", start: LINE_BYTES_MAX - 2 };
        // Digits are written from the last to the first, in front of the line end that is there.
        let mut left = size;
        while left > 0 {
            line.start -= 1;
            line.bytes[line.start] = b"0123456789abcdef"[left & 0xf];
            left >>= 4;
        }
        line
    }

    /// Returns the line.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// The line end after the data of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// Appends the end of a chunked body: the last chunk and the trailers that may be forwarded.
///
/// Trailers that frame, route, authenticate or describe the content are left out, and so are the names that `Connection`
/// lists in `head`, the fields at the front of the message.
pub fn write_end(head: &Fields, trailers: Option<&Fields>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        // A recipient may merge trailers into the head (RFC 9110 §6.5.1), so whatever the head may
        // not pass on, a trailer may not either.
        let options = head.connection_options();
        for (name, value) in trailers.iter() {
            let is_option = options.iter().any(|option| option.eq_ignore_ascii_case(name));
            if trailers::is_allowed(name) && !is_option {
                for part in [name, b": ", value, b"\r\n"] {
                    out.extend_from_slice(part);
                }
            }
        }
    }
    out.extend_from_slice(b"\r\n");
}

const LINE_BYTES_MAX: usize = SIZE_DIGITS_MAX as usize + 2;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use crate::http::chunked::TrailerRules;

    use super::*;

    #[test]
    fn size_lines_show_the_size() {
        for (size, expected) in [(1, "1\r\n"), (0xabc, "abc\r\n"), (65_536, "10000\r\n")] {
            assert_eq!(ChunkLine::new(size).as_bytes(), expected.as_bytes());
        }
        assert_eq!(
            ChunkLine::new(usize::MAX).as_bytes(),
            format!("{:x}\r\n", usize::MAX).as_bytes()
        );
    }

    #[test]
    fn only_harmless_trailers_are_forwarded() {
        let fields = |text: &str| {
            trailers::parse(Bytes::from(format!("{text}\r\n")), TrailerRules::Strict).unwrap()
        };
        let head = fields("Connection: X-Mine\r\n");
        let mut out = Vec::new();
        let trailers = "Digest: a\r\ncontent-length: 5\r\nHost: b\r\nx-mine: c\r\nETag:\td \r\n";
        write_end(&head, Some(&fields(trailers)), &mut out);
        write_end(&head, None, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "0\r\nDigest: a\r\nETag: d\r\n\r\n0\r\n\r\n");
    }
}
