//! The reasons behind status codes.

use super::abi::Status;
use crate::Reason;

/// Finds the reason of a failed call. The minor code, an `i32` in a `u32`, says more than the major one if it is known.
pub(super) fn reason(major: Status, minor: Status) -> Reason {
    let minor = i32::from_ne_bytes(minor.to_ne_bytes());
    let known = KERBEROS.iter().find(|(code, _)| *code == minor);
    if let Some((_, reason)) = known {
        return *reason;
    }
    match (major >> 16) & 0xFF {
        NO_CRED => Reason::NoTicket,
        CREDENTIALS_EXPIRED => Reason::TicketExpired,
        DEFECTIVE_TOKEN | DEFECTIVE_CREDENTIAL => Reason::BadToken,
        UNAVAILABLE => Reason::Unsupported,
        _ => Reason::Other,
    }
}

/// Routine errors of RFC 2744 §3.9.1.
const NO_CRED: u32 = 7;
const DEFECTIVE_TOKEN: u32 = 9;
const DEFECTIVE_CREDENTIAL: u32 = 10;
const CREDENTIALS_EXPIRED: u32 = 11;
const UNAVAILABLE: u32 = 16;

/// Error codes of MIT's and Heimdal's `krb5.h`.
const KERBEROS: [(i32, Reason); 28] = [
    // KRB5_FCC_NOFILE, KRB5_CC_NOTFOUND, KRB5_CC_END, KG_EMPTY_CCACHE, KG_CCACHE_NOMATCH
    (-1_765_328_189, Reason::NoTicket),
    (-1_765_328_243, Reason::NoTicket),
    (-1_765_328_242, Reason::NoTicket),
    (39_756_044, Reason::NoTicket),
    (39_756_053, Reason::NoTicket),
    // KRB5KRB_AP_ERR_TKT_EXPIRED, KRB5KDC_ERR_NAME_EXP for the account
    (-1_765_328_352, Reason::TicketExpired),
    (-1_765_328_383, Reason::Locked),
    // KRB5KRB_AP_ERR_SKEW
    (-1_765_328_347, Reason::ClockSkew),
    // KRB5KDC_ERR_S_PRINCIPAL_UNKNOWN
    (-1_765_328_377, Reason::UnknownService),
    // KRB5_KDC_UNREACH, KRB5_REALM_UNKNOWN, KRB5_REALM_CANT_RESOLVE
    (-1_765_328_228, Reason::KdcUnreachable),
    (-1_765_328_230, Reason::UnknownRealm),
    (-1_765_328_164, Reason::KdcUnreachable),
    // KRB5KDC_ERR_PREAUTH_FAILED, KRB5KRB_AP_ERR_BAD_INTEGRITY, KRB5_GET_IN_TKT_LOOP
    (-1_765_328_360, Reason::WrongPassword),
    (-1_765_328_353, Reason::WrongPassword),
    // KRB5KDC_ERR_C_PRINCIPAL_UNKNOWN, KRB5KDC_ERR_KEY_EXP, KRB5KDC_ERR_CLIENT_REVOKED
    (-1_765_328_378, Reason::UnknownUser),
    (-1_765_328_361, Reason::PasswordExpired),
    (-1_765_328_366, Reason::Locked),
    // KRB5_KT_NOTFOUND, KG_KEYTAB_NOMATCH
    (-1_765_328_203, Reason::NoTicket),
    (39_756_041, Reason::NoTicket),
    // KRB5_CC_BADNAME, KRB5_CC_UNKNOWN_TYPE, KRB5_CC_IO, KRB5_FCC_PERM, KRB5_FCC_INTERNAL, KRB5_CC_FORMAT, KRB5_CCACHE_BADVNO
    (-1_765_328_245, Reason::BadCache),
    (-1_765_328_244, Reason::BadCache),
    (-1_765_328_191, Reason::BadCache),
    (-1_765_328_190, Reason::BadCache),
    (-1_765_328_188, Reason::BadCache),
    (-1_765_328_185, Reason::BadCache),
    (-1_765_328_172, Reason::BadCache),
    // KRB5_CONFIG_CANTOPEN, KRB5_CONFIG_BADFORMAT
    (-1_765_328_249, Reason::BadSettings),
    (-1_765_328_248, Reason::BadSettings),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_codes_say_more_than_major_ones() {
        let unsigned = |minor: i32| u32::from_ne_bytes(minor.to_ne_bytes());
        assert_eq!(reason(13 << 16, unsigned(-1_765_328_347)), Reason::ClockSkew);
        assert_eq!(reason(NO_CRED << 16, unsigned(-1_765_328_352)), Reason::TicketExpired);
        assert_eq!(reason(NO_CRED << 16, 100_001), Reason::NoTicket);
        assert_eq!(reason(CREDENTIALS_EXPIRED << 16, 0), Reason::TicketExpired);
        assert_eq!(reason(13 << 16, unsigned(-1_765_328_172)), Reason::BadCache);
        assert_eq!(reason(13 << 16, 7), Reason::Other);
    }
}
