//! `kind: rotating`: any provider whose username, password or fields choose the exit, by template.

mod session_id;
mod template;

use std::{collections::BTreeMap, num::NonZeroU16, sync::Arc};

use schemars::JsonSchema;
use serde::Deserialize;

use self::{
    session_id::SessionId,
    template::{Placeholder, Template, Values},
};
use crate::{
    Authority, BuildContext, Country, FieldName, Forwarding, Hop, HopConfig, HopError,
    InvalidPreferences, InvalidSetting, InvalidSettings, Key, Meaning, Preferences, Refusal,
    Request, Reuse, Secret, Sessions, Tunnel, async_trait, credentials, field, handshake,
    tls::{self, TlsClient, TlsSettings},
};

/// The settings of a provider's gateway. The templates have places for `{user}`, `{pass}`, `{country}` (in lower case),
/// `{COUNTRY}`, `{city}`, `{session}` and `{ttl}`; what stands in `[...]` vanishes where a value in it is unset.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the gateway listens, as `host:port`.
    address: Authority,
    /// Ports to try in turn if the previous hop refuses the port of `address`.
    #[serde(default)]
    ports: Vec<NonZeroU16>,
    /// Whether to use TLS with the gateway itself.
    #[serde(default)]
    tls: TlsSettings,
    /// The account: the value of `{user}`.
    user: Secret,
    /// The value of `{pass}`.
    #[serde(default = "nothing")]
    pass: Secret,
    /// The template of the username. Without it, the username is `{user}`.
    username: Option<Template>,
    /// The template of the password. Without it, the password is `{pass}`.
    password: Option<Template>,
    /// Templates of header fields to add to each CONNECT, by name. With one, plain requests use a tunnel too, because
    /// their fields would reach the target.
    #[serde(default)]
    headers: BTreeMap<FieldName, Template>,
    /// The value of `{country}` and `{COUNTRY}`, a code of two letters.
    country: Option<Country>,
    /// The value of `{city}`.
    city: Option<String>,
    /// The value of `{session}`. Without it, each request and each tunnel gets a connection of its own.
    session: Option<String>,
    /// The value of `{ttl}`, in the provider's own unit.
    ttl: Option<String>,
    /// Who chooses the session: this configuration, or the client through its username for this proxy.
    #[serde(default)]
    sessions: Sessions,
    /// Which session identifiers the provider accepts.
    #[serde(default)]
    session_id: SessionId,
    /// Header fields in which the provider says why it refuses, the most precise first. A response to a plain request
    /// that has one is explained instead of passed on.
    #[serde(default)]
    error_fields: Vec<FieldName>,
}

/// A provider's gateway, for one session.
#[derive(Clone, Debug)]
struct Rotating {
    provider: Arc<Provider>,
    /// What each CONNECT has beside `forwarding`.
    headers: Vec<(String, Secret)>,
    forwarding: Forwarding,
}

/// What all sessions have in common.
#[derive(Debug)]
struct Provider {
    config: Config,
    alternatives: Vec<Authority>,
    tls: Option<TlsClient>,
}

impl HopConfig for Config {
    const KIND: &'static str = "rotating";

    fn build(self, context: &BuildContext<'_>) -> Result<Arc<dyn Hop>, InvalidSettings> {
        self.check()?;
        let tls = TlsClient::new(&self.tls, self.address.host(), context)?;
        let others = self.ports.iter().map(|port| self.address.with_port(*port));
        let alternatives = others.filter(|address| *address != self.address).collect();
        let provider = Arc::new(Provider { config: self, alternatives, tls });
        Ok(Arc::new(Rotating::new(provider, &Preferences::default())?))
    }
}

impl Config {
    fn check(&self) -> Result<(), InvalidSetting> {
        if self.ports.len() > PORTS_MAX {
            return Err(InvalidSetting::new("ports", format!("must be at most {PORTS_MAX}")));
        }
        for (key, value) in [("city", &self.city), ("ttl", &self.ttl)] {
            let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.".contains(&byte);
            if value
                .as_ref()
                .is_some_and(|value| value.is_empty() || !value.bytes().all(is_allowed))
            {
                return Err(InvalidSetting::new(key, "is written in letters, digits, `_` and `.`"));
            }
        }
        if self.session.as_ref().is_some_and(|session| !self.session_id.fits(session)) {
            return Err(InvalidSetting::new("session", "is not what `session_id` describes"));
        }
        for (key, is_set, placeholders) in [
            (
                "country",
                self.country.is_some(),
                [Placeholder::CountryLower, Placeholder::CountryUpper].as_slice(),
            ),
            ("city", self.city.is_some(), &[Placeholder::City]),
            ("session", self.session.is_some(), &[Placeholder::Session]),
            ("ttl", self.ttl.is_some(), &[Placeholder::Ttl]),
            ("sessions", self.sessions == Sessions::ByClient, &[Placeholder::Session]),
        ] {
            if is_set && !self.has(placeholders) {
                let name = placeholders[0].name();
                let message = format!("has no effect, as no template has a place for `{{{name}}}`");
                return Err(InvalidSetting::new(key, message));
            }
        }
        Ok(())
    }

    fn has(&self, placeholders: &[Placeholder]) -> bool {
        let written = [&self.username, &self.password].into_iter().flatten();
        let mut templates = written.chain(self.headers.values());
        templates.any(|template| placeholders.iter().any(|one| template.has(*one)))
    }
}

impl Rotating {
    fn new(provider: Arc<Provider>, preferences: &Preferences) -> Result<Self, InvalidSetting> {
        let config = &provider.config;
        let chosen = preferences.session.as_deref().map(|name| config.session_id.for_name(name));
        let values = Values {
            user: &config.user,
            pass: &config.pass,
            country: preferences.country.or(config.country),
            city: config.city.as_deref(),
            session: chosen.as_deref().or(config.session.as_deref()),
            ttl: config.ttl.as_deref(),
        };
        let fill = |key: &str, template: &Option<Template>, default: &Secret| match template {
            None => Ok(default.clone()),
            Some(template) => template.fill(&values).map_err(|missing| unset(key, missing)),
        };
        let username = fill("username", &config.username, &config.user)?;
        let password = fill("password", &config.password, &config.pass)?;
        let authorization = credentials::basic(&username, &password)?;
        let mut headers = BTreeMap::new();
        for (name, template) in &config.headers {
            let value = template.fill(&values).map_err(|missing| {
                unset(name.as_str(), missing).below(Key::Name("headers".into()))
            })?;
            // A field of which everything vanished is not sent.
            if !value.is_empty() {
                headers.insert(name.clone(), value);
            }
        }
        let headers = field::checked("headers", headers)?;
        let headers = headers.into_iter().map(|(name, value)| (name.as_str().to_owned(), value));
        let reuse = if values.session.is_some() { Reuse::SameClient } else { Reuse::Never };
        let forwarding = Forwarding { fields: vec![("Proxy-Authorization", authorization)], reuse };
        let headers = headers.collect();
        Ok(Self { headers, forwarding, provider })
    }
}

#[async_trait]
impl Hop for Rotating {
    fn address(&self) -> &Authority {
        &self.provider.config.address
    }

    fn alternatives(&self) -> &[Authority] {
        &self.provider.alternatives
    }

    async fn enter(&self, tunnel: Tunnel) -> Result<Tunnel, HopError> {
        match &self.provider.tls {
            Some(tls) => tls.enter(tunnel).await,
            None => Ok(tunnel),
        }
    }

    fn entered_by(&self) -> Option<&'static str> {
        self.provider.tls.as_ref().map(|_| tls::PROTOCOL)
    }

    async fn extend(&self, tunnel: Tunnel, next: &Authority) -> Result<Tunnel, HopError> {
        let ours = self.forwarding.fields.iter().map(|(name, value)| (*name, value.clone()));
        let theirs = self.headers.iter().map(|(name, value)| (name.as_str(), value.clone()));
        let fields: Vec<_> = theirs.chain(ours).collect();
        handshake::connect(tunnel, next, &fields).await
    }

    fn forwarding(&self) -> Option<&Forwarding> {
        self.provider.config.headers.is_empty().then_some(&self.forwarding)
    }

    fn reuse(&self) -> Reuse {
        self.forwarding.reuse
    }

    fn refuses(&self, refusal: &Refusal) -> bool {
        refusal.is_by_proxy() || self.provider.reason(refusal).is_some()
    }

    fn explain(&self, refusal: &mut Refusal) {
        if let Some(reason) = self.provider.reason(refusal).map(str::to_owned) {
            refusal.detail = Some(reason);
        }
        refusal.meaning = match refusal.status {
            402 => Some(Meaning::Quota),
            407 => Some(Meaning::Credentials),
            429 => Some(Meaning::Busy),
            _ => None,
        };
    }

    fn takes_preferences(&self) -> bool {
        self.provider.config.sessions == Sessions::ByClient
    }

    fn choose(&self, request: &Request<'_>) -> Result<Option<Arc<dyn Hop>>, InvalidPreferences> {
        let Preferences { country, .. } = request.preferences;
        let config = &self.provider.config;
        if !self.takes_preferences() || request.preferences.is_empty() {
            return Ok(None);
        }
        if country.is_some() && !config.has(&[Placeholder::CountryLower, Placeholder::CountryUpper])
        {
            return Err(InvalidPreferences::NoCountry);
        }
        let chosen = Self::new(Arc::clone(&self.provider), request.preferences);
        // A value that is chosen is set, so no template lacks one that was there before.
        chosen
            .map(|hop| Some(Arc::new(hop) as Arc<dyn Hop>))
            .map_err(|_| InvalidPreferences::Unknown)
    }
}

impl Provider {
    fn reason<'a>(&self, refusal: &'a Refusal) -> Option<&'a str> {
        self.config.error_fields.iter().find_map(|name| refusal.field(name.as_str()))
    }
}

fn unset(key: &str, missing: Placeholder) -> InvalidSetting {
    let name = missing.name();
    let message =
        format!("has a place for `{{{name}}}`, which is unset; set it, or write `[...]` around it");
    InvalidSetting::new(key, message)
}

fn nothing() -> Secret {
    Secret::new("")
}

/// Each is a connection of its own to try.
const PORTS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    fn build(yaml: &str) -> Result<Arc<dyn Hop>, String> {
        let text = format!("{{address: 'gate.example:7777', user: joe, pass: word, {yaml}}}");
        let settings: Settings = serde_yaml::from_str(&text).unwrap();
        let config = settings.read::<Config>().map_err(|invalid| invalid[0].path().to_string())?;
        let built = config.build(&BuildContext::new(".".as_ref()));
        built.map_err(|invalid| Vec::from(invalid)[0].path().to_string())
    }

    /// The credentials that a client gets which says `said`.
    #[track_caller]
    fn check(yaml: &str, said: &str, expected: &str, reuse: Reuse) {
        let hop = build(yaml).unwrap();
        let said = if said.is_empty() { Preferences::default() } else { said.parse().unwrap() };
        let target = "a.example:80".parse().unwrap();
        let hop = hop.choose(&Request::new(&target, &said)).unwrap().unwrap_or(hop);
        let (username, password) = expected.split_once(':').unwrap();
        let expected = credentials::basic(&Secret::new(username), &Secret::new(password)).unwrap();
        assert_eq!(hop.forwarding().unwrap().fields[0].1.expose(), expected.expose(), "{yaml}");
        assert_eq!(hop.reuse(), reuse, "{yaml}");
    }

    #[test]
    fn credentials_are_made_from_templates() {
        use Reuse::{Never, SameClient};
        check("", "", "joe:word", Never);
        let template = "username: 'customer-{user}[-cc-{COUNTRY}][-sessid-{session}]'";
        check(template, "", "customer-joe:word", Never);
        let all = format!("{template}, country: us, session: abc");
        check(&all, "", "customer-joe-cc-US-sessid-abc:word", SameClient);
        let password = "password: '{pass}[_country-{country}][_lifetime-{ttl}]', ttl: 30m";
        check(password, "", "joe:word_lifetime-30m", Never);
    }

    #[test]
    fn a_client_chooses_where_it_may() {
        let yaml = "username: '{user}[-{country}][-{session}]', sessions: by-client";
        check(yaml, "", "joe:word", Reuse::Never);
        check(yaml, "country-us", "joe-us:word", Reuse::Never);
        check(yaml, "session-alice,country-us", "joe-us-wkuh6ad4:word", Reuse::SameClient);
        let fixed = "username: '{user}[-{session}]'";
        check(fixed, "session-alice", "joe:word", Reuse::Never);
        let hop = build(&format!("{fixed}, sessions: by-client")).unwrap();
        let (target, said) = ("a.example:80".parse().unwrap(), "country-us".parse().unwrap());
        let refused = hop.choose(&Request::new(&target, &said)).unwrap_err();
        assert_eq!(refused, InvalidPreferences::NoCountry);
    }

    #[test]
    fn what_can_not_work_is_an_error() {
        let fails = |yaml| build(yaml).map(|_| ()).unwrap_err();
        assert_eq!(fails("username: '{user}-{session}'"), "username");
        assert_eq!(fails("username: '{user'"), "username");
        assert_eq!(fails("username: '{user}:x'"), "username");
        assert_eq!(fails("country: us"), "country");
        assert_eq!(fails("sessions: by-client"), "sessions");
        assert_eq!(fails("username: '[{session}]', session: a-b"), "session");
        assert_eq!(fails("username: '[{ttl}]', ttl: '10 m'"), "ttl");
        assert_eq!(fails("headers: {X-Session: '{session}'}"), "headers.X-Session");
        assert_eq!(fails("headers: {Host: a}"), "headers.Host");
    }

    #[test]
    fn with_fields_of_its_own_plain_requests_go_through_a_tunnel() {
        let hop = build("headers: {X-Session: '[{session}]'}").unwrap();
        assert!(hop.forwarding().is_none() && hop.reuse() == Reuse::Never);
    }

    #[test]
    fn the_providers_own_fields_tell_its_answers() {
        let hop = build("error_fields: [X-Err-Code, X-Err]").unwrap();
        let fields = [(&b"x-err"[..], &b"second"[..]), (b"x-err-code", b"first")];
        let mut refusal = Refusal::new(429, b"", fields.into_iter());
        assert!(hop.refuses(&refusal));
        hop.explain(&mut refusal);
        assert_eq!(refusal.detail.as_deref(), Some("first"));
        assert_eq!(refusal.meaning, Some(Meaning::Busy));
        assert!(!hop.refuses(&Refusal::new(502, b"", std::iter::empty())));
    }
}
