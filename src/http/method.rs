//! Methods of requests.

/// Returns whether a request by `method` does no more if it arrives twice (RFC 9110 §9.2.2).
pub(crate) fn is_idempotent(method: &str) -> bool {
    IDEMPOTENT.contains(&method)
}

/// The registered methods that are idempotent (IANA's registry of RFC 9110 §16.1.1), with the most frequent ones first. `PRI` is
/// left out: it is reserved, and no request has it.
const IDEMPOTENT: [&str; 35] = [
    "GET",
    "HEAD",
    "OPTIONS",
    "PUT",
    "DELETE",
    "TRACE",
    "PROPFIND",
    "REPORT",
    "SEARCH",
    "QUERY",
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "COPY",
    "LABEL",
    "LINK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "ORDERPATCH",
    "PROPPATCH",
    "REBIND",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_compared_with_their_case() {
        assert!(["GET", "PUT", "VERSION-CONTROL"].into_iter().all(is_idempotent));
        assert!(!["POST", "PATCH", "CONNECT", "get", "UNKNOWN", ""].into_iter().any(is_idempotent));
    }
}
