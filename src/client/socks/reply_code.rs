//! The reply code that a SOCKS5 client gets for a failure (RFC 1928 §6).
//!
//! A code has no room to say who failed, and clients take 3, 4 and 5 to be about their target. So these are sent only if
//! the target is what failed; a hop that is down is a general failure.

use std::io;

use mooltiroute_hops::{Authority, HopError, Meaning, socks::ReplyCode};

use crate::{
    client::ask::Denial,
    upstream::{
        chain::{Cause, ChainError},
        dial::DialError,
    },
};

/// Returns the code for a request that was not even tried.
pub(in crate::client) fn of_denial(denial: &Denial) -> ReplyCode {
    match denial {
        Denial::NoRoute(_)
        | Denial::NoSession { .. }
        | Denial::NoSay(_)
        | Denial::OverBudget(_) => NOT_ALLOWED,
        Denial::Preferences { .. } | Denial::NotAdmitted(..) | Denial::Unsettled(_) => {
            GENERAL_FAILURE
        }
    }
}

/// Returns the code for a chain that failed on its way to `target`.
pub(super) fn of_failure(error: &ChainError, target: &Authority) -> ReplyCode {
    // If the step was to reach the target, the failure may be the target's. Otherwise it is about a
    // hop, and the client must not take it for one of its target.
    let is_about_target = error.stage.stop == *target;
    match &error.cause {
        // The nearest that RFC 1928 has for a timeout.
        Cause::Timeout(..) | Cause::ClientLeft(_) => TTL_EXPIRED,
        Cause::Hop(HopError::Refused(refusal)) => match refusal.meaning {
            Meaning::Policy | Meaning::Forbidden => NOT_ALLOWED,
            Meaning::Timeout => TTL_EXPIRED,
            Meaning::NetworkUnreachable if is_about_target => NETWORK_UNREACHABLE,
            Meaning::Unreachable | Meaning::UnknownName if is_about_target => HOST_UNREACHABLE,
            Meaning::TargetRefused if is_about_target => REFUSED,
            _ => GENERAL_FAILURE,
        },
        Cause::Dial(DialError::Connect(source)) if source.kind() == io::ErrorKind::TimedOut => {
            TTL_EXPIRED
        }
        Cause::Dial(error) if is_about_target => dialled(error),
        _ => GENERAL_FAILURE,
    }
}

/// Returns the code for a target that this machine did not reach.
fn dialled(error: &DialError) -> ReplyCode {
    match error {
        DialError::NoAddress => HOST_UNREACHABLE,
        // This is not about the target.
        DialError::OwnLack(..) => GENERAL_FAILURE,
        DialError::Lookup(_) => HOST_UNREACHABLE,
        DialError::Connect(source) => match source.kind() {
            io::ErrorKind::ConnectionRefused => REFUSED,
            io::ErrorKind::NetworkUnreachable => NETWORK_UNREACHABLE,
            io::ErrorKind::HostUnreachable => HOST_UNREACHABLE,
            _ => GENERAL_FAILURE,
        },
        DialError::Loop => GENERAL_FAILURE,
    }
}

const GENERAL_FAILURE: ReplyCode = ReplyCode(1);
const NOT_ALLOWED: ReplyCode = ReplyCode(2);
const NETWORK_UNREACHABLE: ReplyCode = ReplyCode(3);
const HOST_UNREACHABLE: ReplyCode = ReplyCode(4);
const REFUSED: ReplyCode = ReplyCode(5);
const TTL_EXPIRED: ReplyCode = ReplyCode(6);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mooltiroute_hops::{LinkSettings, Party, Refusal};

    use super::*;
    use crate::upstream::chain::{Stage, Step};

    #[track_caller]
    fn check(stop: &str, cause: impl Into<Cause>, expected: u8) {
        let cause = cause.into();
        let stage = Stage {
            hop: Some("hop".into()),
            member: None,
            through: Vec::new(),
            place: None,
            step: Step::Extend,
            stop: stop.parse().unwrap(),
            protocol: None,
            settings: LinkSettings::default(),
            is_secure: false,
            list: None,
            next: None,
            next_place: None,
            is_login: false,
            is_sent: false,
            has_answered: false,
            url: None,
        };
        let error = ChainError {
            chain: "default".into(),
            stage: stage.into(),
            cause,
            attempts: 1,
            refused: vec![],
            failed_members: None,
            switched_off: Default::default(),
            direct_hops: vec![],
            taken: None,
        };
        let target = "target.test:443".parse().unwrap();
        assert_eq!(of_failure(&error, &target).0, expected, "{error:?}");
    }

    fn refused(meaning: Meaning) -> HopError {
        Refusal::new(meaning, Party::Next, "no").into()
    }

    fn dialled(kind: io::ErrorKind) -> DialError {
        DialError::Connect(kind.into())
    }

    #[test]
    fn codes_three_to_five_are_about_the_target_only() {
        for (meaning, at_target, before) in [
            (Meaning::NetworkUnreachable, 3, 1),
            (Meaning::Unreachable, 4, 1),
            (Meaning::UnknownName, 4, 1),
            (Meaning::TargetRefused, 5, 1),
            (Meaning::Policy, 2, 2),
            (Meaning::Forbidden, 2, 2),
            (Meaning::Timeout, 6, 6),
            (Meaning::Credentials, 1, 1),
            (Meaning::Quota, 1, 1),
            (Meaning::Busy, 1, 1),
            (Meaning::Fault, 1, 1),
            (Meaning::Unsupported, 1, 1),
            (Meaning::Unclear, 1, 1),
        ] {
            check("target.test:443", refused(meaning), at_target);
            check("provider.test:80", refused(meaning), before);
        }
        for (kind, at_target, before) in [
            (io::ErrorKind::ConnectionRefused, 5, 1),
            (io::ErrorKind::NetworkUnreachable, 3, 1),
            (io::ErrorKind::HostUnreachable, 4, 1),
            (io::ErrorKind::TimedOut, 6, 6),
            (io::ErrorKind::ConnectionReset, 1, 1),
        ] {
            check("target.test:443", dialled(kind), at_target);
            check("provider.test:80", dialled(kind), before);
        }
        check("target.test:443", DialError::NoAddress, 4);
        check("target.test:443", DialError::Loop, 1);
        check("target.test:443", HopError::Closed, 1);
        check("target.test:443", Cause::Timeout(Duration::ZERO, "timeouts.connect"), 6);
    }
}
