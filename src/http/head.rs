//! Reading heads: finding their end, taking them off the buffer, and enforcing the limits.

mod slots;

use bytes::{Buf, Bytes, BytesMut};
use httparse::Status;

use self::slots::with_slots;
use super::{
    BadRequest, BadResponse, RequestHead, ResponseHead, Version,
    fields::Line,
    request,
    response::{self, MendedHead},
};

/// The limits of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// The number of bytes from the first line to the empty one, both included.
    pub bytes: usize,
    /// The number of field lines.
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
    /// Whether the first line was complete at the last look.
    has_line: bool,
    /// How many empty lines were skipped before this head.
    empty_lines: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { bytes: 64 * 1024, fields: 500 }
    }
}

impl HeadReader {
    /// Creates a reader that enforces `limits`.
    pub fn new(limits: HeadLimits) -> Self {
        Self { limits, searched: 0, has_line: false, empty_lines: 0 }
    }

    /// Takes the head of a request off the front of `seen`, and leaves what follows. Returns `None` until the head is
    /// complete.
    ///
    /// Until then, every call must pass the same bytes again, with new ones behind them.
    ///
    /// # Errors
    /// If the bytes are not a request that can be read in one way only. The error comes as soon as that is certain; the
    /// connection must close after the answer.
    pub fn request(&mut self, seen: &mut BytesMut) -> Result<Option<RequestHead>, BadRequest> {
        // Empty lines come off first, so that all offsets count from the start of the request line.
        self.skip_empty_lines(seen)?;
        if !self.is_worth_parsing(seen) {
            return self.wait(seen).map_err(BadRequest::from);
        }
        // A complete head over the limit takes the same arm as an incomplete one. `wait` refuses
        // it, since at least as many bytes are there.
        let parsed = match parse_request(seen, self.limits.fields) {
            Ok(Status::Complete(parsed)) if parsed.bytes <= self.limits.bytes => parsed,
            Ok(_) => return self.wait(seen).map_err(BadRequest::from),
            Err(error) => return Err(request::explain(error, seen, self.empty_lines, self.limits)),
        };
        self.reset();
        // The head is split off without a copy. The parser returned offsets and not slices, so that
        // they stay valid when the head leaves the buffer.
        let head = seen.split_to(parsed.bytes).freeze();
        let ParsedRequest { method_bytes, target_bytes, version, lines, .. } = parsed;
        RequestHead::new(head, method_bytes, target_bytes, version, lines).map(Some)
    }

    /// Takes the head of a response to a request with `method` off the front of `seen`, as [`HeadReader::request`] does
    /// with a request.
    ///
    /// Real origins break the grammar in ways that have one reading only. The usual head is parsed in place by a strict
    /// parser; a head that it refuses is [mended](super::mend) into a buffer of its own once all of it has arrived, and
    /// that one is parsed.
    ///
    /// # Errors
    /// If the bytes are not a response, or one that could be read in more than one way. The error comes as soon as that
    /// is certain; the connection must close.
    pub fn response(
        &mut self,
        method: &str,
        seen: &mut BytesMut,
    ) -> Result<Option<ResponseHead>, BadResponse> {
        if !self.is_worth_parsing(seen) {
            return self.wait(seen).map_err(BadResponse::from);
        }
        // A peer of another protocol may never send the end of a head, so it is recognised by its
        // first bytes.
        response::check_start(seen)?;
        let parsed = match parse_response(seen, self.limits.fields) {
            Ok(Status::Complete(parsed)) if parsed.bytes <= self.limits.bytes => parsed,
            Ok(_) => return self.wait(seen).map_err(BadResponse::from),
            Err(httparse::Error::TooManyHeaders) => return Err(self.too_many_fields()),
            // Everything else may be a head that breaks the grammar and still has one reading only.
            Err(_) => return self.mended_response(method, seen),
        };
        self.reset();
        let head = seen.split_to(parsed.bytes).freeze();
        ResponseHead::new(method, head, parsed.status, parsed.version, parsed.lines).map(Some)
    }

    /// Takes a head that is not in the strict grammar off the front of `seen`.
    #[cold]
    fn mended_response(
        &mut self,
        method: &str,
        seen: &mut BytesMut,
    ) -> Result<Option<ResponseHead>, BadResponse> {
        // Bytes past the limit are not looked at, so a head that ends there counts as incomplete,
        // and `wait` refuses it.
        let within_limit = &seen[..seen.len().min(self.limits.bytes)];
        let Some(mended) = response::mend_head(within_limit)? else {
            return self.wait(seen).map_err(BadResponse::from);
        };
        let MendedHead { head, received_bytes, is_doubtful } = mended;
        let parsed = match parse_response(&head, self.limits.fields) {
            Ok(Status::Complete(parsed)) => parsed,
            Err(httparse::Error::TooManyHeaders) => return Err(self.too_many_fields()),
            // Mending leaves nothing that the parser refuses.
            Ok(Status::Partial) | Err(_) => {
                debug_assert!(false, "{}", head.escape_ascii());
                return Err(BadResponse::FieldLine("is broken"));
            }
        };
        self.reset();
        // The mended head may be shorter or longer than the one received, so it is parsed from a
        // buffer of its own, and the received one is skipped by its own length.
        seen.advance(received_bytes);
        let head = Bytes::from(head);
        let head = ResponseHead::new(method, head, parsed.status, parsed.version, parsed.lines)?;
        Ok(Some(if is_doubtful { head.with_doubtful_length() } else { head }))
    }

    fn too_many_fields(&self) -> BadResponse {
        BadResponse::TooManyFields { limit: self.limits.fields }
    }

    /// Skips the empty lines that some clients send after a body (RFC 9112 §2.2).
    fn skip_empty_lines(&mut self, seen: &mut BytesMut) -> Result<(), BadRequest> {
        while seen.starts_with(b"\r\n") {
            // Old clients send one empty line after a body. A peer that sends many is not a client, and could keep the
            // reader busy without a request.
            if self.empty_lines == EMPTY_LINES_MAX {
                return Err(BadRequest::EmptyLines);
            }
            self.empty_lines += 1;
            // The front of the buffer moves, so the search begins again.
            self.searched = 0;
            seen.advance(2);
        }
        // httparse would skip these too, and its offsets would no longer match the buffer.
        if seen.starts_with(b"\n") { Err(BadRequest::BareLf) } else { Ok(()) }
    }

    /// Returns whether parsing `seen` can find more than the last time: at the first bytes, at the end of the first
    /// line, and at the end of the head.
    fn is_worth_parsing(&mut self, seen: &[u8]) -> bool {
        if self.searched >= seen.len() {
            return false;
        }
        let is_first = self.searched == 0;
        // The end of the head may be cut by two reads, so the last bytes of the read before are
        // looked at again.
        let new = &seen[self.searched.saturating_sub(b"\r\n\r\n".len() - 1)..];
        let is_line_new = !self.has_line && new.contains(&b'\n');
        self.has_line |= is_line_new;
        self.searched = seen.len();
        // The first bytes show another protocol, and the first line a broken request line. Both are
        // answered at once, and not after a head that may never be complete.
        is_first || is_line_new || has_head_end(new)
    }

    /// Returns `None` to wait for more bytes, unless the limit is reached.
    fn wait<T>(&self, seen: &[u8]) -> Result<Option<T>, TooLarge> {
        let limit = self.limits.bytes;
        if seen.len() < limit {
            return Ok(None);
        }
        // Without an end of line within the limit, the request line alone is too long, which has a
        // status of its own.
        Err(TooLarge { limit, is_line: !seen[..limit].contains(&b'\n') })
    }

    fn reset(&mut self) {
        *self = Self::new(self.limits);
    }
}

/// A request head in the strict grammar, as offsets.
struct ParsedRequest {
    bytes: usize,
    method_bytes: usize,
    target_bytes: usize,
    version: Version,
    lines: Vec<Line>,
}

fn parse_request(seen: &[u8], fields_max: usize) -> httparse::Result<ParsedRequest> {
    with_slots(seen, fields_max, |slots| {
        let mut parsed = httparse::Request::new(&mut []);
        let Status::Complete(bytes) = parsed.parse_with_uninit_headers(seen, slots)? else {
            return Ok(Status::Partial);
        };
        Ok(Status::Complete(ParsedRequest {
            bytes,
            method_bytes: parsed.method.map_or(0, str::len),
            target_bytes: parsed.path.map_or(0, str::len),
            version: Version::from_minor(parsed.version),
            lines: Line::all_within(seen, parsed.headers),
        }))
    })
}

/// A response head in the strict grammar, as offsets.
struct ParsedResponse {
    bytes: usize,
    status: u16,
    version: Version,
    lines: Vec<Line>,
}

fn parse_response(seen: &[u8], fields_max: usize) -> httparse::Result<ParsedResponse> {
    with_slots(seen, fields_max, |slots| {
        let mut parsed = httparse::Response::new(&mut []);
        // The parser has options that tolerate broken responses. They stay off: one place decides
        // what is mended, and `mend` is that place.
        let parser = httparse::ParserConfig::default();
        let Status::Complete(bytes) =
            parser.parse_response_with_uninit_headers(&mut parsed, seen, slots)?
        else {
            return Ok(Status::Partial);
        };
        Ok(Status::Complete(ParsedResponse {
            bytes,
            status: parsed.code.unwrap_or_default(),
            version: Version::from_minor(parsed.version),
            lines: Line::all_within(seen, parsed.headers),
        }))
    })
}

/// A head, or only its first line, that is over the limit.
struct TooLarge {
    limit: usize,
    is_line: bool,
}

impl From<TooLarge> for BadRequest {
    fn from(TooLarge { limit, is_line }: TooLarge) -> Self {
        if is_line { Self::TargetTooLong { limit } } else { Self::HeadTooLarge { limit } }
    }
}

impl From<TooLarge> for BadResponse {
    fn from(TooLarge { limit, .. }: TooLarge) -> Self {
        Self::HeadTooLarge { limit }
    }
}

/// Returns whether an empty line ends a head in `bytes`.
pub(super) fn has_head_end(bytes: &[u8]) -> bool {
    // Bare LFs end a head here too, so that the parser sees such a head at once. It is refused in a
    // request and accepted in a response.
    bytes.windows(3).any(|window| window == b"\n\r\n")
        || bytes.windows(2).any(|window| window == b"\n\n")
}

const EMPTY_LINES_MAX: usize = 4;
