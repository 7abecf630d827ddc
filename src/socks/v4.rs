//! The messages of SOCKS4 and SOCKS4a. They have no RFC; the protocol is described in "SOCKS: A protocol for TCP proxy
//! across firewalls" and "SOCKS 4A: A Simple Extension to SOCKS 4 Protocol".

use std::{net::Ipv4Addr, num::NonZeroU16};

use mooltiroute_hops::{Authority, Host, socks::ReplyCode};

use super::{SocksError, SocksRequest, host};

/// Reads a request. With an address of 0.0.0.x, in which x is not zero, a name follows the user (4a).
pub(super) fn request(seen: &[u8]) -> Result<Option<(SocksRequest, usize)>, SocksError> {
    let Some((&[_, command, high, low, a, b, c, d], rest)) = seen.split_first_chunk() else {
        return Ok(None);
    };
    let Some(user_bytes) = text_bytes(rest)? else { return Ok(None) };
    let (user, rest) = (&rest[..user_bytes], &rest[user_bytes + 1..]);
    // No host has an address of 0.0.0.x, so SOCKS4a marks by it that a name follows.
    let (host, rest) = match [a, b, c, d] {
        [0, 0, 0, last] if last != 0 => match text_bytes(rest)? {
            Some(name_bytes) => (host(&rest[..name_bytes]), &rest[name_bytes + 1..]),
            None => return Ok(None),
        },
        address => (Ok(Host::Address(Ipv4Addr::from(address).into())), rest),
    };
    // Judged only now that the message is complete, so that the client has sent all of it when the
    // refusal comes.
    if command != CONNECT {
        return Err(SocksError::Command(command));
    }
    let port = NonZeroU16::new(u16::from_be_bytes([high, low])).ok_or(SocksError::Port)?;
    let request = SocksRequest { target: Authority::new(host?, port), user: user.to_vec() };
    Ok(Some((request, seen.len() - rest.len())))
}

/// Writes a reply, which knows only success and failure.
pub(super) fn reply(code: ReplyCode) -> [u8; 8] {
    let code = if code == ReplyCode(0) { GRANTED } else { REJECTED };
    [0, code, 0, 0, 0, 0, 0, 0]
}

/// Returns the length of the text at the front, which a NUL ends; `None` if the NUL has not come yet.
fn text_bytes(bytes: &[u8]) -> Result<Option<usize>, SocksError> {
    match bytes.iter().take(TEXT_BYTES_MAX + 1).position(|byte| *byte == 0) {
        None if bytes.len() > TEXT_BYTES_MAX => Err(SocksError::TooLong),
        end => Ok(end),
    }
}

/// As much as SOCKS5 allows.
pub(super) const TEXT_BYTES_MAX: usize = 255;
const CONNECT: u8 = 1;
const GRANTED: u8 = 90;
const REJECTED: u8 = 91;
