//! Message 2 (MS-NLMP §2.2.1.2). It comes from outside, so no length or offset in it is trusted.

use super::{
    NTLM_SIGNATURE, NtlmError,
    av_pairs::{AvPairs, DOMAIN_NAME},
    flags,
};

/// A proxy's challenge that NTLMv2 can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NtlmChallenge {
    pub(super) flags: u32,
    pub(super) server_challenge: [u8; 8],
    pub(super) target_info: AvPairs,
    target_name: String,
}

impl NtlmChallenge {
    /// Reads a message.
    ///
    /// # Errors
    /// The message is malformed, or its sender can't speak NTLMv2 in Unicode.
    pub fn parse(message: &[u8]) -> Result<Self, NtlmError> {
        // Servers of NTLMv1 send a header without target information. Its flags are still read, so that the error names the old
        // version instead of a malformed message.
        let header = message.first_chunk::<SHORT_HEADER_BYTES>().ok_or(NtlmError::Malformed)?;
        if !header.starts_with(NTLM_SIGNATURE) || u32_at(header, 8)? != 2 {
            return Err(NtlmError::Malformed);
        }
        let flags = u32_at(header, 20)?;
        // An attacker in the middle can clear these flags. So the absence of one is an error, and never leads to an older
        // response.
        let is_version_2 = flags::EXTENDED_SESSION_SECURITY | flags::TARGET_INFO;
        if flags & is_version_2 != is_version_2 {
            return Err(NtlmError::OnlyVersion1);
        }
        if flags & flags::UNICODE == 0 {
            return Err(NtlmError::NoUnicode);
        }
        // The information may be empty even with the flag. A response of NTLMv2 can't be computed without it.
        let target_info = payload(message, 40)?;
        if target_info.is_empty() {
            return Err(NtlmError::OnlyVersion1);
        }
        let server_challenge = *header[24..].first_chunk().ok_or(NtlmError::Malformed)?;
        Ok(Self {
            flags,
            server_challenge,
            target_info: AvPairs::parse(target_info)?,
            target_name: printable_utf16(payload(message, 12)?),
        })
    }

    /// Returns the domain that the proxy says it belongs to, as printable text and shortened. Anyone can claim it.
    pub fn domain(&self) -> Option<String> {
        // The target may be a host and not a domain. The information names the domain in any case.
        let named = self.target_info.value(DOMAIN_NAME).map(printable_utf16);
        named.or_else(|| Some(self.target_name.clone())).filter(|name| !name.is_empty())
    }

    /// Returns the domain or host that the proxy says it belongs to, as printable text and shortened. Anyone can
    /// claim it.
    pub fn target_name(&self) -> &str {
        &self.target_name
    }
}

/// Returns the part that the field at `at` describes by its length, its allocated length and its offset. The offset of an
/// empty part is ignored, since some servers leave it out.
fn payload(message: &[u8], at: usize) -> Result<&[u8], NtlmError> {
    let field = message.get(at..at + 8).ok_or(NtlmError::Malformed)?;
    let length = usize::from(u16::from_le_bytes([field[0], field[1]]));
    if length == 0 {
        return Ok(&[]);
    }
    // With an offset into the header, flags and lengths would be read as content.
    let offset = usize::try_from(u32_at(field, 4)?).map_err(|_| NtlmError::Malformed)?;
    if offset < HEADER_BYTES {
        return Err(NtlmError::Malformed);
    }
    let end = offset.checked_add(length).ok_or(NtlmError::Malformed)?;
    message.get(offset..end).ok_or(NtlmError::Malformed)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, NtlmError> {
    let found = bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or(NtlmError::Malformed)?;
    Ok(u32::from_le_bytes(*found))
}

fn printable_utf16(bytes: &[u8]) -> String {
    let units = bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
    let text = char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER));
    let clean =
        |unit: char| if unit.is_alphanumeric() || "-_. ".contains(unit) { unit } else { '?' };
    text.take(TARGET_NAME_CHARS_MAX).map(clean).collect()
}

/// The length up to the end of the server's challenge. Servers without target information send no more.
const SHORT_HEADER_BYTES: usize = 32;
/// The length up to the end of the field for the target information. A version may follow.
const HEADER_BYTES: usize = 48;
const TARGET_NAME_CHARS_MAX: usize = 120;

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the challenge of MS-NLMP §4.2.4.3, without the flags for signing and sealing.
    pub(in super::super) fn message(target_info: &[u8]) -> Vec<u8> {
        let name: Vec<u8> = "Server".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let field = |length: usize, offset: u8| {
            let length = u16::try_from(length).unwrap().to_le_bytes();
            [length[0], length[1], length[0], length[1], offset, 0, 0, 0]
        };
        [
            &b"NTLMSSP\0\x02\0\0\0"[..],
            &field(name.len(), 56),
            &super::super::OUR_FLAGS.to_le_bytes(),
            &[0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF],
            &[0; 8],
            &field(target_info.len(), 68),
            &[6, 0, 0x70, 0x17, 0, 0, 0, 0x0F],
            &name,
            target_info,
        ]
        .concat()
    }

    /// Returns the target information of MS-NLMP §4.2.4.1.3: the domain `Domain` and the host `Server`.
    pub(in super::super) fn target_info() -> Vec<u8> {
        let text = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        [&[2, 0, 12, 0][..], &text("Domain"), &[1, 0, 12, 0], &text("Server"), &[0; 4]].concat()
    }

    #[test]
    fn a_challenge_is_read() {
        let challenge = NtlmChallenge::parse(&message(&target_info())).unwrap();
        assert_eq!(challenge.server_challenge, [0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF]);
        assert_eq!(challenge.target_name(), "Server");
        assert_eq!(challenge.domain().as_deref(), Some("Domain"));
        assert_eq!(challenge.target_info.value(1).map(<[u8]>::len), Some(12));
    }

    #[test]
    fn lying_lengths_and_offsets_are_refused() {
        let honest = message(&target_info());
        for (at, byte) in [
            (12, 0xFF),
            (16, 0xFF),
            (16, 10),
            (19, 0xFF),
            (40, 0xFF),
            (40, 35),
            (44, 12),
            (47, 0x80),
        ] {
            let mut lying = honest.clone();
            lying[at] = byte;
            assert_eq!(NtlmChallenge::parse(&lying), Err(NtlmError::Malformed), "{at}: {byte}");
        }
        for length in 0..honest.len() {
            assert!(NtlmChallenge::parse(&honest[..length]).is_err(), "{length}");
        }
        for wrong in [1, 3] {
            let mut message = honest.clone();
            message[8] = wrong;
            assert_eq!(NtlmChallenge::parse(&message), Err(NtlmError::Malformed));
        }
    }

    #[test]
    fn a_peer_that_speaks_only_version_1_is_refused() {
        let honest = message(&target_info());
        for (at, bit, error) in [
            (22, 0x08, NtlmError::OnlyVersion1),
            (22, 0x80, NtlmError::OnlyVersion1),
            (20, 0x01, NtlmError::NoUnicode),
        ] {
            let mut weaker = honest.clone();
            weaker[at] &= !bit;
            assert_eq!(NtlmChallenge::parse(&weaker), Err(error));
        }
        assert_eq!(NtlmChallenge::parse(&message(&[])), Err(NtlmError::OnlyVersion1));
        // As NT 4 sends it, which ends behind the challenge.
        let mut short = honest[..40].to_vec();
        short[22] = 0;
        assert_eq!(NtlmChallenge::parse(&short), Err(NtlmError::OnlyVersion1));
    }

    proptest! {
        #[test]
        fn a_damaged_message_causes_no_panic(damage: Vec<(prop::sample::Index, u8)>, cut: prop::sample::Index) {
            let mut message = message(&target_info());
            for (at, byte) in damage {
                let at = at.index(message.len());
                message[at] = byte;
            }
            let _ = NtlmChallenge::parse(&message);
            let _ = NtlmChallenge::parse(&message[..cut.index(message.len())]);
        }
    }
}
