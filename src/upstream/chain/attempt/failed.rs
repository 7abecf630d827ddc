//! An attempt that failed.

use std::sync::Arc;

use mooltiroute_hops::Link;
use tokio::time::Instant;

use crate::upstream::chain::ChainError;

/// The error of one attempt, and the hop that met it.
pub(crate) struct FailedAttempt {
    /// The index of the hop in its journey.
    pub index: usize,
    /// The error.
    pub error: ChainError,
    /// The link to go on with after the chain has dialled again.
    pub again: Option<Arc<dyn Link>>,
    /// When the step began, or the hop was asked.
    pub asked: Instant,
}

impl FailedAttempt {
    pub(super) fn asked_at(self, asked: Instant) -> Self {
        Self { asked, ..self }
    }

    /// Notes that the hop was asked for nothing yet: it had to be logged in to first.
    pub(super) fn at_login(mut self) -> Self {
        self.error.stage.is_login = true;
        self
    }
}
