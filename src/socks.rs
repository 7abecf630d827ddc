//! SOCKS as a server speaks it, without sockets: version 5 (RFC 1928, RFC 1929), and version 4 with its extension 4a.
//!
//! [`SocksServer`] is fed the client's bytes and says what to do next. A message is taken from the bytes only once it is
//! whole, so pieces make no difference, and bytes behind the request stay where they are.

mod v4;
mod v5;

use std::{borrow::Cow, net::Ipv6Addr};

use bytes::BytesMut;
use mooltiroute_hops::{Authority, Host, InvalidAuthority, socks::ReplyCode};
use thiserror::Error;
use zeroize::Zeroizing;

/// The version of SOCKS that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocksVersion {
    /// SOCKS4, with or without names (4a).
    V4,
    /// SOCKS5.
    V5,
}

/// The methods of authentication that a SOCKS5 client may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginPolicy {
    /// Only username and password.
    Required,
    /// Either; a client that offers both is asked for its username.
    Preferred,
    /// Either; a client that offers both is not asked for anything.
    Optional,
}

/// The exchange with one client, up to its request.
#[derive(Debug)]
pub struct SocksServer {
    state: HandshakeState,
    policy: LoginPolicy,
}

/// The message that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HandshakeState {
    Version4,
    Greeting,
    Password,
    Request,
}

/// The next thing to do for a client.
#[derive(Debug, PartialEq, Eq)]
pub enum SocksStep {
    /// Read more bytes.
    Read,
    /// Send this.
    Send([u8; 2]),
    /// Check these credentials, and go on with [`SocksServer::accept_login`] if they are right.
    Login(Login),
    /// Connect the client.
    Connect(SocksRequest),
}

/// The credentials of a client. Either may be empty: clients without a password send none.
#[derive(Debug, PartialEq, Eq)]
pub struct Login {
    /// The username.
    pub username: Vec<u8>,
    /// The password, which is wiped when it is dropped.
    pub password: Zeroizing<Vec<u8>>,
}

/// A request to connect.
#[derive(Debug, PartialEq, Eq)]
pub struct SocksRequest {
    /// The target of the request. Names are not resolved.
    pub target: Authority,
    /// The user that a SOCKS4 client names, which may be empty.
    pub user: Vec<u8>,
}

/// Why the bytes of a client are not served. The connection closes after any of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SocksError {
    /// A later message has another version.
    #[error("the client's messages have different versions of SOCKS")]
    Version,
    /// The client offers no method that is accepted.
    #[error(
        "the client offers no method of authentication that is served: neither none nor a username and password (RFC 1929)"
    )]
    Method,
    /// The message with the credentials has another version than 1.
    #[error("the client's credentials are not sent as RFC 1929 says")]
    PasswordVersion,
    /// BIND, UDP ASSOCIATE or something unknown.
    #[error("the client asks for {}", command(*.0))]
    Command(u8),
    /// The address has an unknown type.
    #[error("the target has an unknown type of address")]
    AddressType,
    /// The name is not a host name.
    #[error("the target is not a host: {0}")]
    Host(InvalidAuthority),
    /// The name has bytes that no name has.
    #[error("the target is not a text")]
    NotText,
    /// The port is zero.
    #[error("the target has port 0")]
    Port,
    /// A text of SOCKS4 does not end.
    #[error("the user or name is longer than {} bytes", v4::TEXT_BYTES_MAX)]
    TooLong,
}

impl SocksServer {
    /// Creates the exchange with a client that speaks `version`. SOCKS4 has no password, so `policy` is for SOCKS5.
    pub fn new(version: SocksVersion, policy: LoginPolicy) -> Self {
        let state = match version {
            SocksVersion::V4 => HandshakeState::Version4,
            SocksVersion::V5 => HandshakeState::Greeting,
        };
        Self { state, policy }
    }

    /// Takes the message that is due from the front of `seen`, once it is whole.
    ///
    /// # Errors
    /// The reason why the client is not served; answer with [`refusal`](Self::refusal).
    pub fn step(&mut self, seen: &mut BytesMut) -> Result<SocksStep, SocksError> {
        // A message is parsed from its first byte until all of it is there. All of them are short,
        // so that costs less than to remember a place in each.
        let parsed = match self.state {
            HandshakeState::Version4 => v4::request(seen)?.map(by_connecting),
            HandshakeState::Request => v5::request(seen)?.map(|(target, length)| {
                by_connecting((SocksRequest { target, user: vec![] }, length))
            }),
            HandshakeState::Password => {
                v5::login(seen)?.map(|(login, length)| (SocksStep::Login(login), length))
            }
            HandshakeState::Greeting => match v5::greeting(seen) {
                Some((offered, length)) => {
                    // If no method fits, the state stays: `refusal` then says so by the message
                    // that RFC 1928 §3 has for it.
                    let method = offered.choose(self.policy).ok_or(SocksError::Method)?;
                    self.state = match method {
                        mooltiroute_hops::socks::AuthMethod::None => HandshakeState::Request,
                        mooltiroute_hops::socks::AuthMethod::UserPassword => {
                            HandshakeState::Password
                        }
                    };
                    Some((SocksStep::Send([v5::VERSION, method.code()]), length))
                }
                None => None,
            },
        };
        let Some((step, length)) = parsed else { return Ok(SocksStep::Read) };
        // Only the bytes of this message. Those behind the request belong to the tunnel.
        let _ = seen.split_to(length);
        Ok(step)
    }

    /// Accepts the client's credentials. Returns the message that says so.
    pub fn accept_login(&mut self) -> [u8; 2] {
        self.state = HandshakeState::Request;
        [v5::PASSWORD_VERSION, 0]
    }

    /// Returns the message that says the client is connected.
    ///
    /// It names no address: the one that the last hop uses is not known, and clients don't need it for CONNECT.
    pub fn success(&self) -> Vec<u8> {
        self.reply(ReplyCode(0))
    }

    /// Returns the message that ends the exchange in its present state. Only a reply to the request has room for `code`.
    pub fn refusal(&self, code: ReplyCode) -> Vec<u8> {
        match self.state {
            // Only the last of the three messages has a field for a code.
            HandshakeState::Greeting => vec![v5::VERSION, v5::NO_METHOD],
            HandshakeState::Password => vec![v5::PASSWORD_VERSION, 1],
            HandshakeState::Version4 | HandshakeState::Request => self.reply(code),
        }
    }

    /// Returns the version that the client speaks.
    pub fn version(&self) -> SocksVersion {
        match self.state {
            HandshakeState::Version4 => SocksVersion::V4,
            _ => SocksVersion::V5,
        }
    }

    fn reply(&self, code: ReplyCode) -> Vec<u8> {
        match self.version() {
            SocksVersion::V4 => v4::reply(code).to_vec(),
            SocksVersion::V5 => v5::reply(code).to_vec(),
        }
    }
}

impl SocksError {
    /// Returns the reply code for the client.
    pub fn code(self) -> ReplyCode {
        ReplyCode(match self {
            Self::Command(_) => 7,
            Self::AddressType => 8,
            _ => 1,
        })
    }
}

/// Names a command that is not served, and says what to do.
fn command(code: u8) -> Cow<'static, str> {
    match code {
        BIND => {
            "BIND, and only CONNECT is served; let it make all connections itself, as FTP does in passive mode".into()
        }
        UDP_ASSOCIATE => {
            "UDP ASSOCIATE, and only CONNECT (TCP) is served; let it use no UDP, or none through this proxy".into()
        }
        TOR_RESOLVE | TOR_RESOLVE_PTR => {
            "a name lookup, which is Tor's own command, and only CONNECT is served; use proxychains4 instead of torsocks".into()
        }
        other => format!("the unknown command {other}, and only CONNECT is served").into(),
    }
}

fn by_connecting((request, length): (SocksRequest, usize)) -> (SocksStep, usize) {
    (SocksStep::Connect(request), length)
}

/// Reads the name of a target. It passes the same check as the target of an HTTP request, so no byte that means something
/// to a hop gets through. Clients also put addresses here.
fn host(name: &[u8]) -> Result<Host, SocksError> {
    let name = str::from_utf8(name).map_err(|_| SocksError::NotText)?;
    // `Host` expects an IPv6 address in brackets, and SOCKS clients write none.
    match name.parse::<Ipv6Addr>() {
        Ok(address) => Ok(Host::Address(address.into())),
        Err(_) => name.parse().map_err(SocksError::Host),
    }
}

/// Commands of both versions that are not served (RFC 1928 §4).
pub(crate) const BIND: u8 = 2;
pub(crate) const UDP_ASSOCIATE: u8 = 3;
// Commands by which Tor's clients look up a name or an address (Tor's `socks-extensions`).
const TOR_RESOLVE: u8 = 0xf0;
const TOR_RESOLVE_PTR: u8 = 0xf1;

#[cfg(test)]
mod tests;
