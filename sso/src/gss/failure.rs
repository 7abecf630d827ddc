//! Calls that failed, in the library's words.

use std::ptr;

use super::{
    abi::{ERROR_BITS, MAJOR_CODE, MINOR_CODE, Mechanism, Status},
    buffer::OwnedBuffer,
    library::GssLibrary,
    reason::reason,
};
use crate::{Reason, SsoError, Words};

/// A call that failed.
#[derive(Debug)]
pub(super) struct GssFailure {
    reason: Reason,
    words: Words,
}

impl GssFailure {
    fn new(
        library: &'static GssLibrary,
        major: Status,
        minor: Status,
        mechanism: Option<Mechanism>,
    ) -> Self {
        // The minor code is the mechanism's own and says more. Failures of GSS-API itself have a major code only.
        let mut words = describe(library, minor, MINOR_CODE, mechanism);
        if words.is_empty() {
            words = describe(library, major, MAJOR_CODE, None);
        }
        // MIT Kerberos asks for a ticket of the other realm first. If that fails, it returns the code for "no such service",
        // and only its message names the ticket that was not found.
        let reason = match reason(major, minor) {
            Reason::UnknownService if words.contains("krbtgt/") => Reason::ForeignRealm,
            reason => reason,
        };
        Self { reason, words: Words::Foreign(words) }
    }

    pub(super) fn unsupported(words: &'static str) -> Self {
        Self { reason: Reason::Unsupported, words: Words::Ours(words) }
    }

    /// Creates the failure of a proxy that answers a complete token with another challenge.
    pub(super) fn refused() -> Self {
        Self { reason: Reason::Refused, words: Words::Ours("the proxy did not accept the ticket") }
    }

    pub(super) fn reason(&self) -> Reason {
        self.reason
    }

    /// Adds the place that was searched for tickets.
    pub(super) fn into_error(self, place: Vec<Words>) -> SsoError {
        let mut details = vec![self.words, Words::Ours("; ")];
        details.extend(place);
        SsoError { reason: self.reason, details }
    }
}

/// Returns the library's words for a code, as one printable line.
fn describe(
    library: &'static GssLibrary,
    code: Status,
    kind: i32,
    mechanism: Option<Mechanism>,
) -> String {
    let mut oid = mechanism.map(Mechanism::oid);
    let oid = oid.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
    // A code can have several messages. The first one is enough, so `more` is not followed.
    let mut text = OwnedBuffer::empty(library);
    let (mut minor, mut more) = (0, 0);
    #[expect(unsafe_code, reason = "a call of C")]
    // SAFETY: all pointers are to values that outlive the call, and the mechanism may be null.
    let major = unsafe {
        (library.display_status)(&raw mut minor, code, kind, oid, &raw mut more, &raw mut text.raw)
    };
    if major & ERROR_BITS != 0 || code == 0 {
        return String::new();
    }
    let words = String::from_utf8_lossy(text.bytes());
    words.chars().take(WORDS_MAX).map(|one| if one.is_control() { ' ' } else { one }).collect()
}

/// Returns the major status of a call, or its failure.
pub(super) fn check(
    library: &'static GssLibrary,
    major: Status,
    minor: Status,
    mechanism: Option<Mechanism>,
) -> Result<Status, GssFailure> {
    if major & ERROR_BITS == 0 {
        Ok(major)
    } else {
        Err(GssFailure::new(library, major, minor, mechanism))
    }
}

/// The most characters of a message of the library that are shown.
const WORDS_MAX: usize = 300;
