//! The request of a connection, kept for another choice.

use crate::{Authority, Preferences, Request};

/// The target and the preferences of a connection, kept for the case that the hop chosen for it fails.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    target: Authority,
    preferences: Preferences,
}

impl Wish {
    pub(super) fn of(request: Request<'_>) -> Self {
        Self { target: request.target.clone(), preferences: request.preferences.clone() }
    }

    pub(super) fn request(&self) -> Request<'_> {
        Request::new(&self.target, &self.preferences)
    }
}
