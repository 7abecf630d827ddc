//! Reading heads: finding their end, taking them off the buffer, and the limits.

use std::mem::MaybeUninit;

use bytes::{Buf, BytesMut};
use httparse::Status;

use super::{
    BadRequest, BadResponse, RequestHead, ResponseHead, Version, fields::Line, request, response,
};

/// How large a head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes, from the first line to the empty one.
    pub bytes: usize,
    /// Field lines; at most [`HeadLimits::FIELDS_MAX`] count.
    pub fields: usize,
}

/// Takes heads off a buffer that grows as bytes arrive, one after the other.
///
/// It remembers how far it has looked, so that a head that arrives byte by byte costs no more than its length.
#[derive(Clone, Debug)]
pub struct HeadReader {
    limits: HeadLimits,
    /// How many bytes of the buffer were searched for the end of the head.
    searched: usize,
    /// Whether the first line was whole at the last look.
    has_line: bool,
    /// How many empty lines were skipped before this head.
    empty_lines: usize,
}

impl HeadLimits {
    /// More fields than this are never taken.
    pub const FIELDS_MAX: usize = 256;
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { bytes: 64 * 1024, fields: 100 }
    }
}

impl HeadReader {
    /// Reads heads within `limits`.
    pub fn new(limits: HeadLimits) -> Self {
        Self { limits, searched: 0, has_line: false, empty_lines: 0 }
    }

    /// Takes the head of a request off the front of `seen` when all of it is there, and leaves what follows. `None`:
    /// more bytes are needed.
    ///
    /// Every call until then must be given the same bytes again, with new ones behind them.
    ///
    /// # Errors
    /// What is wrong with it, as soon as that is certain; the connection must close after the answer.
    pub fn request(&mut self, seen: &mut BytesMut) -> Result<Option<RequestHead>, BadRequest> {
        self.skip_empty_lines(seen)?;
        if !self.is_worth_parsing(seen) {
            return self.wait(seen).map_err(BadRequest::from);
        }
        let mut lines = [const { MaybeUninit::uninit() }; HeadLimits::FIELDS_MAX];
        let lines = &mut lines[..self.limits.fields.min(HeadLimits::FIELDS_MAX)];
        let mut parsed = httparse::Request::new(&mut []);
        let end = match parsed.parse_with_uninit_headers(seen, lines) {
            Ok(Status::Complete(end)) if end <= self.limits.bytes => end,
            Ok(_) => return self.wait(seen).map_err(BadRequest::from),
            Err(error) => return Err(request::explain(error, seen)),
        };
        let lines = Line::all_within(seen, parsed.headers);
        let method_bytes = parsed.method.map_or(0, str::len);
        let target_bytes = parsed.path.map_or(0, str::len);
        let version = Version::from_minor(parsed.version);
        self.reset();
        let head = seen.split_to(end).freeze();
        RequestHead::new(head, method_bytes, target_bytes, version, lines).map(Some)
    }

    /// Takes the head of a response off the front of `seen`, as [`HeadReader::request`] does that of a request.
    ///
    /// A bare LF ends a line here: some origins write it, and it has no second reading.
    ///
    /// # Errors
    /// What is wrong with it, as soon as that is certain; the connection must close.
    pub fn response(&mut self, seen: &mut BytesMut) -> Result<Option<ResponseHead>, BadResponse> {
        if !self.is_worth_parsing(seen) {
            return self.wait(seen).map_err(BadResponse::from);
        }
        if !b"HTTP/1.".starts_with(&seen[..seen.len().min(7)]) {
            return Err(BadResponse::NotHttp);
        }
        let mut lines = [const { MaybeUninit::uninit() }; HeadLimits::FIELDS_MAX];
        let lines = &mut lines[..self.limits.fields.min(HeadLimits::FIELDS_MAX)];
        let mut parsed = httparse::Response::new(&mut []);
        let parser = httparse::ParserConfig::default();
        let end = match parser.parse_response_with_uninit_headers(&mut parsed, seen, lines) {
            Ok(Status::Complete(end)) if end <= self.limits.bytes => end,
            Ok(_) => return self.wait(seen).map_err(BadResponse::from),
            Err(error) => return Err(response::explain(error)),
        };
        let lines = Line::all_within(seen, parsed.headers);
        let status = parsed.code.unwrap_or_default();
        let version = Version::from_minor(parsed.version);
        self.reset();
        let head = seen.split_to(end).freeze();
        ResponseHead::new(head, status, version, lines).map(Some)
    }

    /// RFC 9112 §2.2: some clients send an empty line after a body.
    fn skip_empty_lines(&mut self, seen: &mut BytesMut) -> Result<(), BadRequest> {
        while seen.starts_with(b"\r\n") {
            if self.empty_lines == EMPTY_LINES_MAX {
                return Err(BadRequest::EmptyLines);
            }
            self.empty_lines += 1;
            self.searched = 0;
            seen.advance(2);
        }
        // httparse would skip these too, and what it finds would lie elsewhere than we look.
        if seen.starts_with(b"\n") { Err(BadRequest::BareLf) } else { Ok(()) }
    }

    /// Whether a look at the whole can find more than the last one: at the first bytes, at the end of the first line,
    /// and at the end of the head.
    fn is_worth_parsing(&mut self, seen: &[u8]) -> bool {
        if self.searched >= seen.len() {
            return false;
        }
        let is_first = self.searched == 0;
        let new = &seen[self.searched.saturating_sub(b"\r\n\r\n".len() - 1)..];
        let is_line_new = !self.has_line && new.contains(&b'\n');
        self.has_line |= is_line_new;
        self.searched = seen.len();
        is_first || is_line_new || has_head_end(new)
    }

    /// Waits for more bytes, unless the limit is reached.
    fn wait<T>(&self, seen: &[u8]) -> Result<Option<T>, TooLarge> {
        if seen.len() < self.limits.bytes {
            return Ok(None);
        }
        if seen[..self.limits.bytes].contains(&b'\n') {
            return Err(TooLarge::Head);
        }
        Err(TooLarge::Line)
    }

    fn reset(&mut self) {
        *self = Self::new(self.limits);
    }
}

/// Which part of a head is over the limit.
enum TooLarge {
    Line,
    Head,
}

impl From<TooLarge> for BadRequest {
    fn from(what: TooLarge) -> Self {
        match what {
            TooLarge::Line => Self::TargetTooLong,
            TooLarge::Head => Self::HeadTooLarge,
        }
    }
}

impl From<TooLarge> for BadResponse {
    fn from(_: TooLarge) -> Self {
        Self::HeadTooLarge
    }
}

fn has_head_end(bytes: &[u8]) -> bool {
    bytes.windows(3).any(|window| window == b"\n\r\n")
        || bytes.windows(2).any(|window| window == b"\n\n")
}

const EMPTY_LINES_MAX: usize = 4;
