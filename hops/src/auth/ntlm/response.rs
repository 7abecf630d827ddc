//! The computations of NTLMv2 (MS-NLMP §3.3.2).

use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::Md5;
use zeroize::Zeroizing;

use super::NtlmCredentials;

/// A key of 128 bits that is wiped when it is dropped.
pub(super) type NtlmKey = Zeroizing<[u8; 16]>;

/// Derives the key that only the user and the domain controller know: `NTOWFv2`.
pub(super) fn response_key(credentials: &NtlmCredentials) -> NtlmKey {
    // Only the user is converted to upper case. The domain is hashed as it is sent (MS-NLMP §3.3.2).
    let user = credentials.user().chars().map(upper);
    let identity = utf16(user.chain(credentials.domain().chars()));
    Zeroizing::new(hmac_md5(credentials.hash().as_bytes(), &[&identity]))
}

/// Returns the proof of the password for a server's challenge and the client's part of the response: `NTProofStr`.
pub(super) fn proof(key: &NtlmKey, server_challenge: &[u8; 8], client_part: &[u8]) -> [u8; 16] {
    hmac_md5(key, &[server_challenge, client_part])
}

/// Derives the key of the session, with which the messages are signed: `SessionBaseKey`.
pub(super) fn session_key(key: &NtlmKey, proof: &[u8; 16]) -> NtlmKey {
    Zeroizing::new(hmac_md5(key, &[proof]))
}

/// Returns the client's part of the response: `temp`, with the pairs already written.
pub(super) fn client_part(time: [u8; 8], client_challenge: &[u8; 8], av_pairs: &[u8]) -> Vec<u8> {
    // The version of the response, twice, and reserved bytes. The zeros around the pairs are reserved too.
    let version = [1, 1, 0, 0, 0, 0, 0, 0];
    [&version[..], &time, client_challenge, &[0; 4], av_pairs, &[0; 4]].concat()
}

pub(super) fn hmac_md5(key: &[u8; 16], parts: &[&[u8]]) -> [u8; 16] {
    // HMAC pads a short key with zeros. A key of the full length, padded here, can't be refused.
    let mut block = Zeroizing::new([0; 64]);
    block[..16].copy_from_slice(key);
    let mut hmac = Hmac::<Md5>::new((&*block).into());
    for part in parts {
        hmac.update(part);
    }
    hmac.finalize().into_bytes().into()
}

pub(super) fn utf16(text: impl Iterator<Item = char>) -> Vec<u8> {
    let mut units = [0; 2];
    text.flat_map(|unit| unit.encode_utf16(&mut units).to_vec())
        .flat_map(u16::to_le_bytes)
        .collect()
}

/// Converts a character to upper case as Windows does, which maps one character to one other. So `ß` stays, although Unicode's
/// full mapping makes two of it.
fn upper(character: char) -> char {
    let mut mapped = character.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(upper), None) => upper,
        _ => character,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Secret,
        auth::ntlm::{NtHash, challenge_message::tests::target_info},
    };

    /// MS-NLMP §4.2.4.1 and §4.2.4.2.
    #[test]
    fn the_published_vectors_are_met() {
        let hash = NtHash::from_password(&Secret::new("Password"));
        let key = response_key(&NtlmCredentials::new(r"Domain\User", hash));
        assert_eq!(hex(&*key), "0c868a403bfd7a93a3001ef22ef02e3f");
        let client_part = client_part([0; 8], &[0xAA; 8], &target_info());
        let server_challenge = [0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF];
        let proof = proof(&key, &server_challenge, &client_part);
        assert_eq!(hex(&proof), "68cd0ab851e51c96aabc927bebef6a1c");
        assert_eq!(hex(&*session_key(&key, &proof)), "8de40ccadbc14a82f15cb0ad0de95ca3");
    }

    #[test]
    fn case_changes_one_character_into_one_other() {
        assert_eq!("straße é ı".chars().map(upper).collect::<String>(), "STRAßE É I");
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
