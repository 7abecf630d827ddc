//! The first half of the seam: how a hop is built from its settings, and how it chooses a link for a request.

mod choice;
mod description;

use std::{any::Any, fmt, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

pub use self::{
    choice::{AnswerRecord, ChooseError, Chosen, Selection, WhyDirect},
    description::{Description, KeptExit, LoginShape, MemberStatus, PlainForm, SettingMeaning},
};
use crate::{
    Asker, BuildContext, Decider, Eventual, InvalidSettings, Link, MemberLedger, Preferences,
    Readiness, Request, SourceState,
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

    /// Returns the place among [`members`](Self::members) of the one that carries `request` while all of them work. Returns
    /// `None` if there is no choice, or if it differs from one connection to the next.
    fn usual_member(&self, _request: Request<'_>) -> Option<usize> {
        None
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

    /// Returns the meanings of the settings about sessions. Most kinds have none.
    fn session_meanings(&self) -> Vec<SettingMeaning> {
        Vec::new()
    }

    /// Returns what keeps the exit the same from one connection to the next, for every client. Returns `None` if a new
    /// connection may get another exit.
    fn kept_exit(&self) -> Option<KeptExit> {
        None
    }

    /// As [`Link::readiness`], if all links of this hop are alike.
    fn readiness(&self) -> Vec<Readiness> {
        Vec::new()
    }

    /// As [`Link::held_back`]. A hop that chooses among others says nothing for them.
    fn held_back(&self) -> Option<Duration> {
        None
    }

    /// Ends all waits of [`held_back`](Self::held_back), also those of members that have no name of their own, by an order of
    /// the operator.
    fn release(&self) {}

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

    /// Counts what the members do in `ledger`, which outlives this hop. Every generation that has the hop calls this, after
    /// [`inherit`](Self::inherit). A hop without members has nothing to count.
    fn count_in(&self, _ledger: &Arc<MemberLedger>) {}

    /// Chooses the link that carries `request`.
    ///
    /// The chain calls this once for each connection, before it dials. [`Eventual::Ready`] costs nothing. A future may
    /// not borrow from the request; cloning its parts is cheap. A hop that chooses among several links makes the choice
    /// that [`Request::repeated`] tells of again, if that link is in use.
    ///
    /// # Errors
    /// A preference of the client that can't be met, or a failure of the choice itself.
    fn choose(
        self: Arc<Self>,
        request: Request<'_>,
    ) -> Eventual<'static, Result<Chosen, ChooseError>>;
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

    fn kept_exit(&self) -> Option<KeptExit> {
        Some(KeptExit::OneUpstream)
    }

    fn readiness(&self) -> Vec<Readiness> {
        Link::readiness(self)
    }

    fn held_back(&self) -> Option<Duration> {
        Link::held_back(self)
    }

    fn release(&self) {
        Link::release(self);
    }

    fn choose(self: Arc<Self>, _: Request<'_>) -> Eventual<'static, Result<Chosen, ChooseError>> {
        // A link that makes no choice learns nothing from the outcome, so there is no selection and nothing is
        // allocated.
        Eventual::Ready(Ok(Chosen::new(self)))
    }
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
