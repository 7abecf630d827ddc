//! The description of a hop, and of its members.

use std::{sync::Arc, time::Duration};

use crate::{Authority, Hop};

/// The form in which the last hop of a chain gets plain requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlainForm {
    /// In absolute-form: the hop forwards them.
    Absolute,
    /// Through a tunnel to the target.
    Tunnel,
    /// As the member that takes the request needs it.
    ByMember,
}

impl PlainForm {
    /// Returns the form for a hop that chooses among `hops`: theirs if it is the same for all of them.
    pub(crate) fn of_any<'a>(hops: impl Iterator<Item = &'a dyn Hop>) -> Self {
        let mut forms = hops.map(Hop::plain_form);
        let first = forms.next().unwrap_or(Self::Tunnel);
        if forms.all(|form| form == first) { first } else { Self::ByMember }
    }
}

/// A part of a login that depends on the preferences of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginShape {
    /// The name of the part, such as `username`.
    pub name: String,
    /// Its text, such as `{user}-session-8jhbdst5`. A secret is replaced by its name in braces, and other text that could
    /// be one by `…`.
    pub text: String,
}

/// The facts about a hop that don't depend on a request.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Description<'a> {
    /// The address to show to operators, if there is one. A connection uses that of the chosen link.
    pub address: Option<&'a Authority>,
    /// The scheme of a URL that would reach the hop, such as `socks5`, if it is always the same.
    pub scheme: Option<&'static str>,
    /// Whether every link of this hop takes plain requests in absolute-form.
    pub forwards: bool,
    /// Whether clients may state their preferences to this hop.
    pub takes_preferences: bool,
    /// Whether clients have to name a session.
    pub requires_session: bool,
}

impl<'a> Description<'a> {
    /// Describes a hop that is reached at `address`, tunnels everything and has no preferences.
    pub fn at(address: &'a Authority) -> Self {
        Self { address: Some(address), ..Self::default() }
    }
}

/// The state of one link among which a hop chooses, for operators.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MemberStatus {
    /// Its name below the hop, such as `members[0]`.
    pub name: Arc<str>,
    /// Its label in metrics. The members of a long list that have no label of their own share one.
    pub label: Arc<str>,
    /// The name of the hop that it is, if it has an entry of its own below `hops:`.
    pub hop: Option<Arc<str>>,
    /// Its address, if it has one.
    pub address: Option<Authority>,
    /// The scheme of a URL that would reach it, such as `socks5`, if it is always the same.
    pub scheme: Option<&'static str>,
    /// Connections that it carried since the process started, with those of other members of the same label.
    pub reached: u64,
    /// Connections that it failed, as above.
    pub failed: u64,
    /// Requests that it refused, as above, though nothing says that the refusal is about itself.
    pub refused: u64,
    /// How many requests it refused one after the other, with nothing else between them, up to now.
    pub refused_in_a_row: u64,
    /// The reason of the last one, if it refused any.
    pub refusal: Option<Arc<str>>,
    /// The time until a connection tries it again, if it failed and is left out. `None` if it is in use.
    pub left_out: Option<Duration>,
    /// How long its credentials are held back, because it has rejected them. Then it is left out for as long at least.
    pub held_back: Option<Duration>,
    /// Whether it is left out for that long because it asked for it, and is not asked even if no other member works.
    pub asked_to_wait: bool,
    /// Why it is left out, if it is and the reason is known.
    pub problem: Option<Arc<str>>,
}

impl MemberStatus {
    /// Describes a member that has carried nothing yet.
    pub fn new(name: impl Into<Arc<str>>, address: Option<Authority>) -> Self {
        let name = name.into();
        let (reached, failed) = (0, 0);
        Self {
            label: Arc::clone(&name),
            name,
            hop: None,
            address,
            scheme: None,
            reached,
            failed,
            refused: 0,
            refused_in_a_row: 0,
            refusal: None,
            left_out: None,
            held_back: None,
            asked_to_wait: false,
            problem: None,
        }
    }
}

/// The reason why each connection gets the exit that the previous one had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptExit {
    /// There is one upstream, and nothing says that it has several exits.
    OneUpstream,
    /// A setting asks for it.
    Setting {
        /// The key of the setting.
        key: &'static str,
        /// Says what to write for another exit each time.
        instead: &'static str,
    },
}

/// The meaning of one setting with the value that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettingMeaning {
    /// The key of the setting.
    pub key: &'static str,
    /// A clause that says what it does.
    pub words: &'static str,
}
