//! The reasons behind status codes of SSPI.

use crate::Reason;

/// Finds the reason of a failed call.
pub(super) fn reason(status: u32) -> Reason {
    match status {
        // SEC_E_NO_CREDENTIALS
        0x8009_030E => Reason::NoTicket,
        // SEC_E_TIME_SKEW
        0x8009_0324 => Reason::ClockSkew,
        // SEC_E_TARGET_UNKNOWN, SEC_E_WRONG_PRINCIPAL
        0x8009_0303 | 0x8009_0322 => Reason::UnknownService,
        // SEC_E_NO_AUTHENTICATING_AUTHORITY
        0x8009_0311 => Reason::KdcUnreachable,
        // SEC_E_LOGON_DENIED
        0x8009_030C => Reason::WrongPassword,
        // SEC_E_CONTEXT_EXPIRED
        0x8009_0317 => Reason::TicketExpired,
        // SEC_E_INVALID_TOKEN
        0x8009_0308 => Reason::BadToken,
        // SEC_E_SECPKG_NOT_FOUND, SEC_E_UNSUPPORTED_FUNCTION
        0x8009_0305 | 0x8009_0302 => Reason::Unsupported,
        _ => Reason::Other,
    }
}
