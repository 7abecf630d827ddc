//! A response head has one meaning, read at once or byte by byte, and what is sent on has the same meaning.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use mooltiroute::internal::http::{BadResponse, HeadLimits, HeadReader, ResponseHead, Version};

fuzz_target!(|input: &[u8]| {
    let whole = read(input, input.len(), HeadLimits::default());
    let by_byte = read(input, 1, HeadLimits::default());
    let Ok(Some((head, left))) = whole else {
        assert!(!matches!(by_byte, Ok(Some(_))), "{whole:?} {by_byte:?}");
        return;
    };
    assert_eq!(by_byte.unwrap().unwrap().1, left);
    assert!(input.ends_with(&left));
    for method in ["GET", "HEAD", "CONNECT"] {
        for version in [Version::Http10, Version::Http11] {
            check_sent(&head, method, version);
        }
    }
});

fn check_sent(head: &ResponseHead, method: &str, version: Version) {
    let mut sent = Vec::new();
    let length = head.write(method, version, &[("X-Ours", "1")], &mut sent);
    let (again, left) = read(&sent, sent.len(), SENT).unwrap().unwrap();
    assert!(left.is_empty());
    assert_eq!(again.status(), head.status());
    assert_eq!(again.reason(), head.reason());
    assert_eq!(again.body_length(method), length);
    let count = |name| again.fields().values(name).count();
    assert!(count("Content-Length") + count("Transfer-Encoding") <= 1);
    for name in ["Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Connection", "Upgrade"] {
        assert_eq!(count(name), 0, "{name}");
    }
    assert_eq!(again.fields().iter().next_back(), Some((&b"X-Ours"[..], &b"1"[..])));
}

/// The head, and what is behind it.
fn read(
    input: &[u8],
    step: usize,
    limits: HeadLimits,
) -> Result<Option<(ResponseHead, Vec<u8>)>, BadResponse> {
    let (mut reader, mut seen) = (HeadReader::new(limits), BytesMut::new());
    let mut end = 0;
    for part in input.chunks(step.max(1)) {
        end += part.len();
        seen.extend_from_slice(part);
        if let Some(head) = reader.response(&mut seen)? {
            seen.extend_from_slice(&input[end..]);
            return Ok(Some((head, seen.to_vec())));
        }
    }
    Ok(None)
}

/// A field of ours may be one more than what may come.
const SENT: HeadLimits = HeadLimits { bytes: 1 << 20, fields: 1_000 };
