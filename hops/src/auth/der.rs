//! The parts of DER (ITU-T X.690) that are needed for certificates and SPNEGO tokens.

/// One element: its tag and its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
}

impl<'a> Element<'a> {
    /// Reads the first element of `input`, and returns it with the bytes after it.
    ///
    /// Returns `None` for a tag of several bytes, an indefinite length (BER), a length in more bytes than necessary, and an
    /// element that is longer than the input.
    pub(crate) fn read(input: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&tag, rest) = input.split_first()?;
        if tag & LONG_TAG == LONG_TAG {
            return None;
        }
        let (length, rest) = length(rest)?;
        let (content, rest) = rest.split_at_checked(length)?;
        Some((Self { tag, content }, rest))
    }

    /// Reads the first element of `input` if it has this tag, and returns its content with the bytes after it.
    pub(crate) fn expect(tag: u8, input: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let (element, rest) = Self::read(input)?;
        (element.tag == tag).then_some((element.content, rest))
    }
}

fn length(input: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, rest) = input.split_first()?;
    if first < LONG_LENGTH {
        return Some((usize::from(first), rest));
    }
    // In the long form the first byte is the number of bytes of the length. Zero means the indefinite form of BER. DER allows
    // neither that nor a leading zero (X.690 §10.1).
    let (bytes, rest) = rest.split_at_checked(usize::from(first & !LONG_LENGTH))?;
    if bytes.is_empty() || bytes.len() > LENGTH_BYTES_MAX || bytes[0] == 0 {
        return None;
    }
    // DER has one form for each length, and below 128 it is the short one.
    let length = bytes.iter().fold(0_usize, |length, &byte| length << 8 | usize::from(byte));
    (length >= usize::from(LONG_LENGTH)).then_some((length, rest))
}

pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
/// The low bits of a tag that continues in the next byte.
const LONG_TAG: u8 = 0x1F;
/// The bit that marks the first byte of a length in the long form.
const LONG_LENGTH: u8 = 0x80;
/// The most bytes of a length. Three reach 16 MiB, more than any certificate or token has.
const LENGTH_BYTES_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(input: &[u8], expected: Option<(&[u8], &[u8])>) {
        let read = Element::read(input).map(|(element, rest)| (element.content, rest));
        assert_eq!(read, expected, "{input:02x?}");
    }

    #[test]
    fn elements_have_definite_minimal_lengths() {
        check(&[0x04, 0x02, 1, 2, 3], Some((&[1, 2], &[3])));
        check(&[0x04, 0x00], Some((&[], &[])));
        let long = [&[0x04, 0x81, 0x80][..], &[7; 0x80]].concat();
        check(&long, Some((&[7; 0x80], &[])));
        for malformed in [
            &[][..],
            &[0x04],
            &[0x04, 0x02, 1],
            &[0x1F, 0x01, 0x00],
            &[0x04, 0x80, 0, 0],
            &[0x04, 0x81, 0x01, 0],
            &[0x04, 0x82, 0x00, 0x80],
            &[0x04, 0x84, 0xFF, 0xFF, 0xFF, 0xFF],
            &[0x04, 0xFF],
        ] {
            check(malformed, None);
        }
    }

    proptest! {
        #[test]
        fn an_element_lies_inside_its_input(input: Vec<u8>) {
            if let Some((element, rest)) = Element::read(&input) {
                prop_assert!(element.content.len() + rest.len() + 2 <= input.len());
                prop_assert!(input.ends_with(rest));
            }
        }
    }
}
