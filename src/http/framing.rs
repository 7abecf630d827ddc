//! Finds the end of a body from the fields of its head (RFC 9112 §6.3).

use super::{BadRequest, BadResponse, Fields, Version};

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is no body, and nothing says that there could be one.
    Empty,
    /// The body has this many bytes.
    Length(u64),
    /// The body comes in chunks, and the last one is marked.
    Chunked,
    /// The body ends with the connection. Only responses have such bodies.
    UntilClose,
}

impl BodyLength {
    /// Returns how a body of this length is sent to a recipient of `version`. HTTP/1.0 has no chunks.
    #[must_use]
    pub fn towards(self, version: Version) -> Self {
        match (self, version) {
            // Towards a 1.1 recipient the reverse is better than a close: chunks show whether the
            // body is whole, and the connection can go on.
            (Self::Chunked, Version::Http10) => Self::UntilClose,
            (Self::UntilClose, Version::Http11) => Self::Chunked,
            _ => self,
        }
    }
}

/// The length of a body as its head announces it. At most one of the two is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Framing {
    pub(super) content_length: Option<u64>,
    pub(super) is_chunked: bool,
    /// Whether another reader could have found another end, so that the connection must close after the body.
    pub(super) is_doubtful: bool,
}

/// Why a head does not say clearly how long its body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unclear {
    Framing(&'static str),
    UnknownCoding,
}

impl Framing {
    /// Reads the framing of a request. Anything unusual is an error: it could smuggle another request past a server
    /// that reads it differently.
    pub(super) fn of_request(fields: &Fields, version: Version) -> Result<Self, Unclear> {
        let content_length = content_length(fields, EmptyElements::Refused)?;
        // Exactly one `chunked` and nothing beside it. Servers disagree about every other list,
        // such as one with `identity` or an empty element, and so about where the next request
        // begins. If only the other coding is unknown, RFC 9112 §6.1 asks for a status of its own
        // (501).
        let is_chunked = match Codings::of(fields) {
            Codings { fields: 0, .. } => false,
            Codings { chunked: 1, unknown: 0, identity: 0, empty: 0, .. } => true,
            Codings { chunked: 1, is_chunked_last: true, empty: 0, .. } => {
                return Err(Unclear::UnknownCoding);
            }
            Codings { chunked: 2.., .. } => return Err(CHUNKED_AGAIN),
            _ => return Err(NOT_ONE_CHUNKED),
        };
        // HTTP/1.0 has no chunks, so the framing of such a message counts as faulty (RFC 9112 §6.1).
        if is_chunked && version == Version::Http10 {
            return Err(Unclear::Framing("an HTTP/1.0 message has `Transfer-Encoding`"));
        }
        // RFC 9112 §6.1 allows to refuse this. A server that goes by `Content-Length` would find a
        // second request inside the body, and no honest client sends both.
        if is_chunked && content_length.is_some() {
            return Err(Unclear::Framing(
                "the head has both `Content-Length` and `Transfer-Encoding`",
            ));
        }
        Ok(Self { content_length, is_chunked, is_doubtful: false })
    }

    /// Reads the framing of a response that may have a body.
    ///
    /// Chunks win over `Content-Length`, whatever that says, and also in HTTP/1.0 (RFC 9112 §6.1, §6.3). `identity` was
    /// a coding that changes nothing until RFC 7230 removed it, and empty elements of a list do not count (RFC 9110
    /// §5.6.1.2).
    pub(super) fn of_response(fields: &Fields, version: Version) -> Result<Self, Unclear> {
        let codings = Codings::of(fields);
        // `identity` and empty elements are not counted here, since they change nothing. A coding
        // that is unknown, or in the wrong place, leaves the end of the body open.
        let is_chunked = match codings {
            Codings { chunked: 0, unknown: 0, .. } => false,
            Codings { chunked: 1, unknown: 0, is_chunked_last: true, .. } => true,
            Codings { chunked: 0, .. } | Codings { chunked: 1, is_chunked_last: true, .. } => {
                return Err(Unclear::UnknownCoding);
            }
            Codings { chunked: 2.., .. } => return Err(CHUNKED_AGAIN),
            _ => return Err(NOT_ONE_CHUNKED),
        };
        let has_codings = codings.fields > 0;
        // HTTP/1.0 has no chunks. A sender of that version that writes them may have kept a part of
        // the message back (RFC 9112 §6.1).
        let is_faulty = has_codings && version == Version::Http10;
        // The length is not read or passed on beside chunks. Whichever of the two the sender meant,
        // the connection closes after the body, so no other reading of it can begin a message.
        if is_chunked {
            let has_both = fields.values("Content-Length").next().is_some();
            return Ok(Self {
                content_length: None,
                is_chunked,
                is_doubtful: has_both || is_faulty,
            });
        }
        let content_length = content_length(fields, EmptyElements::Ignored)?;
        let has_both = has_codings && content_length.is_some();
        // The list has only empty elements. A reader that asks whether the field is there ignores
        // the length; a reader that asks which codings it names goes by the length.
        if has_both && codings.identity == 0 {
            return Err(Unclear::Framing(
                "`Transfer-Encoding` is empty and `Content-Length` is not",
            ));
        }
        Ok(Self { content_length, is_chunked, is_doubtful: has_both || is_faulty })
    }

    /// Reads the framing of a response that has no body, whatever its fields say (RFC 9112 §6.3, rules 1 and 2).
    ///
    /// Fields that would be an error in a response with a body count as missing, and make the length doubtful.
    pub(super) fn of_absent_body(fields: &Fields, version: Version) -> Self {
        let unclear = Self { content_length: None, is_chunked: false, is_doubtful: true };
        Self::of_response(fields, version).unwrap_or(unclear)
    }

    /// Returns whether the fields say that there is a body.
    pub(super) fn announces_body(&self) -> bool {
        self.is_chunked || self.content_length.is_some_and(|bytes| bytes > 0)
    }
}

impl From<Unclear> for BadRequest {
    fn from(unclear: Unclear) -> Self {
        match unclear {
            Unclear::Framing(why) => Self::Framing(why),
            Unclear::UnknownCoding => Self::UnknownCoding,
        }
    }
}

impl From<Unclear> for BadResponse {
    fn from(unclear: Unclear) -> Self {
        match unclear {
            Unclear::Framing(why) => Self::Framing(why),
            Unclear::UnknownCoding => Self::UnknownCoding,
        }
    }
}

/// How often each kind of element occurs in the lists of `Transfer-Encoding`.
#[derive(Default)]
struct Codings {
    fields: usize,
    chunked: usize,
    identity: usize,
    unknown: usize,
    empty: usize,
    /// Whether the last element that is not empty is `chunked`.
    is_chunked_last: bool,
}

impl Codings {
    fn of(fields: &Fields) -> Self {
        let mut codings = Self::default();
        for value in fields.values("Transfer-Encoding") {
            codings.fields += 1;
            // Split here and not by `elements`, which leaves out empty elements: they count in a
            // request.
            value.split(|byte| *byte == b',').for_each(|coding| codings.count(coding.trim_ascii()));
        }
        codings
    }

    fn count(&mut self, coding: &[u8]) {
        if coding.is_empty() {
            self.empty += 1;
            return;
        }
        self.is_chunked_last = coding.eq_ignore_ascii_case(b"chunked");
        if self.is_chunked_last {
            self.chunked += 1;
        } else if coding.eq_ignore_ascii_case(b"identity") {
            self.identity += 1;
        } else {
            self.unknown += 1;
        }
    }
}

/// How empty elements in the list of a `Content-Length` are treated, such as the last one of `3,`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EmptyElements {
    /// They are an error.
    Refused,
    /// They do not count (RFC 9110 §5.6.1.2), but each field needs a number.
    Ignored,
}

/// Reads `Content-Length`. Repeated lengths count as one if they are equal, in several fields or in the list that a
/// careless sender made of them.
fn content_length(fields: &Fields, empty: EmptyElements) -> Result<Option<u64>, Unclear> {
    let mut length = None;
    for value in fields.values("Content-Length") {
        let mut has_number = false;
        // RFC 9110 §8.6 allows to read `3, 3` as `3`. Different lengths are never reconciled, since
        // each recipient could pick another one.
        for element in value.split(|byte| *byte == b',') {
            let element = element.trim_ascii();
            if element.is_empty() && empty == EmptyElements::Ignored {
                continue;
            }
            let found = decimal(element).ok_or(NOT_A_NUMBER)?;
            has_number = true;
            if *length.get_or_insert(found) != found {
                return Err(Unclear::Framing("`Content-Length` has different values"));
            }
        }
        // A field without any number is not a length of zero.
        if !has_number {
            return Err(NOT_A_NUMBER);
        }
    }
    Ok(length)
}

/// Parses a number that consists of digits only. Returns `None` on overflow, too.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    // Not `str::parse`, which accepts a sign: `+5` is a length to some readers only.
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

const NOT_A_NUMBER: Unclear = Unclear::Framing("`Content-Length` is not a number");
const NOT_ONE_CHUNKED: Unclear =
    Unclear::Framing("`Transfer-Encoding` does not end in one `chunked`");
/// A reader that undoes the coding once and one that undoes it twice find different bodies, so nobody can repair this.
const CHUNKED_AGAIN: Unclear = Unclear::Framing(
    "`Transfer-Encoding` names `chunked` more than once, which HTTP forbids (RFC 9112 §6.1)",
);
