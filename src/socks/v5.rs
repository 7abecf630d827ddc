//! The messages of SOCKS5 that a server reads and writes.

use std::{net::IpAddr, num::NonZeroU16};

use mooltiroute_hops::{
    Authority, Host,
    socks::{AuthMethod, ReplyCode},
};
use zeroize::Zeroizing;

use super::{Login, LoginPolicy, SocksError, host};

/// The methods that a client offers, as far as they are known here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offered {
    none: bool,
    password: bool,
}

impl Offered {
    /// Returns the method to use; `None` if no offered one is accepted.
    pub(super) fn choose(self, policy: LoginPolicy) -> Option<AuthMethod> {
        let (none, password) = (
            self.none.then_some(AuthMethod::None),
            self.password.then_some(AuthMethod::UserPassword),
        );
        // The server chooses among the offered methods. Hops that take preferences read them from
        // the username, so a client that has one is asked for it even if it may do without.
        match policy {
            LoginPolicy::Required => password,
            LoginPolicy::Preferred => password.or(none),
            LoginPolicy::Optional => none.or(password),
        }
    }
}

/// Reads the greeting (RFC 1928 §3). Its version has already been looked at.
pub(super) fn greeting(seen: &[u8]) -> Option<(Offered, usize)> {
    let (&[_, count], rest) = seen.split_first_chunk()?;
    let methods = rest.get(..count.into())?;
    let offers = |method: AuthMethod| methods.contains(&method.code());
    let offered =
        Offered { none: offers(AuthMethod::None), password: offers(AuthMethod::UserPassword) };
    Some((offered, 2 + methods.len()))
}

/// Reads a username and a password (RFC 1929 §2).
pub(super) fn login(seen: &[u8]) -> Result<Option<(Login, usize)>, SocksError> {
    if seen.first().is_some_and(|version| *version != PASSWORD_VERSION) {
        return Err(SocksError::PasswordVersion);
    }
    let Some((username, rest)) = seen.get(1..).and_then(text) else { return Ok(None) };
    let Some((password, rest)) = text(rest) else { return Ok(None) };
    let password = Zeroizing::new(password.to_vec());
    let login = Login { username: username.to_vec(), password };
    Ok(Some((login, seen.len() - rest.len())))
}

/// Reads a request (RFC 1928 §4). One that is not to be served is refused as soon as that is certain, but an unwelcome
/// command only once it is whole, so that its client reads the reply.
pub(super) fn request(seen: &[u8]) -> Result<Option<(Authority, usize)>, SocksError> {
    if seen.first().is_some_and(|version| *version != VERSION) {
        return Err(SocksError::Version);
    }
    let Some((&[_, command, _reserved, kind], rest)) = seen.split_first_chunk() else {
        return Ok(None);
    };
    let address = match kind {
        IPV4 => rest.split_first_chunk::<4>().map(|(bytes, rest)| (Ok(by_address(*bytes)), rest)),
        IPV6 => rest.split_first_chunk::<16>().map(|(bytes, rest)| (Ok(by_address(*bytes)), rest)),
        NAME => text(rest).map(|(name, rest)| (host(name), rest)),
        // The length of an unknown type is unknown too, so the rest can't be awaited.
        _ => return Err(SocksError::AddressType),
    };
    // The port follows the address. After it the message is complete, and a client that is refused
    // now has nothing left to send.
    let Some((host, rest)) = address else { return Ok(None) };
    let Some((port, rest)) = rest.split_first_chunk() else { return Ok(None) };
    if command != CONNECT {
        return Err(SocksError::Command(command));
    }
    let port = NonZeroU16::new(u16::from_be_bytes(*port)).ok_or(SocksError::Port)?;
    Ok(Some((Authority::new(host?, port), seen.len() - rest.len())))
}

/// Writes a reply (RFC 1928 §6) that names no address.
pub(super) fn reply(code: ReplyCode) -> [u8; 10] {
    [VERSION, code.0, 0, IPV4, 0, 0, 0, 0, 0, 0]
}

fn by_address(address: impl Into<IpAddr>) -> Host {
    Host::Address(address.into())
}

/// Splits a text from the front that its length precedes.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked((*length).into())
}

pub(super) const VERSION: u8 = 5;
/// The version of RFC 1929's messages.
pub(super) const PASSWORD_VERSION: u8 = 1;
/// No offered method is accepted (RFC 1928 §3).
pub(super) const NO_METHOD: u8 = 0xFF;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;
