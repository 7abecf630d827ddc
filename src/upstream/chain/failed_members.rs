//! The members of a hop that failed one after the other for the same connection.

use std::{fmt, io, sync::Arc, time::Duration};

use mooltiroute_hops::{HopError, Meaning};

use super::Cause;
use crate::upstream::dial::DialError;

/// Members of one hop that failed for the same connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedMembers {
    /// The name of the hop.
    pub hop: Arc<str>,
    /// The members in the order in which they were tried.
    pub members: Vec<FailedMember>,
    /// Whether the hop has no others.
    pub are_all: bool,
}

/// A member of a hop that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedMember {
    /// Its name below the hop, such as `members[0]`.
    pub name: String,
    /// How it failed.
    pub failure: MemberFailure,
    /// How long it asks to be left alone, if it does.
    pub wait: Option<Duration>,
}

/// How a member of a hop failed, in so few categories that members can be counted by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberFailure {
    /// Its name can't be looked up.
    Lookup,
    /// It refused the connection.
    ConnectionRefused,
    /// It was silent for too long.
    Silent,
    /// There was no way to it.
    NotReached,
    /// It closed the connection without an answer.
    Closed,
    /// It answered this status.
    Answered(u16),
    /// It rejected the credentials, in a protocol without statuses.
    CredentialsRejected,
    /// It refused the request, in a protocol without statuses.
    RequestRefused,
    /// There were no credentials for it, or they were held back.
    NoCredentials,
    /// Its answer was not understood.
    InvalidAnswer,
    /// Its certificate is not accepted.
    Certificate,
    /// TLS with it failed.
    Tls,
    /// Something else.
    Other,
}

impl FailedMembers {
    /// Returns the number of them in words, such as `all 3 members`.
    pub fn in_words(&self) -> String {
        format!("{}{} members", if self.are_all { "all " } else { "" }, self.members.len())
    }

    /// Returns the shortest time that one of them asked for, if all of them asked to be left alone for some time.
    pub fn wait(&self) -> Option<Duration> {
        let waits = self.members.iter().map(|member| member.wait);
        waits.collect::<Option<Vec<_>>>()?.into_iter().min()
    }

    /// Says how they failed: one by one if they are a few, or by numbers such as `3 refused the connection, 1 answered 407`.
    pub fn failures(&self) -> String {
        let counts = self.counts();
        match &*counts {
            [(only, _)] => format!("each {only}"),
            _ if self.members.len() <= NAMED_MAX => {
                let named = |one: &FailedMember| format!("`{}` {}", one.name, one.failure);
                self.members.iter().map(named).collect::<Vec<_>>().join(", ")
            }
            counts => joined(counts, ToString::to_string),
        }
    }

    /// Says how they failed in as few words as possible, such as `2 refused, 1 answered 407`. Returns `None` if all of them
    /// failed in the same way, which the words about the last one tell.
    pub fn failures_in_brief(&self) -> Option<String> {
        let counts = self.counts();
        (counts.len() > 1).then(|| joined(&counts, |failure| failure.in_brief()))
    }

    /// Returns each kind of failure with the number of members that failed in that way, the most frequent first.
    fn counts(&self) -> Vec<(MemberFailure, usize)> {
        let mut counts: Vec<(MemberFailure, usize)> = Vec::new();
        for FailedMember { failure, .. } in &self.members {
            match counts.iter_mut().find(|(known, _)| known == failure) {
                Some((_, count)) => *count += 1,
                None => counts.push((*failure, 1)),
            }
        }
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    }
}

fn joined(counts: &[(MemberFailure, usize)], words: impl Fn(&MemberFailure) -> String) -> String {
    let one = |(failure, count): &(MemberFailure, usize)| format!("{count} {}", words(failure));
    counts.iter().map(one).collect::<Vec<_>>().join(", ")
}

impl From<&Cause> for MemberFailure {
    fn from(cause: &Cause) -> Self {
        match cause {
            Cause::Dial(DialError::Lookup(_) | DialError::NoAddress) => Self::Lookup,
            Cause::Dial(DialError::Connect(source)) => match source.kind() {
                io::ErrorKind::ConnectionRefused => Self::ConnectionRefused,
                io::ErrorKind::TimedOut => Self::Silent,
                _ => Self::NotReached,
            },
            Cause::Timeout(..) | Cause::ClientLeft(_) => Self::Silent,
            Cause::Hop(error) => error.into(),
            Cause::Dial(DialError::Loop | DialError::OwnLack(..)) | Cause::Preferences(_) => {
                Self::Other
            }
        }
    }
}

impl From<&HopError> for MemberFailure {
    fn from(error: &HopError) -> Self {
        match error {
            HopError::Io(_) | HopError::Closed | HopError::Again(_) => Self::Closed,
            HopError::Refused(refusal) => match (&refusal.http, refusal.meaning) {
                (Some(http), _) => Self::Answered(http.status),
                (None, Meaning::Credentials) => Self::CredentialsRejected,
                (None, _) => Self::RequestRefused,
            },
            HopError::HeldBack(_) | HopError::NoCredentials(_) => Self::NoCredentials,
            HopError::Malformed(_) | HopError::OtherProtocol(_) | HopError::HeadTooLarge { .. } => {
                Self::InvalidAnswer
            }
            HopError::Certificate(_) => Self::Certificate,
            HopError::Tls(_) => Self::Tls,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for MemberFailure {
    /// Completes both "`members[0]` …" and "3 …".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lookup => "could not be looked up",
            Self::ConnectionRefused => "refused the connection",
            Self::Silent => "did not answer in time",
            Self::NotReached => "could not be reached",
            Self::Closed => "closed the connection",
            Self::Answered(status) => return write!(f, "answered {status}"),
            Self::CredentialsRejected => "rejected the credentials",
            Self::RequestRefused => "refused the request",
            Self::NoCredentials => "got no credentials",
            Self::InvalidAnswer => "gave an answer that is not understood",
            Self::Certificate => "had a certificate that is not accepted",
            Self::Tls => "failed at TLS",
            Self::Other => "failed for another reason",
        })
    }
}

impl MemberFailure {
    /// Returns the words for a status line.
    fn in_brief(self) -> String {
        let words = match self {
            Self::Lookup => "not found",
            Self::ConnectionRefused => "refused",
            Self::Silent => "timed out",
            Self::NotReached => "not reached",
            Self::Closed => "closed",
            Self::CredentialsRejected => "rejected the login",
            Self::NoCredentials => "got no login",
            Self::InvalidAnswer => "not understood",
            Self::Certificate => "bad certificate",
            Self::Tls => "failed at TLS",
            Self::Other => "failed",
            Self::Answered(_) | Self::RequestRefused => return self.to_string(),
        };
        words.to_owned()
    }
}

/// The most members that are named one by one.
const NAMED_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(failures: &[MemberFailure]) -> FailedMembers {
        let member = |(index, failure): (usize, &MemberFailure)| FailedMember {
            name: format!("members[{index}]"),
            failure: *failure,
            wait: None,
        };
        let members = failures.iter().enumerate().map(member).collect();
        FailedMembers { hop: "exits".into(), members, are_all: true }
    }

    #[test]
    fn a_few_members_are_named_and_many_are_counted() {
        use MemberFailure::{Answered, ConnectionRefused, Silent};
        let few = failed(&[ConnectionRefused, Answered(407), ConnectionRefused]);
        assert_eq!(
            few.failures(),
            "`members[0]` refused the connection, `members[1]` answered 407, `members[2]` refused the connection"
        );
        assert_eq!(few.failures_in_brief().as_deref(), Some("2 refused, 1 answered 407"));
        let many = failed(&[Silent, Answered(407), Answered(403), Answered(407)]);
        assert_eq!(many.failures(), "2 answered 407, 1 did not answer in time, 1 answered 403");
        assert_eq!(
            many.failures_in_brief().as_deref(),
            Some("2 answered 407, 1 timed out, 1 answered 403")
        );
    }

    #[test]
    fn members_that_failed_in_the_same_way_are_told_in_one_word() {
        let same = failed(&[MemberFailure::ConnectionRefused; 5]);
        assert_eq!(same.failures(), "each refused the connection");
        assert_eq!(same.failures_in_brief(), None);
    }
}
