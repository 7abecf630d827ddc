//! The request in the answer to a TRACE.

use super::fields::{field, put};
use crate::http::{RequestHead, Target, Version};

impl RequestHead {
    /// Appends the request as the answer to a TRACE shows it, as `message/http`.
    ///
    /// Fields with credentials (RFC 9110 §9.3.8) and user information are left out.
    pub fn write_echo(&self, out: &mut Vec<u8>) {
        put(out, &[self.method().as_bytes(), b" "]);
        match self.target() {
            Target::Tunnel(authority) => out.extend_from_slice(authority.to_string().as_bytes()),
            Target::Resource(resource) => {
                put(out, &[b"http://", resource.host()]);
                resource.path().for_each(|part| out.extend_from_slice(part));
            }
            Target::Origin(path) => out.extend_from_slice(path),
            Target::Asterisk => out.push(b'*'),
        }
        out.extend_from_slice(match self.version() {
            Version::Http10 => b" HTTP/1.0\r\n",
            Version::Http11 => b" HTTP/1.1\r\n",
        });
        // A page or a program that reads the echo must not learn credentials from it, which TRACE
        // was once abused for (cross-site tracing).
        for (name, value) in self.fields().iter() {
            let is_secret =
                SECRET_FIELDS.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
            if !is_secret {
                field(out, name, value);
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// The fields that a TRACE does not echo.
const SECRET_FIELDS: [&str; 3] = ["Authorization", "Cookie", "Proxy-Authorization"];

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use crate::http::{HeadLimits, HeadReader};

    #[test]
    fn an_echo_shows_no_credential() {
        let mut seen = BytesMut::from(
            "TRACE http://u:canary@a/x HTTP/1.1\r\nHost: a\r\nproxy-authorization: canary\r\n\
             Authorization: canary\r\nCookie: canary\r\nMax-Forwards: 0\r\n\r\n",
        );
        let head = HeadReader::new(HeadLimits::default()).request(&mut seen).unwrap().unwrap();
        let mut out = Vec::new();
        head.write_echo(&mut out);
        let expected = "TRACE http://a/x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
