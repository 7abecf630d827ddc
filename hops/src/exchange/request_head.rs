//! Writes the head of a request.

use zeroize::Zeroizing;

use crate::Field;

/// Writes a request head with only the necessary fields, since some providers refuse others. Even `Proxy-Connection:
/// keep-alive` is left to the authentications that need the connection after a refusal by an old proxy.
pub(super) fn head(method: &str, uri: &str, host: &str, fields: &[Field]) -> Zeroizing<String> {
    let fields_bytes: usize =
        fields.iter().map(|field| field.name.len() + field.value.expose().len() + 4).sum();
    // With the exact capacity, the text never grows and leaves no copy of a credential behind.
    let fixed_bytes = "  HTTP/1.1\r\nHost: \r\n\r\n".len();
    let mut head =
        String::with_capacity(method.len() + uri.len() + host.len() + fields_bytes + fixed_bytes);
    for part in [method, " ", uri, " HTTP/1.1\r\nHost: ", host, "\r\n"] {
        head.push_str(part);
    }
    for field in fields {
        for part in [&field.name, ": ", field.value.expose(), "\r\n"] {
            head.push_str(part);
        }
    }
    head.push_str("\r\n");
    head.into()
}
