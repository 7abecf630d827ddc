//! The request of a connection, kept for another choice.

use crate::{Authority, Preferences, Request};

/// The target and the preferences of a connection, kept for the case that the hop chosen for it fails.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    target: Authority,
    preferences: Preferences,
    repeated: Box<[usize]>,
}

impl Wish {
    pub(super) fn of(request: Request<'_>) -> Self {
        Self {
            target: request.target.clone(),
            preferences: request.preferences.clone(),
            repeated: request.repeated.into(),
        }
    }

    pub(super) fn request(&self) -> Request<'_> {
        Request::new(&self.target, &self.preferences).repeating(&self.repeated)
    }

    /// Returns the request to the link that has this number in the choice of its hop. That link repeats its own choice only if
    /// it is the one that the connection had before.
    pub(super) fn request_to(&self, number: usize) -> Request<'_> {
        let repeated = match &*self.repeated {
            [first, inner @ ..] if *first == number => inner,
            _ => &[],
        };
        self.request().repeating(repeated)
    }
}
