//! Room for the fields of one head while it is parsed.

use std::mem::MaybeUninit;

use httparse::{Header, Result};

/// Calls `parse` with room for the usual number of fields, and again with more room if these were too few.
///
/// A limit of hundreds of fields would otherwise cost each head an allocation or much stack. The larger room is
/// allocated only for as many fields as `seen` can hold, so a peer pays for it with bytes.
pub(super) fn with_slots<'b, T>(
    seen: &'b [u8],
    fields_max: usize,
    parse: impl Fn(&mut [MaybeUninit<Header<'b>>]) -> Result<T>,
) -> Result<T> {
    let mut usual = [const { MaybeUninit::uninit() }; USUAL_FIELDS];
    match parse(&mut usual[..fields_max.min(USUAL_FIELDS)]) {
        Err(httparse::Error::TooManyHeaders) if fields_max > USUAL_FIELDS => {
            let count = fields_max.min(seen.len() / SHORTEST_LINE.len() + 1);
            let mut slots = Vec::with_capacity(count);
            parse(&mut slots.spare_capacity_mut()[..count])
        }
        parsed => parsed,
    }
}

const USUAL_FIELDS: usize = 64;
const SHORTEST_LINE: &[u8] = b"a:\n";
