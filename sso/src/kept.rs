//! The credential that a password gave, and the last rejection, shared by all authentications of a user.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{Reason, SsoError};

/// The credential of a password, once it is acquired, and the last rejection of the user.
#[derive(Debug)]
pub(crate) struct KeptCredential<C>(Mutex<Kept<C>>);

#[derive(Debug)]
struct Kept<C> {
    credential: Option<C>,
    rejected: Option<(Instant, SsoError)>,
}

impl<C> Default for KeptCredential<C> {
    fn default() -> Self {
        Self(Mutex::new(Kept { credential: None, rejected: None }))
    }
}

impl<C> KeptCredential<C> {
    /// Calls `act` with the credential, which is acquired if there is none or if its ticket has ended.
    ///
    /// Other callers wait meanwhile, so that the password reaches the key distribution centre once, even if many
    /// connections ask at the same time. A rejection also answers the calls of the next few seconds: each further try
    /// would count towards a lock-out, and the caller needs a moment to stop asking. `act` can be rejected too: on Windows
    /// the password is used with the first token, and again when the ticket has ended.
    pub(crate) fn with_credential<T>(
        &self,
        acquire: impl FnOnce() -> Result<C, SsoError>,
        mut act: impl FnMut(&C) -> Result<T, SsoError>,
    ) -> Result<T, SsoError> {
        self.one_at_a_time(|kept| kept.act(acquire, &mut act))
    }

    /// Calls `act`, in which the library may log the user on by itself: with the keys of a keytab, also of the one that its
    /// own settings name. Other callers wait, and a rejection answers them, as that of a password does.
    #[cfg(unix)]
    pub(crate) fn guard<T>(
        &self,
        act: impl FnOnce() -> Result<T, SsoError>,
    ) -> Result<T, SsoError> {
        self.one_at_a_time(|_| act())
    }

    /// Drops the credential, so that the next caller acquires another one.
    pub(crate) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).credential = None;
    }

    fn one_at_a_time<T>(
        &self,
        act: impl FnOnce(&mut Kept<C>) -> Result<T, SsoError>,
    ) -> Result<T, SsoError> {
        // The credential is replaced in one step, so a panic leaves nothing half done.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, error)) = &kept.rejected
            && at.elapsed() < REJECTION_COUNTS
        {
            return Err(error.clone());
        }
        let done = act(&mut kept);
        let rejection = done.as_ref().err().filter(|error| error.reason.is_rejection());
        kept.rejected = rejection.map(|error| (Instant::now(), error.clone()));
        done
    }
}

impl<C> Kept<C> {
    /// Calls `act` with the credential that is kept, or with a new one, which is then kept.
    fn act<T>(
        &mut self,
        acquire: impl FnOnce() -> Result<C, SsoError>,
        act: &mut impl FnMut(&C) -> Result<T, SsoError>,
    ) -> Result<T, SsoError> {
        if let Some(credential) = &self.credential {
            match act(credential) {
                // Only an ended ticket is a reason to use the password again. A new ticket cures no other failure.
                Err(error) if error.reason == Reason::TicketExpired => {}
                done => return done,
            }
        }
        self.credential = None;
        let credential = acquire()?;
        let made = act(&credential)?;
        self.credential = Some(credential);
        Ok(made)
    }
}

/// How long a rejection answers further calls.
const REJECTION_COUNTS: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn fail(reason: Reason) -> SsoError {
        SsoError::new(reason, "")
    }

    #[test]
    fn a_rejected_password_is_not_tried_by_those_who_waited() {
        let (kept, tries) = (KeptCredential::<()>::default(), Cell::new(0));
        let acquire = || {
            tries.set(tries.get() + 1);
            Err(fail(Reason::WrongPassword))
        };
        for _ in 0..3 {
            let asked = kept.with_credential(acquire, |()| Ok(()));
            assert_eq!(asked.unwrap_err().reason, Reason::WrongPassword);
        }
        assert_eq!(tries.get(), 1);
        if let Some((at, _)) = &mut kept.0.lock().unwrap().rejected {
            *at = at.checked_sub(REJECTION_COUNTS).unwrap();
        }
        kept.with_credential(acquire, |()| Ok(())).unwrap_err();
        assert_eq!(tries.get(), 2, "a later call is a try of its own");
    }

    #[test]
    fn a_credential_that_is_rejected_later_is_not_used_by_those_who_waited() {
        let (kept, uses) = (KeptCredential::<()>::default(), Cell::new(0));
        kept.with_credential(|| Ok(()), |()| Ok(())).unwrap();
        for _ in 0..3 {
            let used = kept.with_credential(
                || panic!("a rejection is no reason to use the password again"),
                |()| {
                    uses.set(uses.get() + 1);
                    Err::<(), _>(fail(Reason::Locked))
                },
            );
            assert_eq!(used.unwrap_err().reason, Reason::Locked);
        }
        assert_eq!(uses.get(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_logon_by_the_library_itself_is_made_once_for_those_who_wait() {
        let (kept, logons) = (KeptCredential::<()>::default(), Cell::new(0));
        for _ in 0..3 {
            let guarded = kept.guard(|| {
                logons.set(logons.get() + 1);
                Err::<(), _>(fail(Reason::WrongPassword))
            });
            assert_eq!(guarded.unwrap_err().reason, Reason::WrongPassword);
        }
        assert_eq!(logons.get(), 1);
    }

    #[test]
    fn a_credential_that_is_forgotten_is_acquired_again() {
        let (kept, acquired) = (KeptCredential::default(), Cell::new(0));
        let ask = || {
            let acquire = || {
                acquired.set(acquired.get() + 1);
                Ok(acquired.get())
            };
            kept.with_credential(acquire, |ticket| Ok(*ticket)).unwrap()
        };
        assert_eq!([ask(), ask()], [1, 1]);
        kept.forget();
        assert_eq!(ask(), 2);
    }

    #[test]
    fn a_ticket_that_has_ended_is_replaced_once() {
        let (kept, acquired) = (KeptCredential::default(), Cell::new(0));
        let acquire = || {
            acquired.set(acquired.get() + 1);
            Ok(acquired.get())
        };
        let ask = |valid: i32| {
            kept.with_credential(acquire, |ticket| match *ticket >= valid {
                true => Ok(*ticket),
                false => Err(fail(Reason::TicketExpired)),
            })
        };
        assert_eq!(ask(1).unwrap(), 1);
        assert_eq!(ask(1).unwrap(), 1, "it is kept");
        assert_eq!(ask(2).unwrap(), 2);
        assert_eq!(ask(4).unwrap_err().reason, Reason::TicketExpired);
    }
}
