//! Properties of every message, tested on random ones.

use bytes::BytesMut;
use proptest::{collection::vec, prelude::*};

use super::{
    BodyLength, BodyReader, Decoded, HeadLimits, HeadReader, RequestForm, RequestHead,
    ResponseHead, Target, Version,
    chunked::{self, CHUNK_END, ChunkLine},
};

/// Heads that are mostly valid, and broken in the ways that readers disagree on.
pub(super) fn head_text() -> impl Strategy<Value = String> {
    // Mostly valid, since an input that fails at its first line tests nothing behind it.
    let line = prop_oneof![
        8 => "[A-Za-z-]{1,12}:[ \\t]{0,2}[ -~é]{0,20}",
        2 => prop::sample::select(LINES.as_slice()).prop_map(str::to_owned),
        1 => "[ -~\\x00-\\x0d]{0,20}",
    ];
    let start = prop_oneof![
        4 => prop::sample::select(START_LINES.as_slice()).prop_map(str::to_owned),
        3 => "[A-Z]{1,7} http://[a-z]{1,3}[a-z:@.0-9]{0,3}[/?][ -~]{0,9} HTTP/1.[01]",
        1 => "[ -~]{0,30}",
    ];
    let end = prop_oneof![40 => Just("\r\n".to_owned()), 1 => "[\r\n ]{0,3}"];
    (start, end.clone(), vec((line, end), 0..5)).prop_map(|(start, end, lines)| {
        let lines: String = lines.iter().map(|(line, end)| format!("{line}{end}")).collect();
        // `Host` is nearly always there, so that most requests are valid.
        format!("{start}{end}Host: x{end}{lines}\r\n")
    })
}

fn read_request(input: &[u8]) -> Option<RequestHead> {
    HeadReader::new(HeadLimits::default()).request(&mut BytesMut::from(input)).ok().flatten()
}

fn read_response(method: &str, input: &[u8]) -> Option<ResponseHead> {
    let mut reader = HeadReader::new(HeadLimits::default());
    reader.response(method, &mut BytesMut::from(input)).ok().flatten()
}

/// Counts the fields with each of `names` if an independent parser takes all of `input` for one head.
fn second_opinion(input: &[u8], names: [&str; 3]) -> Option<[usize; 3]> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let first_line = input.iter().position(|byte| *byte == b'\n')? + 1;
    let parsed = httparse::parse_headers(&input[first_line..], &mut fields).ok()?;
    let httparse::Status::Complete((end, fields)) = parsed else { return None };
    let count = |name: &str| fields.iter().filter(|f| f.name.eq_ignore_ascii_case(name)).count();
    (first_line + end == input.len()).then(|| names.map(count))
}

const FRAMING: [&str; 3] = ["Host", "Content-Length", "Transfer-Encoding"];

proptest! {
    #[test]
    fn a_forwarded_request_is_one_request_and_the_same(text in head_text()) {
        if let Some(head) = read_request(text.as_bytes())
            && let Target::Resource(resource) = head.target()
        {
            let mut out = Vec::new();
            head.write(resource, RequestForm::Absolute, &[], &mut out);
            let [hosts, lengths, codings] = second_opinion(&out, FRAMING).unwrap();
            prop_assert_eq!(hosts, 1);
            // An independent parser finds one field that frames the body: the one by which this
            // proxy reads it.
            let expected = match head.body_length() {
                BodyLength::Length(_) => (1, 0),
                BodyLength::Chunked => (0, 1),
                _ => (0, 0),
            };
            prop_assert_eq!((lengths, codings), expected);
            let again = read_request(&out).unwrap();
            prop_assert_eq!(again.method(), head.method());
            prop_assert_eq!(again.body_length(), head.body_length());
            let Target::Resource(same) = again.target() else { panic!("{again:?}") };
            prop_assert_eq!(same.authority(), resource.authority());
            prop_assert_eq!(same.host(), resource.host());
            if head.method() != "OPTIONS" {
                prop_assert!(same.path().flatten().eq(resource.path().flatten()));
            }
        }
    }

    #[test]
    fn a_forwarded_response_is_one_response_and_the_same(text in head_text()) {
        // A response to HEAD has no body, and a client of HTTP/1.0 gets no chunks.
        for (method, version) in [("GET", Version::Http11), ("HEAD", Version::Http11), ("GET", Version::Http10)] {
            if let Some(head) = read_response(method, text.as_bytes()) {
                let mut out = Vec::new();
                let body = head.write(version, &[], &mut out);
                let [_, lengths, codings] = second_opinion(&out, FRAMING).unwrap();
                prop_assert!(lengths + codings <= 1);
                let again = read_response(method, &out).unwrap();
                prop_assert_eq!(again.status(), head.status());
                prop_assert_eq!(again.reason(), head.reason());
                prop_assert_eq!(again.body_length(), body);
            }
        }
    }

    #[test]
    fn a_head_is_the_same_however_it_arrives(text in head_text(), step in 1..40_usize) {
        let whole = read_request(text.as_bytes());
        let (mut reader, mut seen) = (HeadReader::new(HeadLimits::default()), BytesMut::new());
        let mut parts = text.as_bytes().chunks(step);
        let head = parts.find_map(|part| {
            seen.extend_from_slice(part);
            reader.request(&mut seen).transpose()
        });
        prop_assert_eq!(head.and_then(Result::ok).is_some(), whole.is_some());
    }

    #[test]
    fn a_response_is_the_same_however_it_arrives(text in head_text(), step in 1..40_usize) {
        let text = text.replacen("Host: x", "X-A : x", 1);
        let whole = read_response("GET", text.as_bytes());
        let (mut reader, mut seen) = (HeadReader::new(HeadLimits::default()), BytesMut::new());
        let mut parts = text.as_bytes().chunks(step);
        let head = parts.find_map(|part| {
            seen.extend_from_slice(part);
            reader.response("GET", &mut seen).transpose()
        });
        let shown = |head: ResponseHead| {
            let fields = head.fields().iter();
            let fields: Vec<_> = fields.map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
            (head.status(), head.reason().to_vec(), head.body_length(), fields)
        };
        prop_assert_eq!(head.and_then(Result::ok).map(shown), whole.map(shown));
    }

    #[test]
    fn a_field_is_found_by_its_name_in_any_case(
        names in vec("[!#$%&'*+.^_`|~0-9A-Za-z-]{1,18}", 1..9),
        asked in "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,3}",
    ) {
        let lines: String = names.iter().map(|name| format!("{name}: {name}\r\n")).collect();
        let head = read_response("GET", format!("HTTP/1.1 200 \r\n{lines}\r\n").as_bytes());
        // Some names frame the body, and their values are not valid.
        prop_assume!(head.is_some());
        let head = head.unwrap();
        for name in names.iter().chain([&asked]) {
            let expected = names.iter().filter(|other| other.eq_ignore_ascii_case(name)).count();
            for name in [name.clone(), name.to_uppercase(), name.to_lowercase()] {
                prop_assert_eq!(head.fields().values(&name).count(), expected, "{}", name);
            }
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in vec(any::<u8>(), 0..200), step in 1..40_usize) {
        let (mut reader, mut seen) = (HeadReader::new(HeadLimits::default()), BytesMut::new());
        let (mut body, mut sent) = (BodyReader::of_request(BodyLength::Chunked), BytesMut::new());
        for part in bytes.chunks(step) {
            seen.extend_from_slice(part);
            sent.extend_from_slice(part);
            let _ = reader.request(&mut seen);
            let _ = reader.response("GET", &mut seen);
            let _ = body.decode(&mut sent);
        }
    }

    #[test]
    fn written_chunks_read_as_the_content(
        parts in vec(vec(any::<u8>(), 1..50), 0..9),
        step in 1..40_usize,
        trailers in any::<bool>(),
    ) {
        let head = read_request(b"GET / HTTP/1.0\r\nDigest: x\r\n\r\n").unwrap();
        let mut sent = Vec::new();
        for part in &parts {
            sent.extend_from_slice(ChunkLine::new(part.len()).as_bytes());
            sent.extend_from_slice(part);
            sent.extend_from_slice(CHUNK_END);
        }
        chunked::write_end(head.fields(), trailers.then(|| head.fields()), &mut sent);
        // Bytes of the next message, which the reader has to leave alone.
        sent.extend_from_slice(b"next");
        let (mut reader, mut seen) = (BodyReader::of_request(BodyLength::Chunked), BytesMut::new());
        let (mut content, mut trailer_count) = (Vec::new(), 0);
        for part in sent.chunks(step) {
            seen.extend_from_slice(part);
            loop {
                match reader.decode(&mut seen).unwrap() {
                    Decoded::Data(data) => content.extend_from_slice(&data),
                    Decoded::Trailers(fields) => trailer_count += fields.len(),
                    Decoded::End | Decoded::NeedMore => break,
                }
            }
        }
        prop_assert!(reader.is_at_end());
        prop_assert_eq!(content, parts.concat());
        prop_assert_eq!(trailer_count, usize::from(trailers));
        prop_assert_eq!(seen, "next");
    }
}

const START_LINES: [&str; 8] = [
    "GET http://a/b?c HTTP/1.1",
    "POST http://u:p@[::1]:8080 HTTP/1.1",
    "OPTIONS http://a HTTP/1.0",
    "HTTP/1.1 200 OK",
    "HTTP/1.1 204",
    "HTTP/1.0 304 Früh",
    "http/1.1  200 OK",
    "HTTP/1.3\t200 OK",
];
const LINES: [&str; 22] = [
    "Host: a",
    "Content-Length: 3",
    "content-length: 3, 3",
    "Transfer-Encoding: chunked",
    "Connection: close, X-a, Content-Length",
    "Connection: Transfer-Encoding, Host",
    "Max-Forwards: 3",
    "Upgrade: websocket",
    "X-A : b",
    " folded",
    "\tContent-Length: 3",
    "no colon",
    "Content-Length\t: 3",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding: gzip",
    "Content-Length: 4",
    "Content-Length: 3,",
    "Content-Length: x",
    "Content-Length: 3\r\n ",
    "Transfer-Encoding: chunked\r\nContent-Length: 4",
];
