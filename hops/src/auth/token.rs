//! Tokens of Negotiate and NTLM, told apart by their first bytes.

use super::der::{Element, OBJECT_IDENTIFIER, SEQUENCE};

/// The protocol that a token belongs to, independent of the scheme name before it.
///
/// Proxies send NTLM messages under `Negotiate` and SPNEGO tokens under `NTLM`.
///
/// ```
/// use mooltiroute_hops::auth::token::TokenKind;
///
/// assert_eq!(TokenKind::of(b"NTLMSSP\0\x02\0\0\0"), Some(TokenKind::Ntlm));
/// assert_eq!(TokenKind::of(&[0xA1, 0x04, 0x30, 0x02, 0xA0, 0x00]), Some(TokenKind::Spnego));
/// assert_eq!(TokenKind::of(b"hello"), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenKind {
    /// An NTLM message without a wrapper (MS-NLMP §2.2.1).
    Ntlm,
    /// A token of SPNEGO (RFC 4178 §4.2), with any mechanism inside.
    Spnego,
    /// A first token of another GSS-API mechanism (RFC 2743 §3.1), such as bare Kerberos.
    OtherGss,
}

impl TokenKind {
    /// Recognises a token by its outer frame. Returns `None` if it is none of these, or is cut short.
    pub fn of(token: &[u8]) -> Option<Self> {
        // NTLM is checked first, because DER would take its first letter for a tag.
        if token.starts_with(NTLM_SIGNATURE) {
            return Some(Self::Ntlm);
        }
        let (outer, rest) = Element::read(token)?;
        if !rest.is_empty() {
            return None;
        }
        match outer.tag {
            // A first token names its mechanism; later ones of SPNEGO have a tag of their own and no name (RFC 4178
            // §4.2).
            INITIAL_TOKEN => {
                let (mechanism, _) = Element::expect(OBJECT_IDENTIFIER, outer.content)?;
                Some(if mechanism == SPNEGO { Self::Spnego } else { Self::OtherGss })
            }
            NEG_TOKEN_INIT | NEG_TOKEN_RESP => {
                Element::expect(SEQUENCE, outer.content).map(|_| Self::Spnego)
            }
            _ => None,
        }
    }
}

/// The first bytes of every NTLM message (MS-NLMP §2.2.1).
pub(super) const NTLM_SIGNATURE: &[u8; 8] = b"NTLMSSP\0";
/// `[APPLICATION 0]`, around the first token of a mechanism (RFC 2743 §3.1).
const INITIAL_TOKEN: u8 = 0x60;
const NEG_TOKEN_INIT: u8 = 0xA0;
const NEG_TOKEN_RESP: u8 = 0xA1;
/// The object identifier 1.3.6.1.5.5.2.
const SPNEGO: &[u8] = &[0x2B, 0x06, 0x01, 0x05, 0x05, 0x02];

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tokens_are_recognised_by_their_bytes() {
        // The answer of samba's ntlm_auth to NTLM inside SPNEGO, shortened to its frame.
        let response = STANDARD.decode("oQcwBaADCgEB").unwrap();
        assert_eq!(TokenKind::of(&response), Some(TokenKind::Spnego));
        let spnego = [&[0x60, 0x08, 0x06, 0x06][..], SPNEGO].concat();
        assert_eq!(TokenKind::of(&spnego), Some(TokenKind::Spnego));
        let kerberos = STANDARD.decode("YAsGCSqGSIb3EgECAg==").unwrap();
        assert_eq!(TokenKind::of(&kerberos), Some(TokenKind::OtherGss));
        for neither in [&b""[..], b"NTLMSSP", &spnego[..9], &[0x60, 0], &[0xA1, 0x02, 0x04, 0x00]] {
            assert_eq!(TokenKind::of(neither), None, "{neither:02x?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_an_answer(head in 0x60_u8..=0xA1, rest: Vec<u8>) {
            TokenKind::of(&[&[head][..], &rest].concat());
        }
    }
}
