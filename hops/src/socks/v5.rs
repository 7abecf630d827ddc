//! The messages of SOCKS5, as bytes.

use std::net::IpAddr;

use zeroize::Zeroizing;

use crate::{Authority, HopError, Host, InvalidSetting, Meaning, Party, Refusal, Secret, Spoken};

/// A method of authentication (RFC 1928 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// No authentication.
    None,
    /// Username and password (RFC 1929).
    UserPassword,
}

impl AuthMethod {
    /// Returns the code on the wire.
    pub fn code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::UserPassword => 2,
        }
    }
}

/// A username and a password, of 1 to 255 bytes each.
#[derive(Clone, Debug)]
pub struct UserPassword {
    username: Secret,
    password: Secret,
}

impl UserPassword {
    pub(crate) const LENGTHS: &'static str = "must have from 1 to 255 bytes for SOCKS5";

    /// Creates credentials, after checking their lengths.
    ///
    /// # Errors
    /// Names `username` or `password`.
    pub fn new(username: Secret, password: Secret) -> Result<Self, InvalidSetting> {
        for (key, secret) in [("username", &username), ("password", &password)] {
            if !(1..=255).contains(&secret.expose().len()) {
                return Err(InvalidSetting::new(key, Self::LENGTHS));
            }
        }
        Ok(Self { username, password })
    }

    /// Returns the request of RFC 1929 §2, which is wiped when it is dropped.
    pub(super) fn message(&self) -> Zeroizing<Vec<u8>> {
        let parts = [&self.username, &self.password].map(|part| part.expose().as_bytes());
        // With the exact capacity, the message never grows and leaves no copy behind.
        let mut message = Zeroizing::new(Vec::with_capacity(3 + parts[0].len() + parts[1].len()));
        message.push(PASSWORD_VERSION);
        for part in parts {
            // `new` has checked the length.
            message.push(part.len() as u8);
            message.extend_from_slice(part);
        }
        message
    }
}

/// The code of a reply (RFC 1928 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyCode(pub u8);

impl ReplyCode {
    /// Returns the refusal that this code means; `None` for success.
    ///
    /// A pool leaves the hop only if the refusal is about the hop. By its name, "general server failure", code 1 is. But
    /// common servers send it for a name that they can't look up, so it counts as one about the next stop.
    pub fn refusal(self) -> Option<Refusal> {
        let (meaning, about, words) = match self.0 {
            0 => return None,
            // Codes 1 to 6 are about the next stop. A pool would meet the same answer at another member, so it keeps
            // this one.
            1 => (Meaning::Unclear, Party::Next, "general failure"),
            2 => (Meaning::Policy, Party::Next, "not allowed by its rules"),
            3 => (Meaning::NetworkUnreachable, Party::Next, "network unreachable"),
            4 => (Meaning::Unreachable, Party::Next, "host unreachable"),
            5 => (Meaning::TargetRefused, Party::Next, "connection refused"),
            6 => (Meaning::Timeout, Party::Next, "time to live expired"),
            // From here on the proxy itself lacks something, and another one may have it.
            7 => (Meaning::Unsupported, Party::Hop, "command not supported"),
            8 => (Meaning::Unsupported, Party::Hop, "type of address not supported"),
            _ => (Meaning::Unclear, Party::Hop, "a code without a meaning"),
        };
        Some(Refusal::new(meaning, about, &format!("{}, {words}", self.0)))
    }
}

/// Offers one method.
pub(super) fn greeting(method: AuthMethod) -> [u8; 3] {
    [VERSION, 1, method.code()]
}

type Parsed<T> = Result<Option<(T, usize)>, HopError>;

/// Reads the method that the proxy chose, or `None` if it accepts none of those offered.
pub(super) fn chosen_method(seen: &[u8]) -> Parsed<Option<AuthMethod>> {
    match *seen {
        [] | [VERSION] => Ok(None),
        [VERSION, code, ..] => {
            // 0xFF means that no method is acceptable. A code that was not offered means the same.
            let known = [AuthMethod::None, AuthMethod::UserPassword];
            Ok(Some((known.into_iter().find(|method| method.code() == code), 2)))
        }
        _ => Err(not_socks(seen)),
    }
}

/// Reads the verdict on a username and password.
///
/// The version of the answer is 1 (RFC 1929 §2). Some proxies write the 5 of SOCKS, and clients such as curl ignore it, so only
/// the status decides.
pub(super) fn is_authenticated(seen: &[u8]) -> Parsed<bool> {
    match *seen {
        [] | [_] => Ok(None),
        [_, status, ..] => Ok(Some((status == 0, 2))),
    }
}

/// Writes a CONNECT to `next`.
pub(super) fn request(next: &Authority) -> Result<Vec<u8>, HopError> {
    let mut request = vec![VERSION, CONNECT, 0];
    match next.host() {
        Host::Address(IpAddr::V4(address)) => {
            request.push(IPV4);
            request.extend(address.octets());
        }
        Host::Address(IpAddr::V6(address)) => {
            request.push(IPV6);
            request.extend(address.octets());
        }
        // The name is passed on unresolved: the network behind the proxy may know names that this machine does not.
        Host::Name(name) => {
            let too_long = |_| HopError::Other("the name is too long for SOCKS5".into());
            request.extend([NAME, u8::try_from(name.len()).map_err(too_long)?]);
            request.extend(name.as_bytes());
        }
    }
    request.extend(next.port().to_be_bytes());
    Ok(request)
}

/// Reads a reply. The code is enough to recognise a refusal, and some proxies close the connection right after it.
pub(super) fn reply(seen: &[u8]) -> Parsed<ReplyCode> {
    let address_bytes = match *seen {
        [] | [VERSION] => return Ok(None),
        // The whole buffer is taken: the connection ends after a refusal, and the rest of the reply may never come.
        [VERSION, code, ..] if code != 0 => return Ok(Some((ReplyCode(code), seen.len()))),
        // The length depends on the type of the address, which has not come yet.
        [VERSION, 0] | [VERSION, 0, _] => return Ok(None),
        [VERSION, 0, _, IPV4, ..] => 4,
        [VERSION, 0, _, IPV6, ..] => 16,
        [VERSION, 0, _, NAME] => return Ok(None),
        [VERSION, 0, _, NAME, length, ..] => 1 + usize::from(length),
        [VERSION, ..] => return Err(HopError::Malformed("it has an unknown type of address")),
        _ => return Err(not_socks(seen)),
    };
    let length = HEAD_BYTES + address_bytes + PORT_BYTES;
    Ok((seen.len() >= length).then_some((ReplyCode(0), length)))
}

/// Returns the error for an answer that begins with `seen`.
fn not_socks(seen: &[u8]) -> HopError {
    match Spoken::from_answer(seen) {
        Some(spoken) if spoken != Spoken::Socks5 => HopError::OtherProtocol(spoken),
        _ => HopError::Malformed("this is not SOCKS5"),
    }
}

const VERSION: u8 = 5;
/// The version of RFC 1929's messages.
const PASSWORD_VERSION: u8 = 1;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;
const HEAD_BYTES: usize = 4;
const PORT_BYTES: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_passed_on_as_they_are() {
        let sent = |next: &str| request(&next.parse().unwrap()).unwrap();
        assert_eq!(sent("1.2.3.4:80"), b"\x05\x01\x00\x01\x01\x02\x03\x04\x00\x50");
        assert_eq!(
            sent("[::1]:80"),
            [&b"\x05\x01\x00\x04"[..], &[0; 15], b"\x01\x00\x50"].concat()
        );
        assert_eq!(sent("a.b:1"), b"\x05\x01\x00\x03\x03a.b\x00\x01");
        let longest =
            format!("{}.", vec!["a".repeat(63); 3].join(".") + &format!(".{}", "a".repeat(61)));
        assert_eq!(sent(&format!("{longest}:1"))[4], 254);
    }

    #[test]
    fn credentials_have_1_to_255_bytes() {
        let new = |username: usize, password: usize| {
            UserPassword::new(Secret::new("u".repeat(username)), Secret::new("p".repeat(password)))
                .map(|known| known.message().len())
                .map_err(|invalid| invalid.path().to_string())
        };
        assert_eq!(new(255, 1), Ok(259));
        assert_eq!(new(0, 1), Err("username".into()));
        assert_eq!(new(1, 256), Err("password".into()));
    }

    #[test]
    fn only_codes_7_and_up_are_about_the_hop() {
        for code in 1..=20 {
            let refusal = ReplyCode(code).refusal().unwrap();
            assert_eq!(refusal.about == Party::Hop, code >= 7, "{code}");
        }
        assert_eq!(ReplyCode(0).refusal(), None);
        assert_eq!(ReplyCode(5).refusal().unwrap().meaning, Meaning::TargetRefused);
    }
}
