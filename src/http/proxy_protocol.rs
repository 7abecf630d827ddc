//! Recognises the PROXY protocol, by which a load balancer tells the address of its client.
//!
//! Mooltiroute does not take it. Both versions come before the first byte of the client itself. Version 1 is a line of text,
//! and version 2 begins with twelve bytes that no other protocol has. The first four of these are two empty lines, which
//! HTTP allows before a request.

/// Returns whether a connection whose first bytes are `seen` begins with the PROXY protocol.
pub(crate) fn begins(seen: &[u8]) -> bool {
    is_begun(seen, 0)
        || seen.strip_prefix(EMPTY_LINES).is_some_and(|rest| is_begun(rest, EMPTY_LINES.len() / 2))
}

/// Returns whether `seen`, which comes after `empty_lines` empty lines, is the PROXY protocol or the beginning of it.
pub(super) fn is_begun(seen: &[u8], empty_lines: usize) -> bool {
    if VERSION_1.iter().any(|line| seen.starts_with(line)) {
        return empty_lines == 0;
    }
    // The bytes may come one by one, and no request has a NUL here.
    let common = seen.len().min(VERSION_2.len());
    empty_lines == EMPTY_LINES.len() / 2 && common > 0 && seen[..common] == VERSION_2[..common]
}

/// The beginnings of a line of version 1.
const VERSION_1: [&[u8]; 3] = [b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN"];
/// The first bytes of version 2.
const EMPTY_LINES: &[u8] = b"\r\n\r\n";
/// The rest of the bytes by which version 2 is known.
const VERSION_2: &[u8] = b"\0\r\nQUIT\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_recognised_at_the_beginning_of_a_connection() {
        let begun: [&[u8]; 5] = [
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            b"PROXY TCP6 ::1 ::1 1 2\r\n",
            b"PROXY UNKNOWN\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
            b"\r\n\r\n\0",
        ];
        for seen in begun {
            assert!(begins(seen), "{}", seen.escape_ascii());
        }
        let others: [&[u8]; 7] = [
            b"",
            b"PROXY http://a.test/ HTTP/1.1\r\n",
            b"\r\n\r\n",
            b"\r\n\0\r\nQUIT\n",
            b"\0\r\nQUIT\n",
            b"\r\n\r\n\0\r\nQUIET",
            b"\r\n\r\nGET / HTTP/1.0\r\n",
        ];
        for seen in others {
            assert!(!begins(seen), "{}", seen.escape_ascii());
        }
    }
}
