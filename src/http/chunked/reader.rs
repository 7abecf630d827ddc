//! Decoding a chunked body.

use bytes::{Buf, Bytes, BytesMut};

use super::{SIZE_DIGITS_MAX, trailers};
use crate::http::{BadBody, Fields};

/// Decodes a chunked body as its bytes arrive.
///
/// It is strict about everything that readers are known to disagree on: sizes have 1 to 16 digits, lines end in CR LF,
/// and a chunk's data is followed by its line end at once. Extensions are skipped and trailers are parsed, both within
/// limits. Trailers of a response are left out if they are over the smaller of two limits.
#[derive(Clone, Debug)]
pub struct ChunkedReader {
    state: ChunkState,
    /// How many more bytes extensions had than data.
    extension_bytes: u64,
    trailers: TrailerRules,
}

/// How trailers that break the grammar are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrailerRules {
    /// They are an error. Requests need this: another reader could find another request in them.
    Strict,
    /// They are mended, as the head of a response is, if they have one reading only. Too many of them are left out, since
    /// trailers may be discarded (RFC 9110 §6.5.1) and the body is complete without them.
    Mended,
}

/// The next piece of a chunked body.
#[derive(Clone, Debug)]
pub enum Chunked {
    /// Bytes of the content.
    Data(Bytes),
    /// The trailer section, if it has fields. The end follows.
    Trailers(Fields),
    /// The body is complete, and the bytes that follow belong to another message.
    End,
    /// More bytes are needed.
    NeedMore,
}

#[derive(Clone, Copy, Debug)]
enum ChunkState {
    /// In the size of a chunk, after this many digits.
    Size { size: u64, digits: u8 },
    /// After the size, before a `;` or the end of the line.
    Space { size: u64 },
    /// In an extension.
    Extension { size: u64 },
    /// After the CR of a size line.
    SizeLf { size: u64 },
    /// In the data of a chunk, with this many bytes left.
    Data { left: u64 },
    /// After the data of a chunk.
    DataCr,
    /// After the CR that follows the data.
    DataLf,
    /// In the trailer section, after a search of this many bytes for its end.
    Trailers { searched: usize },
    /// At the end.
    End,
}

impl Default for ChunkState {
    fn default() -> Self {
        Self::Size { size: 0, digits: 0 }
    }
}

impl ChunkedReader {
    /// Creates a reader at the start of a body.
    pub fn new(trailers: TrailerRules) -> Self {
        Self { state: ChunkState::default(), extension_bytes: 0, trailers }
    }

    /// Takes the next piece off the front of `seen`.
    ///
    /// # Errors
    /// If the body is not valid; the connection must close.
    pub fn decode(&mut self, seen: &mut BytesMut) -> Result<Chunked, BadBody> {
        loop {
            match self.state {
                ChunkState::Data { left } => {
                    // Data leaves as it comes, in slices of the buffer. A chunk may be larger than
                    // memory, so it is never collected.
                    let bytes = left.min(seen.len() as u64);
                    if bytes == 0 {
                        return Ok(Chunked::NeedMore);
                    }
                    // Data makes up for extensions: only extensions that outweigh the data are
                    // refused.
                    self.extension_bytes = self.extension_bytes.saturating_sub(bytes);
                    self.state = if bytes == left {
                        ChunkState::DataCr
                    } else {
                        ChunkState::Data { left: left - bytes }
                    };
                    // `bytes` is at most a length in memory, so it fits in `usize`.
                    return Ok(Chunked::Data(seen.split_to(bytes as usize).freeze()));
                }
                ChunkState::Trailers { searched } => return self.trailers(seen, searched),
                ChunkState::End => return Ok(Chunked::End),
                // Size lines and line ends are read byte by byte, so it makes no difference how the
                // network cuts them. They are few beside the data.
                _ => match seen.first() {
                    Some(&byte) => {
                        self.state = self.step(byte)?;
                        seen.advance(1);
                    }
                    None => return Ok(Chunked::NeedMore),
                },
            }
        }
    }

    /// Returns whether the end has been reached.
    pub fn is_at_end(&self) -> bool {
        matches!(self.state, ChunkState::End)
    }

    /// Returns the state after `byte`, which is part of a size line or of the end of a chunk.
    fn step(&mut self, byte: u8) -> Result<ChunkState, BadBody> {
        // Each arm takes one byte in one state, and whatever no arm takes is an error. A reader
        // that guesses the size of a chunk finds another end of the body than its neighbour, and
        // the bytes between the two ends become a request of the attacker's.
        Ok(match (self.state, byte) {
            (ChunkState::Size { size, digits }, _) if byte.is_ascii_hexdigit() => {
                // A 17th digit would push the first one out of the 64 bits, and a huge size would
                // become a small one.
                if digits == SIZE_DIGITS_MAX {
                    return Err(BadBody::ChunkSize);
                }
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                ChunkState::Size { size: size << 4 | digit, digits: digits + 1 }
            }
            // An empty size is not zero, which would end the body.
            (ChunkState::Size { digits: 0, .. }, _) => return Err(BadBody::ChunkSize),
            // Some servers pad the size with spaces. They count as an extension, so that they are
            // limited too.
            (ChunkState::Size { size, .. } | ChunkState::Space { size }, b' ' | b'\t') => {
                self.count_extension_byte()?;
                ChunkState::Space { size }
            }
            (ChunkState::Size { size, .. } | ChunkState::Space { size }, b';') => {
                ChunkState::Extension { size }
            }
            (
                ChunkState::Size { size, .. }
                | ChunkState::Space { size }
                | ChunkState::Extension { size },
                b'\r',
            ) => ChunkState::SizeLf { size },
            // Extensions are dropped, so their grammar is not checked. But a control character in
            // them could end the line for another reader.
            (ChunkState::Extension { size }, b'\t' | b' '..=b'~' | 0x80..) => {
                self.count_extension_byte()?;
                ChunkState::Extension { size }
            }
            (ChunkState::Extension { .. }, _) => return Err(BadBody::ChunkExtension),
            (ChunkState::Size { .. } | ChunkState::Space { .. }, _) => {
                return Err(BadBody::ChunkSize);
            }
            // The last chunk has no data and no line end; the trailer section follows at once.
            (ChunkState::SizeLf { size: 0 }, b'\n') => ChunkState::Trailers { searched: 0 },
            (ChunkState::SizeLf { size }, b'\n') => ChunkState::Data { left: size },
            (ChunkState::DataCr, b'\r') => ChunkState::DataLf,
            (ChunkState::DataLf, b'\n') => ChunkState::default(),
            _ => return Err(BadBody::ChunkEnd),
        })
    }

    /// Limits extensions: tiny chunks with long ones would cost far more bytes than they carry.
    fn count_extension_byte(&mut self) -> Result<(), BadBody> {
        self.extension_bytes += 1;
        if self.extension_bytes > EXTENSION_BYTES_MAX {
            return Err(BadBody::ChunkExtension);
        }
        Ok(())
    }

    fn trailers(&mut self, seen: &mut BytesMut, searched: usize) -> Result<Chunked, BadBody> {
        // Nearly every body ends without trailers. The empty line that ends the section comes at
        // once then, and has no line end before it to search for.
        if seen.starts_with(b"\r\n") {
            seen.advance(2);
            self.state = ChunkState::End;
            return Ok(Chunked::End);
        }
        if self.trailers == TrailerRules::Mended && seen.starts_with(b"\n") {
            seen.advance(1);
            self.state = ChunkState::End;
            return Ok(Chunked::End);
        }
        // The section is parsed once it is complete, so it is limited while it is awaited. The last
        // read may bring more than the limit, so it is compared once more when the end is known.
        let bytes_max = trailers::bytes_max(self.trailers);
        let Some(end) = trailers::section_end(seen, searched, self.trailers) else {
            if seen.len() >= bytes_max {
                return Err(BadBody::TrailersTooLarge);
            }
            self.state = ChunkState::Trailers { searched: seen.len() };
            return Ok(Chunked::NeedMore);
        };
        if end > bytes_max {
            return Err(BadBody::TrailersTooLarge);
        }
        let trailers = trailers::parse(seen.split_to(end).freeze(), self.trailers)?;
        self.state = ChunkState::End;
        Ok(Chunked::Trailers(trailers))
    }
}

const EXTENSION_BYTES_MAX: u64 = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes a whole body by `step` bytes. Returns its content, its trailers as text, and the bytes left over.
    fn read(
        rules: TrailerRules,
        input: &[u8],
        step: usize,
    ) -> Result<(Vec<u8>, String, BytesMut), Option<BadBody>> {
        let (mut reader, mut seen) = (ChunkedReader::new(rules), BytesMut::new());
        let (mut content, mut trailers) = (Vec::new(), String::new());
        for part in input.chunks(step) {
            seen.extend_from_slice(part);
            loop {
                match reader.decode(&mut seen).map_err(Some)? {
                    Chunked::Data(data) => content.extend_from_slice(&data),
                    Chunked::Trailers(fields) => {
                        for (name, value) in fields.iter() {
                            let text = String::from_utf8_lossy;
                            trailers += &format!("{}={};", text(name), text(value));
                        }
                    }
                    Chunked::End => return Ok((content, trailers, seen)),
                    Chunked::NeedMore => break,
                }
            }
        }
        Err(None)
    }

    #[track_caller]
    fn check(input: &str, content: &str, trailers: &str) {
        check_by(TrailerRules::Strict, input, content, trailers);
        check_by(TrailerRules::Mended, input, content, trailers);
    }

    #[track_caller]
    fn check_by(rules: TrailerRules, input: &str, content: &str, trailers: &str) {
        for (step, after) in [(1, ""), (3, ""), (usize::MAX, ""), (usize::MAX, "0\r\n\r\nGET")] {
            let whole = [input, after].concat();
            let (data, fields, left) = read(rules, whole.as_bytes(), step).unwrap();
            assert_eq!(String::from_utf8(data).unwrap(), content, "{input:?} by {step}");
            assert_eq!(fields, trailers, "{input:?} by {step}");
            assert_eq!(left, after, "{input:?} by {step}");
        }
    }

    /// Expects an error, or a body that is only cut off if that is `None`.
    #[track_caller]
    fn refused(input: impl AsRef<[u8]>, expected: Option<BadBody>) {
        for step in [1, 3, usize::MAX] {
            let input = input.as_ref();
            let shown = String::from_utf8_lossy(&input[..input.len().min(60)]);
            assert_eq!(
                read(TrailerRules::Strict, input, step).unwrap_err(),
                expected,
                "{shown:?} by {step}"
            );
        }
    }

    #[test]
    fn chunks_are_joined() {
        check("0\r\n\r\n", "", "");
        check("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world", "");
        check("0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n", "hello", "");
        check(&format!("aB\r\n{}\r\n0\r\n\r\n", "x".repeat(0xab)), &"x".repeat(0xab), "");
        check("2\r\n\r\n\r\n0\r\n\r\n", "\r\n", "");
    }

    #[test]
    fn extensions_are_skipped() {
        check("5;a=b;c=\"d\\\"\"\r\nhello\r\n0;x\r\n\r\n", "hello", "");
        check("5 \t;a\r\nhello\r\n0 \r\n\r\n", "hello", "");
        refused("5;a\nb\r\nhello\r\n", Some(BadBody::ChunkExtension));
        refused("5;a\0\r\n", Some(BadBody::ChunkExtension));
        refused("5;a\rb\r\n", Some(BadBody::ChunkEnd));
        refused(format!("5;{}", "a".repeat(20_000)), Some(BadBody::ChunkExtension));
        refused(format!("5{}", " ".repeat(20_000)), Some(BadBody::ChunkExtension));
        let many = format!("1;{}\r\nx\r\n", "a".repeat(100)).repeat(200);
        refused(many, Some(BadBody::ChunkExtension));
        let few = format!("64;{}\r\n{}\r\n", "a".repeat(100), "x".repeat(100)).repeat(200);
        check(&format!("{few}0\r\n\r\n"), &"x".repeat(20_000), "");
    }

    #[test]
    fn trailers_are_parsed_strictly() {
        check("0\r\nA: b\r\nc:\r\n\r\n", "", "A=b;c=;");
        refused("0\r\nA : b\r\n\r\n", Some(BadBody::Trailers));
        refused("0\r\n A: b\r\n\r\n", Some(BadBody::Trailers));
        refused("0\r\nA: b\r\n c\r\n\r\n", Some(BadBody::Trailers));
        refused("0\r\nA: b\nC: d\r\n\r\n", Some(BadBody::Trailers));
        refused("0\r\nA: b\n\nC: d\r\n\r\n", Some(BadBody::Trailers));
        refused("0\r\nA: b\rC: d\r\n\r\n", Some(BadBody::Trailers));
        refused("0\r\n\nA: b\r\n\r\n", Some(BadBody::Trailers));
        refused(format!("0\r\nA: {}", "b".repeat(20_000)), Some(BadBody::TrailersTooLarge));
        refused(format!("0\r\nA: {}\r\n\r\n", "b".repeat(20_000)), Some(BadBody::TrailersTooLarge));
        refused(format!("0\r\n{}\r\n", "A: b\r\n".repeat(65)), Some(BadBody::TrailersTooLarge));
    }

    #[test]
    fn trailers_of_responses_are_mended() {
        let check = |input, trailers| check_by(TrailerRules::Mended, input, "", trailers);
        check("0\r\nA : b\r\n c\r\njunk\r\n\r\n", "A=b c;");
        check("0\r\n A: b\r\n\r\n", "");
        check("0\r\nA: b\nC: d\r\n\r\n", "A=b;C=d;");
        check("0\r\nA: b\n\n", "A=b;");
        check("0\r\n\n", "");
        let read = |input: &str| read(TrailerRules::Mended, input.as_bytes(), 1).unwrap_err();
        assert_eq!(read("0\r\nA: b\rC: d\r\n\r\n"), Some(BadBody::Trailers));
        assert_eq!(read("0\r\nA: b\r\n"), None);
    }

    #[test]
    fn trailers_of_responses_over_the_limits_are_left_out() {
        let check = |input: &str, trailers: &str| {
            check_by(TrailerRules::Mended, input, "", trailers);
        };
        for name in ["A", "A "] {
            let many = |count| format!("0\r\n{}\r\n", format!("{name}: b\r\n").repeat(count));
            check(&many(64), &"A=b;".repeat(64));
            check(&many(65), "");
            check(&many(5_000), "");
            let large = |bytes| format!("0\r\n{name}: {}\r\n\r\n", "b".repeat(bytes));
            check(&large(16_000), &format!("A={};", "b".repeat(16_000)));
            check(&large(17_000), "");
            check(&large(65_000), "");
            for step in [1, 3, usize::MAX] {
                let got = read(TrailerRules::Mended, large(66_000).as_bytes(), step).unwrap_err();
                assert_eq!(got, Some(BadBody::TrailersTooLarge));
            }
            // It is left out, and still has to have one reading.
            let broken = large(17_000).replacen("bbb", "b\rb", 1);
            let got = read(TrailerRules::Mended, broken.as_bytes(), 3).unwrap_err();
            assert_eq!(got, Some(BadBody::Trailers));
        }
    }

    #[test]
    fn a_size_that_is_not_hexadecimal_is_refused() {
        for size in
            ["", "g", "-1", "+1", " 1", "0x1", "1_0", "1g", "1 1", "\u{b}1", "00000000000000001"]
        {
            refused(format!("{size}\r\nx\r\n"), Some(BadBody::ChunkSize));
        }
        refused("5\nhello\r\n", Some(BadBody::ChunkSize));
        refused("\r\n5\r\nhello\r\n", Some(BadBody::ChunkSize));
        refused("10000000000000000\r\n", Some(BadBody::ChunkSize));
    }

    #[test]
    fn a_chunk_ends_in_cr_lf() {
        refused("5\rhello\r\n", Some(BadBody::ChunkEnd));
        refused("5\r\nhello0\r\n\r\n", Some(BadBody::ChunkEnd));
        refused("5\r\nhello\n0\r\n\r\n", Some(BadBody::ChunkEnd));
        refused("5\r\nhello\r0\r\n\r\n", Some(BadBody::ChunkEnd));
        refused("5\r\nhello\r\r\n", Some(BadBody::ChunkEnd));
    }

    #[test]
    fn a_truncated_body_has_no_end() {
        for input in
            ["5", "5\r\n", "5\r\nhell", "5\r\nhello", "5\r\nhello\r\n", "0\r\n", "0\r\nA: b\r\n"]
        {
            refused(input, None);
        }
        refused("ffffffffffffffff\r\nx", None);
    }
}
