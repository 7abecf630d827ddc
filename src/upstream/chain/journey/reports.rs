//! Tells the hops of a journey about its outcome, and logs what that means for their members.

use std::sync::Arc;

use tracing::info;

use super::{ChosenHop, Journey};
use crate::{
    error::with_causes,
    upstream::chain::{ChainError, LastAnswer},
};

impl Journey<'_> {
    /// Reports that the hops before `index` did their part, and remembers the addresses that served.
    pub(super) fn arrived_before(&self, index: usize) {
        for hop in self.hops.iter().take(index) {
            self.reached(hop);
            self.agreed(hop);
        }
        // An address is remembered only after others were refused: without that, it is the first
        // one, or is remembered already.
        for hop in self.hops.iter().filter(|hop| !hop.refused.is_empty()) {
            self.chain.remember(hop.position, Some(hop.address.clone()));
        }
    }

    /// Reports that the last hop, at which the journey paused, answered its request.
    pub(in crate::upstream::chain) fn last_answered(&self, answer: LastAnswer) {
        match self.hops.last() {
            Some(last) if last.may_repeat_refusal(answer.status) => last.stays_out(),
            Some(last) if answer.is_carried => self.reached(last),
            Some(last) => self.answered(last),
            None => {}
        }
    }

    /// Reports that every hop before `index` did its part, except the one at `refusing`, which was reported already.
    pub(super) fn reached_before(&self, index: usize, refusing: Option<usize>) {
        let did = self.hops.iter().enumerate().take(index);
        did.filter(|(at, _)| Some(*at) != refusing).for_each(|(_, hop)| self.reached(hop));
    }

    /// Reports that a hop did its part. Logs it if connections left its member out until now.
    fn reached(&self, hop: &ChosenHop) {
        self.note_return(hop, ChosenHop::reached);
    }

    /// Reports that a hop gave an answer of `status` to a plain request that it did not carry.
    pub(super) fn answered_with(&self, hop: &ChosenHop, status: u16) {
        match hop.may_repeat_refusal(status) {
            true => hop.stays_out(),
            false => self.answered(hop),
        }
    }

    /// Reports that a hop works, though it carried nothing.
    fn answered(&self, hop: &ChosenHop) {
        self.note_return(hop, ChosenHop::answered);
    }

    /// Reports that the hop at `index` works, and refused to connect to the next stop.
    pub(super) fn refused(&self, index: usize, error: &ChainError) {
        let Some(hop) = self.hops.get(index).filter(|hop| hop.selection.is_some()) else { return };
        let stop = &error.stage.stop;
        let why: Arc<str> = format!("{} (asked for `{stop}`)", with_causes(&error.cause)).into();
        let mut in_a_row = 0;
        self.note_return(hop, |hop| {
            in_a_row = hop.selection.as_ref().map_or(0, |selection| selection.refused(&why));
        });
        self.chain.note_refused(hop.position, hop.member().as_deref(), in_a_row, &why, None);
    }

    /// Notes that a hop connected to the stop behind it.
    pub(super) fn agreed(&self, hop: &ChosenHop) {
        if let Some(record) = hop.selection.as_ref().and_then(|selection| selection.record())
            && let in_a_row @ 1.. = record.agreed()
        {
            self.chain.note_agreed(hop.position, hop.member().as_deref(), in_a_row);
        }
    }

    /// Runs `report`, which tells the selection of `hop` that the hop works. Logs if that puts a member back in use.
    fn note_return(&self, hop: &ChosenHop, report: impl FnOnce(&ChosenHop)) {
        // A member that was left out is tried by one connection after a pause. If that works, other
        // connections use it again, which operators want to see.
        let was_left_out = hop.is_in_use() == Some(false);
        report(hop);
        if was_left_out && hop.is_in_use() == Some(true) {
            let (name, member) = (self.hop_name(hop.position), hop.member());
            info!(hop = name, member, "pool member back");
        }
    }
}
