//! Reading and answering a proxy's challenges always ends, and the answer is a single line.
//!
//! Each line of the input is the value of one `Proxy-Authenticate` field.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mooltiroute::hops::{
    Secret,
    auth::{
        challenge::Challenge,
        digest::{DigestChallenge, DigestCredentials, DigestRequest, DigestSession},
        token::TokenKind,
    },
};

fuzz_target!(|input: &[u8]| {
    let challenges = Challenge::parse(input.split(|byte| *byte == b'\n'));
    for challenge in &challenges {
        assert!(challenge.name().len() <= 120);
        assert!(challenge.name().bytes().all(|byte| byte.is_ascii_graphic()));
        if let Ok(Some(token)) = challenge.token() {
            let _ = TokenKind::of(&token);
        }
    }
    let Ok(challenge) = DigestChallenge::strongest(&challenges) else { return };
    let session = DigestSession::default();
    let _ = session.challenged(challenge, None);
    let credentials = DigestCredentials::new(Secret::new("alice"), Secret::new("c4n4ry7"));
    let request =
        DigestRequest { method: "CONNECT", uri: "a:1", client_nonce: [7; 16], is_again: false };
    let sent = session.authorize(&credentials, &request).unwrap();
    assert!(!sent.value().expose().contains(char::is_control));
});
