//! Attribute-value pairs (MS-NLMP §2.2.2.1), by which a server describes itself. A client repeats them in its answer.

use super::NtlmError;

/// The pairs of a message in their order, without the one that ends them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AvPairs(Vec<(u16, Vec<u8>)>);

impl AvPairs {
    /// Reads pairs up to their end mark.
    pub(super) fn parse(mut input: &[u8]) -> Result<Self, NtlmError> {
        let mut pairs = Vec::new();
        loop {
            // Each pair takes at least four bytes off the input, so this ends.
            let (id, rest) = take_u16(input)?;
            let (value_bytes, rest) = take_u16(rest)?;
            let value = rest.split_at_checked(usize::from(value_bytes));
            let (value, rest) = value.ok_or(NtlmError::Malformed)?;
            match (id, value) {
                // Some servers pad behind the end mark.
                (END, []) => return Ok(Self(pairs)),
                (END, _) => return Err(NtlmError::Malformed),
                _ => pairs.push((id, value.to_vec())),
            }
            input = rest;
        }
    }

    /// Returns the value of the first pair with this identifier.
    pub(super) fn value(&self, id: u16) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| *known == id).map(|(_, value)| &value[..])
    }

    /// Replaces all pairs with this identifier by one at the end.
    pub(super) fn set(&mut self, id: u16, value: Vec<u8>) {
        // If the server has sent a pair with this identifier, a second one might be ignored.
        self.0.retain(|(known, _)| *known != id);
        self.0.push((id, value));
    }

    /// Writes the pairs and their end mark.
    ///
    /// # Errors
    /// A value is longer than 64 KiB.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<(), NtlmError> {
        for (id, value) in &self.0 {
            let value_bytes = u16::try_from(value.len()).map_err(|_| NtlmError::TooLong)?;
            out.extend_from_slice(&id.to_le_bytes());
            out.extend_from_slice(&value_bytes.to_le_bytes());
            out.extend_from_slice(value);
        }
        out.extend_from_slice(&[0; 4]);
        Ok(())
    }
}

fn take_u16(input: &[u8]) -> Result<(u16, &[u8]), NtlmError> {
    let (bytes, rest) = input.split_first_chunk().ok_or(NtlmError::Malformed)?;
    Ok((u16::from_le_bytes(*bytes), rest))
}

/// `MsvAvEOL`.
const END: u16 = 0;
/// `MsvAvNbDomainName`.
pub(super) const DOMAIN_NAME: u16 = 2;
/// `MsvAvFlags`.
pub(super) const FLAGS: u16 = 6;
/// `MsvAvTimestamp`.
pub(super) const TIMESTAMP: u16 = 7;
/// `MsvAvTargetName`.
pub(super) const TARGET_NAME: u16 = 9;
/// `MsvAvChannelBindings`.
pub(super) const CHANNEL_BINDINGS: u16 = 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pairs_need_their_end_mark_and_true_lengths() {
        let pairs = AvPairs::parse(&[1, 0, 2, 0, b'a', 0, 0, 0, 0, 0, 9, 9]).unwrap();
        assert_eq!(pairs.value(1), Some(&b"a\0"[..]));
        for malformed in [
            &[][..],
            &[1, 0, 2, 0, b'a', 0],
            &[1, 0, 9, 0, 0, 0, 0, 0],
            &[0, 0, 1, 0, 0],
            &[0, 0, 0],
        ] {
            assert_eq!(AvPairs::parse(malformed), Err(NtlmError::Malformed), "{malformed:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(pairs: Vec<(u16, Vec<u8>)>) {
            let pairs = AvPairs(pairs.into_iter().map(|(id, value)| (id.max(1), value)).collect());
            let mut written = Vec::new();
            pairs.write(&mut written).unwrap();
            prop_assert_eq!(AvPairs::parse(&written), Ok(pairs));
        }
    }
}
