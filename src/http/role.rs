//! The role of each field for a proxy: hop-by-hop, end-to-end, or rewritten.

/// The role of a field for a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Forwarded unchanged.
    EndToEnd,
    /// Removed: it concerns this connection only.
    HopByHop,
    /// Rewritten from the target.
    Host,
    /// Rewritten from the length of the body.
    ContentLength,
    /// Rewritten from the length of the body; it concerns this connection only.
    TransferEncoding,
    /// Decremented in OPTIONS and TRACE.
    MaxForwards,
}

/// Returns whether a field named `name` concerns one connection only and is never forwarded (RFC 9110 §7.6.1, §11.7).
/// The names that `Connection` lists are removed as well, but not covered here.
pub fn is_hop_by_hop(name: &[u8]) -> bool {
    matches!(role_of(name), Role::HopByHop | Role::TransferEncoding)
}

pub(super) fn role_of(name: &[u8]) -> Role {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    // Comparing the length first makes most names, which match none, cost one comparison.
    match name.len() {
        2 if is("TE") => Role::HopByHop,
        4 if is("Host") => Role::Host,
        7 if is("Upgrade") => Role::HopByHop,
        10 if is("Connection") || is("Keep-Alive") => Role::HopByHop,
        12 if is("Max-Forwards") => Role::MaxForwards,
        14 if is("Content-Length") => Role::ContentLength,
        16 if is("Proxy-Connection") => Role::HopByHop,
        17 if is("Transfer-Encoding") => Role::TransferEncoding,
        18 if is("Proxy-Authenticate") => Role::HopByHop,
        19 if is("Proxy-Authorization") => Role::HopByHop,
        25 if is("Proxy-Authentication-Info") => Role::HopByHop,
        _ => Role::EndToEnd,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hop_by_hop_fields_are_recognised() {
        for name in [
            "connection",
            "Proxy-Connection",
            "KEEP-ALIVE",
            "te",
            "Transfer-Encoding",
            "Upgrade",
            "Proxy-Authorization",
            "Proxy-Authenticate",
            "Proxy-Authentication-Info",
        ] {
            assert!(is_hop_by_hop(name.as_bytes()), "{name}");
        }
        for name in ["Host", "Content-Length", "Authorization", "Trailer", "Proxy-Status", "", "T"]
        {
            assert!(!is_hop_by_hop(name.as_bytes()), "{name}");
        }
    }
}
