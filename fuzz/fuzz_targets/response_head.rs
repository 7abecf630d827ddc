//! A response is read alike at once and byte by byte, and is forwarded as exactly one response in strict grammar.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use mooltiroute::internal::http::{BadResponse, HeadLimits, HeadReader, ResponseHead, Version};

fuzz_target!(|input: &[u8]| {
    for method in ["GET", "HEAD", "CONNECT"] {
        check(input, method);
    }
});

fn check(input: &[u8], method: &str) {
    let whole = read(method, input, input.len(), HeadLimits::default());
    let by_byte = read(method, input, 1, HeadLimits::default());
    let Ok(Some((head, left))) = whole else {
        assert!(!matches!(by_byte, Ok(Some(_))), "{whole:?} {by_byte:?}");
        return;
    };
    assert_eq!(by_byte.unwrap().unwrap().1, left);
    assert!(input.ends_with(&left));
    for version in [Version::Http10, Version::Http11] {
        check_sent(&head, method, version);
    }
}

fn check_sent(head: &ResponseHead, method: &str, version: Version) {
    let mut sent = Vec::new();
    let length = head.write(version, &[("X-Ours", "1")], &mut sent);
    for line in sent.strip_suffix(b"\r\n\r\n").unwrap().split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        assert!(!line.is_empty() && !line[0].is_ascii_whitespace(), "{}", sent.escape_ascii());
        assert!(!line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t'));
    }
    let (again, left) = read(method, &sent, sent.len(), SENT).unwrap().unwrap();
    assert!(left.is_empty());
    assert_eq!(again.status(), head.status());
    assert_eq!(again.reason(), head.reason());
    assert_eq!(again.body_length(), length);
    assert!(!again.has_doubtful_length());
    let count = |name| again.fields().values(name).count();
    assert!(count("Content-Length") + count("Transfer-Encoding") <= 1);
    for name in ["Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Connection", "Upgrade"] {
        assert_eq!(count(name), 0, "{name}");
    }
    assert_eq!(again.fields().iter().next_back(), Some((&b"X-Ours"[..], &b"1"[..])));
}

/// Returns the head and the bytes after it.
fn read(
    method: &str,
    input: &[u8],
    step: usize,
    limits: HeadLimits,
) -> Result<Option<(ResponseHead, Vec<u8>)>, BadResponse> {
    let (mut reader, mut seen) = (HeadReader::new(limits), BytesMut::new());
    let mut end = 0;
    for part in input.chunks(step.max(1)) {
        end += part.len();
        seen.extend_from_slice(part);
        if let Some(head) = reader.response(method, &mut seen)? {
            seen.extend_from_slice(&input[end..]);
            return Ok(Some((head, seen.to_vec())));
        }
    }
    Ok(None)
}

/// The forwarded head may have one field more than the limit allows.
const SENT: HeadLimits = HeadLimits { bytes: 1 << 20, fields: 1_000 };
