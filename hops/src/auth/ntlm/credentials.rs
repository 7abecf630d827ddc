//! The credentials of NTLM.

use std::fmt;

use md4::{Digest as _, Md4};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::Secret;

/// The MD4 of a password in UTF-16 (MS-NLMP §3.3.1). Keep it as secret as the password, since it serves the same purpose.
#[derive(Clone)]
pub struct NtHash(Zeroizing<[u8; 16]>);

/// The error for a text that is not an NT hash. It does not quote the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("must be 32 hexadecimal digits")]
pub struct InvalidNtHash;

impl NtHash {
    /// Hashes a password.
    pub fn from_password(password: &Secret) -> Self {
        // With the exact capacity, the text never grows and leaves no copy behind.
        let mut utf16 = Zeroizing::new(Vec::with_capacity(2 * password.expose().len()));
        utf16.extend(password.expose().encode_utf16().flat_map(u16::to_le_bytes));
        Self(Zeroizing::new(Md4::digest(&utf16).into()))
    }

    /// Reads 32 hexadecimal digits.
    ///
    /// # Errors
    /// The text is something else.
    pub fn from_hex(text: &Secret) -> Result<Self, InvalidNtHash> {
        let digits = text.expose().as_bytes();
        let mut hash = Self(Zeroizing::new([0; 16]));
        // No error quotes the digits, which are as secret as a password.
        if digits.len() != 2 * hash.0.len() {
            return Err(InvalidNtHash);
        }
        let digit =
            |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        for (byte, pair) in hash.0.iter_mut().zip(digits.chunks_exact(2)) {
            let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else {
                return Err(InvalidNtHash);
            };
            *byte = high << 4 | low;
        }
        Ok(hash)
    }

    pub(super) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for NtHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NtHash(hidden)")
    }
}

/// A user, the domain that knows the user, and the hash of the password.
#[derive(Clone)]
pub struct NtlmCredentials {
    user: String,
    domain: String,
    hash: NtHash,
    is_hash_written: bool,
}

impl NtlmCredentials {
    /// Creates credentials for `DOMAIN\user`. Any other form, such as `user` or `user@realm`, is a user with an empty domain,
    /// as in Windows. The server then finds the domain.
    pub fn new(username: &str, hash: NtHash) -> Self {
        let (domain, user) = username.split_once('\\').unwrap_or(("", username));
        Self { user: user.to_owned(), domain: domain.to_owned(), hash, is_hash_written: false }
    }

    /// Notes that the settings contain the hash itself and not a password.
    #[must_use]
    pub fn with_written_hash(self) -> Self {
        Self { is_hash_written: true, ..self }
    }

    /// Returns whether the settings have the hash and no password.
    pub fn is_hash_written(&self) -> bool {
        self.is_hash_written
    }

    /// Returns the user as it is sent.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Returns the domain as it is sent, which may be empty.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    pub(super) fn hash(&self) -> &NtHash {
        &self.hash
    }
}

/// Hides everything, since usernames are credentials too.
impl fmt::Debug for NtlmCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NtlmCredentials(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_are_split_at_the_backslash() {
        let split = |username| {
            let credentials = NtlmCredentials::new(username, NtHash(Zeroizing::new([0; 16])));
            (credentials.domain().to_owned(), credentials.user().to_owned())
        };
        let expect = |domain: &str, user: &str| (domain.to_owned(), user.to_owned());
        assert_eq!(split(r"CORP\alice"), expect("CORP", "alice"));
        assert_eq!(split("alice@CORP.EXAMPLE"), expect("", "alice@CORP.EXAMPLE"));
        assert_eq!(split("alice"), expect("", "alice"));
    }

    /// MS-NLMP §4.2.2.1.2.
    #[test]
    fn the_hash_of_the_published_password_is_the_published_one() {
        let hash = NtHash::from_password(&Secret::new("Password"));
        let written = NtHash::from_hex(&Secret::new("a4f49c406510bdcab6824ee7c30FD852")).unwrap();
        assert_eq!(hash.0, written.0);
    }

    #[test]
    fn a_malformed_hash_is_refused_and_never_shown() {
        for text in
            ["", "a4f4", "a4f49c406510bdcab6824ee7c30fd85g", "a4f49c406510bdcab6824ee7c30fd8522"]
        {
            assert!(NtHash::from_hex(&Secret::new(text)).is_err(), "{text}");
        }
        assert!(NtHash::from_hex(&Secret::new("ä".repeat(16))).is_err());
        let credentials = NtlmCredentials::new("alice", NtHash(Zeroizing::new([0xAB; 16])));
        let shown = format!("{credentials:?} {:?}", credentials.hash());
        assert_eq!(shown, "NtlmCredentials(hidden) NtHash(hidden)");
    }
}
