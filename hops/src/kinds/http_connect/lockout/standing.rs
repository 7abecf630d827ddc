//! The verdicts about the credentials of a hop.

use std::time::Duration;

use mooltiroute_sso::Ticket;
use tokio::time::Instant;

use super::{Hold, Rejection, Sent, targets::HeldTargets};
use crate::{Authority, refusal::whole_seconds};

/// All that the answers of the proxy and of the domain have shown about the credentials of a hop.
#[derive(Debug, Default)]
pub(super) struct Standing {
    verdict: LastVerdict,
    /// The rejections since the credentials were last accepted.
    pub(super) rejected_in_a_row: u32,
    /// Whether the credentials were ever accepted.
    pub(super) has_accepted: bool,
    /// The requests under way that try credentials without a verdict.
    tries: u32,
    /// How often the credentials were found good. Earlier tries that are still under way count no more.
    proofs: u32,
    targets: HeldTargets,
}

/// The proof that was rejected.
#[derive(Clone, Debug)]
pub(in crate::kinds::http_connect) enum Tried {
    /// A password, or the keys of a keytab. Its rejection is a failed logon, and a few of these lock the account.
    Logon,
    /// A ticket, if it is known which. The domain has already accepted its user, so no account is locked.
    Ticket(Option<Ticket>),
}

/// How credentials may be sent to a target.
#[derive(Debug)]
pub(super) enum Access {
    /// By many requests at once.
    Free,
    OneAtATime,
    /// One at a time, but not before this.
    From(Instant),
}

/// The consequence of a rejection.
#[derive(Debug)]
pub(in crate::kinds::http_connect) struct Ruling {
    /// How long the credentials are held back from now on.
    pub(in crate::kinds::http_connect) wait: Duration,
    pub(in crate::kinds::http_connect) scope: Scope,
}

/// The targets for which credentials are held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kinds::http_connect) enum Scope {
    All,
    /// The target of the request, until another one shows whether the credentials are good.
    Suspect,
    /// The target of the request, which the proxy has refused alone before.
    Target,
}

#[derive(Debug, Default)]
enum LastVerdict {
    #[default]
    Unknown,
    Accepted,
    Rejected {
        rejection: Rejection,
        /// The ticket that was rejected, if it was one.
        ticket: Option<Ticket>,
        until: Instant,
        /// From when on a request to a target that is not under suspicion may try the credentials. `None`: not before `until`.
        others_from: Option<Instant>,
    },
}

impl Tried {
    /// Returns how long nothing is tried after so many rejections in a row before this one.
    ///
    /// Domains commonly lock an account after five failed logons, some after three, and count a failed logon for 30 min
    /// after it. So a logon is repeated once, in case the proxy's own connection to the domain was broken, and then only
    /// when both are forgotten.
    fn window(&self, rejected_before: u32) -> Duration {
        match self {
            Self::Logon if rejected_before == 0 => WINDOW_MIN,
            Self::Logon => LOGON_WINDOW_MAX,
            Self::Ticket(_) => {
                (WINDOW_MIN * 2_u32.pow(rejected_before.min(DOUBLINGS_MAX))).min(TICKET_WINDOW_MAX)
            }
        }
    }

    fn ticket(self) -> Option<Ticket> {
        match self {
            Self::Logon => None,
            Self::Ticket(ticket) => ticket,
        }
    }
}

impl Standing {
    /// Returns how credentials may be sent to `target`.
    ///
    /// # Errors
    /// The rejection that keeps them from being sent.
    pub(super) fn access(&self, target: &Authority) -> Result<Access, Hold> {
        let now = Instant::now();
        match &self.verdict {
            // The client receives the proxy's own words again, with the time that is left.
            LastVerdict::Rejected { rejection, until, others_from, .. } if *until > now => {
                // A target that is refused by itself says nothing about the credentials, even if its time is over.
                if let Some(hold) = self.targets.hold_if_refused_alone(target, now) {
                    return Err(hold);
                }
                match others_from {
                    Some(from) if !self.targets.is_suspect(target) => Ok(match *from > now {
                        true => Access::From(*from),
                        false => Access::OneAtATime,
                    }),
                    _ => Err(Hold::of_all(rejection.clone(), *until - now)),
                }
            }
            verdict => match self.targets.hold(target, now) {
                Some(hold) => Err(hold),
                None if matches!(verdict, LastVerdict::Accepted) => Ok(Access::Free),
                None => Ok(Access::OneAtATime),
            },
        }
    }

    /// Counts a request that tries the credentials, and returns its number.
    pub(super) fn begin_try(&mut self) -> u32 {
        self.tries += 1;
        self.proofs
    }

    /// Notes that a request has ended.
    pub(super) fn end_try(&mut self, sent: &Sent) {
        self.tries -= u32::from(self.is_try(sent));
    }

    fn is_try(&self, sent: &Sent) -> bool {
        sent.try_of == Some(self.proofs)
    }

    /// Records that the proxy accepted the credentials of a request.
    pub(super) fn accepted(&mut self, sent: &Sent) {
        let now = Instant::now();
        self.has_accepted = true;
        // See `Lockout::wants_proof`.
        if self.rejected_in_a_row > 0 && !sent.was_asked_for {
            self.presumed_accepted();
            return;
        }
        // Requests with credentials that were once accepted run at the same time. A slow success may come after a
        // newer rejection, as when the password was changed in between.
        let is_held_for_all = matches!(
            &self.verdict,
            LastVerdict::Rejected { until, others_from: None, .. } if *until > now
        );
        if is_held_for_all {
            return;
        }
        self.targets.forget(&sent.target);
        if self.targets.clear_suspects(sent.at, now) {
            // The tries that still wait for a silent target have the same credentials, so they are good too.
            if !self.is_accepted() || self.tries > 0 {
                (self.tries, self.proofs) = (0, self.proofs.wrapping_add(1));
            }
            self.verdict = LastVerdict::Accepted;
            self.rejected_in_a_row = 0;
        }
    }

    /// Lets other requests use the credentials, because the proxy has not rejected them for a while, unless a rejection
    /// holds them back.
    pub(super) fn presumed_accepted(&mut self) {
        if self.held_back().is_none() {
            self.verdict = LastVerdict::Accepted;
        }
    }

    /// Returns whether no other request tries the credentials, and none was rejected before.
    pub(super) fn is_first_try(&self) -> bool {
        self.tries <= 1 && self.rejected_in_a_row == 0
    }

    /// Records a rejection.
    ///
    /// Credentials that were accepted before may be good: the proxy may not let this user have this target, and some proxies
    /// ask for credentials again then, as squid does if the last element of an `http_access deny` is about the user. So
    /// a request to another target tries them. If they are rejected again, that was the second failed logon.
    pub(super) fn rejected(
        &mut self,
        rejection: Rejection,
        tried: Tried,
        sent: Option<&Sent>,
    ) -> Ruling {
        let now = Instant::now();
        let is_logon = matches!(tried, Tried::Logon);
        if let LastVerdict::Rejected { until, others_from, .. } = &self.verdict
            && *until > now
        {
            let wait = *until - now;
            let is_second = match sent {
                Some(sent) => self.is_try(sent) && !self.targets.is_suspect(&sent.target),
                None => true,
            };
            match (others_from, sent) {
                // Several requests can have been on their way with credentials that were good until now.
                (None, _) => return Ruling { wait, scope: Scope::All },
                (Some(_), Some(sent)) if !is_second => {
                    return self.suspect(rejection, sent, wait);
                }
                (Some(_), _) => {}
            }
        }
        // Tries that are under way have the same credentials, and will be rejected too.
        let others =
            self.tries.saturating_sub(u32::from(sent.is_some_and(|sent| self.is_try(sent))));
        let others = if is_logon { others } else { 0 };
        let before = self.rejected_in_a_row.saturating_add(others);
        let wait = tried.window(before);
        let may_be_good = self.has_accepted && (before == 0 || (!is_logon && self.is_accepted()));
        let (suspect, others_from) = match sent {
            Some(sent) if may_be_good => {
                // The proxy's own connection to the domain may be broken for a moment.
                let pause = if is_logon && !self.targets.are_any_known() {
                    OTHERS_WAIT
                } else {
                    Duration::ZERO
                };
                (Some(sent), Some(now + pause))
            }
            _ => (None, None),
        };
        self.rejected_in_a_row = before.saturating_add(1);
        self.verdict = LastVerdict::Rejected {
            rejection: rejection.clone(),
            ticket: tried.ticket(),
            until: now + wait,
            others_from,
        };
        match suspect {
            Some(sent) => self.suspect(rejection, sent, wait),
            None => Ruling { wait, scope: Scope::All },
        }
    }

    fn suspect(&mut self, rejection: Rejection, sent: &Sent, wait: Duration) -> Ruling {
        let scope = match self.targets.suspect(rejection, sent) {
            true => Scope::Target,
            false => Scope::Suspect,
        };
        Ruling { wait, scope }
    }

    /// Returns the ticket whose rejection still counts.
    pub(super) fn rejected_ticket(&self) -> Option<&Ticket> {
        match &self.verdict {
            LastVerdict::Rejected { ticket, until, .. } if *until > Instant::now() => {
                ticket.as_ref()
            }
            _ => None,
        }
    }

    pub(super) fn ticket_identified(&mut self, found: Option<Ticket>) {
        if let LastVerdict::Rejected { ticket, .. } = &mut self.verdict {
            *ticket = found;
        }
    }

    /// Forgets the rejection of `old`.
    pub(super) fn ticket_changed(&mut self, old: &Ticket) {
        // Between the look at the ticket and this call another request may have met a rejection of the new ticket, which
        // must not be forgotten.
        if matches!(&self.verdict, LastVerdict::Rejected { ticket: Some(ticket), .. } if ticket == old)
        {
            *self = Self { proofs: self.proofs.wrapping_add(1), ..Self::default() };
        }
    }

    /// Ends all waits, and keeps the count of rejections.
    pub(super) fn release(&mut self) {
        if matches!(self.verdict, LastVerdict::Rejected { .. }) {
            self.verdict = LastVerdict::Unknown;
        }
        self.targets.release();
    }

    /// Returns how long the credentials are still held back, in whole seconds.
    pub(super) fn held_back(&self) -> Option<Duration> {
        match &self.verdict {
            LastVerdict::Rejected { until, .. } => {
                let rest = until.saturating_duration_since(Instant::now());
                (!rest.is_zero()).then(|| whole_seconds(rest))
            }
            _ => None,
        }
    }

    fn is_accepted(&self) -> bool {
        matches!(self.verdict, LastVerdict::Accepted)
    }
}

/// The wait after the first rejection.
pub(super) const WINDOW_MIN: Duration = Duration::from_secs(30);
/// The wait after each further failed logon. It is longer than the 30 min for which domains commonly count one: one after
/// less than that would extend the count, and so add up to a lock-out.
pub(super) const LOGON_WINDOW_MAX: Duration = Duration::from_secs(35 * 60);
/// The longest wait after a rejected ticket, or for a target that is refused by itself.
pub(super) const TICKET_WINDOW_MAX: Duration = Duration::from_secs(300);
/// After so many, the longest wait is reached.
pub(super) const DOUBLINGS_MAX: u32 = 4;
/// How long after a rejection a request to another target may try the credentials.
pub(super) const OTHERS_WAIT: Duration = Duration::from_secs(3);
