//! The services that a hop uses.

use std::sync::{Arc, OnceLock};

use crate::Services;

/// The services of the program, once the hop has them.
#[derive(Debug, Default)]
pub(crate) struct Attached(OnceLock<Arc<dyn Services>>);

impl Attached {
    /// Returns the services.
    pub(crate) fn present(&self) -> Option<&Arc<dyn Services>> {
        self.0.get()
    }

    /// Stores the services. The first ones serve for as long as the hop exists, so later ones are ignored.
    pub(crate) fn take(&self, services: Arc<dyn Services>) {
        let _ = self.0.set(services);
    }
}
