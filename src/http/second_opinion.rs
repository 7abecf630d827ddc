//! Reads forwarded messages with hyper: an independent, strict reader must find the same single message.

mod strict;

use std::cell::Cell;

use bytes::BytesMut;
use hyper::Uri;
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, TestRunner},
};

use super::{
    BodyLength, BodyReader, Decoded, Fields, HeadLimits, HeadReader, RequestForm, Target, Version,
    chunked::{self, CHUNK_END, ChunkLine},
    is_hop_by_hop,
    properties::head_text,
};

/// A message as one of the two readers sees it.
#[derive(Debug, Default, PartialEq)]
struct Message {
    /// Method, target and `Host`, or the status.
    start: Vec<String>,
    /// All fields that are forwarded unchanged, grouped by name.
    fields: Grouped,
    content: Vec<u8>,
    trailers: Grouped,
}

#[test]
fn hyper_reads_a_forwarded_request_the_same() {
    let sent = try_many(mutated(&REQUESTS), |input| {
        for form in [RequestForm::Origin, RequestForm::Absolute] {
            let Some((expected, bytes)) = forward_request(input, form) else { return Ok(false) };
            let (heard, end) = strict::serve(bytes.clone().into());
            prop_assert!(end.is_ok(), "{end:?} {}", bytes.escape_ascii());
            prop_assert_eq!(heard, [expected], "{}", bytes.escape_ascii());
        }
        Ok(true)
    });
    assert!(sent > CASES / 10, "only {sent} requests were sent on");
}

#[test]
fn hyper_reads_a_forwarded_response_the_same() {
    let sent = try_many(mutated(&RESPONSES), |input| {
        for (method, version) in
            [("GET", Version::Http11), ("HEAD", Version::Http11), ("GET", Version::Http10)]
        {
            let Some((expected, bytes)) = forward_response(input, method, version) else {
                return Ok(false);
            };
            let heard = strict::ask(method, bytes.clone().into());
            let shown = bytes.escape_ascii();
            prop_assert!(heard.is_ok(), "{heard:?} {method} {shown}");
            prop_assert_eq!(heard.unwrap_or_default(), expected, "{} {}", method, shown);
        }
        Ok(true)
    });
    assert!(sent > CASES / 10, "only {sent} responses were sent on");
}

/// Complete messages with another one behind, changed in a few places, and many that are mostly random.
fn mutated(seeds: &'static [&str]) -> impl Strategy<Value = Vec<u8>> {
    let body = select(BODIES.as_slice());
    let seed = prop_oneof![
        3 => select(seeds).prop_map(str::to_owned),
        1 => (head_text(), body).prop_map(|(head, body)| head + body),
    ];
    let part = prop_oneof![2 => select(PARTS.as_slice()).prop_map(str::to_owned), 1 => "[ -~]"];
    let change = (any::<Index>(), 0..3_usize, part);
    (seed, vec(change, 0..4)).prop_map(|(seed, changes)| {
        let mut bytes = seed.into_bytes();
        for (place, removed, part) in changes {
            let start = place.index(bytes.len() + 1);
            let end = (start + removed).min(bytes.len());
            bytes.splice(start..end, part.into_bytes());
        }
        // If either reader finds the end of the message too early or too late, this request is read
        // in part, or as content, and the messages differ.
        bytes.extend_from_slice(b"GET /next HTTP/1.1\r\nHost: next\r\n\r\n");
        bytes
    })
}

/// Runs `check` on many inputs, and counts how often it returns true: that there was something to check.
fn try_many(
    inputs: impl Strategy<Value = Vec<u8>>,
    check: impl Fn(&[u8]) -> Result<bool, TestCaseError>,
) -> u32 {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let count = Cell::new(0);
    let result = TestRunner::new(config).run(&inputs, |input| {
        count.set(count.get() + u32::from(check(&input)?));
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    count.get()
}

/// Returns the first request of `input` as it should arrive and as it is forwarded, if it is complete and hyper accepts
/// its target.
fn forward_request(input: &[u8], form: RequestForm) -> Option<(Message, Vec<u8>)> {
    let mut seen = BytesMut::from(input);
    let head = HeadReader::new(HeadLimits::default()).request(&mut seen).ok()??;
    let Target::Resource(resource) = head.target() else { return None };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let path = resource.path().map(text).collect::<String>();
    // Clients send, and we forward, bytes that hyper's type for URLs refuses.
    path.parse::<Uri>().ok()?;
    let target = match form {
        RequestForm::Origin if head.method() == "OPTIONS" && resource.is_whole_origin() => {
            "*".to_owned()
        }
        RequestForm::Origin => path,
        RequestForm::Absolute => format!("http://{}{path}", text(resource.host())),
    };
    let mut sent = Vec::new();
    head.write(resource, form, &[], &mut sent);
    // The body is forwarded with the length that the head announces, as the exchange does it.
    let length = head.body_length();
    let reader = BodyReader::of_request(length);
    let mut message = forward_body(reader, length, head.fields(), &mut seen, &mut sent)?;
    message.start = vec![head.method().to_owned(), target, text(resource.host())];
    Some((message, sent))
}

/// Returns the first response of `input` as it should arrive and as it is forwarded, if it is complete.
fn forward_response(input: &[u8], method: &str, version: Version) -> Option<(Message, Vec<u8>)> {
    let mut seen = BytesMut::from(input);
    let head = HeadReader::new(HeadLimits::default()).response(method, &mut seen).ok()??;
    // Another protocol follows it.
    if head.status() == 101 {
        return None;
    }
    let mut sent = Vec::new();
    let length = head.write(version, &[], &mut sent);
    let reader = BodyReader::of_response(head.body_length());
    let mut message = forward_body(reader, length, head.fields(), &mut seen, &mut sent)?;
    message.start = vec![head.status().to_string()];
    // hyper's client reports only the final response, so one follows, which the interim response
    // must leave as it is.
    if head.is_interim() {
        sent.extend_from_slice(b"HTTP/1.1 299 Final\r\nContent-Length: 0\r\n\r\n");
        message = Message { start: vec!["299".to_owned()], ..Message::default() };
    }
    Some((message, sent))
}

/// Forwards the body at the front of `seen` as one of length `to`. Returns `None` if it is not complete.
fn forward_body(
    mut reader: BodyReader,
    to: BodyLength,
    head: &Fields,
    seen: &mut BytesMut,
    sent: &mut Vec<u8>,
) -> Option<Message> {
    let mut trailers = None;
    let mut message = Message { fields: passed_on(head, head), ..Message::default() };
    loop {
        match reader.decode(seen).ok()? {
            Decoded::Data(data) if to == BodyLength::Chunked => {
                for part in [ChunkLine::new(data.len()).as_bytes(), &data, CHUNK_END] {
                    sent.extend_from_slice(part);
                }
                message.content.extend_from_slice(&data);
            }
            Decoded::Data(data) => {
                sent.extend_from_slice(&data);
                message.content.extend_from_slice(&data);
            }
            Decoded::Trailers(fields) => trailers = Some(fields),
            Decoded::NeedMore | Decoded::End => break,
        }
    }
    // A body that ends with the connection is complete now. Any other one was cut off, and the
    // input has nothing to compare.
    reader.end().ok()?;
    if to == BodyLength::Chunked {
        chunked::write_end(head, trailers.as_ref(), sent);
        message.trailers = trailers.map(|fields| passed_on(head, &fields)).unwrap_or_default();
        message.trailers.retain(|(name, _)| is_harmless(name));
    }
    Some(message)
}

/// Returns the `fields` that must arrive in a message with this head, as hyper groups them.
fn passed_on(head: &Fields, fields: &Fields) -> Grouped {
    let is_listed =
        |name: &[u8]| head.elements("Connection").any(|option| option.eq_ignore_ascii_case(name));
    group(fields.iter().filter(|(name, _)| !is_hop_by_hop(name) && !is_listed(name)))
}

/// Groups fields by name, in the order in which the names appear.
fn group<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Grouped {
    let mut groups = Grouped::new();
    for (name, value) in fields {
        let name = String::from_utf8(name.to_ascii_lowercase()).unwrap();
        // These are rewritten from their meaning, which the start line and the content show.
        if WRITTEN_BY_US.contains(&name.as_str()) {
            continue;
        }
        match groups.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value.to_vec()),
            None => groups.push((name, vec![value.to_vec()])),
        }
    }
    groups
}

/// Returns whether a trailer from `PARTS` or `BODIES` is forwarded.
fn is_harmless(name: &str) -> bool {
    name.starts_with("x-")
}

/// Lower-case names, each with its values.
type Grouped = Vec<(String, Vec<Vec<u8>>)>;

/// Fields that the program writes itself.
const WRITTEN_BY_US: [&str; 4] = ["host", "content-length", "transfer-encoding", "max-forwards"];
const CASES: u32 = 1000;
const REQUESTS: [&str; 6] = [
    "GET http://a/b?c HTTP/1.1\r\nHost: a\r\nX-A: b\r\nCookie: c\r\nx-a: d\r\n\r\n",
    "POST http://a:81/ HTTP/1.1\r\nHost: a:81\r\nContent-Length: 3\r\nX-A: b\r\n\r\nabc",
    "POST http://u:p@[::1]:8080 HTTP/1.1\r\nA: b\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
     3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nX-Sum: e\r\nHost: f\r\n\r\n",
    "OPTIONS http://a HTTP/1.0\r\nMax-Forwards: 3\r\nConnection: close, X-A\r\nX-A: b\r\n\r\n",
    "PUT http://a/b HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3, 3\r\n\r\nabc",
    "GET ws://a/b HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
];
const RESPONSES: [&str; 15] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-A: b\r\nSet-Cookie: c\r\nx-a: d\r\n\r\nabc",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nX-Sum: e\r\n\r\n",
    "HTTP/1.0 404 Früh\r\nConnection: keep-alive, X-A\r\nX-A: b\r\nA: b\r\n\r\nabc",
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\nETag: \"x\"\r\n\r\n",
    "HTTP/1.1 204 \r\nContent-Length: 3\nA: b\r\n\r\n",
    "http/1.1  200\tOK\r\nContent-Length : 3\r\nX-A\t: b\r\n c\r\njunk\r\n\r\nabc",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc",
    "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nd\r\n0\r\nX-Sum : e\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: x\r\n\r\n1\r\nd\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\nContent-Length: 8\r\n\r\n1\r\nd\r\n0\r\n\r\n",
    "HTTP/1.1 204 None\r\nTransfer-Encoding: gzip\r\nX-A: b\r\n\r\n",
    "HTTP/1.1 304 Same\r\nContent-Length: 3\r\nContent-Length: 4\r\nX-A: b\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nContent-Length: x\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 3,\r\n \r\nX-A: b\r\n\r\nabc",
];
const BODIES: [&str; 5] = [
    "",
    "abc",
    "3\r\nabc\r\n0\r\n\r\n",
    "0\r\n\r\n",
    "1\r\nx\r\n0\r\nX-A: b\r\nConnection: c\r\n\r\n",
];
/// Parts that readers are known to disagree on.
const PARTS: [&str; 28] = [
    "",
    "\r",
    "\n",
    "\r\n",
    "\r\n\r\n",
    "\0",
    " ",
    "\t",
    ":",
    ",",
    ";",
    "0",
    "1",
    "+",
    "x",
    "é",
    "\u{b}",
    "Content-Length: 1\r\n",
    "content-length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: x\r\n",
    "Connection: Content-Length, Host\r\n",
    "Host: b\r\n",
    "X-A: b\r\n c\r\n",
    "x-b : c\r\n",
    "no colon\r\n",
    "identity",
    "\r\n Content-Length: 1\r\n",
];
