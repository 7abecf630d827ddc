//! Message 2 of NTLM is refused, or answered by a message whose fields describe parts within it.

#![no_main]

use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use mooltiroute::hops::{
    Secret,
    auth::ntlm::{self, NtHash, NtlmChallenge, NtlmCredentials, NtlmRound},
};

fuzz_target!(|input: &[u8]| {
    let hash = NtHash::from_password(&Secret::new("c4n4ry7"));
    let credentials = NtlmCredentials::new(r"CORP\alice", hash);
    let round = NtlmRound {
        spn: Some("HTTP/proxy"),
        bindings: None,
        client_challenge: [7; 8],
        now: SystemTime::UNIX_EPOCH,
    };
    let answer = ntlm::authenticate_message(&credentials, input, &round);
    let Ok(message) = answer else { return };
    assert!(NtlmChallenge::parse(input).unwrap().target_name().len() <= 480);
    for field in (12..60).step_by(8) {
        let number = |at: usize, bytes: usize| {
            message[at..at + bytes].iter().rev().fold(0, |sum, &byte| sum << 8 | usize::from(byte))
        };
        assert!(number(field + 4, 4) + number(field, 2) <= message.len());
    }
});
