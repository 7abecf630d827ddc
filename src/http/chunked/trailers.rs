//! The trailer section of a chunked body (RFC 9112 §7.1.2).

use bytes::Bytes;

use crate::http::{
    BadBody, Fields,
    fields::{Line, has_bare_lf},
    role::{Role, role_of},
};

/// Parses a section that ends at its first empty line.
pub(super) fn parse(section: Bytes) -> Result<Fields, BadBody> {
    let mut parsed = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let lines = match httparse::parse_headers(&section, &mut parsed) {
        Ok(httparse::Status::Complete((end, fields))) if end == section.len() => {
            Line::all_within(&section, fields)
        }
        Err(httparse::Error::TooManyHeaders) => return Err(BadBody::TrailersTooLarge),
        // A section that seems to end before its end has a bare LF.
        Ok(_) | Err(_) => return Err(BadBody::Trailers),
    };
    if has_bare_lf(&section, lines.get(1..).unwrap_or_default()) {
        return Err(BadBody::Trailers);
    }
    Ok(Fields::new(section, lines))
}

/// Whether a trailer of this name is passed on: not if it frames, routes, authenticates or changes how the content is
/// read, since a recipient may merge it into the head (RFC 9110 §6.5.1).
pub(super) fn is_allowed(name: &[u8]) -> bool {
    role_of(name) == Role::EndToEnd
        && !FORBIDDEN.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// How large a section may be, its empty line included.
pub(super) const BYTES_MAX: usize = 16 * 1024;
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
