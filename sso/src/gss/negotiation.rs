//! The first token of SPNEGO (RFC 4178 §4.2.1) around a token of Kerberos.

/// Wraps a token and offers Kerberos as the only mechanism. A list of several would need an integrity code.
pub(super) fn wrap(kerberos_token: &[u8]) -> Vec<u8> {
    let mechanisms = element(CONTEXT_0, &element(SEQUENCE, KERBEROS));
    let token = element(CONTEXT_2, &element(OCTET_STRING, kerberos_token));
    let init = element(CONTEXT_0, &element(SEQUENCE, &[mechanisms, token].concat()));
    element(APPLICATION_0, &[SPNEGO, &init].concat())
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut element = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => element.push(short),
        _ => {
            let bytes = length.to_be_bytes();
            let significant = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
            // A length has eight bytes at most.
            element.push(0x80 | u8::try_from(significant.len()).unwrap_or_default());
            element.extend_from_slice(significant);
        }
    }
    element.extend_from_slice(content);
    element
}

const SEQUENCE: u8 = 0x30;
const OCTET_STRING: u8 = 0x04;
const APPLICATION_0: u8 = 0x60;
const CONTEXT_0: u8 = 0xA0;
const CONTEXT_2: u8 = 0xA2;
/// The object identifiers 1.3.6.1.5.5.2 and 1.2.840.113554.1.2.2, in DER with their tags.
const SPNEGO: &[u8] = &[0x06, 0x06, 0x2B, 0x06, 0x01, 0x05, 0x05, 0x02];
const KERBEROS: &[u8] = &[0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x12, 0x01, 0x02, 0x02];

#[cfg(test)]
mod tests {
    use mooltiroute_hops::auth::token::TokenKind;

    use super::*;

    #[test]
    fn wrapped_tokens_of_any_length_are_spnego() {
        for length in [0, 1, 100, 200, 300, 70_000] {
            let wrapped = wrap(&vec![7; length]);
            assert_eq!(TokenKind::of(&wrapped), Some(TokenKind::Spnego), "{length}");
            assert!(wrapped.ends_with(&vec![7; length]));
        }
        assert_eq!(element(4, &[7; 300])[..5], [4, 0x82, 0x01, 0x2C, 7]);
        assert_eq!(element(4, &[7; 0x80])[..4], [4, 0x81, 0x80, 7]);
    }
}
