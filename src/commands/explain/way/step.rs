//! One stop of a request, and what it receives.

use std::collections::BTreeMap;

use mooltiroute_hops::{Authority, Decision, PlainForm, Preferences, Request};
use serde::Serialize;

use super::taken_member::TakenMember;
use crate::{
    commands::{
        describe,
        explain::{
            asked::{Asked, Form},
            decided::DecidedHop,
        },
        json::ShownCredential,
    },
    config::NamedHop,
};

/// One stop, and the request that it receives.
#[derive(Serialize)]
pub(in crate::commands::explain) struct ExplainedStep<'a> {
    /// The hop's name, or `None` for the target.
    pub(in crate::commands::explain) hop: Option<&'a str>,
    pub(super) kind: Option<&'a str>,
    pub(super) address: String,
    /// The request that it receives.
    pub(super) request: String,
    pub(super) credentials: Vec<ShownCredential<'a>>,
    #[serde(skip)]
    pub(super) words: String,
    /// The parts of the login that depend on the client, without secrets.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) login: BTreeMap<String, String>,
    /// The meanings of the settings about sessions.
    #[serde(skip)]
    pub(super) sessions: Vec<String>,
}

impl ExplainedStep<'_> {
    /// Says that the credentials come from the URL of `--hop`.
    pub(in crate::commands::explain) fn take_credentials_from_url(&mut self) {
        let from_url = |one: &ShownCredential<'_>| format!(", {} from `--hop`", one.setting);
        self.words = self.credentials.iter().map(from_url).collect();
    }
}

/// A request whose steps are explained, and what hops have chosen for it.
#[derive(Clone, Copy)]
pub(super) struct ExplainedRequest<'r, 'a> {
    pub(super) asked: &'r Asked,
    pub(super) preferences: &'r Preferences,
    pub(super) decided: &'r [DecidedHop<'a>],
}

impl ExplainedRequest<'_, '_> {
    /// Returns whether `hop` refuses the request, so that nothing is sent to any hop after it.
    pub(super) fn is_refused_by(&self, hop: &NamedHop) -> bool {
        hop.has_all_members_off || matches!(self.decision(hop), Some(Decision::Refused))
    }

    /// Returns whether `hop`, the last one, may get the request itself and not a tunnel.
    pub(super) fn is_forwarded_by(&self, hop: &NamedHop) -> bool {
        matches!(self.form(hop), PlainForm::Absolute | PlainForm::ByMember)
    }

    /// Returns the step at `hop`, which reaches `next` or the target.
    pub(super) fn step<'a>(&self, hop: &'a NamedHop, next: Option<&NamedHop>) -> ExplainedStep<'a> {
        let member = TakenMember::of(hop, self.of_hops());
        let request = self.received_by(hop, next);
        // It chose nothing here, so what follows is only what it does if it chooses a hop.
        let may_be_left_out = self
            .decision(hop)
            .is_some_and(|decision| !matches!(decision, Decision::Hop(_) | Decision::Refused));
        ExplainedStep {
            hop: Some(&hop.name),
            kind: Some(&hop.kind),
            address: self.address(hop).map(|address| address.to_string()).unwrap_or_default(),
            request: match may_be_left_out {
                true => format!("{request}; or the PAC file chooses no hop, and it gets nothing"),
                false => request,
            },
            credentials: hop.credentials.iter().map(ShownCredential::from).collect(),
            words: format!("{member}{}", describe::credentials(&hop.credentials)),
            login: login(hop, self.preferences),
            sessions: describe::sessions(hop, Some(self.preferences)),
        }
    }

    /// Returns the step at the target, at the end of a tunnel.
    pub(super) fn step_at_target<'a>(&self) -> ExplainedStep<'a> {
        let request = match self.asked.form {
            Form::Tunnel => "what the client sends through the tunnel",
            Form::Plain => "the request in origin-form",
        };
        ExplainedStep {
            hop: None,
            kind: None,
            address: self.asked.target.to_string(),
            request: request.to_owned(),
            credentials: Vec::new(),
            words: String::new(),
            login: BTreeMap::new(),
            sessions: Vec::new(),
        }
    }

    /// Returns the request that `hop` receives to reach `next`, or the target.
    fn received_by(&self, hop: &NamedHop, next: Option<&NamedHop>) -> String {
        let target = &self.asked.target;
        if hop.has_all_members_off {
            return describe::MEMBERS_OFF.to_owned();
        }
        if self.is_refused_by(hop) {
            return "refuses the request".to_owned();
        }
        // All hops before the last are passed with CONNECT, whatever the form of the request.
        if let Some(next) = next {
            return match self.address(next) {
                Some(address) => format!("CONNECT {address}"),
                None => "CONNECT to the address of the next hop".to_owned(),
            };
        }
        match self.form(hop) {
            PlainForm::Absolute => format!("the request in absolute-form, for http://{target}"),
            PlainForm::ByMember => format!(
                "the request in absolute-form, for http://{target}, if the proxy that it takes forwards plain \
                 requests; otherwise CONNECT {target}"
            ),
            _ => format!("CONNECT {target}"),
        }
    }

    /// Returns how `hop` gets the request if it is the last one.
    fn form(&self, hop: &NamedHop) -> PlainForm {
        // As in `client::forward`: a last hop that accepts plain requests gets the request itself and not a tunnel.
        match self.asked.form {
            Form::Plain => hop.hop.as_ref().map_or(PlainForm::Tunnel, |hop| hop.plain_form()),
            Form::Tunnel => PlainForm::Tunnel,
        }
    }

    /// Returns the address of `hop`, or of the member that it takes, if that is known here.
    fn address(&self, hop: &NamedHop) -> Option<Authority> {
        match TakenMember::of(hop, self.of_hops()) {
            TakenMember::None => hop.hop.as_ref().and_then(|hop| hop.describe().address.cloned()),
            TakenMember::One(_, address) | TakenMember::Sticky(_, address, _) => address,
            TakenMember::PerRequest(_) => None,
        }
    }

    fn decision(&self, hop: &NamedHop) -> Option<&Decision> {
        self.decided.iter().find(|one| one.hop == &*hop.name).map(|one| &one.decision)
    }

    /// Returns the request as hops see it.
    fn of_hops(&self) -> Request<'_> {
        Request::new(&self.asked.target, self.preferences)
    }
}

/// Returns the login of `hop` for a client with these preferences, as far as it depends on them.
pub(super) fn login(hop: &NamedHop, preferences: &Preferences) -> BTreeMap<String, String> {
    let shapes = hop.hop.as_ref().map(|hop| hop.login_shape(preferences)).unwrap_or_default();
    shapes.into_iter().take(SHAPES_MAX).map(|shape| (shape.name, shape.text)).collect()
}

/// A pool may have many members with a login of this kind.
const SHAPES_MAX: usize = 10;
