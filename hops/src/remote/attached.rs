//! The services that a hop uses.

use std::sync::{Arc, OnceLock};

use crate::Services;

/// The services of the program, once there are any.
#[derive(Debug, Default)]
pub(crate) struct Attached(OnceLock<Arc<dyn Services>>);

impl Attached {
    /// Returns the services.
    pub(crate) fn present(&self) -> Option<&Arc<dyn Services>> {
        self.0.get()
    }

    /// Takes the services. They stay the same for as long as the hop exists, so those that come later are not needed.
    pub(crate) fn take(&self, services: Arc<dyn Services>) {
        let _ = self.0.set(services);
    }
}
