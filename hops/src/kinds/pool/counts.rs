//! Counts of a member's connections and failures, for operators.

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::{AnswerRecord, MemberStatus};

/// The connections of a member.
#[derive(Debug, Default)]
pub(in crate::kinds) struct MemberCounts {
    /// Connections that it carried.
    pub(in crate::kinds) reached: AtomicU64,
    /// Connections that it failed.
    pub(in crate::kinds) failed: AtomicU64,
    /// Its answers so far, whatever they were.
    pub(in crate::kinds) answers: AtomicU64,
    /// A member that never refused takes no room for them.
    refusals: OnceLock<Box<Refusals>>,
}

/// The refusals of a member that are not about itself, as far as its answers tell.
///
/// A target that nobody reaches must take no member out of its pool, so no choice depends on these numbers. But a member
/// whose account is blocked may answer like this too, to each request, and then an operator has to see it.
#[derive(Debug, Default)]
struct Refusals {
    count: AtomicU64,
    in_a_row: AtomicU64,
    last: Mutex<Option<Arc<str>>>,
}

impl MemberCounts {
    /// Completes `status` with these counts.
    pub(in crate::kinds) fn shown_in(&self, status: MemberStatus) -> MemberStatus {
        let (reached, failed) = (self.reached.load(Relaxed), self.failed.load(Relaxed));
        let status = MemberStatus { reached, failed, ..status };
        let Some(refusals) = self.refusals.get() else { return status };
        MemberStatus {
            refused: refusals.count.load(Relaxed),
            refused_in_a_row: refusals.in_a_row.load(Relaxed),
            refusal: refusals.last.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            ..status
        }
    }
}

impl AnswerRecord for MemberCounts {
    fn agreed(&self) -> u64 {
        self.answers.fetch_add(1, Relaxed);
        // Nearly all connections end here.
        let Some(refusals) = self.refusals.get() else { return 0 };
        match refusals.in_a_row.load(Relaxed) {
            0 => 0,
            _ => refusals.in_a_row.swap(0, Relaxed),
        }
    }

    fn refused(&self, why: &Arc<str>) -> u64 {
        self.answers.fetch_add(1, Relaxed);
        let refusals = self.refusals.get_or_init(Box::default);
        refusals.count.fetch_add(1, Relaxed);
        *refusals.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(why));
        refusals.in_a_row.fetch_add(1, Relaxed) + 1
    }

    fn has_answered(&self) -> bool {
        self.answers.load(Relaxed) > 0
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
