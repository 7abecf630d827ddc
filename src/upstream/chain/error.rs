//! The failure of a connection: the step, the hop and the cause.

use std::{fmt, sync::Arc, time::Duration};

use mooltiroute_hops::{
    Authority, ChooseError, HopError, InvalidPreferences, LinkSettings, Refusal, WhyDirect, tls,
};
use thiserror::Error;

use super::{ChainHop, FailedMembers, Passage, TakenHop};
use crate::{
    duration::{in_words, whole_milliseconds},
    system::own_lack::OwnLack,
    upstream::dial::DialError,
};

/// The step at which a connection failed, and the reason.
#[derive(Debug, Error)]
#[error("chain `{chain}` failed at {stage}{}", after_others(.failed_members.as_ref()))]
pub struct ChainError {
    /// The chain's name.
    pub chain: Arc<str>,
    /// The step that failed.
    pub stage: Box<Stage>,
    /// The cause.
    #[source]
    pub cause: Cause,
    /// The number of connections that were tried; zero if a hop could not even choose.
    pub attempts: u32,
    /// Every address of the next hop that was refused, if it has several.
    pub refused: Vec<Authority>,
    /// The members of a hop that failed one after the other, if there were several. The error is that of the last one.
    pub failed_members: Option<FailedMembers>,
    /// The hops that the chain lists and that are switched off.
    pub switched_off: Arc<[Arc<str>]>,
    /// The hops that left themselves out.
    pub direct_hops: Vec<DirectHop>,
    /// The choices of the hops, if one left itself out.
    pub(crate) taken: Option<Arc<[TakenHop]>>,
}

/// A hop that left itself out of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectHop {
    /// Its name.
    pub name: Arc<str>,
    /// Why it did so.
    pub why: WhyDirect,
    /// Its members that failed before.
    pub failed: Vec<String>,
    /// All hops that it may choose.
    pub members: Vec<Arc<str>>,
}

/// Completes the text of an error of the last member that was tried.
fn after_others(failed: Option<&FailedMembers>) -> String {
    failed.map_or_else(String::new, |failed| {
        let (number, how) = (failed.in_words(), failed.failures());
        format!(" (the last of {number} of `{}`, which failed: {how})", failed.hop)
    })
}

/// One step on the way.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The hop that was dialled, entered or asked; `None` if that was the target itself.
    pub hop: Option<Arc<str>>,
    /// The member of the hop, if it holds several.
    pub member: Option<String>,
    /// The names of the hops that the hop chose to go through.
    pub through: Vec<Arc<str>>,
    /// The path of the hop in the configuration, if it is not below that of the chain's hop.
    pub place: Option<String>,
    /// The step.
    pub step: Step,
    /// The stop that the step was to reach.
    pub stop: Authority,
    /// The protocol of an entrance, if it has a name.
    pub protocol: Option<&'static str>,
    /// The settings of the hop that advice may be about.
    pub settings: LinkSettings,
    /// Whether TLS with the hop is in place, so that its port surely speaks it.
    pub is_secure: bool,
    /// The list that the member comes from, if it does.
    pub list: Option<String>,
    /// The next hop of the chain, if the step was to reach that.
    pub next: Option<Arc<str>>,
    /// The path of that hop, or of its member, in the configuration.
    pub next_place: Option<String>,
    /// Whether the hop had to be logged in to first, before it could be asked.
    pub is_login: bool,
    /// Whether the hop took a plain request, and its answer was waited for.
    pub is_sent: bool,
    /// Whether the hop is known to have answered before in its own protocol.
    pub has_answered: bool,
    /// The words that name the hop's URL, if it comes from the command line.
    pub url: Option<Arc<str>>,
}

/// A step at a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Choosing who serves the request.
    Choose,
    /// Look-up and TCP to the first stop.
    Dial,
    /// Preparing the tunnel for the hop, such as by TLS.
    Enter,
    /// Asking the hop for the next stop.
    Extend,
}

/// Why a step failed.
#[derive(Debug, Error)]
pub enum Cause {
    /// No connection to the first stop.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The hop failed, or refused.
    #[error(transparent)]
    Hop(#[from] HopError),
    /// The client prefers something that the hop can't do.
    #[error(transparent)]
    Preferences(#[from] InvalidPreferences),
    /// The step took longer than this, as the setting of this name has it.
    #[error("no answer within {time} (`{setting}`)", time = in_words(whole_milliseconds(*.0)), setting = .1)]
    Timeout(Duration, &'static str),
    /// The client left when the step had taken this long.
    #[error("no answer for {}, after which the client left", in_words(whole_milliseconds(*.0)))]
    ClientLeft(Duration),
}

impl Cause {
    /// Returns what this machine lacks, if the step failed for that and not because of a peer.
    pub(crate) fn own_lack(&self) -> Option<OwnLack> {
        match self {
            Self::Dial(DialError::OwnLack(lack, _)) => Some(*lack),
            Self::Hop(HopError::Io(error) | HopError::Tls(error)) => OwnLack::of(error),
            _ => None,
        }
    }

    /// Adds the name of the hop that chose among members, and found that all of them asked to wait.
    pub(super) fn of_pool(mut self, pool: &Arc<str>) -> Self {
        if let Self::Hop(HopError::AskedToWait(asked)) = &mut self {
            asked.pool = Some(Arc::clone(pool));
        }
        self
    }
}

impl From<ChooseError> for Cause {
    fn from(error: ChooseError) -> Self {
        match error {
            ChooseError::Preferences(invalid) => Self::Preferences(invalid),
            ChooseError::Failed(error) => Self::Hop(error),
            other => Self::Hop(HopError::Other(other.to_string())),
        }
    }
}

impl Stage {
    pub(super) fn new(
        hop: Option<&ChainHop>,
        member: Option<String>,
        step: Step,
        stop: Authority,
    ) -> Self {
        let list = member.as_ref().and_then(|_| hop?.hop.list());
        let url = hop.and_then(|hop| hop.url.clone());
        let hop = hop.map(|hop| Arc::clone(&hop.name));
        let settings = LinkSettings::default();
        let through = Vec::new();
        Self {
            hop,
            member,
            through,
            place: None,
            step,
            stop,
            protocol: None,
            settings,
            is_secure: false,
            list,
            next: None,
            next_place: None,
            is_login: false,
            is_sent: false,
            has_answered: false,
            url,
        }
    }

    /// Creates the stage of the TLS handshake with the target, which the user of the tunnel makes at its end.
    pub fn at_target(target: &Authority) -> Self {
        let stage = Self::new(None, None, Step::Enter, target.clone());
        Self { protocol: Some(tls::PROTOCOL), ..stage }
    }

    /// Returns the line of a list that has the hop, such as `line 1 of proxies.txt`.
    pub fn listed(&self) -> Option<String> {
        Some(format!("{} of {}", self.member.as_ref()?, self.list.as_ref()?))
    }

    /// Returns the name of the hop, and of its member if it has one.
    pub fn hop_name(&self) -> Option<String> {
        let hop = self.hop.as_ref()?;
        Some(match &self.member {
            Some(member) => format!("{hop}.{member}"),
            None => hop.to_string(),
        })
    }
}

impl Step {
    /// Returns the name of the step in the log and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Choose => "choose",
            Self::Dial => "dial",
            Self::Enter => "enter",
            Self::Extend => "extend",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Completes "chain `x` failed at …", so each form begins with a noun.
        let Self { step, stop, protocol, .. } = self;
        let what = match (step, protocol) {
            (Step::Enter, Some(protocol)) => &*format!("{protocol} handshake with"),
            (Step::Enter, None) => "handshake with",
            _ => "connection to",
        };
        let Some(hop) = self.hop_name() else { return write!(f, "the {what} the target `{stop}`") };
        let own = self.own_name();
        match step {
            Step::Choose => write!(f, "hop `{hop}`{own}, while it chose a proxy"),
            Step::Dial | Step::Enter => write!(f, "the {what} hop `{hop}`{own} at `{stop}`"),
            Step::Extend => write!(f, "hop `{hop}`{own}, asked for `{stop}`"),
        }
    }
}

impl Stage {
    /// Returns the name of the member that is the hop, in brackets. A member is called by its place, and its name may say
    /// more.
    pub(crate) fn own_name(&self) -> String {
        let is_other = |name: &&Arc<str>| {
            self.member.as_ref().is_some_and(|member| !member.contains(&***name))
        };
        let own = self.through.last().filter(is_other);
        own.map(|name| format!(" (`{name}`)")).unwrap_or_default()
    }
}

impl ChainError {
    /// Returns the passage of a request that failed like this. The choices of the hops are in the error itself, unless one
    /// left itself out.
    pub(crate) fn passage(&self) -> Passage {
        let taken = self.taken.clone();
        Passage { taken, attempts: self.attempts, ..Passage::default() }
    }

    /// Returns the refusal of the hop, if that is what happened.
    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        match &self.cause {
            Cause::Hop(HopError::Refused(refusal)) => Some(refusal),
            _ => None,
        }
    }

    /// Returns whether the hop rejected its credentials, and they are held back now.
    pub(crate) fn holds_back(&self) -> bool {
        self.refusal().is_some_and(|refusal| refusal.held_back.is_some())
    }

    /// Returns whether a hop says that the request came back to a proxy on its way.
    pub(crate) fn is_of_loop(&self) -> bool {
        self.refusal().is_some_and(Refusal::is_of_loop)
    }

    /// Returns what the client waited for, and how long, if it left before the connection was open.
    pub(crate) fn wait_in_words(&self) -> Option<String> {
        let Cause::ClientLeft(waited) = self.cause else { return None };
        Some(format!("waited {} for {}", in_words(whole_milliseconds(waited)), self.stage))
    }

    /// Returns whether the hop was asked and nothing came back, not even a refusal.
    pub(super) fn is_without_answer(&self) -> bool {
        matches!(&self.cause, Cause::Hop(HopError::Io(_) | HopError::Closed))
    }
}
