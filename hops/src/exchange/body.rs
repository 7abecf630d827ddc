//! Reads the body of an answer.

use bytes::{Buf, BytesMut};

/// The way in which the end of a body is known (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// The body has this many bytes.
    Length(u64),
    /// The body ends with a chunk of no bytes.
    Chunked,
    /// The body ends with the connection.
    Close,
}

/// Reads a body out of a buffer to which bytes are added as they arrive.
#[derive(Debug)]
pub(super) struct BodyDecoder(State);

#[derive(Debug)]
enum State {
    Length(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    Close,
    End,
    Broken,
}

/// The result of [`BodyDecoder::decode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The body goes on.
    NeedMore,
    /// The body is whole; what follows it is left in the buffer.
    End,
    /// The framing is broken.
    Broken,
}

impl BodyDecoder {
    pub(super) fn new(framing: Framing) -> Self {
        Self(match framing {
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkSize,
            Framing::Close => State::Close,
        })
    }

    /// Moves all of the body that is in `seen` to `out`.
    pub(super) fn decode(&mut self, seen: &mut BytesMut, out: &mut Vec<u8>) -> Progress {
        loop {
            self.0 = match self.0 {
                // An empty body ends without a byte, so this is asked before the buffer is.
                State::Length(0) | State::End => {
                    self.0 = State::End;
                    return Progress::End;
                }
                State::Broken => return Progress::Broken,
                // Each step below takes at least one byte or leaves the loop.
                _ if seen.is_empty() => return Progress::NeedMore,
                State::Length(left) => State::Length(left - take(seen, left, out)),
                State::Close => {
                    take(seen, u64::MAX, out);
                    State::Close
                }
                State::Chunk(left) => match left - take(seen, left, out) {
                    0 => State::ChunkEnd,
                    left => State::Chunk(left),
                },
                State::ChunkSize => match line(seen).map(|line| chunk_size(&line)) {
                    // RFC 9112 §7.1.1 asks for a limit on chunk extensions, which are ignored otherwise.
                    None if seen.len() > LINE_BYTES_MAX => State::Broken,
                    None => return Progress::NeedMore,
                    Some(None) => State::Broken,
                    Some(Some(0)) => State::Trailers,
                    Some(Some(size)) => State::Chunk(size),
                },
                State::ChunkEnd => match line(seen) {
                    // Only a line end may follow the data of a chunk. Anything else means that the size was wrong.
                    None if seen.len() > 1 => State::Broken,
                    None => return Progress::NeedMore,
                    Some(line) if line.is_empty() => State::ChunkSize,
                    Some(_) => State::Broken,
                },
                State::Trailers => match line(seen) {
                    None => return Progress::NeedMore,
                    Some(line) if line.is_empty() => State::End,
                    // Trailers are dropped. The caller limits their length.
                    Some(_) => State::Trailers,
                },
            }
        }
    }

    /// Returns whether the end of the connection is the end of the body.
    pub(super) fn ends_at_close(&self) -> bool {
        matches!(self.0, State::Close)
    }
}

fn take(seen: &mut BytesMut, most: u64, out: &mut Vec<u8>) -> u64 {
    let count = usize::try_from(most).unwrap_or(usize::MAX).min(seen.len());
    out.extend_from_slice(&seen[..count]);
    seen.advance(count);
    count as u64
}

/// Takes a whole line, without its end.
fn line(seen: &mut BytesMut) -> Option<BytesMut> {
    let end = seen.iter().position(|byte| *byte == b'\n')?;
    let mut line = seen.split_to(end + 1);
    line.truncate(end);
    if line.last() == Some(&b'\r') {
        line.truncate(end - 1);
    }
    Some(line)
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii();
    // `from_str_radix` would accept a sign. Fifteen digits can't overflow, and are enough for any body.
    let is_number = (1..=15).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
    if is_number { u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok() } else { None }
}

/// The longest line with a chunk's size and its extensions.
const LINE_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(framing: Framing, text: &[u8], step: usize) -> (Progress, Vec<u8>, Vec<u8>) {
        let (mut decoder, mut seen, mut out) = (BodyDecoder::new(framing), BytesMut::new(), vec![]);
        let mut progress = decoder.decode(&mut seen, &mut out);
        for piece in text.chunks(step) {
            seen.extend_from_slice(piece);
            progress = decoder.decode(&mut seen, &mut out);
        }
        (progress, out, seen.to_vec())
    }

    #[test]
    fn a_body_ends_as_its_framing_says() {
        for step in [1, 2, 100] {
            let (progress, out, rest) = decode(Framing::Length(3), b"abcde", step);
            assert_eq!((progress, &out[..], &rest[..]), (Progress::End, &b"abc"[..], &b"de"[..]));
            let chunks = b"3\r\nabc\r\n02;x\r\nde\n0\r\nT: v\r\n\r\nrest";
            let (progress, out, rest) = decode(Framing::Chunked, chunks, step);
            assert_eq!(
                (progress, &out[..], &rest[..]),
                (Progress::End, &b"abcde"[..], &b"rest"[..])
            );
            let (progress, out, _) = decode(Framing::Close, b"abc", step);
            assert_eq!((progress, &out[..]), (Progress::NeedMore, &b"abc"[..]));
        }
        for broken in ["x\r\n", "-1\r\n", "\r\n", "1\r\nab\r\n", "ffffffffffffffff\r\n"] {
            assert_eq!(decode(Framing::Chunked, broken.as_bytes(), 100).0, Progress::Broken);
        }
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(text in "[0-3a\r\n;]{0,40}", step in 1_usize..9) {
            prop_assert_eq!(
                decode(Framing::Chunked, text.as_bytes(), step).0,
                decode(Framing::Chunked, text.as_bytes(), 100).0
            );
        }
    }
}
