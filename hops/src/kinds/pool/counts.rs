//! Counts of a member's connections and failures, for operators.

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::{AnswerRecord, MemberStatus, member_ledger::Tally};

/// The connections of a member.
#[derive(Debug, Default)]
pub(in crate::kinds) struct MemberCounts {
    /// The counts that outlive the member. It is set before the member is used.
    tally: OnceLock<Arc<Tally>>,
    /// The counts in the list before, if the member was in it.
    before: Option<Arc<Tally>>,
    answers: Arc<MemberAnswers>,
}

/// The answers of a member, as long as its settings are the same.
#[derive(Debug, Default)]
struct MemberAnswers {
    /// Its answers so far, whatever they were.
    count: AtomicU64,
    /// A member that never refused takes no room for them.
    refusals: OnceLock<Box<Refusals>>,
}

/// The refusals of a member that are not about itself, as far as its answers tell.
///
/// A target that nobody reaches must take no member out of its pool, so no choice depends on these numbers. But a member
/// whose account is blocked may answer like this too, to each request, and then an operator has to see it.
#[derive(Debug, Default)]
struct Refusals {
    in_a_row: AtomicU64,
    last: Mutex<Option<Arc<str>>>,
}

impl MemberCounts {
    /// Returns the counts for this member in the next list, in which its label may differ.
    pub(in crate::kinds) fn of_stayed(&self) -> Self {
        let (before, answers) = (self.tally.get().cloned(), Arc::clone(&self.answers));
        Self { tally: OnceLock::new(), before, answers }
    }

    /// Counts in `tally` from now on, unless this counts in one already.
    pub(in crate::kinds) fn count_in(&self, tally: impl FnOnce() -> Arc<Tally>) {
        self.tally.get_or_init(tally);
    }

    /// Returns the counts in the list before, if the member was in it.
    pub(in crate::kinds) fn before(&self) -> Option<&Arc<Tally>> {
        self.before.as_ref()
    }

    /// Returns whether this counts in a tally already.
    pub(in crate::kinds) fn has_tally(&self) -> bool {
        self.tally.get().is_some()
    }

    fn tally(&self) -> &Tally {
        self.tally.get_or_init(Arc::default)
    }

    /// Counts a connection that the member carried.
    pub(in crate::kinds) fn reached(&self) {
        self.tally().reached.fetch_add(1, Relaxed);
    }

    /// Counts a connection that the member failed.
    pub(in crate::kinds) fn failed(&self) {
        self.tally().failed.fetch_add(1, Relaxed);
    }

    /// Counts an answer of the member.
    pub(in crate::kinds) fn answered(&self) {
        self.answers.count.fetch_add(1, Relaxed);
    }

    /// Returns how many answers the member has given.
    pub(in crate::kinds) fn answers(&self) -> u64 {
        self.answers.count.load(Relaxed)
    }

    /// Completes `status` with these counts.
    pub(in crate::kinds) fn shown_in(&self, status: MemberStatus) -> MemberStatus {
        let status = match self.tally.get() {
            Some(tally) => tally.shown_in(status),
            None => status,
        };
        let Some(refusals) = self.answers.refusals.get() else { return status };
        MemberStatus {
            refused_in_a_row: refusals.in_a_row.load(Relaxed),
            refusal: refusals.last.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            ..status
        }
    }
}

impl AnswerRecord for MemberCounts {
    fn agreed(&self) -> u64 {
        self.answered();
        // Nearly all connections end here.
        let Some(refusals) = self.answers.refusals.get() else { return 0 };
        match refusals.in_a_row.load(Relaxed) {
            0 => 0,
            _ => refusals.in_a_row.swap(0, Relaxed),
        }
    }

    fn refused(&self, why: &Arc<str>) -> u64 {
        self.answered();
        self.tally().refused.fetch_add(1, Relaxed);
        let refusals = self.answers.refusals.get_or_init(Box::default);
        *refusals.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(why));
        refusals.in_a_row.fetch_add(1, Relaxed) + 1
    }

    fn has_answered(&self) -> bool {
        self.answers() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_agrees_ends_a_row_of_refusals() {
        let counts = MemberCounts::default();
        assert!(!counts.has_answered());
        assert_eq!(counts.agreed(), 0);
        assert!(counts.has_answered());
        let refused = |why: &str| counts.refused(&why.into());
        assert_eq!([refused("a"), refused("b")], [1, 2]);
        assert_eq!([counts.agreed(), counts.agreed()], [2, 0]);
        assert_eq!(refused("c"), 1);
        let status = counts.shown_in(MemberStatus::new("members[0]", None));
        assert_eq!((status.refused, status.refused_in_a_row), (3, 1));
        assert_eq!(status.refusal.as_deref(), Some("c"));
    }
}
