//! `kind: webshare`: the gateway of Webshare, whose username chooses the exit.

mod addresses;
mod by_client;
mod reason;
mod username;

use std::{
    num::{NonZeroU16, NonZeroU64},
    path::PathBuf,
    sync::Arc,
};

use schemars::JsonSchema;
use serde::Deserialize;

use self::{
    addresses::addresses,
    by_client::ByClient,
    username::{ExitWish, Session, something_else},
};
use super::added::Added;
use super::gateway::{GatewayLogin, GatewayProtocol, pass_headers};
use crate::{
    Authority, BuildContext, ChooseError, Chosen, Country, Description, Eventual, Field, FieldName,
    Hop, HopConfig, HopError, InvalidSetting, InvalidSettings, KeptExit, Link, LinkSettings,
    LoginShape, OneOrList, PassHeaders, PlainRequest, Preferences, Refusal, Request, Reuse, Secret,
    Sessions, SettingMeaning, Tunnel, async_trait, credentials,
};

/// The settings of Webshare's gateway.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebshareConfig {
    /// The address of the gateway, as `host:port`.
    #[schemars(extend("default" = "p.webshare.io:80"))]
    address: Option<Authority>,
    /// Ports to try in turn if the previous hop refuses the port of `address`. The default applies to Webshare's own
    /// host only.
    #[schemars(extend("default" = [80, 3128, 1080, 9999]))]
    ports: Option<Vec<NonZeroU16>>,
    /// The protocol in which the gateway is asked for tunnels; it speaks both on all ports.
    #[serde(default)]
    protocol: GatewayProtocol,
    /// The username of the proxy list. With `session: as-written` it is sent unchanged. Otherwise write it without any
    /// ending; the other settings add one.
    #[schemars(required)]
    username: Option<Secret>,
    /// The password of the proxy list. Prefer a variable, as in `"${NAME}"`.
    password: Option<Secret>,
    /// A file that holds the password, instead of `password`. It is read again at each reload.
    password_file: Option<PathBuf>,
    /// The countries that the exit may be in, as a code of two letters or a list of them. Can't be used with `session:
    /// as-written`.
    #[serde(default)]
    country: OneOrList<Country>,
    /// The city that the exit is in, such as `new_york`. Can't be used with `session: as-written`.
    city: Option<String>,
    /// Which exit to use: `as-written`, as the username says; `rotate`, a new one for each connection; or a number, one
    /// that stays the same.
    #[serde(default)]
    session: Session,
    /// Who chooses the session: this configuration, or the client through its username for this proxy.
    #[serde(default)]
    sessions: Sessions,
    /// The largest number that a client's session can become. If sessions are places in a proxy list, write the length
    /// of the list.
    #[serde(default = "default_session_max")]
    session_max: NonZeroU64,
    /// Header fields that pass from the client's CONNECT to this hop, if it is the last one, such as
    /// `X-ProxyMesh-Country`.
    #[serde(default)]
    pass_headers: Vec<FieldName>,
    /// Header fields that pass from this hop's 200 to the client, if it is the last one, such as `X-ProxyMesh-IP`.
    #[serde(default)]
    return_headers: Vec<FieldName>,
}

/// Webshare's gateway, which chooses the exit by the username.
#[derive(Debug)]
struct Webshare {
    /// The exit of clients without preferences.
    exit: Arc<Exit>,
    /// The username of clients without preferences, with `{username}` in place of the account; `None` if nothing is
    /// added to that.
    fixed_username: Option<String>,
    /// The parts of a username for a client's preferences; `None` if clients have no say.
    by_client: Option<ByClient>,
    requires_session: bool,
    /// Whether `session` is a number.
    has_fixed_session: bool,
    meanings: [SettingMeaning; 2],
}

/// The gateway with one username: one exit, or with `-rotate` a new one for each connection.
#[derive(Clone, Debug)]
struct Exit {
    address: Authority,
    alternatives: Arc<[Authority]>,
    login: GatewayLogin,
    reuse: Reuse,
    pass_headers: PassHeaders,
    head_bytes_max: usize,
    lacks_session: bool,
    added: Added,
}

impl HopConfig for WebshareConfig {
    const KIND: &'static str = "webshare";
    const SHOWN: &'static [&'static str] =
        &["ports", "protocol", "country", "city", "session", "sessions"];

    fn build(self, context: &BuildContext<'_>) -> Result<Arc<dyn Hop>, InvalidSettings> {
        let from_file = self.password_file.as_deref();
        let username = self.username.as_ref();
        let password = credentials::password(self.password, from_file, username, context)?;
        // Both keys are optional for the reader, so that one error can name both. The schema still requires the
        // username.
        let (username, password) = match (self.username, password) {
            (Some(username), Some(password)) => (username, password),
            (Some(_), None) => return Err(InvalidSetting::missing("password").into()),
            (None, Some(_)) => return Err(InvalidSetting::missing("username").into()),
            (None, None) => {
                let message = "the keys `username` and `password` are missing; the dashboard has them beside the proxy list";
                return Err(InvalidSetting::new("", message).into());
            }
        };
        for (key, secret) in [("username", &username), ("password", &password)] {
            // A variable that is set but empty gets as far as this.
            if secret.is_empty() {
                let message =
                    "is empty; write the one that the dashboard has beside the proxy list";
                return Err(InvalidSetting::new(key, message).into());
            }
        }
        if let Some(message) = something_else(&username) {
            // No username of a proxy list has a `:`.
            if username.expose().contains(':') {
                return Err(InvalidSetting::new("username", message).into());
            }
            context.warn(InvalidSetting::new("username", message));
        }
        if let Some((doubt, help)) = self.country.0.iter().find_map(|country| country.doubt()) {
            context.warn(InvalidSetting::new("country", doubt).with_help(help));
        }
        let (address, alternatives) = addresses(self.address, self.ports)?;
        let wish = ExitWish {
            countries: &self.country.0,
            city: self.city.as_deref(),
            session: self.session,
        };
        // The login of clients without preferences is made now. So a username or city that can't be sent is an error
        // of the configuration, and not of the first request.
        let added = wish.added(&Preferences::default());
        let (login, reuse) = login_for(&wish, &username, &password, self.protocol)?;
        let fixed_username = username_form(&wish);
        let requires_session = self.sessions.are_required();
        let has_fixed_session = matches!(self.session, Session::Number(_));
        let meanings = [self.session.meaning(), self.sessions.meaning()];
        let by_client = match self.sessions {
            Sessions::Fixed => None,
            Sessions::ByClient | Sessions::ByClientRequired => {
                // Reports here what would fail for every client.
                ExitWish { session: Session::Number(1), ..wish }.written_into(&username)?;
                Some(ByClient {
                    protocol: self.protocol,
                    username,
                    password,
                    countries: self.country.0,
                    city: self.city,
                    session: self.session,
                    session_max: self.session_max,
                })
            }
        };
        let pass_headers =
            pass_headers(self.protocol, self.pass_headers, self.return_headers, &[])?;
        let head_bytes_max = context.head_bytes_max();
        let lacks_session = by_client.is_some();
        let exit = Arc::new(Exit {
            address,
            alternatives,
            login,
            reuse,
            pass_headers,
            head_bytes_max,
            lacks_session,
            added,
        });
        Ok(Arc::new(Webshare {
            exit,
            fixed_username,
            by_client,
            requires_session,
            has_fixed_session,
            meanings,
        }))
    }
}

/// Returns the username that asks for `wish`, with `{username}` in place of the account, or `None` if it asks for nothing.
fn username_form(wish: &ExitWish<'_>) -> Option<String> {
    // The account has letters and digits only if anything is added to it, so this one is as good as any.
    let text = wish.written_into(&Secret::new(ACCOUNT)).ok()?;
    let text = text.expose();
    (text != ACCOUNT).then(|| text.replacen(ACCOUNT, "{username}", 1))
}

/// Returns the login that asks for `wish`, and whether a connection may be used again.
fn login_for(
    wish: &ExitWish<'_>,
    username: &Secret,
    password: &Secret,
    protocol: GatewayProtocol,
) -> Result<(GatewayLogin, Reuse), InvalidSetting> {
    let username = wish.written_into(username)?;
    // On a kept connection the exit would stay the same.
    let is_rotating = username.expose().ends_with("-rotate");
    let reuse = if is_rotating { Reuse::Never } else { Reuse::SameClient };
    Ok((GatewayLogin::new(protocol, username, password.clone(), vec![])?, reuse))
}

impl Hop for Webshare {
    fn login_shape(&self, preferences: &Preferences) -> Vec<LoginShape> {
        let text = match &self.by_client {
            None => self.fixed_username.clone(),
            Some(by_client) => by_client
                .wish(preferences, username_form)
                .ok()
                .flatten()
                .or_else(|| self.fixed_username.clone()),
        };
        text.map(|text| LoginShape { name: "username".into(), text }).into_iter().collect()
    }

    fn session_meanings(&self) -> Vec<SettingMeaning> {
        self.meanings.to_vec()
    }

    fn kept_exit(&self) -> Option<KeptExit> {
        if self.requires_session {
            let instead = "another exit takes another session; remove `rotate_after`";
            return Some(KeptExit::Setting { key: "sessions", instead });
        }
        let instead = "write `session: rotate`, or remove `rotate_after`";
        self.has_fixed_session.then_some(KeptExit::Setting { key: "session", instead })
    }

    fn describe(&self) -> Description<'_> {
        let takes_preferences = self.by_client.is_some();
        let requires_session = self.requires_session;
        Description { takes_preferences, requires_session, ..self.exit.describe() }
    }

    fn choose(
        self: Arc<Self>,
        request: Request<'_>,
    ) -> Eventual<'static, Result<Chosen, ChooseError>> {
        Eventual::Ready(match &self.by_client {
            // The client gets a link of its own with other credentials. So no upstream connection can be shared
            // between sessions.
            Some(by_client) if !request.preferences.is_empty() => by_client
                .login(request.preferences)
                .map(|((login, reuse), added)| {
                    let lacks_session = request.preferences.session.is_none();
                    let exit =
                        Exit { login, reuse, lacks_session, added, ..Exit::clone(&self.exit) };
                    Chosen::new(Arc::new(exit))
                })
                .map_err(ChooseError::from),
            _ => Ok(Chosen::new(Arc::clone(&self.exit) as Arc<dyn Link>)),
        })
    }
}

#[async_trait]
impl Link for Exit {
    fn address(&self) -> &Authority {
        &self.address
    }

    fn alternatives(&self) -> &[Authority] {
        &self.alternatives
    }

    fn settings(&self) -> LinkSettings {
        self.login.settings().without_tls_key()
    }

    async fn extend(&self, tunnel: Tunnel, next: &Authority) -> Result<Tunnel, HopError> {
        self.login.connect(tunnel, next, self.head_bytes_max).await
    }

    fn pass_headers(&self) -> Option<&PassHeaders> {
        Some(&self.pass_headers)
    }

    fn forwards(&self) -> bool {
        self.login.forwards()
    }

    fn authorize<'a>(
        &'a self,
        _: &'a mut Tunnel,
        _: PlainRequest<'a>,
    ) -> Eventual<'a, Result<Arc<[Field]>, HopError>> {
        Eventual::Ready(Ok(self.login.plain()))
    }

    fn reuse(&self) -> Reuse {
        self.reuse
    }

    fn lacks_session(&self) -> bool {
        self.lacks_session
    }

    fn refuses(&self, refusal: &Refusal) -> bool {
        refusal.is_by_proxy() || reason::of(refusal).is_some()
    }

    fn explain(&self, refusal: &mut Refusal) {
        reason::explain(refusal);
        self.added.explain(refusal);
    }
}

fn default_session_max() -> NonZeroU64 {
    SESSION_MAX
}

/// Webshare's own tools draw numbers below 10^9.
const SESSION_MAX: NonZeroU64 = NonZeroU64::new(999_999_999).unwrap();

/// The account in the shape of a username.
const ACCOUNT: &str = "account";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InvalidPreferences, Registry, RequestLine, Settings};

    fn choose(hop: Arc<dyn Hop>, said: &Preferences) -> Result<Arc<dyn Link>, ChooseError> {
        let target = "a.example:80".parse().unwrap();
        match hop.choose(Request::new(&target, said)) {
            Eventual::Ready(chosen) => chosen.map(|chosen| chosen.link.unwrap()),
            Eventual::Pending(_) => panic!("there is nothing to wait for"),
        }
    }

    fn credentials_of(link: &Arc<dyn Link>) -> String {
        let mut tunnel = Tunnel::layered(tokio::io::duplex(1).0);
        let target = "a.example:80".parse().unwrap();
        let line = RequestLine { method: "GET", uri: &"http://a.example/" };
        let request = PlainRequest::new(line, &target);
        match link.authorize(&mut tunnel, request) {
            Eventual::Ready(fields) => fields.unwrap()[0].value.expose().to_owned(),
            Eventual::Pending(_) => panic!("there is nothing to wait for"),
        }
    }

    #[track_caller]
    fn check(yaml: &str, expected: Result<&str, &str>) {
        let text = format!("{{username: useruser, password: passpass, {yaml}}}");
        let settings: Settings = serde_yaml::from_str(&text).unwrap();
        let kind = Registry::default().with::<WebshareConfig>().kind("webshare").unwrap();
        let built = kind.build(&settings, &BuildContext::new(".".as_ref()));
        let shown = built.map(|hop| {
            let link = choose(hop, &Preferences::default()).unwrap();
            let all = std::iter::once(link.address()).chain(link.alternatives());
            all.map(|address| address.to_string()).collect::<Vec<_>>().join(" ")
        });
        let shown = shown.map_err(|invalid| invalid[0].path().to_string());
        assert_eq!(shown.as_deref().map_err(String::as_str), expected, "{yaml}");
    }

    #[test]
    fn ports_come_after_that_of_the_address() {
        const HOST: &str = "p.webshare.io";
        check("", Ok(&[80, 3128, 1080, 9999].map(|port| format!("{HOST}:{port}")).join(" ")));
        check("address: 'a.example:80'", Ok("a.example:80"));
        check(
            "address: 'p.webshare.io:9999', ports: [80]",
            Ok("p.webshare.io:9999 p.webshare.io:80"),
        );
        check("address: 'a.example:80', ports: [443, 80, 443]", Ok("a.example:80 a.example:443"));
        check("ports: [443, 80]", Ok("p.webshare.io:443 p.webshare.io:80"));
        check("ports: []", Err("ports"));
        check("ports: [80, 0]", Err("ports[1]"));
    }

    /// Checks the username for a client that says `said`.
    #[track_caller]
    fn check_client(yaml: &str, said: &str, expected: Result<&str, InvalidPreferences>) {
        let text = format!("{{username: user, password: pass, sessions: by-client, {yaml}}}");
        let config: WebshareConfig =
            serde_yaml::from_str::<Settings>(&text).unwrap().read().unwrap();
        let hop = config.build(&BuildContext::new(".".as_ref())).unwrap();
        let chosen = choose(hop, &said.parse().unwrap());
        let expected = expected
            .map(|username| credentials::basic(&Secret::new(username), &Secret::new("pass")));
        let expected = expected.map(|value| value.unwrap().expose().to_owned());
        let got = chosen.map(|link| credentials_of(&link)).map_err(|error| match error {
            ChooseError::Preferences(invalid) => invalid,
            ChooseError::Failed(error) => panic!("{error}"),
        });
        assert_eq!(got, expected, "{yaml}");
    }

    #[test]
    fn a_client_chooses_its_session_and_country() {
        check_client("", "session-alice", Ok("user-217488811"));
        check_client("session_max: 100", "session-alice", Ok("user-73"));
        check_client("", "session-alice,country-fr", Ok("user-fr-217488811"));
        check_client("session: rotate, country: us", "country-fr", Ok("user-fr-rotate"));
        check_client("session: 5, country: us", "session-alice", Ok("user-us-217488811"));
        check_client("", "country-fr", Err(InvalidPreferences::CountryAlone));
    }

    #[test]
    fn what_can_not_be_asked_for_is_an_error() {
        check("country: usa", Err("country"));
        check("country: [us, f1]", Err("country[1]"));
        check("session: alice", Err("session"));
        check("session: -1", Err("session"));
        check("session: '007'", Err("session"));
        check("country: us", Err("country"));
        check("session: 5, city: new york", Err("city"));
        check("session: rotate-5", Err("session"));
    }
}
