//! Hops that decide by more than their settings, such as by a PAC file.

use std::{fmt, sync::Arc, time::SystemTime};

use thiserror::Error;

use crate::{Authority, Eventual, Request, Tunnel};

/// A [`Hop`](crate::Hop) that chooses by the request and by a source that can change, such as a PAC file.
///
/// Such a hop may have to ask before it can choose, which it does through [`Services`]. It can be left out of its chain
/// ([`Chosen::left_out`](crate::Chosen::left_out)), and connections through it carry only requests for which it
/// [agrees](Self::agrees).
pub trait Decider: fmt::Debug + Send + Sync {
    /// Lets the hop use `services` for as long as it exists. Each generation that has the hop calls this before it comes in
    /// force, and the first call is enough: the services look for the generation in force whenever they are used.
    fn attach(&self, services: Arc<dyn Services>);

    /// Returns the name of the chain through which the hop asks.
    fn via(&self) -> &str;

    /// Returns whether a connection that was made for another request carries this one too. `member` is the link that
    /// was chosen for it, and `None` if the hop was left out.
    fn agrees<'a>(&'a self, request: Request<'_>, member: Option<&str>) -> Eventual<'a, bool>;

    /// Says how the hop would choose for `request`, without asking anything.
    fn foresee(&self, request: Request<'_>) -> Foresight;

    /// Returns the state of the source.
    fn state(&self) -> DeciderState;

    /// Returns the rules by which the hop reads what its source says, a line each, for operators.
    fn terms(&self) -> Vec<String>;
}

/// The services of the program for a hop that has to ask before it can choose. They belong to that hop.
pub trait Services: fmt::Debug + Send + Sync {
    /// Opens a connection to `target` through the hop's [`via`](Decider::via).
    fn open(&self, target: Authority) -> Eventual<'static, Result<Tunnel, OpenError>>;

    /// Returns a number that differs after each change of the network.
    fn network_epoch(&self) -> u64;

    /// Tells operators that the source was read: `problem` says why it can't be used.
    fn read(&self, source: &str, problem: Option<&str>);

    /// Tells operators what the source itself has to say.
    fn said(&self, text: &str);
}

/// Why a connection could not be opened, in words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct OpenError(pub String);

/// How a hop would choose.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Foresight {
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

impl Foresight {
    /// Puts a choice and its reason together.
    pub fn new(decision: Decision, answer: Option<String>, reason: impl Into<String>) -> Self {
        Self { decision, answer, reason: reason.into() }
    }
}

/// The state of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeciderState {
    /// The file or URL that it is read from.
    pub source: String,
    /// When what is in use was read. `None` if nothing is in use.
    pub loaded: Option<SystemTime>,
    /// When it was last asked for, with or without success.
    pub checked: Option<SystemTime>,
    /// Why the last attempt to read it failed, if it did.
    pub problem: Option<String>,
}
