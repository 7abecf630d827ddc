//! The chunked transfer coding, both ways (RFC 9112 §7.1).

mod reader;
mod trailers;
mod writer;

pub use self::{
    reader::{Chunked, ChunkedReader},
    writer::{CHUNK_END, ChunkLine, write_end},
};

/// The digits of a size: all that fit in 64 bits.
const SIZE_DIGITS_MAX: u8 = 16;
