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
    let refusal = Refusal::new(407, reason, names.into_iter().cycle().zip(lines));
    let told = [&refusal.reason].into_iter().chain(&refusal.schemes).chain(&refusal.detail);
    for text in told {
        assert!(text.len() <= 120, "{text:?}");
        assert!(text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{text:?}");
    }
    assert!(refusal.schemes.iter().all(|scheme| !scheme.contains([' ', ',', '=', '"'])));
    assert!(refusal.advice.is_none());
});
