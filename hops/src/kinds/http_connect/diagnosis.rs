//! The reasons why there are no credentials for a proxy, in words that an operator can act on.

use std::{
    ffi::OsString,
    path::Path,
    time::{Duration, SystemTime},
};

use mooltiroute_sso::{Reason, SsoError};

use super::{
    explanations::explained,
    sign_on::{SignOn, SignOnError},
};
use crate::{MissingCredentials, Refusal, refusal::http_date};

/// A reason with its words. `docs/corporate-authentication.md` has the same table.
#[derive(Debug)]
pub(super) struct Diagnosis {
    pub(super) reason: Reason,
    /// A few words, for a status line.
    pub(super) summary: &'static str,
    /// The remedy.
    pub(super) advice: &'static str,
}

impl Diagnosis {
    /// Finds the words for a reason.
    pub(super) fn of(reason: Reason) -> &'static Self {
        let known = DIAGNOSES.iter().find(|diagnosis| diagnosis.reason == reason);
        known.unwrap_or(&DIAGNOSES[DIAGNOSES.len() - 1])
    }

    /// Returns the remedy for `sign_on`. `kinit` alone fills the default cache with a ticket of the logged-in user, which is no
    /// help if the settings name another cache or user.
    pub(super) fn advice_for(&self, sign_on: &SignOn) -> String {
        let cache = sign_on.ccache();
        let option = cache.map(|name| format!(" -c {name}")).unwrap_or_default();
        let principal = sign_on.principal().map(|name| format!(" {name}")).unwrap_or_default();
        let kinit = format!("`kinit{option}{principal}`");
        match (self.reason, cache) {
            (Reason::NoTicket, Some(_)) => format!(
                "Get a ticket with {kinit}, as the user that runs Mooltiroute: `ccache` of this hop names that cache. The next \
                 request uses it."
            ),
            (Reason::TicketExpired, Some(_)) => format!(
                "Renew it with {kinit}, since `ccache` of this hop names that cache. The next request uses the new one."
            ),
            (Reason::BadCache, Some(_)) => format!(
                "Make it with {kinit}, or correct `ccache` of this hop. The user that runs Mooltiroute must be its owner."
            ),
            // Kerberos takes the realm from the name of the host, or from `domain_realm`.
            (Reason::ForeignRealm, _) if !sign_on.service().contains('@') => {
                "`spn` names no realm, so Kerberos took one that fits the name of the host: correct that name, add the realm, \
                 as in `HTTP/NAME@REALM`, or map the domain below `[domain_realm]` in krb5.conf."
                    .to_owned()
            }
            _ => self.advice.replace("`kinit`", &kinit),
        }
    }
}

/// Describes a sign-on for which there is no token. `canonical` is another name of the proxy's host.
pub(super) fn missing_credentials(
    sign_on: &SignOn,
    error: SignOnError,
    canonical: Option<String>,
) -> MissingCredentials {
    let service = sign_on.service();
    // A call that does not return in time is taken for one that waits for a silent KDC, for which MIT Kerberos waits
    // 25 s.
    let is_timeout = matches!(error, SignOnError::TimedOut(_));
    let (reason, details) = match error {
        // The words of the library quote the user. They are cleaned here, since they go to clients and logs.
        SignOnError::Library(error) => (error.reason, details(&sign_on.hidden(error), service)),
        SignOnError::TimedOut(patience) => (Reason::KdcUnreachable, silent(patience, service)),
        SignOnError::NoDescriptor(error) => (Reason::Other, error.to_string()),
    };
    let diagnosis = Diagnosis::of(reason);
    let (summary, advice) = (&diagnosis.summary, diagnosis.advice_for(sign_on));
    // The library says only that there is no ticket. If there is a keytab, its keys got none.
    let shown = |path: &Path| sign_on.without_username(&path.display().to_string());
    let (summary, advice) = match (reason, sign_on.keytab(), canonical) {
        (Reason::NoTicket, Some((path, principal)), _) => (
            "no usable key in the keytab",
            no_key(&shown(path), &sign_on.without_username(principal)),
        ),
        // The password of the account was changed after the keytab was made, so its keys are those of the old one.
        (Reason::WrongPassword, Some((path, principal)), _) => {
            ("keytab is out of date", old_keys(&shown(path), &sign_on.without_username(principal)))
        }
        (Reason::UnknownUser, Some(_), _) => (*summary, WRONG_PRINCIPAL.to_owned()),
        // The name is only advised. To use it without asking would let anyone who can forge answers of the DNS choose
        // the service that a ticket is for.
        (Reason::UnknownService, _, Some(name)) => (
            *summary,
            format!("{advice} The canonical name of this host is `{name}`: try `HTTP/{name}`."),
        ),
        // A broken file shows in several ways, and which one is read depends on a variable.
        (
            Reason::BadSettings | Reason::UnknownRealm | Reason::KdcUnreachable | Reason::Other,
            ..,
        ) if cfg!(unix) => {
            (*summary, format!("{advice} {}", settings_file(std::env::var_os(KRB5_CONFIG))))
        }
        _ => (*summary, advice),
    };
    MissingCredentials {
        summary: summary.to_owned(),
        details,
        advice,
        is_timeout,
        retry_after: None,
        is_held_back: false,
    }
}

/// Names the file that has the settings of Kerberos. `variable` is the value of [`KRB5_CONFIG`].
fn settings_file(variable: Option<OsString>) -> String {
    match variable.filter(|value| !value.is_empty()) {
        Some(path) => {
            format!("`{KRB5_CONFIG}` names krb5.conf here: `{}`.", Path::new(&path).display())
        }
        None => {
            "Here, krb5.conf is `/etc/krb5.conf`, unless the system has it elsewhere.".to_owned()
        }
    }
}

/// The variable that names the files with the settings of Kerberos.
const KRB5_CONFIG: &str = "KRB5_CONFIG";

/// Explains a challenge that followed a valid token. If the clocks differ, that is the likely cause: a ticket that was
/// issued before they did is used without asking the domain controller, and so only the proxy sees the difference.
pub(super) fn refused_ticket(refusal: Refusal, now: SystemTime) -> Refusal {
    // The proxy does not say why it refuses a ticket. Its `Date` field is the only clue that this side has.
    let skew = refusal.field("Date").and_then(|date| clock_difference(date, now));
    let reason = if skew.is_some() { Reason::ClockSkew } else { Reason::Refused };
    let detail = match skew {
        Some(skew) => {
            format!(
                "it refused a valid ticket, and its clock differs from this machine's by {skew:?}"
            )
        }
        None => "it refused a valid ticket".to_owned(),
    };
    let Diagnosis { summary, advice, .. } = Diagnosis::of(reason);
    let refusal = explained(refusal, detail, *summary, advice);
    Refusal { is_of_ticket: true, ..refusal }
}

/// Returns how far the proxy's clock is from ours, if that is more than Kerberos accepts.
fn clock_difference(date: &str, now: SystemTime) -> Option<Duration> {
    let theirs = http_date(date.as_bytes())?;
    // Either clock may be ahead; only the distance counts.
    let difference = now.duration_since(theirs).unwrap_or_else(|error| error.duration());
    (difference > SKEW_MAX).then(|| Duration::from_secs(difference.as_secs()))
}

/// Advises on a keytab that gives no ticket.
fn no_key(keytab: &str, principal: &str) -> String {
    let realm = match principal.split_once('@') {
        None => {
            " The principal has no realm; write it after an `@`, in capitals, as in `alice@CORP.EXAMPLE`."
        }
        Some((_, realm)) if realm.chars().any(char::is_lowercase) => {
            " Realms are in capitals, and this one is not."
        }
        Some(_) => "",
    };
    format!(
        "Check that `{keytab}` is a keytab and has keys of `{principal}`: `klist -kt {keytab}` lists them.{realm}"
    )
}

/// Advises on a keytab whose keys the domain does not accept.
fn old_keys(keytab: &str, principal: &str) -> String {
    format!(
        "The keytab is out of date: the domain does not accept the keys of `{principal}` in `{keytab}`, as after a change of \
         that account's password. Export it again; the new file takes effect at once. `klist -kt {keytab}` shows its version \
         numbers, and `kvno {principal}` the present one."
    )
}

/// The remedy if the domain does not know the principal of a keytab.
const WRONG_PRINCIPAL: &str = "Correct `principal` below `kerberos` of this hop, and its realm.";

fn details(error: &SsoError, service: &str) -> String {
    format!("no token for `{service}` can be made: {error}")
}

fn silent(patience: Duration, service: &str) -> String {
    format!("no token for `{service}` can be made: {}, within {patience:?}", Reason::KdcUnreachable)
}

/// The default of MIT Kerberos, Heimdal and Windows.
const SKEW_MAX: Duration = Duration::from_secs(300);

/// Every reason, and the last one for those of a later version of the library.
pub(super) const DIAGNOSES: [Diagnosis; 18] = [
    Diagnosis {
        reason: Reason::LibraryMissing,
        summary: "no Kerberos library here",
        advice: "Install the package that is named. A restart is not needed.",
    },
    Diagnosis {
        reason: Reason::Unsupported,
        summary: "Kerberos library can't use these credentials",
        advice: "Use another source of tickets in `kerberos` of this hop, or a newer library.",
    },
    Diagnosis {
        reason: Reason::BadCache,
        summary: "unusable Kerberos ticket cache",
        advice: "Name a cache that `kinit` has made: `ccache` below `kerberos`, or the variable `KRB5CCNAME`. The user that \
            runs Mooltiroute must be its owner.",
    },
    Diagnosis {
        reason: Reason::BadSettings,
        summary: "unusable krb5.conf",
        advice: "Correct the file. `kinit` fails for the same reason, and says more.",
    },
    Diagnosis {
        reason: Reason::NoTicket,
        summary: "no Kerberos ticket",
        advice: "Get a ticket as the user that runs Mooltiroute, with `kinit`, or name its cache with \
            `kerberos: { ccache: … }`. The next request uses it.",
    },
    Diagnosis {
        reason: Reason::TicketExpired,
        summary: "Kerberos ticket expired",
        advice: "Renew it with `kinit`. The next request uses the new one.",
    },
    Diagnosis {
        reason: Reason::ClockSkew,
        summary: "clock differs from the domain's",
        advice: "Correct the clock of this machine. Kerberos accepts a difference of five minutes.",
    },
    Diagnosis {
        reason: Reason::UnknownService,
        summary: "service name unknown to the domain",
        advice: "Write the proxy's full name in `address`, not an alias, or its registered service name in \
            `kerberos: { spn: HTTP/NAME }`.",
    },
    Diagnosis {
        reason: Reason::ForeignRealm,
        summary: "realm of the service name not trusted",
        advice: "Correct the realm after the `@` in `spn` below `kerberos` of this hop, or remove it: it is wrong, \
            or the domain of this user does not trust it.",
    },
    Diagnosis {
        reason: Reason::KdcUnreachable,
        summary: "no answer from the domain controller",
        advice: "Check that this machine reaches its domain controller, such as by the company's VPN, and `kdc` in \
            krb5.conf.",
    },
    Diagnosis {
        reason: Reason::UnknownRealm,
        summary: "no domain controller for the realm",
        advice: "Check the realm, which is usually in capitals, and `realms` in krb5.conf.",
    },
    Diagnosis {
        reason: Reason::WrongPassword,
        summary: "wrong password",
        advice: "Correct the password of this hop: `password`, or the file of `password_file`.",
    },
    Diagnosis {
        reason: Reason::UnknownUser,
        summary: "user unknown to the domain",
        advice: "Correct `username` of this hop, or `principal` below `kerberos`, and its realm.",
    },
    Diagnosis {
        reason: Reason::PasswordExpired,
        summary: "password expired",
        advice: "Change the password in the domain, then write the new one in this hop.",
    },
    Diagnosis {
        reason: Reason::Locked,
        summary: "account locked",
        advice: "Ask the administrator to unlock the account, then run `mooltiroute reload` or wait.",
    },
    Diagnosis {
        reason: Reason::Refused,
        summary: "refused a valid ticket",
        advice: "The ticket is good, so the cause is with the proxy: its keytab, its clock, its service name, or rules \
            that don't let this user through. Ask its administrator.",
    },
    Diagnosis {
        reason: Reason::BadToken,
        summary: "sent a malformed token",
        advice: "The proxy does not speak Kerberos correctly. List another scheme in `auth` of this hop.",
    },
    Diagnosis {
        reason: Reason::Other,
        summary: "Kerberos failed",
        advice: "If the library's message does not say why, check krb5.conf, and that `kinit` works. \
            `KRB5_TRACE=/dev/stderr` makes MIT Kerberos say more.",
    },
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mooltiroute_sso::{Credentials, Identity};

    use super::*;

    #[test]
    fn no_reason_has_two_diagnoses() {
        for (index, diagnosis) in DIAGNOSES.iter().enumerate() {
            assert_eq!(Diagnosis::of(diagnosis.reason).summary, diagnosis.summary);
            let others = &DIAGNOSES[..index];
            assert!(others.iter().all(|other| other.summary != diagnosis.summary));
        }
    }

    #[test]
    fn advice_on_a_named_cache_fills_that_one() {
        let sign_on = |principal: Option<&str>| {
            let (name, principal) = ("FILE:/run/x".to_owned(), principal.map(str::to_owned));
            let cache = Credentials::Ccache { name, principal };
            SignOn::new("HTTP/a", vec![Identity::new(cache)], Duration::ZERO)
        };
        let advice = |reason, sign_on: &SignOn| Diagnosis::of(reason).advice_for(sign_on);
        for reason in [Reason::NoTicket, Reason::TicketExpired, Reason::BadCache, Reason::Other] {
            let told = advice(reason, &sign_on(None));
            assert!(told.contains("`kinit -c FILE:/run/x`") && !told.contains("`kinit`"), "{told}");
            let told = advice(reason, &sign_on(Some("alice@CORP.TEST")));
            assert!(told.contains("`kinit -c FILE:/run/x alice@CORP.TEST`"), "{told}");
        }
        let default = SignOn::new("HTTP/a", Vec::new(), Duration::ZERO);
        assert!(advice(Reason::NoTicket, &default).contains("`kinit`"));
        let principal = Some("other@CORP.TEST".to_owned());
        let other = vec![Identity::new(Credentials::LoggedIn { principal })];
        let other = SignOn::new("HTTP/a", other, Duration::ZERO);
        for reason in [Reason::NoTicket, Reason::TicketExpired, Reason::BadCache, Reason::Other] {
            let told = advice(reason, &other);
            assert!(
                told.contains("`kinit other@CORP.TEST`") && !told.contains("`kinit`"),
                "{told}"
            );
        }
    }

    #[test]
    fn every_reason_is_in_the_documents() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let page =
            std::fs::read_to_string(folder.join("docs/corporate-authentication.md")).unwrap();
        for Diagnosis { summary, advice, .. } in DIAGNOSES {
            let row = format!("\n| {summary} | {advice} |\n");
            assert!(page.contains(&row), "docs/corporate-authentication.md lacks {row}");
        }
    }
}
