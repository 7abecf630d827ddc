//! Reading a body to its end.

use bytes::{Bytes, BytesMut};

use super::{
    BadBody, BodyLength, Fields, Truncated,
    chunked::{Chunked, ChunkedReader, TrailerRules},
};

/// Takes the body of one message off a buffer that grows as bytes arrive, and leaves what follows it.
#[derive(Clone, Debug)]
pub struct BodyReader {
    state: BodyState,
}

/// The next piece of a body.
#[derive(Clone, Debug)]
pub enum Decoded {
    /// Bytes of the content, at least one.
    Data(Bytes),
    /// The trailer fields. The end follows.
    Trailers(Fields),
    /// The body is complete.
    End,
    /// More bytes are needed.
    NeedMore,
}

#[derive(Clone, Debug)]
enum BodyState {
    Length(u64),
    Chunked(ChunkedReader),
    UntilClose,
}

impl BodyReader {
    /// Creates a reader for the body of a request. Its trailers must follow the grammar.
    pub fn of_request(length: BodyLength) -> Self {
        Self::new(length, TrailerRules::Strict)
    }

    /// Creates a reader for the body of a response. Trailers that have one reading only are mended.
    pub fn of_response(length: BodyLength) -> Self {
        Self::new(length, TrailerRules::Mended)
    }

    fn new(length: BodyLength, trailers: TrailerRules) -> Self {
        let state = match length {
            BodyLength::Empty => BodyState::Length(0),
            BodyLength::Length(bytes) => BodyState::Length(bytes),
            BodyLength::Chunked => BodyState::Chunked(ChunkedReader::new(trailers)),
            BodyLength::UntilClose => BodyState::UntilClose,
        };
        Self { state }
    }

    /// Takes the next piece off the front of `seen`, without copying it.
    ///
    /// # Errors
    /// If the body is not valid; the connection must close.
    pub fn decode(&mut self, seen: &mut BytesMut) -> Result<Decoded, BadBody> {
        Ok(match &mut self.state {
            // Before the buffer is looked at: an empty body must not wait for bytes, which would
            // belong to the next message.
            BodyState::Length(0) => Decoded::End,
            BodyState::Length(_) | BodyState::UntilClose if seen.is_empty() => Decoded::NeedMore,
            BodyState::Length(left) => {
                // The smaller of the two is a length in memory, so it fits in `usize`.
                let bytes = (*left).min(seen.len() as u64);
                *left -= bytes;
                Decoded::Data(seen.split_to(bytes as usize).freeze())
            }
            BodyState::Chunked(reader) => match reader.decode(seen)? {
                Chunked::Data(data) => Decoded::Data(data),
                Chunked::Trailers(trailers) => Decoded::Trailers(trailers),
                Chunked::End => Decoded::End,
                Chunked::NeedMore => Decoded::NeedMore,
            },
            // Everything up to the end of the connection is content. Only `end` can complete it.
            BodyState::UntilClose => Decoded::Data(seen.split().freeze()),
        })
    }

    /// Handles the end of the connection, which is the end of a body of [`BodyLength::UntilClose`].
    ///
    /// # Errors
    /// If bytes are missing.
    pub fn end(&mut self) -> Result<(), Truncated> {
        // This is the one kind of body that the end of the connection completes. Any other body is
        // cut off if bytes are missing, and its recipient must be able to see that.
        if matches!(self.state, BodyState::UntilClose) {
            self.state = BodyState::Length(0);
        }
        if self.is_at_end() { Ok(()) } else { Err(Truncated) }
    }

    /// Returns whether the body is complete, so that another message follows.
    pub fn is_at_end(&self) -> bool {
        match &self.state {
            BodyState::Length(left) => *left == 0,
            BodyState::Chunked(reader) => reader.is_at_end(),
            BodyState::UntilClose => false,
        }
    }

    /// Returns how many bytes are left, if that is known: they can be moved without being parsed.
    pub fn remaining(&self) -> Option<u64> {
        match self.state {
            BodyState::Length(left) => Some(left),
            BodyState::Chunked(_) | BodyState::UntilClose => None,
        }
    }

    /// Counts `bytes` of a body of known length that were moved past this reader.
    pub fn skip(&mut self, bytes: u64) {
        if let BodyState::Length(left) = &mut self.state {
            *left = left.saturating_sub(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `input` by `step` bytes. Returns the content, whether the body may end there, and the bytes left over.
    fn read(length: BodyLength, input: &[u8], step: usize) -> (Vec<u8>, bool, Vec<u8>) {
        let (mut reader, mut seen, mut content) =
            (BodyReader::of_request(length), BytesMut::new(), Vec::new());
        for part in input.chunks(step) {
            seen.extend_from_slice(part);
            while let Decoded::Data(data) = reader.decode(&mut seen).unwrap() {
                assert!(!data.is_empty());
                content.extend_from_slice(&data);
            }
        }
        (content, reader.end().is_ok(), seen.to_vec())
    }

    #[track_caller]
    fn check(length: BodyLength, input: &str, expected: (&str, bool, &str)) {
        for step in [1, 2, usize::MAX] {
            let (content, is_whole, left) = read(length, input.as_bytes(), step);
            let text = |bytes| String::from_utf8(bytes).unwrap();
            let got = (text(content), is_whole, text(left));
            assert_eq!((got.0.as_str(), got.1, got.2.as_str()), expected, "by {step}");
        }
    }

    #[test]
    fn each_kind_of_length_ends_the_body() {
        check(BodyLength::Empty, "GET", ("", true, "GET"));
        check(BodyLength::Length(0), "GET", ("", true, "GET"));
        check(BodyLength::Length(3), "abcGET", ("abc", true, "GET"));
        check(BodyLength::Length(3), "ab", ("ab", false, ""));
        check(BodyLength::Length(u64::MAX), "ab", ("ab", false, ""));
        check(BodyLength::Chunked, "3\r\nabc\r\n0\r\n\r\nGET", ("abc", true, "GET"));
        check(BodyLength::Chunked, "3\r\nabc\r\n0\r\n", ("abc", false, ""));
        check(BodyLength::Chunked, "", ("", false, ""));
        check(BodyLength::UntilClose, "abc", ("abc", true, ""));
        check(BodyLength::UntilClose, "", ("", true, ""));
    }

    #[test]
    fn bytes_moved_past_the_reader_count() {
        let mut reader = BodyReader::of_request(BodyLength::Length(5));
        reader.skip(3);
        assert_eq!(reader.remaining(), Some(2));
        assert_eq!(reader.end(), Err(Truncated));
        reader.skip(2);
        assert!(reader.is_at_end());
        assert_eq!(BodyReader::of_request(BodyLength::Chunked).remaining(), None);
    }
}
