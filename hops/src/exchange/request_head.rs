//! Writes the head of a request.

use zeroize::Zeroizing;

use crate::Field;

/// Writes a request head with nothing beyond the necessary, since some providers refuse what other clients add.
/// There is no `Proxy-Connection: keep-alive` either; an authentication that needs the connection after a refusal by an
/// old proxy adds it.
pub(super) fn head(method: &str, uri: &str, host: &str, fields: &[Field]) -> Zeroizing<String> {
    let fields_bytes: usize =
        fields.iter().map(|field| field.name.len() + field.value.expose().len() + 4).sum();
    // Sized exactly, so that no reallocation leaves a copy of a credential behind.
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
