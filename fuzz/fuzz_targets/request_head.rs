//! A request is read alike at once and byte by byte, and is forwarded as exactly one request with the same meaning.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use mooltiroute::internal::http::{
    BadRequest, BodyLength, HeadLimits, HeadReader, RequestForm, RequestHead, Target,
};

fuzz_target!(|input: &[u8]| {
    let whole = read(input, input.len(), HeadLimits::default());
    let by_byte = read(input, 1, HeadLimits::default());
    let Ok(Some((head, left))) = whole else {
        assert!(!matches!(by_byte, Ok(Some(_))), "{whole:?} {by_byte:?}");
        return;
    };
    assert_eq!(by_byte.unwrap().unwrap().1, left);
    assert!(input.ends_with(&left));
    let mut echo = Vec::new();
    head.write_echo(&mut echo);
    if let Target::Resource(resource) = head.target() {
        for form in [RequestForm::Origin, RequestForm::Absolute] {
            let mut sent = Vec::new();
            head.write(resource, form, &[("X-Ours", "1")], &mut sent);
            check_sent(&head, form, &sent);
        }
    }
});

fn check_sent(head: &RequestHead, form: RequestForm, sent: &[u8]) {
    let (again, left) = read(sent, sent.len(), SENT).unwrap().unwrap();
    assert!(left.is_empty());
    assert_eq!(again.method(), head.method());
    assert_eq!(again.body_length(), head.body_length());
    let (Target::Resource(meant), target) = (head.target(), again.target()) else { return };
    assert_eq!(again.host(), Some(meant.host()));
    let path = meant.path().collect::<Vec<_>>().concat();
    match (form, target) {
        (RequestForm::Origin, Target::Origin(sent)) => assert_eq!(*sent, path),
        (RequestForm::Origin, Target::Asterisk) => assert_eq!(head.method(), "OPTIONS"),
        (RequestForm::Absolute, Target::Resource(sent)) => {
            assert_eq!(sent.authority(), meant.authority());
            assert!(sent.path().collect::<Vec<_>>().concat() == path);
        }
        (form, target) => panic!("{target:?} in {form:?}"),
    }
    let count = |name| again.fields().values(name).count();
    let lengths = count("Content-Length") + count("Transfer-Encoding");
    assert_eq!(lengths, usize::from(head.body_length() != BodyLength::Empty));
    for name in ["Connection", "Proxy-Authorization", "Proxy-Connection", "TE", "Upgrade"] {
        assert_eq!(count(name), 0, "{name}");
    }
    assert_eq!(again.fields().iter().next_back(), Some((&b"X-Ours"[..], &b"1"[..])));
}

/// Returns the head and the bytes after it.
fn read(
    input: &[u8],
    step: usize,
    limits: HeadLimits,
) -> Result<Option<(RequestHead, Vec<u8>)>, BadRequest> {
    let (mut reader, mut seen) = (HeadReader::new(limits), BytesMut::new());
    let mut end = 0;
    for part in input.chunks(step.max(1)) {
        end += part.len();
        seen.extend_from_slice(part);
        if let Some(head) = reader.request(&mut seen)? {
            seen.extend_from_slice(&input[end..]);
            return Ok(Some((head, seen.to_vec())));
        }
    }
    Ok(None)
}

/// The forwarded head may have one field more than the limit allows.
const SENT: HeadLimits = HeadLimits { bytes: 1 << 20, fields: 1_000 };
