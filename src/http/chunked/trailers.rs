//! The trailer section of a chunked body (RFC 9112 §7.1.2).

use bytes::Bytes;

use crate::http::{
    BadBody, Fields,
    chunked::TrailerRules,
    fields::{Line, has_bare_lf},
    mend::{self, BareCr},
    role::{Role, role_of},
};

/// Returns the end of the section at the front of `seen`, if its empty line has arrived. `searched` bytes were searched
/// before.
///
/// When trailers are mended, a bare LF ends a line, so that a section with one does not wait for bytes that never come.
pub(super) fn section_end(seen: &[u8], searched: usize, rules: TrailerRules) -> Option<usize> {
    // The end may have been cut by the read before, so its last bytes are searched again.
    let from = searched.saturating_sub(b"\r\n\r\n".len() - 1);
    let ends: &[&[u8]] = match rules {
        TrailerRules::Strict => &[b"\r\n\r\n"],
        TrailerRules::Mended => &[b"\n\r\n", b"\n\n"],
    };
    ends.iter()
        .filter_map(|end| {
            let start = seen[from..].windows(end.len()).position(|part| part == *end)?;
            Some(from + start + end.len())
        })
        .min()
}

/// Returns the largest size of a section, with its empty line.
pub(super) fn bytes_max(rules: TrailerRules) -> usize {
    match rules {
        TrailerRules::Strict => BYTES_MAX,
        TrailerRules::Mended => MENDED_BYTES_MAX,
    }
}

/// Parses a section that ends at its first empty line. One of a response that has too many fields or bytes has the right
/// grammar, but none of its fields are returned.
pub(super) fn parse(section: Bytes, rules: TrailerRules) -> Result<Fields, BadBody> {
    match (parse_strictly(section.clone()), rules) {
        (Err(BadBody::Trailers | BadBody::TrailersTooLarge), TrailerRules::Mended) => {
            mend(&section)
        }
        (parsed, _) => parsed,
    }
}

fn mend(section: &[u8]) -> Result<Fields, BadBody> {
    let mut mended = Vec::new();
    match mend::write_fields(section, BareCr::Refused, &mut mended) {
        // Every line was dropped, which leaves a section without fields.
        Ok(Some(_)) if mended == b"\r\n" => Ok(Fields::default()),
        // Mending has to find the same end. Otherwise a part of the section would be read as the
        // next message.
        Ok(Some(end)) if end == section.len() => match parse_strictly(mended.into()) {
            Err(BadBody::TrailersTooLarge) => Ok(Fields::default()),
            parsed => parsed,
        },
        Ok(_) | Err(_) => Err(BadBody::Trailers),
    }
}

fn parse_strictly(section: Bytes) -> Result<Fields, BadBody> {
    if section.len() > BYTES_MAX {
        return Err(BadBody::TrailersTooLarge);
    }
    let mut parsed = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let lines = match httparse::parse_headers(&section, &mut parsed) {
        Ok(httparse::Status::Complete((end, fields))) if end == section.len() => {
            Line::all_within(&section, fields)
        }
        Err(httparse::Error::TooManyHeaders) => return Err(BadBody::TrailersTooLarge),
        // A section that seems to end before its end has a bare LF.
        Ok(_) | Err(_) => return Err(BadBody::Trailers),
    };
    // The check looks at the line end before each name, and the first name has none before it.
    if has_bare_lf(&section, lines.get(1..).unwrap_or_default()) {
        return Err(BadBody::Trailers);
    }
    Ok(Fields::new(section, lines))
}

/// Returns whether a trailer named `name` is forwarded.
///
/// Trailers that frame, route, authenticate or change how the content is read are not: a recipient may merge them into
/// the head (RFC 9110 §6.5.1).
pub(super) fn is_allowed(name: &[u8]) -> bool {
    role_of(name) == Role::EndToEnd
        && !FORBIDDEN.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// The largest size of a section that is passed on.
const BYTES_MAX: usize = 16 * 1024;
/// The largest size of a section in a response. Between the two, it is read and left out.
const MENDED_BYTES_MAX: usize = 64 * 1024;
const FIELDS_MAX: usize = 64;
const FORBIDDEN: [&str; 17] = [
    "Authorization",
    "Cache-Control",
    "Content-Encoding",
    "Content-Range",
    "Content-Type",
    "Cookie",
    "Expect",
    "Forwarded",
    "Location",
    "Pragma",
    "Range",
    "Set-Cookie",
    "Trailer",
    "Vary",
    "Via",
    "WWW-Authenticate",
    "X-Forwarded-For",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_trailers_are_mended_in_responses_only() {
        let mended = |section: &str| {
            let section = Bytes::from(section.to_owned());
            assert_eq!(parse(section.clone(), TrailerRules::Strict).err(), Some(BadBody::Trailers));
            let fields = parse(section, TrailerRules::Mended)?;
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            Ok(fields.iter().map(|(name, value)| text(name) + "=" + &text(value)).collect())
        };
        for (section, expected) in [
            ("A : b\r\njunk\r\nC: d\r\n e\r\n\r\n", Ok(vec!["A=b".to_owned(), "C=d e".to_owned()])),
            ("A: b\n\n", Ok(vec!["A=b".to_owned()])),
            ("junk\r\n\r\n", Ok(vec![])),
            ("A: b\0\r\n\r\n", Err(BadBody::Trailers)),
            ("A: b\rc\r\n\r\n", Err(BadBody::Trailers)),
            ("A: b\r\n Content-Length: 5\r\n\r\n", Err(BadBody::Trailers)),
        ] {
            assert_eq!(mended(section), expected, "{section:?}");
        }
    }

    #[test]
    fn trailers_that_would_change_the_message_are_not_allowed() {
        for (name, expected) in [
            ("ETag", true),
            ("Grpc-Status", true),
            ("content-length", false),
            ("host", false),
            ("authorization", false),
            ("Proxy-Authorization", false),
            ("SET-COOKIE", false),
        ] {
            assert_eq!(is_allowed(name.as_bytes()), expected, "{name}");
        }
    }
}
