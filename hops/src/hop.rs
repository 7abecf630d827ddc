//! The first half of the seam: how a hop is built from its settings, and how it chooses a link for a request.

use std::{any::Any, fmt, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::{
    Asker, Authority, BuildContext, Decider, Eventual, HopError, InvalidPreferences,
    InvalidSettings, Link, Preferences, Readiness, Request, SourceState,
};

/// An entry of `hops:` that chooses, for each connection, the [`Link`] that carries it.
///
/// A kind that always uses the same upstream implements [`Link`] and is a `Hop` already. Implement this trait for a
/// kind that decides per request, such as a pool, or a provider whose credentials depend on the client's session.
///
/// ```
/// use std::sync::Arc;
/// use mooltiroute_hops::{
///     Authority, ChooseError, Chosen, Description, Eventual, Hop, HopError, Link, Request, Tunnel, async_trait,
/// };
///
/// #[derive(Debug)]
/// struct Fixed(Authority);
///
/// #[async_trait]
/// impl Link for Fixed {
///     fn address(&self) -> &Authority {
///         &self.0
///     }
///
///     async fn extend(&self, tunnel: Tunnel, _next: &Authority) -> Result<Tunnel, HopError> {
///         Ok(tunnel)
///     }
/// }
///
/// /// Uses one upstream for ports below 1024, and another one for the rest.
/// #[derive(Debug)]
/// struct ByPort { low: Arc<Fixed>, high: Arc<Fixed> }
///
/// impl Hop for ByPort {
///     fn describe(&self) -> Description<'_> {
///         self.low.describe()
///     }
///
///     fn choose(self: Arc<Self>, request: Request<'_>) -> Eventual<'static, Result<Chosen, ChooseError>> {
///         let link = if request.target.port() < 1024 { &self.low } else { &self.high };
///         Eventual::Ready(Ok(Chosen::new(Arc::clone(link) as Arc<dyn Link>)))
///     }
/// }
/// ```
pub trait Hop: Any + fmt::Debug + Send + Sync {
    /// Describes the hop as far as that does not depend on a request.
    fn describe(&self) -> Description<'_>;

    /// Describes the links among which this hop chooses, in written order. Most kinds have no choice.
    fn members(&self) -> Vec<MemberStatus> {
        Vec::new()
    }

    /// Returns the list that the members come from: its file as the configuration names it, or the server of its URL.
    /// Returns `None` without a list.
    fn list(&self) -> Option<String> {
        None
    }

    /// Returns how this hop gets the plain requests of a chain that it ends.
    fn plain_form(&self) -> PlainForm {
        match self.describe().forwards {
            true => PlainForm::Absolute,
            false => PlainForm::Tunnel,
        }
    }

    /// Returns the parts of the login that depend on the preferences of a client, with the values that these give. What may
    /// be secret has its place only. Most kinds have no such parts.
    fn login_shape(&self, _preferences: &Preferences) -> Vec<LoginShape> {
        Vec::new()
    }

    /// As [`Link::readiness`], if all links of this hop are alike.
    fn readiness(&self) -> Vec<Readiness> {
        Vec::new()
    }

    /// Returns the side of this hop that depends on a document from elsewhere. Most kinds have none.
    fn asker(&self) -> Option<&dyn Asker> {
        None
    }

    /// Returns the state of the document that this hop depends on: a PAC file, or a list of proxies at a URL or in a file.
    fn source(&self) -> Option<SourceState> {
        self.asker().map(|asker| asker.state())
    }

    /// Returns the side of this hop that decides by what is asked for. Most kinds have none.
    fn decider(&self) -> Option<&dyn Decider> {
        None
    }

    /// Takes over what is still good of `before`, the hop of this name in the last generation, such as a list that was
    /// fetched. This comes before anything else is asked of the hop.
    ///
    /// If the settings of both are the same, `is_unchanged` is true. Then chains keep `before`, and this hop serves only as
    /// a member of hops that changed.
    fn inherit(&self, _before: &dyn Hop, _is_unchanged: bool) {}

    /// Chooses the link that carries `request`.
    ///
    /// The chain calls this once for each connection, before it dials. [`Eventual::Ready`] costs nothing. A future may
    /// not borrow from the request; cloning its parts is cheap.
    ///
    /// # Errors
    /// A preference of the client that can't be met, or a failure of the choice itself.
    fn choose(
        self: Arc<Self>,
        request: Request<'_>,
    ) -> Eventual<'static, Result<Chosen, ChooseError>>;
}

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

impl<L: Link + 'static> Hop for L {
    fn describe(&self) -> Description<'_> {
        let scheme = match (self.settings().is_socks, self.tls().is_some()) {
            (true, _) => "socks5",
            (false, true) => "https",
            (false, false) => "http",
        };
        let (scheme, forwards) = (Some(scheme), self.forwards());
        Description { scheme, forwards, ..Description::at(self.address()) }
    }

    fn readiness(&self) -> Vec<Readiness> {
        Link::readiness(self)
    }

    fn choose(self: Arc<Self>, _: Request<'_>) -> Eventual<'static, Result<Chosen, ChooseError>> {
        // A link that makes no choice learns nothing from the outcome, so there is no selection and nothing is
        // allocated.
        Eventual::Ready(Ok(Chosen::new(self)))
    }
}

/// The state of one link among which a hop chooses, for operators.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MemberStatus {
    /// Its name below the hop, such as `members[0]`.
    pub name: Arc<str>,
    /// The name of the hop that it is, if it has an entry of its own below `hops:`.
    pub hop: Option<Arc<str>>,
    /// Its address, if it has one.
    pub address: Option<Authority>,
    /// The scheme of a URL that would reach it, such as `socks5`, if it is always the same.
    pub scheme: Option<&'static str>,
    /// Connections that it carried since the hop was built.
    pub reached: u64,
    /// Connections that it failed since then.
    pub failed: u64,
    /// Requests that it refused since then, though nothing says that the refusal is about itself.
    pub refused: u64,
    /// How many of those came one after the other, with nothing else between them, up to now.
    pub refused_in_a_row: u64,
    /// The reason of the last one, if it refused any.
    pub refusal: Option<Arc<str>>,
    /// The time until a connection tries it again, if it failed and is left out. `None` if it is in use.
    pub left_out: Option<Duration>,
    /// Why it is left out, if it is and the reason is known.
    pub problem: Option<Arc<str>>,
}

impl MemberStatus {
    /// Describes a member that has carried nothing yet.
    pub fn new(name: impl Into<Arc<str>>, address: Option<Authority>) -> Self {
        let name = name.into();
        let (reached, failed) = (0, 0);
        Self {
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
            problem: None,
        }
    }
}

/// The link that carries a connection, and the selection that learns from the outcome.
#[derive(Debug)]
pub struct Chosen {
    /// The link. `None` leaves the hop out of its chain for this connection: the stop before it connects to the one
    /// behind it.
    pub link: Option<Arc<dyn Link>>,
    /// The selection that learns from the outcome. A hop without a choice has none.
    pub selection: Option<Box<dyn Selection>>,
}

impl Chosen {
    /// Chooses `link`. The hop does not learn from the outcome.
    pub fn new(link: Arc<dyn Link>) -> Self {
        Self { link: Some(link), selection: None }
    }

    /// Leaves the hop out, without an interest in the outcome.
    pub fn left_out() -> Self {
        Self { link: None, selection: None }
    }

    /// The name of the chosen link below its hop, such as `members[0]`.
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
    /// The name of the chosen link below its hop, such as `members[0]`.
    fn member(&self) -> String;

    /// Returns a text that tells the chosen link from all others, also from a later one of the same name. Connections that
    /// wait through a link are used only by a choice of the same text, so links with different credentials differ in it.
    fn identity(&self) -> String {
        self.member()
    }

    /// Returns the names of the hops of the configuration that the choice leads to, the outermost first. Links that have
    /// no entry below `hops:` have no such name.
    fn hops(&self) -> Vec<Arc<str>> {
        Vec::new()
    }

    /// Whether new connections use the chosen link, and don't leave it out because it failed. `None` if the hop does
    /// not keep a record of that.
    fn is_in_use(&self) -> Option<bool> {
        None
    }

    /// Reports that the chosen link did its part for the connection. A failure further on is not its failure.
    fn reached(&self);

    /// Reports that the chosen link works and refused what it was asked for, for the reason `why`. Returns how many
    /// requests it has refused in a row, or zero if the hop does not count them.
    ///
    /// Takes the place of [`reached`](Self::reached). The refusal may be about the link or about what lies behind it, so
    /// it decides nothing.
    fn refused(&self, _why: &Arc<str>) -> u64 {
        self.reached();
        0
    }

    /// Returns the record of what the chosen link answers, which outlives the choice. `None` if the hop does not keep one.
    fn record(&self) -> Option<Arc<dyn AnswerRecord>> {
        None
    }

    /// Notes why the chosen link failed, for operators. [`instead`](Self::instead) follows.
    fn note_failure(&mut self, _why: &Arc<str>) {}

    /// Reports that the chosen link failed, and chooses another one. Returns `None` if all were tried.
    fn instead(self: Box<Self>) -> Eventual<'static, Option<Chosen>>;
}

/// A record of what one link answers, for operators. No choice depends on it.
pub trait AnswerRecord: fmt::Debug + Send + Sync {
    /// Notes that the link did what it was asked for. Returns how many refusals in a row this has ended.
    fn agreed(&self) -> u64;

    /// Notes that the link refused what it was asked for, for the reason `why`. Returns how many requests it has refused
    /// in a row.
    fn refused(&self, why: &Arc<str>) -> u64;
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

/// The settings that the parts of `KIND://USERNAME:PASSWORD@ADDRESS` stand for.
///
/// Settings after a `?` need no such name: they are written as `KEY=VALUE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UrlKeys {
    /// The setting of the host and the port.
    pub address: &'static str,
    /// The setting of the username.
    pub username: &'static str,
    /// The setting of the password.
    pub password: &'static str,
}

impl UrlKeys {
    /// The names that most kinds use.
    pub const USUAL: Self = Self { address: "address", username: "username", password: "password" };
}

/// The settings of one kind of hop, as an operator writes them.
///
/// Use `#[serde(deny_unknown_fields)]`, so that a misspelt key is an error and not a silent default. Editors show the
/// schema with the fields' doc comments; derive it with the [`schemars`] of this crate and
/// `#[schemars(crate = "mooltiroute_hops::schemars")]`.
///
/// ```
/// use std::sync::Arc;
/// use mooltiroute_hops::{
///     Authority, BuildContext, Hop, HopConfig, HopError, InvalidSettings, Link, Registry, Tunnel, async_trait, schemars,
/// };
/// use schemars::JsonSchema;
/// use serde::Deserialize;
///
/// /// The settings below `kind: relay`.
/// #[derive(Deserialize, JsonSchema)]
/// #[schemars(crate = "mooltiroute_hops::schemars")]
/// #[serde(deny_unknown_fields)]
/// struct Config {
///     /// The address of the relay, as `host:port`.
///     address: Authority,
/// }
///
/// /// A server that forwards every connection to a fixed place.
/// #[derive(Debug)]
/// struct Relay(Authority);
///
/// impl HopConfig for Config {
///     const KIND: &'static str = "relay";
///
///     fn build(self, _: &BuildContext<'_>) -> Result<Arc<dyn Hop>, InvalidSettings> {
///         Ok(Arc::new(Relay(self.address)))
///     }
/// }
///
/// #[async_trait]
/// impl Link for Relay {
///     fn address(&self) -> &Authority {
///         &self.0
///     }
///
///     async fn extend(&self, tunnel: Tunnel, _next: &Authority) -> Result<Tunnel, HopError> {
///         Ok(tunnel)
///     }
/// }
///
/// let registry = Registry::default().with::<Config>();
/// assert!(registry.kind("relay").is_some());
/// ```
pub trait HopConfig: DeserializeOwned + JsonSchema + 'static {
    /// The name that operators write as `kind:`, in kebab-case.
    const KIND: &'static str;

    /// The settings that the parts of a URL stand for, when a hop of this kind is written as one.
    const URL: UrlKeys = UrlKeys::USUAL;

    /// The settings whose values may be shown, since none of them can hold a secret. `check` lists those that are
    /// written.
    const SHOWN: &'static [&'static str] = &[];

    /// Checks the settings and builds the hop. Opens no connection; may read the files that the settings name.
    ///
    /// # Errors
    /// Every invalid setting, without its value if that could be a secret.
    fn build(self, context: &BuildContext<'_>) -> Result<Arc<dyn Hop>, InvalidSettings>;
}
