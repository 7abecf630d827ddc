//! Authentication to a proxy: challenges, NTLM, Digest and channel bindings.
//!
//! Nothing here reads a socket, a clock or a random number. The caller passes these in, so each function can be tested with
//! published vectors. The rounds are made by the kinds of hops.
//!
//! - [`challenge`] reads `Proxy-Authenticate` fields.
//! - [`token`] recognises NTLM and SPNEGO by their bytes, since proxies send either under both names.
//! - [`ntlm`] makes NTLMv2 messages (MS-NLMP).
//! - [`digest`] answers Digest challenges (RFC 7616).
//! - [`channel_bindings`] ties an answer to the TLS connection it is sent on (RFC 5929).

pub mod challenge;
pub mod channel_bindings;
pub(crate) mod der;
pub mod digest;
pub mod ntlm;
pub mod token;
