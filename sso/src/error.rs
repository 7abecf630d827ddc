//! The reasons why no token can be made.

use thiserror::Error;

/// The failure of a step: its reason, and the details in words.
#[derive(Clone, Debug, Error)]
#[error("{reason}{}", self.shown_detail())]
pub struct SsoError {
    /// The reason, for decisions.
    pub reason: Reason,
    /// The details, in the words of this program and of others. Never a password or a ticket.
    pub details: Vec<Words>,
}

/// A piece of a text. Only a foreign one can hold the name of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Words {
    /// This program's own words.
    Ours(&'static str),
    /// The words of the system's library, or a name or a path.
    Foreign(String),
}

/// The reason of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Reason {
    /// The system's library is not installed.
    #[error("the system has no library for Kerberos")]
    LibraryMissing,
    /// The library is too old for credentials of this kind, or the system does not have them.
    #[error("the system's library can't use these credentials")]
    Unsupported,
    /// The file of tickets can't be used: its name, its format or its permissions are wrong.
    #[error("the cache of Kerberos tickets can't be used")]
    BadCache,
    /// The settings of Kerberos, `krb5.conf`, can't be read.
    #[error("the settings of Kerberos, krb5.conf, can't be used")]
    BadSettings,
    /// There is no ticket, or no credential cache.
    #[error("no Kerberos ticket")]
    NoTicket,
    /// The ticket has expired.
    #[error("the Kerberos ticket has expired")]
    TicketExpired,
    /// The clocks of this machine and of the KDC differ too much.
    #[error("this machine's clock differs too much from that of the domain controller")]
    ClockSkew,
    /// The KDC knows no such service.
    #[error("the domain controller does not know the proxy's service name")]
    UnknownService,
    /// The KDC knows no way to the realm of the service.
    #[error(
        "the domain controller does not know the realm of the proxy's service name, or does not trust it"
    )]
    ForeignRealm,
    /// No KDC answers.
    #[error("no domain controller answers")]
    KdcUnreachable,
    /// No KDC is known for the realm.
    #[error("no domain controller is known for the realm")]
    UnknownRealm,
    /// The password is wrong. Trying again counts towards a lock-out.
    #[error("the password is wrong")]
    WrongPassword,
    /// There is no such user.
    #[error("the domain controller does not know the user")]
    UnknownUser,
    /// The password must be changed first.
    #[error("the password has expired")]
    PasswordExpired,
    /// The account is locked or disabled.
    #[error("the account is locked or disabled")]
    Locked,
    /// The proxy refused a valid token, so the cause is on its side: its keytab, its clock or its rules.
    #[error("the proxy refused a valid ticket")]
    Refused,
    /// The proxy's token makes no sense.
    #[error("the proxy's token is malformed")]
    BadToken,
    /// Another reason, which the library's own words describe.
    #[error("the system's library failed")]
    Other,
}

impl Reason {
    /// Returns whether this machine or its set-up failed, so that another scheme may be tried. The proxy has rejected nothing
    /// then.
    pub fn is_local(self) -> bool {
        matches!(
            self,
            Self::LibraryMissing
                | Self::Unsupported
                | Self::BadCache
                | Self::BadSettings
                | Self::NoTicket
                | Self::TicketExpired
                | Self::ClockSkew
                | Self::UnknownService
                | Self::ForeignRealm
                | Self::KdcUnreachable
                | Self::UnknownRealm
        )
    }

    /// Returns whether a domain controller refused the credentials, so that another try could lock the account.
    pub fn is_rejection(self) -> bool {
        matches!(
            self,
            Self::WrongPassword | Self::UnknownUser | Self::PasswordExpired | Self::Locked
        )
    }
}

impl SsoError {
    /// Creates an error with a detail in this program's own words, which may be empty.
    pub fn new(reason: Reason, detail: &'static str) -> Self {
        let details = if detail.is_empty() { Vec::new() } else { vec![Words::Ours(detail)] };
        Self { reason, details }
    }

    /// Changes the foreign words, for instance to hide the name of a user. This program's own words stay as they are.
    #[must_use]
    pub fn map_foreign(mut self, replaced: impl Fn(&str) -> String) -> Self {
        for words in &mut self.details {
            if let Words::Foreign(text) = words {
                *text = replaced(text);
            }
        }
        self
    }

    fn shown_detail(&self) -> String {
        if self.details.is_empty() {
            return String::new();
        }
        let details = self.details.iter().map(|words| match words {
            Words::Ours(text) => text,
            Words::Foreign(text) => text.as_str(),
        });
        format!(" ({})", details.collect::<String>())
    }
}
