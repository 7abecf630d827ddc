//! One hop of a journey, as chosen for its request.

use std::sync::Arc;

use mooltiroute_hops::{Authority, Chosen, Eventual, Link, Selection};

use crate::{error::with_causes, upstream::chain::Cause};

/// One hop of a journey, as chosen for its request.
#[derive(Debug)]
pub(in crate::upstream::chain) struct ChosenHop {
    /// Its position in the chain. A journey may have fewer hops than its chain.
    pub(in crate::upstream::chain) position: usize,
    pub(in crate::upstream::chain) link: Arc<dyn Link>,
    pub(super) selection: Option<Box<dyn Selection>>,
    /// The one of its addresses that is tried.
    pub(in crate::upstream::chain) address: Authority,
    /// The addresses that the hop before refused to connect to.
    pub(super) refused: Vec<Authority>,
}

impl ChosenHop {
    /// Returns the name of the chosen link below its hop, such as `members[0]`.
    pub(in crate::upstream::chain) fn member(&self) -> Option<String> {
        self.selection.as_ref().map(|selection| selection.member())
    }

    /// Returns the names of the hops that the hop of the chain chose to go through.
    pub(in crate::upstream::chain) fn through(&self) -> Vec<Arc<str>> {
        self.selection.as_ref().map(|selection| selection.hops()).unwrap_or_default()
    }

    pub(in crate::upstream::chain) fn selection(&self) -> Option<&dyn Selection> {
        self.selection.as_deref()
    }

    /// Returns whether new connections use the link, or `None` if the hop does not keep a record of that.
    pub(super) fn is_in_use(&self) -> Option<bool> {
        self.selection.as_ref().and_then(|selection| selection.is_in_use())
    }

    pub(super) fn reached(&self) {
        if let Some(selection) = &self.selection {
            selection.reached();
        }
    }

    pub(super) fn answered(&self) {
        if let Some(selection) = &self.selection {
            selection.answered();
        }
    }

    /// Returns whether the link is left out for a refusal that an answer of `status` may repeat.
    pub(super) fn may_repeat_refusal(&self, status: u16) -> bool {
        self.selection.as_ref().is_some_and(|selection| selection.may_repeat_refusal(status))
    }

    pub(super) fn stays_out(&self) {
        if let Some(selection) = &self.selection {
            selection.stays_out();
        }
    }

    /// Reports that the link rejected the credentials of a plain request, because of `cause`, and chooses another one.
    pub(super) fn instead_of_rejecting(self, cause: &Cause) -> Eventual<'static, Option<Chosen>> {
        match self.selection {
            Some(mut selection) => {
                selection.note_failure(&with_causes(cause).into());
                if let Cause::Hop(error) = cause {
                    selection.note_error(error);
                }
                selection.instead_of_rejecting()
            }
            None => Eventual::Ready(None),
        }
    }

    /// Chooses another link after one that works and refused. Returns `None` if there is no other one.
    pub(super) fn another(self) -> Eventual<'static, Option<Chosen>> {
        self.selection.map_or(Eventual::Ready(None), |selection| selection.another())
    }

    /// Reports that the link failed, because of `cause`, and chooses another one. Returns `None` if all were tried.
    /// `is_its_own` says whether the link itself met the error, and not the one before it.
    pub(super) fn instead(
        self,
        cause: &Cause,
        is_its_own: bool,
    ) -> Eventual<'static, Option<Chosen>> {
        match self.selection {
            Some(mut selection) => {
                selection.note_failure(&with_causes(cause).into());
                if let Cause::Hop(error) = cause
                    && is_its_own
                {
                    selection.note_error(error);
                }
                selection.instead()
            }
            None => Eventual::Ready(None),
        }
    }
}
