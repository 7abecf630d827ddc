//! The request of a connection, kept for another choice.

use std::sync::Arc;

use crate::{Authority, Preferences, Request};

/// The target and the preferences of a connection, kept for the case that the hop chosen for it fails.
#[derive(Debug)]
pub(super) struct Wish {
    target: Authority,
    preferences: Preferences,
}

impl Wish {
    pub(super) fn of(request: Request<'_>) -> Arc<Self> {
        let (target, preferences) = (request.target.clone(), request.preferences.clone());
        Arc::new(Self { target, preferences })
    }

    pub(super) fn request(&self) -> Request<'_> {
        Request::new(&self.target, &self.preferences)
    }
}
