//! The services that a hop uses, which change with each reload.

use std::sync::{Arc, Mutex, PoisonError};

use crate::Services;

/// The services of the generation in force, if there is one. A reload may replace them while a fetch uses them.
#[derive(Debug, Default)]
pub(super) struct Attached(Mutex<Option<Arc<dyn Services>>>);

impl Attached {
    /// Returns the services in force.
    pub(super) fn present(&self) -> Option<Arc<dyn Services>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts other services in force.
    pub(super) fn replace(&self, services: Arc<dyn Services>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(services);
    }
}
