//! A hop's choice for one request.

use std::{fmt, sync::Arc};

use thiserror::Error;

use crate::{Eventual, HopError, InvalidPreferences, Link};

/// The link that carries a connection, and the selection that learns from the outcome.
#[derive(Debug)]
pub struct Chosen {
    /// The link. `None` leaves the hop out of its chain for this connection: the stop before it connects to the one
    /// behind it.
    pub link: Option<Arc<dyn Link>>,
    /// The selection that learns from the outcome. A hop without a choice has none.
    pub selection: Option<Box<dyn Selection>>,
    /// Why the hop is left out, if it is and has a reason.
    pub why_direct: Option<WhyDirect>,
}

/// Why a hop leaves itself out of its chain for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhyDirect {
    /// Its PAC file says `DIRECT`.
    PacFile,
    /// Its PAC file says `DIRECT` after proxies that failed.
    AfterOthers,
    /// Its PAC file gave no list, and the setting `otherwise` is `direct`.
    Otherwise,
}

impl fmt::Display for WhyDirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PacFile => "the PAC file says DIRECT",
            Self::AfterOthers => "the PAC file says DIRECT after proxies that failed",
            Self::Otherwise => "the PAC file gave no list, and `otherwise` is `direct`",
        })
    }
}

impl Chosen {
    /// Chooses `link`. The hop does not learn from the outcome.
    pub fn new(link: Arc<dyn Link>) -> Self {
        Self { link: Some(link), selection: None, why_direct: None }
    }

    /// Leaves the hop out, without an interest in the outcome.
    pub fn left_out() -> Self {
        Self { link: None, selection: None, why_direct: None }
    }

    /// Returns the name of the chosen link below its hop, such as `members[0]`.
    pub fn member(&self) -> Option<String> {
        self.selection.as_ref().map(|selection| selection.member())
    }

    /// Reports that the link did its part for a connection.
    pub fn reached(&self) {
        if let Some(selection) = &self.selection {
            selection.reached();
        }
    }

    /// Reports that the link failed, and chooses another one for the same connection. Returns `None` if all were tried.
    pub fn instead(self) -> Eventual<'static, Option<Self>> {
        // A hop without a choice has no other link. The chain then fails the request; it never goes on without the
        // hop.
        match self.selection {
            Some(selection) => selection.instead(),
            None => Eventual::Ready(None),
        }
    }
}

/// A choice among several links, made for one connection.
///
/// Exactly one of [`reached`](Self::reached) and [`instead`](Self::instead) reports the outcome. A selection that is
/// dropped without a report belongs to a connection that was cancelled, from which nothing is learned.
pub trait Selection: fmt::Debug + Send + Sync {
    /// Returns the name of the chosen link below its hop, such as `members[0]`.
    fn member(&self) -> String;

    /// Returns a text that tells the chosen link from all others, also from a later one of the same name. Connections that
    /// wait through a link are used only by a choice of the same text, so links with different credentials differ in it.
    fn identity(&self) -> String {
        self.member()
    }

    /// Returns the numbers by which another request can [ask](crate::Request::repeating) for the same choice: that of the chosen
    /// link among those of its hop, then those of the choice that the link itself made. Empty if no other link could be chosen.
    fn numbers(&self) -> Vec<usize> {
        Vec::new()
    }

    /// Returns the path of the chosen link in the configuration, such as `hops.exits.members[0]`. `at` is the path of the hop
    /// that chose it.
    fn place(&self, at: &str) -> String {
        format!("{at}.{}", self.member())
    }

    /// Returns the names of the hops of the configuration that the choice leads to, the outermost first. Links that have
    /// no entry below `hops:` have no such name.
    fn hops(&self) -> Vec<Arc<str>> {
        Vec::new()
    }

    /// Returns whether new connections use the chosen link, and don't leave it out because it failed. `None` if the
    /// hop does not keep a record of that.
    fn is_in_use(&self) -> Option<bool> {
        None
    }

    /// Returns whether the chosen link is known to have answered no other connection since it was chosen for this one. A
    /// link that answers others works, and is not responsible for a request that gets no answer.
    fn is_silent(&self) -> bool {
        false
    }

    /// Reports that the chosen link did its part for the connection. A failure further on is not its failure.
    fn reached(&self);

    /// Reports that the chosen link works and carried nothing: its answer to a plain request was a refusal, which its
    /// [record](Self::record) has counted, or a challenge.
    ///
    /// Takes the place of [`reached`](Self::reached).
    fn answered(&self) {
        self.reached();
    }

    /// Returns whether the chosen link is left out for a refusal that an answer of `status` to a plain request may repeat.
    /// Such an answer does not show that the link works, though the target may have sent it.
    fn may_repeat_refusal(&self, _status: u16) -> bool {
        false
    }

    /// Returns whether the connection tries a link that is left out, though others are in use.
    fn is_trial(&self) -> bool {
        false
    }

    /// Reports that the answer of the chosen link [may repeat a refusal](Self::may_repeat_refusal), so that it stays left
    /// out.
    ///
    /// Takes the place of [`reached`](Self::reached).
    fn stays_out(&self) {}

    /// Reports that the chosen link works and refused a request for the reason `why`. Returns how many
    /// requests it has refused in a row, or zero if the hop does not count them.
    ///
    /// Takes the place of [`reached`](Self::reached). The refusal may be about the link or about what lies behind it, so
    /// it decides nothing.
    fn refused(&self, _why: &Arc<str>) -> u64 {
        self.reached();
        0
    }

    /// Returns the record of the chosen link's answers, which outlives the choice. `None` if the hop does not keep one.
    fn record(&self) -> Option<Arc<dyn AnswerRecord>> {
        None
    }

    /// Notes why the chosen link failed, for operators. [`instead`](Self::instead) follows.
    fn note_failure(&mut self, _why: &Arc<str>) {}

    /// Notes the error of the chosen link, which may say how long it is to be left alone. [`instead`](Self::instead)
    /// follows.
    fn note_error(&mut self, _error: &HopError) {}

    /// Chooses another link for the same connection, after [`reached`](Self::reached): the chosen one works, but refused the
    /// request in words that a target can imitate. Nothing is learned about it. Returns `None` if there is no other one, or
    /// if a target must not be able to make the hop take it.
    fn another(self: Box<Self>) -> Eventual<'static, Option<Chosen>> {
        Eventual::Ready(None)
    }

    /// Reports that the chosen link rejected the credentials of a plain request, which are held back from now on. Its
    /// [record](Self::record) has counted that. Chooses another link as [`another`](Self::another) does.
    fn instead_of_rejecting(self: Box<Self>) -> Eventual<'static, Option<Chosen>> {
        self.another()
    }

    /// Reports that the chosen link failed, and chooses another one. Returns `None` if all were tried.
    fn instead(self: Box<Self>) -> Eventual<'static, Option<Chosen>>;
}

/// A record of what one link answers, for operators. The only choice that depends on it is about a link that has never
/// answered.
pub trait AnswerRecord: fmt::Debug + Send + Sync {
    /// Notes that the link served a request. Returns how many refusals in a row this has ended.
    fn agreed(&self) -> u64;

    /// Notes that the link refused a request for the reason `why`. Returns how many requests it has refused
    /// in a row.
    fn refused(&self, why: &Arc<str>) -> u64;

    /// Returns whether the link has given any answer in its own protocol.
    fn has_answered(&self) -> bool;
}

/// The reason why a hop could not choose a link.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ChooseError {
    /// The client prefers something that the hop can't do.
    #[error(transparent)]
    Preferences(#[from] InvalidPreferences),
    /// The choice itself failed.
    #[error(transparent)]
    Failed(#[from] HopError),
}

impl ChooseError {
    /// Returns the error of a hop that chooses among others, if one of them failed with this error and the next one with
    /// `other`.
    pub(crate) fn joined(self, other: Self) -> Self {
        use HopError::AskedToWait;
        use InvalidPreferences::Unknown;
        match (self, other) {
            (Self::Failed(AskedToWait(one)), Self::Failed(AskedToWait(other))) => {
                Self::Failed(one.joined(*other).into())
            }
            // One that gives a reason says more than one that gives none.
            (error, Self::Preferences(Unknown)) | (Self::Preferences(Unknown), error) => error,
            (_, Self::Failed(AskedToWait(mut asked))) => {
                asked.are_all = false;
                Self::Failed(AskedToWait(asked))
            }
            (_, last) => last,
        }
    }
}
