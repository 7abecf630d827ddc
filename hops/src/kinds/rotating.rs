//! `kind: rotating`: any provider whose username, password or fields choose the exit, by template.

mod check;
mod link;
mod session_id;
mod template;

use std::{collections::BTreeMap, num::NonZeroU16, path::PathBuf, sync::Arc};

use schemars::JsonSchema;
use serde::Deserialize;

use self::{
    check::unset,
    link::{Provider, ProviderSession},
    session_id::SessionId,
    template::{Placeholder, Template, Values},
};
use super::added::{Added, Origin};
use super::gateway::{GatewayProtocol, pass_headers};
use crate::{
    Authority, BuildContext, ChooseError, Chosen, Country, Description, Eventual, Field, FieldName,
    Hop, HopConfig, InvalidPreferences, InvalidSettings, KeptExit, Link, LoginShape, Preferences,
    Request, Secret, Sessions, SettingMeaning, UrlKeys, credentials,
    tls::{TlsClient, TlsSettings},
};

/// The settings of a provider's gateway. The templates have places for `{user}`, `{pass}`, `{country}` (in lower case),
/// `{COUNTRY}`, `{city}`, `{session}` and `{ttl}`; a part in `[...]` disappears if a value in it is unset.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotatingConfig {
    /// The address of the gateway, as `host:port`.
    address: Authority,
    /// Ports to try in turn if the previous hop refuses the port of `address`.
    #[serde(default)]
    ports: Vec<NonZeroU16>,
    /// The protocol in which the gateway is asked for tunnels. With `socks5`, username and password have 1 to 255 bytes
    /// each, and there are no header fields.
    #[serde(default)]
    protocol: GatewayProtocol,
    /// Whether to use TLS with the gateway itself.
    #[serde(default)]
    tls: TlsSettings,
    /// The account: the value of `{user}`.
    user: Secret,
    /// The value of `{pass}`.
    #[serde(default = "nothing")]
    pass: Secret,
    /// A file that holds the value of `{pass}`, instead of `pass`. It is read again at each reload.
    pass_file: Option<PathBuf>,
    /// The template of the username. Default: `{user}`.
    username: Option<Template>,
    /// The template of the password. Default: `{pass}`.
    password: Option<Template>,
    /// Templates of header fields to add to each CONNECT, by name. With one, plain requests use a tunnel too, because
    /// their fields would reach the target.
    #[serde(default)]
    headers: BTreeMap<FieldName, Template>,
    /// Header fields that pass from the client's CONNECT to this hop, if it is the last one, such as
    /// `X-ProxyMesh-Country`.
    #[serde(default)]
    pass_headers: Vec<FieldName>,
    /// Header fields that pass from this hop's 200 to the client, if it is the last one, such as `X-ProxyMesh-IP`.
    #[serde(default)]
    return_headers: Vec<FieldName>,
    /// The value of `{country}` and `{COUNTRY}`, a code of two letters.
    country: Option<Country>,
    /// The value of `{city}`.
    city: Option<String>,
    /// The value of `{session}`. Default: each request and each tunnel gets a connection of its own.
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

/// A provider's gateway, whose credentials depend on the session.
#[derive(Debug)]
struct Rotating {
    provider: Arc<Provider>,
    /// The session of clients without preferences.
    session: Arc<ProviderSession>,
}

impl HopConfig for RotatingConfig {
    const KIND: &'static str = "rotating";
    const URL: UrlKeys = UrlKeys { username: "user", password: "pass", ..UrlKeys::USUAL };
    const SHOWN: &'static [&'static str] = &[
        "ports",
        "protocol",
        "tls",
        "country",
        "city",
        "session",
        "ttl",
        "sessions",
        "session_id",
    ];

    fn build(mut self, context: &BuildContext<'_>) -> Result<Arc<dyn Hop>, InvalidSettings> {
        if let Some(file) = &self.pass_file {
            let written = (!self.pass.is_empty()).then(|| self.pass.clone());
            let user = Some(&self.user);
            let pass =
                credentials::either("pass", "pass_file", written, Some(file), user, context)?;
            self.pass = pass.unwrap_or_else(nothing);
        }
        self.check()?;
        self.warn(context);
        // Only the names count here; the values depend on the session.
        let name = |name: &FieldName| Field::new(name.as_str().to_owned(), Secret::new(""));
        let own: Vec<_> = self.headers.keys().map(name).collect();
        let to_hop = std::mem::take(&mut self.pass_headers);
        let to_client = std::mem::take(&mut self.return_headers);
        let pass_headers = pass_headers(self.protocol, to_hop, to_client, &own)?;
        let tls = TlsClient::new(&self.tls, self.address.host(), context)?;
        // The chain tries the address itself first, so its port must not be tried twice.
        let others = self.ports.iter().map(|port| self.address.with_port(*port));
        let alternatives = others.filter(|address| *address != self.address).collect();
        let head_bytes_max = context.head_bytes_max();
        let on_rejection = self.advice_on_rejection(context.login());
        let provider = Arc::new(Provider {
            config: self,
            alternatives,
            tls,
            pass_headers,
            head_bytes_max,
            on_rejection,
        });
        // Filling the templates once finds every mistake that does not depend on a client.
        let session = ProviderSession::new(Arc::clone(&provider), &Preferences::default())?;
        Ok(Arc::new(Rotating { provider, session: Arc::new(session) }))
    }
}

impl RotatingConfig {
    /// Returns the identifier of the session that a client prefers, if it names one.
    ///
    /// A client's name is never sent as it is: it becomes an identifier of the form that the provider accepts, and a client
    /// can't address a session of the configuration.
    fn chosen_session(&self, preferences: &Preferences) -> Option<String> {
        preferences.session.as_deref().map(|name| self.session_id.for_name(name))
    }

    /// Returns the values of the placeholders for a client with these preferences, `chosen` being its session.
    fn values<'a>(&'a self, preferences: &Preferences, chosen: Option<&'a str>) -> Values<'a> {
        Values {
            user: &self.user,
            pass: &self.pass,
            country: preferences.country.or(self.country),
            city: self.city.as_deref(),
            session: chosen.or(self.session.as_deref()),
            ttl: self.ttl.as_deref(),
        }
    }

    /// Returns the parts of a login with `values` that choose the exit of a client with these preferences.
    fn added(&self, preferences: &Preferences, values: &Values<'_>) -> Added {
        let mut added = Added::default();
        let origin = |is_of_client, key| match is_of_client {
            true => Origin::Client,
            false => Origin::Setting(key),
        };
        // A setting that no template has is not sent, and `check` refuses it.
        if let Some(country) = values.country {
            let of_country = origin(preferences.country.is_some(), "country");
            added.push("a country", Some(country.to_string()), of_country);
            added.doubt(&[country]);
        }
        if let Some(city) = values.city {
            added.push("a city", Some(city.to_owned()), Origin::Setting("city"));
        }
        // The name of a session in the file is not for clients, which get the advice too.
        if values.session.is_some() {
            added.push("a session", None, origin(preferences.session.is_some(), "session"));
        }
        if values.ttl.is_some() {
            added.push("a time", None, Origin::Setting("ttl"));
        }
        added
    }

    fn has(&self, placeholders: &[Placeholder]) -> bool {
        let written = [&self.username, &self.password].into_iter().flatten();
        let mut templates = written.chain(self.headers.values());
        templates.any(|template| placeholders.iter().any(|one| template.has(*one)))
    }
}

impl Hop for Rotating {
    fn login_shape(&self, preferences: &Preferences) -> Vec<LoginShape> {
        let config = &self.provider.config;
        let by_client = match config.sessions {
            Sessions::Fixed => &Preferences::default(),
            _ => preferences,
        };
        let chosen = config.chosen_session(by_client);
        let values = config.values(by_client, chosen.as_deref());
        let written = [("username", &config.username), ("password", &config.password)];
        let written = written
            .into_iter()
            .filter_map(|(name, template)| Some((name.to_owned(), template.as_ref()?)));
        let headers = config.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value));
        let shape = |(name, template): (String, &Template)| LoginShape {
            name,
            text: template.shape(&values),
        };
        written.chain(headers).map(shape).collect()
    }

    fn session_meanings(&self) -> Vec<SettingMeaning> {
        let words = "all connections get the exit of the session with this name";
        vec![SettingMeaning { key: "session", words }, self.provider.config.sessions.meaning()]
    }

    fn kept_exit(&self) -> Option<KeptExit> {
        let config = &self.provider.config;
        // With a time, the provider changes the exit of a session by itself.
        if config.ttl.is_some() {
            return None;
        }
        if config.sessions.are_required() {
            let instead = "another exit takes another session; remove `rotate_after`";
            return Some(KeptExit::Setting { key: "sessions", instead });
        }
        let instead = "leave `session` out, or remove `rotate_after`; if the provider gives a session another exit after a \
                       time, write that time as `ttl`";
        config.session.as_ref().map(|_| KeptExit::Setting { key: "session", instead })
    }

    fn describe(&self) -> Description<'_> {
        let sessions = self.provider.config.sessions;
        let (takes_preferences, requires_session) =
            (sessions.are_by_client(), sessions.are_required());
        Description { takes_preferences, requires_session, ..self.session.describe() }
    }

    fn choose(
        self: Arc<Self>,
        request: Request<'_>,
    ) -> Eventual<'static, Result<Chosen, ChooseError>> {
        // The session of the configuration is shared. Credentials are only made for a client with preferences.
        let is_fixed = self.provider.config.sessions == Sessions::Fixed;
        Eventual::Ready(if is_fixed || request.preferences.is_empty() {
            Ok(Chosen::new(Arc::clone(&self.session) as Arc<dyn Link>))
        } else {
            let session = self.session_for(request.preferences);
            session.map(|session| Chosen::new(Arc::new(session))).map_err(ChooseError::from)
        })
    }
}

impl Rotating {
    fn session_for(
        &self,
        preferences: &Preferences,
    ) -> Result<ProviderSession, InvalidPreferences> {
        let countries = [Placeholder::CountryLower, Placeholder::CountryUpper];
        // Otherwise the client would get an exit in another country than it asked for, without a sign of it.
        if preferences.country.is_some() && !self.provider.config.has(&countries) {
            return Err(InvalidPreferences::NoCountry);
        }
        // A preference only sets a value, so no template lacks one that it had before.
        ProviderSession::new(Arc::clone(&self.provider), preferences)
            .map_err(|_| InvalidPreferences::Unknown)
    }
}

fn nothing() -> Secret {
    Secret::new("")
}

/// The most entries in `ports`. Each try takes a new connection.
const PORTS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Meaning, PlainRequest, Refusal, RequestLine, Reuse, Settings, Tunnel, credentials,
    };

    fn build(yaml: &str) -> Result<Arc<dyn Hop>, String> {
        build_as("user: joe, pass: word", yaml)
    }

    fn build_as(login: &str, yaml: &str) -> Result<Arc<dyn Hop>, String> {
        let text = format!("{{address: 'gate.example:7777', {login}, {yaml}}}");
        let settings: Settings = serde_yaml::from_str(&text).unwrap();
        let config =
            settings.read::<RotatingConfig>().map_err(|invalid| invalid[0].path().to_string())?;
        let built = config.build(&BuildContext::new(".".as_ref()));
        built.map_err(|invalid| Vec::from(invalid)[0].path().to_string())
    }

    fn choose(hop: Arc<dyn Hop>, said: &Preferences) -> Result<Arc<dyn Link>, ChooseError> {
        let target = "a.example:80".parse().unwrap();
        match hop.choose(Request::new(&target, said)) {
            Eventual::Ready(chosen) => chosen.map(|chosen| chosen.link.unwrap()),
            Eventual::Pending(_) => panic!("there is nothing to wait for"),
        }
    }

    fn link(yaml: &str) -> Arc<dyn Link> {
        choose(build(yaml).unwrap(), &Preferences::default()).unwrap()
    }

    /// Checks the credentials for a client that says `said`.
    #[track_caller]
    fn check(yaml: &str, said: &str, expected: &str, reuse: Reuse) {
        check_hop(build(yaml).unwrap(), (yaml, said), expected, reuse);
    }

    #[track_caller]
    fn check_hop(hop: Arc<dyn Hop>, (yaml, said): (&str, &str), expected: &str, reuse: Reuse) {
        let said = if said.is_empty() { Preferences::default() } else { said.parse().unwrap() };
        let link = choose(hop, &said).unwrap();
        let (username, password) = expected.split_once(':').unwrap();
        let expected = credentials::basic(&Secret::new(username), &Secret::new(password)).unwrap();
        let mut tunnel = Tunnel::layered(tokio::io::duplex(1).0);
        let target = "a.example:80".parse().unwrap();
        let line = RequestLine { method: "GET", uri: &"http://a.example/" };
        let request = PlainRequest::new(line, &target);
        let Eventual::Ready(fields) = link.authorize(&mut tunnel, request) else {
            panic!("there is nothing to wait for")
        };
        assert_eq!(fields.unwrap()[0].value, expected, "{yaml}");
        assert_eq!(link.reuse(), reuse, "{yaml}");
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
        let refused = choose(hop, &"country-us".parse().unwrap()).unwrap_err();
        assert!(matches!(refused, ChooseError::Preferences(InvalidPreferences::NoCountry)));
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
        assert_eq!(fails("protocol: socks5, headers: {X-A: b}"), "headers");
        assert_eq!(fails("protocol: socks5, error_fields: [X-A]"), "error_fields");
        assert_eq!(fails("protocol: socks5, password: '[{session}]'"), "password");
        let long = "u".repeat(300);
        assert_eq!(fails(&format!("protocol: socks5, username: '{long}'")), "username");
    }

    #[test]
    fn the_value_of_pass_may_be_in_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        let login = format!("user: joe, pass_file: '{}'", file.display());
        for (content, template, expected) in [
            ("from-file\n", "", "joe:from-file"),
            ("from-file", "password: '{pass}_c-de'", "joe:from-file_c-de"),
        ] {
            std::fs::write(&file, content).unwrap();
            let hop = build_as(&login, template).unwrap();
            check_hop(hop, (template, ""), expected, Reuse::Never);
        }
        let fails = |login: &str| build_as(login, "").map(|_| ()).unwrap_err();
        assert_eq!(fails(&format!("{login}, pass: word")), "pass_file");
        std::fs::write(&file, "two\nlines\n").unwrap();
        assert_eq!(fails(&login), "pass_file");
    }

    #[test]
    fn a_fault_of_the_account_is_not_one_of_the_template() {
        let fails = |login, yaml| build_as(login, yaml).map(|_| ()).unwrap_err();
        let (colon, line_end) = ("user: 'joe:word', pass: word", "user: joe, pass: \"word\\r\"");
        for template in ["", "username: '{user}-x', password: '{pass}-x'"] {
            assert_eq!(fails(colon, template), "user");
            assert_eq!(fails(line_end, template), "pass");
        }
    }

    #[test]
    fn with_fields_of_its_own_plain_requests_go_through_a_tunnel() {
        let link = link("headers: {X-Session: '[{session}]'}");
        assert!(!link.forwards() && link.reuse() == Reuse::Never);
    }

    #[test]
    fn advice_on_a_rejected_login_names_the_settings_that_are_sent() {
        for (yaml, words) in [
            ("", "Correct this hop's `user` and `pass`"),
            ("username: '{user}-x'", "Correct this hop's `user` and `pass`"),
            ("username: 'acme-x'", "Correct this hop's `username` and `pass`"),
            ("username: 'acme-x'", "`user` has no effect, since no template has `{user}` in it"),
            ("username: 'acme', headers: {X-A: '{user}'}", "Correct this hop's `user` and `pass`"),
            ("password: 'secret'", "Correct this hop's `user` and `password`"),
        ] {
            let mut refusal = Refusal::from_http(407, b"", []);
            link(yaml).explain(&mut refusal);
            let advice = refusal.advice.unwrap();
            assert!(advice.contains(words), "{yaml}: {advice}");
        }
    }

    #[test]
    fn the_providers_own_fields_tell_its_answers() {
        let link = link("error_fields: [X-Err-Code, X-Err]");
        let fields = [(&b"x-err"[..], &b"second"[..]), (b"x-err-code", b"first")];
        let mut refusal = Refusal::from_http(429, b"", fields);
        assert!(link.refuses(&refusal));
        link.explain(&mut refusal);
        assert_eq!(refusal.detail.as_deref(), Some("first"));
        assert_eq!(refusal.meaning, Meaning::Busy);
        assert!(!link.refuses(&Refusal::from_http(502, b"", [])));
    }
}
