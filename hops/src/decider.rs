//! Hops that choose by more than their settings, such as by a PAC file.

use std::{fmt, sync::Arc};

use crate::{Eventual, Request};

/// A [`Hop`](crate::Hop) that chooses by the request and by a source that can change, such as a PAC file.
///
/// Such a hop is an [`Asker`](crate::Asker) too: it may have to ask before it can choose. It can be left out of its chain
/// ([`Chosen::left_out`](crate::Chosen::left_out)), and connections through it carry only requests for which it
/// [agrees](Self::agrees).
pub trait Decider: fmt::Debug + Send + Sync {
    /// Returns whether a connection that was made for another request carries this one too. `member` is the link that
    /// was chosen for it, and `None` if the hop was left out.
    fn agrees<'a>(&'a self, request: Request<'_>, member: Option<&str>) -> Eventual<'a, bool>;

    /// Predicts how the hop would choose for `request`, without asking anyone.
    fn predict(&self, request: Request<'_>) -> Prediction;

    /// Returns the rules by which the hop interprets its source, one per line, for operators.
    fn terms(&self) -> Vec<String>;
}

/// How a hop would choose.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Prediction {
    /// The choice.
    pub decision: Decision,
    /// The text that the source gave, if it was asked.
    pub answer: Option<String>,
    /// Why this choice follows from it, as a clause.
    pub reason: String,
}

/// A choice that a hop would make.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// The hop of this name takes the request.
    Hop(Arc<str>),
    /// The hop is left out of the chain.
    LeftOut,
    /// The request is refused.
    Refused,
    /// It can't be known without asking.
    Unknown,
}

impl Prediction {
    /// Puts a choice and its reason together.
    pub fn new(decision: Decision, answer: Option<String>, reason: impl Into<String>) -> Self {
        Self { decision, answer, reason: reason.into() }
    }
}
