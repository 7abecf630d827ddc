//! The description of a hop's refusal is one short, printable line, whatever its fields hold.
//!
//! Each line of the input is the value of one field; the first is the reason phrase.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mooltiroute::hops::Refusal;

fuzz_target!(|input: &[u8]| {
    let mut lines = input.split(|byte| *byte == b'\n');
    let reason = lines.next().unwrap_or_default();
    let names: [&[u8]; 3] = [b"Proxy-Authenticate", b"proxy-authenticate", b"X-Squid-Error"];
    let refusal = Refusal::from_http(407, reason, names.into_iter().cycle().zip(lines));
    let schemes = refusal.http.as_ref().map(|http| http.schemes.as_slice()).unwrap_or_default();
    let told = [&refusal.said].into_iter().chain(schemes).chain(&refusal.detail);
    for text in told {
        assert!(text.len() <= 124, "{text:?}");
        assert!(text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{text:?}");
    }
    assert!(schemes.iter().all(|scheme| !scheme.contains([' ', ',', '=', '"'])));
    assert!(refusal.advice.is_none());
});
