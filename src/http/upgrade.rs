//! Switching to another protocol (RFC 9110 §7.8).

use std::str;

use super::{Fields, fields::elements};

/// Returns the protocols that a head offers or accepts, as the value of an `Upgrade` field.
///
/// Returns `None` if `Connection` does not list `upgrade`. `h2c` is left out: the peers would speak HTTP/2 over a
/// connection that this proxy takes for HTTP/1.1.
pub(super) fn upgrade(fields: &Fields) -> Option<String> {
    if !fields.lists_token("Connection", "upgrade") {
        return None;
    }
    let is_protocol =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.+!#$%&'*^`|~/".contains(byte);
    let protocols: Vec<&str> = fields
        .values("Upgrade")
        .flat_map(elements)
        .filter(|protocol| protocol.iter().all(is_protocol))
        .filter(|protocol| !protocol.eq_ignore_ascii_case(b"h2c"))
        .filter_map(|protocol| str::from_utf8(protocol).ok())
        .collect();
    (!protocols.is_empty()).then(|| protocols.join(", "))
}
