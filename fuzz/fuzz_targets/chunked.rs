//! A chunked body has the same content whether it is read at once, byte by byte or by a simpler reader, and after it is written
//! again. Mending trailers changes nothing in a body that is valid without it.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use mooltiroute::internal::http::{
    BadBody, Fields,
    chunked::{self, CHUNK_END, ChunkLine, Chunked, ChunkedReader, TrailerRules},
};

#[derive(Clone, Debug, Default)]
struct Body {
    content: Vec<u8>,
    trailers: Option<Fields>,
    is_whole: bool,
    left: Vec<u8>,
}

fuzz_target!(|input: &[u8]| {
    let strict = check(input, TrailerRules::Strict);
    let mended = check(input, TrailerRules::Mended);
    let Some(strict) = strict else { return };
    let mended = mended.unwrap();
    let (content, left) = read_plainly(input).unwrap();
    assert_eq!((&strict.content, &strict.left[..]), (&content, left));
    assert_eq!((&mended.content, &mended.left[..]), (&content, left));
    assert_eq!(field_count(&strict), field_count(&mended));
});

/// Returns the body if it is complete. Checks everything that does not depend on the rules.
fn check(input: &[u8], rules: TrailerRules) -> Option<Body> {
    let (whole, by_byte) = (read(input, input.len(), rules), read(input, 1, rules));
    let (Ok(whole), Ok(by_byte)) = (&whole, &by_byte) else {
        assert_eq!(whole.err(), by_byte.err());
        return None;
    };
    assert_eq!(whole.content, by_byte.content);
    assert_eq!(whole.is_whole, by_byte.is_whole);
    if !whole.is_whole {
        return None;
    }
    assert_eq!(whole.left, by_byte.left);
    assert_eq!(field_count(whole), field_count(by_byte));

    let mut sent = Vec::new();
    if !whole.content.is_empty() {
        sent.extend_from_slice(ChunkLine::new(whole.content.len()).as_bytes());
        sent.extend_from_slice(&whole.content);
        sent.extend_from_slice(CHUNK_END);
    }
    chunked::write_end(&Fields::default(), whole.trailers.as_ref(), &mut sent);
    let again = read(&sent, sent.len(), TrailerRules::Strict).unwrap();
    assert!(again.is_whole && again.left.is_empty());
    assert_eq!(again.content, whole.content);
    assert!(field_count(&again) <= field_count(whole));
    let has_host = again.trailers.is_some_and(|fields| fields.values("Host").next().is_some());
    assert!(!has_host);
    Some(whole.clone())
}

fn field_count(body: &Body) -> usize {
    body.trailers.as_ref().map_or(0, Fields::len)
}

/// Returns the content of a body that RFC 9112 §7.1 allows, and the bytes after it.
fn read_plainly(mut input: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut content = Vec::new();
    loop {
        let (line, rest) = split(input, b"\r\n")?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let is_size = matches!(line[digits..].trim_ascii_start(), [] | [b';', ..]);
        if !is_size || line.iter().any(|byte| *byte < b' ' && *byte != b'\t') {
            return None;
        }
        let size = u64::from_str_radix(str::from_utf8(&line[..digits]).ok()?, 16).ok()?;
        if size == 0 {
            let is_bare = rest.starts_with(b"\r\n");
            return Some((content, split(rest, if is_bare { b"\r\n" } else { b"\r\n\r\n" })?.1));
        }
        let (data, rest) = rest.split_at_checked(size.try_into().ok()?)?;
        content.extend_from_slice(data);
        input = rest.strip_prefix(b"\r\n")?;
    }
}

fn split<'a>(input: &'a [u8], end: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let start = input.windows(end.len()).position(|part| part == end)?;
    Some((&input[..start], &input[start + end.len()..]))
}

fn read(input: &[u8], step: usize, rules: TrailerRules) -> Result<Body, BadBody> {
    let (mut reader, mut seen) = (ChunkedReader::new(rules), BytesMut::new());
    let (mut body, mut end) = (Body::default(), 0);
    for part in input.chunks(step.max(1)) {
        end += part.len();
        seen.extend_from_slice(part);
        loop {
            match reader.decode(&mut seen)? {
                Chunked::Data(data) => {
                    assert!(!data.is_empty());
                    body.content.extend_from_slice(&data);
                }
                Chunked::Trailers(fields) => body.trailers = Some(fields),
                Chunked::NeedMore => break,
                Chunked::End => {
                    assert!(reader.is_at_end());
                    seen.extend_from_slice(&input[end..]);
                    return Ok(Body { is_whole: true, left: seen.to_vec(), ..body });
                }
            }
        }
    }
    Ok(body)
}
