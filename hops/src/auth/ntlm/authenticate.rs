//! Message 3 (MS-NLMP §2.2.1.3), which proves that the client knows the password.

use std::time::{Duration, SystemTime};

use zeroize::Zeroizing;

use super::{
    NTLM_SIGNATURE, NtlmChallenge, NtlmCredentials, NtlmError, NtlmRound, OUR_FLAGS, av_pairs,
    av_pairs::AvPairs,
    negotiate_message,
    response::{client_part, hmac_md5, proof, response_key, session_key, utf16},
};

/// Answers the proxy's challenge, which is the decoded token of its 407.
///
/// The result is a secret. Send it on the connection that the challenge came on: on any other one the proxy rejects it, which
/// counts towards a lock-out.
///
/// # Errors
/// The challenge is malformed or asks for NTLMv1, or a part is too long for a message.
pub fn authenticate_message(
    credentials: &NtlmCredentials,
    challenge_message: &[u8],
    round: &NtlmRound<'_>,
) -> Result<Zeroizing<Vec<u8>>, NtlmError> {
    let challenge = NtlmChallenge::parse(challenge_message)?;
    // A server that sends its time expects it back (MS-NLMP §3.1.5.1.2). So a wrong clock of this machine does no harm.
    let server_time = challenge.target_info.value(av_pairs::TIMESTAMP);
    let time = match server_time.map(<[u8; 8]>::try_from) {
        Some(time) => time.map_err(|_| NtlmError::Malformed)?,
        None => file_time(round.now).to_le_bytes(),
    };
    // The proof covers the pairs, so an attacker in the middle can remove neither the bindings nor the flag that announces
    // the integrity code.
    let mut pairs = Vec::new();
    answer_pairs(&challenge, round).write(&mut pairs)?;
    let client_part = client_part(time, &round.client_challenge, &pairs);

    let key = response_key(credentials);
    let proof = proof(&key, &challenge.server_challenge, &client_part);
    let response = Zeroizing::new([&proof[..], &client_part].concat());
    // The integrity code covers all three messages, with zeros in its own place. It also protects the flags of message 1,
    // which nothing else does. Without a key exchange it is made with the session key itself (MS-NLMP §3.1.5.1.2).
    let mut message = assemble(credentials, challenge.flags, &response)?;
    let signing_key = session_key(&key, &proof);
    let code = hmac_md5(&signing_key, &[&negotiate_message(), challenge_message, &message]);
    message[MIC_AT..MIC_AT + code.len()].copy_from_slice(&code);
    Ok(message)
}

/// Returns the pairs of the proxy and those that the client adds (MS-NLMP §3.1.5.1.2): a flag for the integrity code, the
/// channel bindings, and the name of the service.
fn answer_pairs(challenge: &NtlmChallenge, round: &NtlmRound<'_>) -> AvPairs {
    let mut pairs = challenge.target_info.clone();
    // The flags of the server are kept, and the bit for the integrity code is added.
    let server_flags = pairs.value(av_pairs::FLAGS).and_then(<[u8]>::first_chunk);
    let flags = server_flags.map_or(0, |flags| u32::from_le_bytes(*flags)) | HAS_MIC;
    pairs.set(av_pairs::FLAGS, flags.to_le_bytes().to_vec());
    // Zeros mean that there are no bindings. The pair is sent in any case (MS-NLMP §3.1.5.1.2).
    let bindings = round.bindings.map_or([0; 16], |bindings| bindings.ntlm_hash());
    pairs.set(av_pairs::CHANNEL_BINDINGS, bindings.to_vec());
    pairs.set(av_pairs::TARGET_NAME, utf16(round.spn.unwrap_or_default().chars()));
    pairs
}

/// Writes the message with zeros in place of its integrity code, over which the code is computed.
fn assemble(
    credentials: &NtlmCredentials,
    server_flags: u32,
    response: &[u8],
) -> Result<Zeroizing<Vec<u8>>, NtlmError> {
    let domain = utf16(credentials.domain().chars());
    let user = utf16(credentials.user().chars());
    // LM response, NT response, domain, user, workstation, session key: in the order of their fields.
    let parts: [&[u8]; 6] = [&[0; LM_RESPONSE_BYTES], response, &domain, &user, &[], &[]];
    let total = parts.iter().map(|part| part.len()).sum::<usize>() + HEADER_BYTES;
    let mut message = Zeroizing::new(Vec::with_capacity(total));
    message.extend_from_slice(NTLM_SIGNATURE);
    message.extend_from_slice(&3_u32.to_le_bytes());
    // The header has a field for each part: its length, the same number as its allocated length, and its offset.
    let mut offset = HEADER_BYTES;
    for part in parts {
        let length = u16::try_from(part.len()).map_err(|_| NtlmError::TooLong)?.to_le_bytes();
        message.extend_from_slice(&[length, length].concat());
        let at = u32::try_from(offset).map_err(|_| NtlmError::TooLong)?;
        message.extend_from_slice(&at.to_le_bytes());
        offset += part.len();
    }
    // Both sides agree on the flags that both have set.
    message.extend_from_slice(&(server_flags & OUR_FLAGS).to_le_bytes());
    // An empty version, and room for the integrity code.
    message.resize(HEADER_BYTES, 0);
    for part in parts {
        message.extend_from_slice(part);
    }
    Ok(message)
}

/// Returns a time in the units of Windows: 100 ns since 1601.
fn file_time(now: SystemTime) -> u64 {
    let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let units = (since_1970 + FROM_1601_TO_1970).as_nanos() / 100;
    u64::try_from(units).unwrap_or(u64::MAX)
}

/// The length of the header, which ends with the integrity code.
const HEADER_BYTES: usize = 88;
const MIC_AT: usize = 72;
/// Zeros: a response for LM would expose the password.
const LM_RESPONSE_BYTES: usize = 24;
/// The bit of `MsvAvFlags` that announces an integrity code.
const HAS_MIC: u32 = 2;
const FROM_1601_TO_1970: Duration = Duration::from_secs(11_644_473_600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Secret,
        auth::{
            channel_bindings::ChannelBindings,
            ntlm::{
                NtHash,
                challenge_message::tests::{message, target_info},
            },
        },
    };

    fn credentials() -> NtlmCredentials {
        NtlmCredentials::new(r"Domain\User", NtHash::from_password(&Secret::new("Password")))
    }

    fn part(message: &[u8], at: usize) -> &[u8] {
        let number = |at: usize, bytes: usize| {
            message[at..at + bytes].iter().rev().fold(0, |sum, &byte| sum << 8 | usize::from(byte))
        };
        let offset = number(at + 4, 4);
        &message[offset..offset + number(at, 2)]
    }

    fn round<'a>(bindings: Option<&'a ChannelBindings>) -> NtlmRound<'a> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700);
        NtlmRound { spn: Some("HTTP/p"), bindings, client_challenge: [0xAA; 8], now }
    }

    /// Reads the message as a domain controller would.
    #[test]
    fn the_message_proves_the_password_and_carries_a_valid_code() {
        let challenge = message(&target_info());
        let third = authenticate_message(&credentials(), &challenge, &round(None)).unwrap();
        assert_eq!(part(&third, 12), [0; 24]);
        assert_eq!(part(&third, 28), utf16("Domain".chars()));
        assert_eq!(part(&third, 36), utf16("User".chars()));
        assert_eq!(part(&third, 44), b"");
        assert_eq!(part(&third, 52), b"");
        let (proof_sent, client_part) = part(&third, 20).split_at(16);
        let key = response_key(&credentials());
        let expected = proof(&key, &[0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF], client_part);
        assert_eq!(proof_sent, expected);

        let mut unsigned = third.to_vec();
        unsigned[MIC_AT..MIC_AT + 16].fill(0);
        let parts: [&[u8]; 3] = [&negotiate_message(), &challenge, &unsigned];
        let code = hmac_md5(&session_key(&key, &expected), &parts);
        assert_eq!(third[MIC_AT..MIC_AT + 16], code);
    }

    #[test]
    fn pairs_of_the_server_are_kept_and_ours_added() {
        let certificate = [
            &[0x30, 0x0E, 0x30, 0x00, 0x30, 0x0A, 0x06, 0x08][..],
            &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02],
        ];
        let bindings = ChannelBindings::tls_server_end_point(&certificate.concat()).unwrap();
        for bindings in [None, Some(&bindings)] {
            let challenge = message(&target_info());
            let third = authenticate_message(&credentials(), &challenge, &round(bindings)).unwrap();
            let client_part = &part(&third, 20)[16..];
            // 1970 and 17 units.
            assert_eq!(client_part[8..16], (116_444_736_000_000_000_u64 + 17).to_le_bytes());
            let pairs = AvPairs::parse(&client_part[28..]).unwrap();
            assert_eq!(pairs.value(2), Some(&utf16("Domain".chars())[..]));
            assert_eq!(pairs.value(av_pairs::FLAGS), Some(&[2, 0, 0, 0][..]));
            assert_eq!(pairs.value(av_pairs::TARGET_NAME), Some(&utf16("HTTP/p".chars())[..]));
            let hash = bindings.map_or([0; 16], ChannelBindings::ntlm_hash);
            assert_eq!(pairs.value(av_pairs::CHANNEL_BINDINGS), Some(&hash[..]));
        }
    }

    #[test]
    fn the_time_of_the_server_is_used_if_it_sends_one() {
        let info = [&[7, 0, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8][..], &[0; 4]].concat();
        let third = authenticate_message(&credentials(), &message(&info), &round(None)).unwrap();
        assert_eq!(part(&third, 20)[24..32], [1, 2, 3, 4, 5, 6, 7, 8]);
        let short = [&[7, 0, 2, 0, 1, 2][..], &[0; 4]].concat();
        let refused = authenticate_message(&credentials(), &message(&short), &round(None));
        assert_eq!(refused.map(drop), Err(NtlmError::Malformed));
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let long = "x".repeat(40_000);
        let hash = NtHash::from_password(&Secret::new("p"));
        let credentials = NtlmCredentials::new(&long, hash);
        let refused = authenticate_message(&credentials, &message(&target_info()), &round(None));
        assert_eq!(refused.map(drop), Err(NtlmError::TooLong));
        let info = [&[2, 0, 0xF0, 0xFF][..], &[0; 0xFFF0], &[0; 4]].concat();
        let refused =
            authenticate_message(&super::tests::credentials(), &message(&info), &round(None));
        assert_eq!(refused.map(drop), Err(NtlmError::TooLong));
    }
}
