//! Room for the fields of one head while it is parsed.

use std::mem::MaybeUninit;

use httparse::{Header, Result};

/// Calls `parse` with room for the usual number of fields, and again with more room if these were too few.
///
/// A limit of hundreds of fields would otherwise cost each head an allocation or much stack. The larger room is
/// allocated only for as many fields as `seen` can hold, so a peer pays for it with bytes.
#[inline]
pub(super) fn with_slots<'b, T>(
    seen: &'b [u8],
    fields_max: usize,
    parse: impl Fn(&mut [MaybeUninit<Header<'b>>]) -> Result<T>,
) -> Result<T> {
    // On the stack and not initialised, since nearly every head fits and the slots are written
    // before they are read.
    let mut usual = [const { MaybeUninit::uninit() }; USUAL_FIELDS];
    match parse(&mut usual[..fields_max.min(USUAL_FIELDS)]) {
        Err(httparse::Error::TooManyHeaders) if fields_max > USUAL_FIELDS => {
            with_more_slots(seen, fields_max, &parse)
        }
        parsed => parsed,
    }
}

/// Calls `parse` with room for as many fields as `fields_max` and `seen` allow.
#[cold]
#[inline(never)]
fn with_more_slots<'b, T>(
    seen: &'b [u8],
    fields_max: usize,
    parse: &dyn Fn(&mut [MaybeUninit<Header<'b>>]) -> Result<T>,
) -> Result<T> {
    let count = fields_max.min(seen.len() / SHORTEST_LINE.len() + 1);
    let mut slots = Vec::with_capacity(count);
    parse(&mut slots.spare_capacity_mut()[..count])
}

const USUAL_FIELDS: usize = 64;
const SHORTEST_LINE: &[u8] = b"a:\n";
