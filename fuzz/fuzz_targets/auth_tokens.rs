//! No bytes make the readers of tokens and certificates panic, and what they accept has the right beginning.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mooltiroute::hops::auth::{channel_bindings::ChannelBindings, token::TokenKind};

fuzz_target!(|input: &[u8]| {
    if TokenKind::of(input) == Some(TokenKind::Spnego) {
        assert!(matches!(input[0], 0x60 | 0xA0 | 0xA1));
    }
    if let Ok(bindings) = ChannelBindings::tls_server_end_point(input) {
        assert!(bindings.application_data().starts_with(b"tls-server-end-point:"));
        let _ = bindings.ntlm_hash();
    }
});
