//! A pattern for bodies of any length, which reveals a lost or moved byte and needs no memory.

/// The length is a prime, so that no buffer's size divides it.
const BLOCK_BYTES: usize = 65_521;
static BLOCK: [u8; BLOCK_BYTES] = block();

const fn block() -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    let mut state: u32 = 1;
    let mut index = 0;
    while index < BLOCK_BYTES {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        block[index] = (state >> 24) as u8;
        index += 1;
    }
    block
}

/// Returns the bytes of the pattern at `offset`, up to the end of a block.
pub(crate) fn at(offset: u64) -> &'static [u8] {
    &BLOCK[(offset % BLOCK_BYTES as u64) as usize..]
}

/// Returns the first `length` bytes.
pub(crate) fn fill(length: usize) -> Vec<u8> {
    BLOCK.iter().copied().cycle().take(length).collect()
}

/// Returns the first place at which `bytes`, which begin at `offset`, differ from the pattern.
pub(crate) fn first_difference(mut offset: u64, mut bytes: &[u8]) -> Option<u64> {
    while !bytes.is_empty() {
        let expected = at(offset);
        let length = expected.len().min(bytes.len());
        let (now, rest) = bytes.split_at(length);
        if now != &expected[..length] {
            let same = now.iter().zip(expected).take_while(|(got, wanted)| got == wanted).count();
            return Some(offset + same as u64);
        }
        offset += length as u64;
        bytes = rest;
    }
    None
}
