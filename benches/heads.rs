//! Measures reading and writing message heads: the work of a plain request besides its system calls.
//!
//! `cargo bench --bench heads`

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up must stop")]

use bytes::BytesMut;
use divan::{Bencher, black_box};
use mooltiroute::internal::http::{HeadLimits, HeadReader, RequestForm, Target, Version};

const REQUEST: &[u8] = b"GET http://api.example.com/v1/items?page=2 HTTP/1.1\r\n\
    Host: api.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n\
    Accept: application/json, text/plain, */*\r\nAccept-Encoding: gzip, deflate, br\r\n\
    Accept-Language: en-US,en;q=0.9\r\nCookie: session=0123456789abcdef0123456789abcdef\r\n\
    Proxy-Connection: keep-alive\r\nConnection: keep-alive\r\nReferer: http://example.com/\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sun, 22 Nov 2026 20:00:00 GMT\r\n\
    Content-Type: application/json; charset=utf-8\r\nContent-Length: 1234\r\nConnection: keep-alive\r\n\
    ETag: W/\"4d2-0123456789abcdef\"\r\nCache-Control: no-cache\r\nVary: Accept-Encoding\r\n\r\n";

fn main() {
    divan::main();
}

#[divan::bench]
fn request_read(bencher: Bencher<'_, '_>) {
    bencher.with_inputs(|| BytesMut::from(REQUEST)).bench_local_values(|mut seen| {
        HeadReader::new(HeadLimits::default()).request(&mut seen).unwrap().unwrap()
    });
}

#[divan::bench]
fn request_read_and_written(bencher: Bencher<'_, '_>) {
    let mut out = Vec::new();
    bencher.with_inputs(|| BytesMut::from(REQUEST)).bench_local_values(|mut seen| {
        let head = HeadReader::new(HeadLimits::default()).request(&mut seen).unwrap().unwrap();
        let Target::Resource(resource) = head.target() else { return };
        out.clear();
        head.write(resource, RequestForm::Origin, &[], &mut out);
        black_box(&out);
    });
}

#[divan::bench]
fn response_read_and_written(bencher: Bencher<'_, '_>) {
    let mut out = Vec::new();
    bencher.with_inputs(|| BytesMut::from(RESPONSE)).bench_local_values(|mut seen| {
        let head =
            HeadReader::new(HeadLimits::default()).response("GET", &mut seen).unwrap().unwrap();
        out.clear();
        black_box(head.write(Version::Http11, &[], &mut out));
        black_box(&out);
    });
}
