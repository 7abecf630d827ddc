//! Where a body ends (RFC 9112 §6.3).

use super::{BadRequest, BadResponse, Fields, Version};

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is no body, and nothing says that there could be one.
    Empty,
    /// It has this many bytes.
    Length(u64),
    /// It comes in chunks, of which the last one is marked.
    Chunked,
    /// It ends with the connection. Of responses alone.
    UntilClose,
}

impl BodyLength {
    /// How a body of this length is sent to a recipient of this version, which knows no chunks when it is 1.0.
    #[must_use]
    pub fn towards(self, version: Version) -> Self {
        match (self, version) {
            (Self::Chunked, Version::Http10) => Self::UntilClose,
            (Self::UntilClose, Version::Http11) => Self::Chunked,
            _ => self,
        }
    }
}

/// What a head says about the length of its body; only ever one thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Framing {
    pub(super) content_length: Option<u64>,
    pub(super) is_chunked: bool,
}

/// Why a head says nothing clear about the length of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unclear {
    Framing(&'static str),
    UnknownCoding,
}

impl Framing {
    pub(super) fn of(fields: &Fields, version: Version) -> Result<Self, Unclear> {
        let content_length = content_length(fields)?;
        let is_chunked = is_chunked(fields)?;
        if is_chunked && version == Version::Http10 {
            return Err(Unclear::Framing("`Transfer-Encoding` stands in a message of HTTP/1.0"));
        }
        if is_chunked && content_length.is_some() {
            return Err(Unclear::Framing(
                "`Content-Length` and `Transfer-Encoding` stand in one message",
            ));
        }
        Ok(Self { content_length, is_chunked })
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

/// Repeated lengths are one if they are the same, in several fields or in the list that a careless sender made of them.
fn content_length(fields: &Fields) -> Result<Option<u64>, Unclear> {
    let mut length = None;
    let elements =
        fields.values("Content-Length").flat_map(|value| value.split(|&byte| byte == b','));
    for element in elements {
        let found = decimal(element.trim_ascii())
            .ok_or(Unclear::Framing("`Content-Length` is no number"))?;
        if *length.get_or_insert(found) != found {
            return Err(Unclear::Framing("`Content-Length` stands there with different values"));
        }
    }
    Ok(length)
}

/// Exactly one coding is understood, and it is `chunked`.
fn is_chunked(fields: &Fields) -> Result<bool, Unclear> {
    let (mut chunked, mut others, mut is_last) = (0_usize, 0_usize, false);
    for value in fields.values("Transfer-Encoding") {
        for coding in value.split(|&byte| byte == b',') {
            is_last = coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
            *(if is_last { &mut chunked } else { &mut others }) += 1;
        }
    }
    match (chunked, others) {
        (0, 0) => Ok(false),
        (1, 0) => Ok(true),
        (1, _) if is_last => Err(Unclear::UnknownCoding),
        _ => Err(Unclear::Framing("`Transfer-Encoding` does not end in one `chunked`")),
    }
}

/// A number of digits alone; none that overflows.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}
