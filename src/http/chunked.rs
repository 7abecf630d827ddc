//! The chunked transfer coding, decoded and encoded (RFC 9112 §7.1).

mod reader;
mod trailers;
mod writer;

pub use self::{
    reader::{Chunked, ChunkedReader, TrailerRules},
    writer::{CHUNK_END, ChunkLine, write_end},
};

/// The most digits of a chunk size, which fits in 64 bits.
const SIZE_DIGITS_MAX: u8 = 16;
