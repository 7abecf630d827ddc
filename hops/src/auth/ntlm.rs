//! NTLM as a client speaks it to a proxy (MS-NLMP): NTLMv2 with a message integrity code, and nothing older.
//!
//! The three messages travel base64-encoded behind the scheme's name, on one connection:
//!
//! ```
//! use std::time::SystemTime;
//! use mooltiroute_hops::{Secret, auth::ntlm::{self, NtHash, NtlmCredentials, NtlmRound}};
//!
//! let hash = NtHash::from_password(&Secret::new("hunter2"));
//! let credentials = NtlmCredentials::new(r"CORP\alice", hash);
//! let first = ntlm::negotiate_message(); // Proxy-Authorization: NTLM <base64 of it>
//!
//! // The proxy answers 407 with `Proxy-Authenticate: NTLM <base64>`; this one lies about an offset.
//! let challenge = [&b"NTLMSSP\0\x02\0\0\0"[..], &[0xFF; 44]].concat();
//! let round = NtlmRound {
//!     spn: Some("HTTP/proxy.corp.example"),
//!     bindings: None,
//!     client_challenge: *b"8 random",
//!     now: SystemTime::UNIX_EPOCH,
//! };
//! let third = ntlm::authenticate_message(&credentials, &challenge, &round);
//! assert!(third.is_err());
//! # assert_eq!(&first[..8], b"NTLMSSP\0");
//! ```

mod authenticate;
mod av_pairs;
mod challenge_message;
mod credentials;
mod response;

use std::time::SystemTime;

use thiserror::Error;

pub use self::{
    authenticate::authenticate_message,
    challenge_message::NtlmChallenge,
    credentials::{InvalidNtHash, NtHash, NtlmCredentials},
};
use super::{channel_bindings::ChannelBindings, token::NTLM_SIGNATURE};

/// The inputs of one authentication besides the credentials and the proxy's challenge.
#[derive(Clone, Copy, Debug)]
pub struct NtlmRound<'a> {
    /// The service that is meant, such as `HTTP/proxy.corp.example`.
    pub spn: Option<&'a str>,
    /// The bindings to the TLS connection with the proxy, if there is one.
    pub bindings: Option<&'a ChannelBindings>,
    /// Eight random bytes, never used twice.
    pub client_challenge: [u8; 8],
    /// The time, for proxies that send none.
    pub now: SystemTime,
}

/// The reason why a challenge of NTLM is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NtlmError {
    /// The bytes are not an NTLM message of type 2, or a length or an offset in them is wrong.
    #[error("the proxy's NTLM challenge is malformed")]
    Malformed,
    /// The proxy can't speak NTLMv2. An answer in NTLMv1 would let anyone compute the password.
    #[error(
        "the proxy offers only NTLMv1, which is never answered because it exposes the password"
    )]
    OnlyVersion1,
    /// The proxy reads no Unicode.
    #[error("the proxy's NTLM does not support Unicode")]
    NoUnicode,
    /// A name or the proxy's target information does not fit into the message.
    #[error("a name in the NTLM exchange is too long")]
    TooLong,
}

/// Returns message 1 (MS-NLMP §2.2.1.1). It names no domain, no host and no user, and is always the same.
pub fn negotiate_message() -> [u8; NEGOTIATE_BYTES] {
    let mut message = [0; NEGOTIATE_BYTES];
    message[..8].copy_from_slice(NTLM_SIGNATURE);
    message[8..12].copy_from_slice(&1_u32.to_le_bytes());
    // The rest stays zero. The domain and the workstation are optional, and would reveal this machine to any proxy.
    message[12..16].copy_from_slice(&OUR_FLAGS.to_le_bytes());
    message
}

/// The signature, the type, the flags, two empty names and an empty version.
const NEGOTIATE_BYTES: usize = 40;

/// Flags of MS-NLMP §2.2.2.5.
mod flags {
    pub(super) const UNICODE: u32 = 1;
    pub(super) const REQUEST_TARGET: u32 = 1 << 2;
    pub(super) const NTLM: u32 = 1 << 9;
    pub(super) const ALWAYS_SIGN: u32 = 1 << 15;
    pub(super) const EXTENDED_SESSION_SECURITY: u32 = 1 << 19;
    pub(super) const TARGET_INFO: u32 = 1 << 23;
}

/// No key exchange: nothing is signed or sealed after the third message.
const OUR_FLAGS: u32 = flags::UNICODE
    | flags::REQUEST_TARGET
    | flags::NTLM
    | flags::ALWAYS_SIGN
    | flags::EXTENDED_SESSION_SECURITY
    | flags::TARGET_INFO;
