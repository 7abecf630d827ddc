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
    let Some((user, rest)) = text(rest)? else { return Ok(None) };
    let (host, rest) = match [a, b, c, d] {
        [0, 0, 0, last] if last != 0 => match text(rest)? {
            Some((name, rest)) => (host(name), rest),
            None => return Ok(None),
        },
        address => (Ok(Host::Address(Ipv4Addr::from(address).into())), rest),
    };
    if command != CONNECT {
        return Err(SocksError::Command);
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

/// Splits a text from the front that a NUL ends.
fn text(bytes: &[u8]) -> Result<Option<(&[u8], &[u8])>, SocksError> {
    match bytes.iter().take(TEXT_BYTES_MAX + 1).position(|byte| *byte == 0) {
        Some(end) => Ok(Some((&bytes[..end], &bytes[end + 1..]))),
        None if bytes.len() > TEXT_BYTES_MAX => Err(SocksError::TooLong),
        None => Ok(None),
    }
}

/// As much as SOCKS5 allows.
pub(super) const TEXT_BYTES_MAX: usize = 255;
const CONNECT: u8 = 1;
const GRANTED: u8 = 90;
const REJECTED: u8 = 91;
