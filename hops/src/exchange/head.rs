//! The head of an answer: its end, its status, and its fields.
//!
//! Of a 2xx to CONNECT only the end of the head matters, so its fields are not parsed: some proxies send fields with blanks
//! before the colon, folded lines, and lines without a colon. The fields of other answers are read just as leniently, since
//! they are only shown to people, or answered with credentials that the operator allows for this hop. If the end of a body
//! could be read in two ways, it ends with the connection.

use bytes::BytesMut;

use super::body::Framing;
use crate::{HopError, Refusal, Spoken};

/// Finds the end of a head that arrives in pieces. It searches each byte only once.
#[derive(Debug, Default)]
pub(super) struct HeadScanner {
    /// The start of the line that is not complete yet.
    line: usize,
    /// The number of bytes that were searched.
    looked: usize,
    has_status_line: bool,
}

impl HeadScanner {
    /// Returns the length of the head at the start of `seen`, once its empty line has come.
    pub(super) fn scan(&mut self, seen: &[u8]) -> Result<Option<usize>, HopError> {
        while let Some(found) = seen[self.looked..].iter().position(|byte| *byte == b'\n') {
            let end = self.looked + found;
            let line = seen[self.line..end].strip_suffix(b"\r").unwrap_or(&seen[self.line..end]);
            (self.line, self.looked) = (end + 1, end + 1);
            // Some senders add an empty line to a body. RFC 9112 §2.2 lets servers ignore such a line before a request, and
            // this client ignores it before an answer.
            match (line.is_empty(), self.has_status_line) {
                (true, true) => return Ok(Some(end + 1)),
                (true, false) => {}
                (false, true) => {}
                (false, false) => {
                    // The first line that is not empty shows the protocol. The rest is not checked here.
                    begins_as_http(line)?;
                    self.has_status_line = true;
                }
            }
        }
        self.looked = seen.len();
        // A peer that speaks another protocol may never send the end of a line.
        if !self.has_status_line && seen.get(self.line..) != Some(b"\r") {
            begins_as_http(&seen[self.line..])?;
        }
        Ok(None)
    }
}

fn begins_as_http(line: &[u8]) -> Result<(), HopError> {
    // The line may be incomplete, so only the bytes that have come are compared.
    let count = line.len().min(HTTP.len());
    if line[..count] == HTTP[..count] {
        return Ok(());
    }
    Err(match Spoken::from_answer(line) {
        Some(spoken) if spoken != Spoken::Http => HopError::OtherProtocol(spoken),
        _ => HopError::Malformed("this is not HTTP"),
    })
}

/// The head of an answer.
#[derive(Debug)]
pub struct Answer {
    status: u16,
    /// Whether the version is HTTP/1.1 or later.
    is_modern: bool,
    /// Whether the request was HEAD, whose answer has the fields of a body and no body.
    is_to_head: bool,
    head: BytesMut,
    /// Empty for a 2xx, whose fields are read only on request.
    fields: Vec<(Box<[u8]>, Vec<u8>)>,
}

impl Answer {
    /// Reads a whole head.
    pub(super) fn parse(head: BytesMut) -> Result<Self, HopError> {
        let broken = HopError::Malformed("the status line is broken");
        let (version, rest) = {
            // Some proxies answer with an odd version, with tabs or without a reason. Only the status decides. It must have
            // three digits, so that `2000` is not a success.
            let line = status_line(&head);
            let version = line.strip_prefix(HTTP).unwrap_or_default();
            let end = version.iter().position(is_blank).unwrap_or(version.len());
            version.split_at(end)
        };
        let code = rest.trim_ascii_start();
        let (digits, after) = code.split_at(code.len().min(3));
        let is_code = digits.len() == 3 && digits.iter().all(u8::is_ascii_digit);
        if !is_code || !after.first().is_none_or(is_blank) || digits[0] == b'0' {
            return Err(broken);
        }
        let status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
        // A 101 would switch the connection to another protocol, and `is_interim` would wait for an answer behind it.
        if status == 101 {
            let why = "it switches protocols, which CONNECT does not";
            return Err(HopError::Malformed(why));
        }
        // Since HTTP/1.1, a connection lasts unless the answer says otherwise (RFC 9112 §9.3).
        let is_modern = version != b"1.0" && version != b"0.9";
        let fields = if status < 300 { Vec::new() } else { fields(&head) };
        Ok(Self { status, is_modern, is_to_head: false, head, fields })
    }

    /// Notes the method of the request. An answer to HEAD has no body.
    pub(super) fn to(self, method: &str) -> Self {
        Self { is_to_head: method == "HEAD", ..self }
    }

    /// Returns the status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns whether the proxy agreed: to CONNECT any 2xx does.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(super) fn is_interim(&self) -> bool {
        self.status < 200
    }

    /// Reads the fields of a 2xx too, for answers to requests other than CONNECT.
    #[must_use]
    pub fn with_fields(mut self) -> Self {
        if self.fields.is_empty() {
            self.fields = fields(&self.head);
        }
        self
    }

    /// Reads the fields of a 2xx, which are not parsed otherwise.
    pub(super) fn fields_of_success(&self) -> Vec<(Box<[u8]>, Vec<u8>)> {
        fields(&self.head)
    }

    /// Returns the values of all `Proxy-Authenticate` fields, as they came.
    pub fn challenges(&self) -> impl Iterator<Item = &[u8]> {
        self.values("Proxy-Authenticate")
    }

    /// Returns the values of all fields of this name, as they came, with folded lines joined. A 2xx has none.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let is_it =
            move |(known, _): &&(Box<[u8]>, Vec<u8>)| known.eq_ignore_ascii_case(name.as_bytes());
        self.fields.iter().filter(is_it).map(|(_, value)| &**value)
    }

    /// Turns the head into a refusal.
    pub fn into_refusal(self) -> Refusal {
        self.refusal()
    }

    /// Returns the head as a refusal.
    pub(crate) fn refusal(&self) -> Refusal {
        let mut words = status_line(&self.head).splitn(2, is_blank);
        let code = words.nth(1).unwrap_or_default().trim_ascii_start();
        let reason = code.splitn(2, is_blank).nth(1).unwrap_or_default();
        Refusal::from_http(
            self.status,
            reason.trim_ascii(),
            self.fields.iter().map(|(name, value)| (&**name, &**value)),
        )
    }

    /// Returns whether the connection lasts beyond the answer (RFC 9112 §9.3), and the end of its body is certain.
    pub fn is_persistent(&self) -> bool {
        // Old proxies answer in `Proxy-Connection`. `close` outweighs `keep-alive` (RFC 9112 §9.3).
        let options = ["Connection", "Proxy-Connection"].into_iter();
        let values = options.flat_map(|name| self.values(name));
        let options = values.flat_map(|value| value.split(|byte| *byte == b','));
        let (mut closes, mut keeps) = (false, false);
        for option in options.map(<[u8]>::trim_ascii) {
            closes |= option.eq_ignore_ascii_case(b"close");
            keeps |= option.eq_ignore_ascii_case(b"keep-alive");
        }
        !closes && (keeps || self.is_modern) && self.framing() != Framing::Close
    }

    /// Returns how the end of the body is known (RFC 9112 §6.3). If it is not certain, the body lasts until the close.
    pub(super) fn framing(&self) -> Framing {
        // These have no body, whatever their fields say (RFC 9112 §6.3, rule 1).
        if self.is_to_head || matches!(self.status, 204 | 304) {
            return Framing::Length(0);
        }
        let mut codings = self.values("Transfer-Encoding");
        let mut lengths = self.values("Content-Length");
        match (codings.next(), codings.next(), lengths.next()) {
            // With a length beside a coding, a second coding, or a coding in HTTP/1.0 (RFC 9112 §6.1), two readers could find
            // different ends, and bytes behind a wrong end would be taken for an answer of the proxy.
            (Some(coding), None, None)
                if self.is_modern && coding.eq_ignore_ascii_case(b"chunked") =>
            {
                Framing::Chunked
            }
            (None, None, Some(first)) => {
                // Equal lengths may be listed or repeated (RFC 9112 §6.3, rule 5). Different ones have no certain
                // end.
                let lines = std::iter::once(first).chain(lengths);
                let mut lengths =
                    lines.flat_map(|line| line.split(|byte| *byte == b',')).map(length);
                let first = lengths.next().flatten();
                let are_equal = lengths.all(|length| length == first);
                first.filter(|_| are_equal).map_or(Framing::Close, Framing::Length)
            }
            _ => Framing::Close,
        }
    }
}

fn length(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if is_number { str::from_utf8(text).ok()?.parse().ok() } else { None }
}

fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn status_line(head: &[u8]) -> &[u8] {
    lines(head).find(|line| !line.is_empty()).unwrap_or_default()
}

/// Reads the fields. A folded line continues the previous one, and a line that is not a field is left out.
fn fields(head: &[u8]) -> Vec<(Box<[u8]>, Vec<u8>)> {
    let mut fields: Vec<(Box<[u8]>, Vec<u8>)> = Vec::new();
    let mut can_go_on = false;
    for line in lines(head).skip_while(|line| line.is_empty()).skip(1) {
        // A folded line (RFC 9112 §5.2) belongs to the line before it, and is dropped together with it.
        if matches!(line.first(), Some(b' ' | b'\t')) {
            if let Some((_, value)) = fields.last_mut().filter(|_| can_go_on) {
                value.push(b' ');
                value.extend_from_slice(line.trim_ascii());
            }
            continue;
        }
        can_go_on = false;
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        // Blanks before the colon are removed, as RFC 9112 §5.1 asks of proxies that receive them in a response.
        let (name, value) = (line[..colon].trim_ascii_end(), line[colon + 1..].trim_ascii());
        let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
        if is_name && fields.len() < FIELDS_MAX {
            fields.push((name.into(), value.to_vec()));
            can_go_on = true;
        }
    }
    fields
}

const HTTP: &[u8] = b"HTTP/";
/// The most fields that are read; further ones are ignored.
const FIELDS_MAX: usize = 500;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(head: &str) -> Answer {
        Answer::parse(BytesMut::from(head)).unwrap()
    }

    #[test]
    fn challenges_are_raw_and_in_order() {
        let answer = answer(
            "HTTP/1.1 407 A\r\nproxy-authenticate: NTLM TlR=\r\njunk\r\n fold of junk\r\nProxy-Authenticate : Digest\r\n \
             realm=\"a, b\",\r\n\tqop=auth\r\nX: y\r\n\r\n",
        );
        let challenges: Vec<_> = answer.challenges().collect();
        assert_eq!(challenges, [&b"NTLM TlR="[..], b"Digest realm=\"a, b\", qop=auth"]);
    }

    #[test]
    fn the_reason_is_found_in_the_status_line() {
        let said = |head| answer(head).into_refusal().said;
        assert_eq!(said("\r\nHTTP/1.1 403 Not for you\r\n\r\n"), "403 Not for you");
        assert_eq!(said("HTTP/2 500\n\n"), "500");
        assert_eq!(said("HTTP/1.1\t403\tNot for you\r\n\r\n"), "403 Not for you");
        assert_eq!(said("HTTP/1.1  403   No\r\n\r\n"), "403 No");
    }

    #[test]
    fn the_status_is_three_digits_alone() {
        let status = |line: &str| Answer::parse(BytesMut::from(line)).map(|answer| answer.status());
        for line in ["HTTP/1.1 200 OK", "HTTP/1.1\t200 OK", "HTTP/1.0 \t200\tOK", "HTTP/2 200"] {
            assert_eq!(status(line).unwrap(), 200, "{line:?}");
        }
        for line in ["HTTP/1.1", "HTTP/1.1 2000", "HTTP/1.1\t20", "HTTP/1.1 200OK", "HTTP/1.1 099"]
        {
            assert!(status(line).is_err(), "{line:?}");
        }
    }

    proptest! {
        /// The end is the first empty line after the status line, however the bytes arrive.
        #[test]
        fn a_head_ends_at_its_empty_line(
            blank in "(\r\n|\n){0,2}", rest in "(A: b|[ :a]{1,3}|\r)?(\r\n|\n)[ab\r\n]{0,20}", step in 1_usize..9,
        ) {
            let text = format!("{blank}HTTP/1.1 200 OK{rest}");
            let mut at = blank.len();
            let expected = loop {
                let Some(found) = text[at..].find('\n') else { break None };
                let line = &text[at..at + found];
                at += found + 1;
                if line.is_empty() || line == "\r" {
                    break Some(at);
                }
            };
            let mut scanner = HeadScanner::default();
            let mut found = None;
            for end in (step..text.len() + step).step_by(step) {
                found = scanner.scan(&text.as_bytes()[..end.min(text.len())]).unwrap();
                if found.is_some() {
                    break;
                }
            }
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn no_answer_makes_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for head in [bytes.clone(), [b"HTTP/1.1 407 A\r\n", bytes.as_slice(), b"\r\n\r\n"].concat()] {
                if let Ok(Some(end)) = HeadScanner::default().scan(&head)
                    && let Ok(answer) = Answer::parse(BytesMut::from(&head[..end]))
                {
                    let _ = (answer.is_persistent(), answer.framing());
                    let _ = answer.into_refusal();
                }
            }
        }
    }
}
