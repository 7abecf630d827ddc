//! The settings of a client that is to use the proxy: environment variables and their values.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use mooltiroute_hops::{Preferences, Registry};

use super::{auth_origins::AuthOrigins, bypass::no_proxy};
use crate::{
    cli::ProxyChoice,
    commands::{complain, running, status},
    config::{
        Auth, Config, Environment, Listener, Loader, Overrides, Protocol, Source, load::ClientView,
        reachable,
    },
    control::{
        api::ClientFacts,
        client::{Control, leads_to},
    },
    router::HostPattern,
    tls::ClientChecks,
};

/// The facts that a client needs to use the proxy.
#[derive(Debug)]
pub(in crate::commands) struct ClientSettings {
    scheme: &'static str,
    address: SocketAddr,
    /// The facts of the listener's certificate that clients check, if it speaks TLS.
    tls: Option<ClientChecks>,
    auth: Option<Auth>,
    /// The places that these credentials come from.
    auth_origins: AuthOrigins,
    /// The reasons why `server.auth` is not known, though clients need it.
    unknown_auth: Option<String>,
    no_proxy: Vec<String>,
    /// Whether clients may state preferences to a hop of any chain.
    takes_preferences: bool,
    /// Whether a hop of some chain refuses clients that name no session.
    requires_session: bool,
    /// Whether some hop could not be asked for that.
    may_take_preferences: bool,
    /// Whether the running proxy said whether clients may choose, and not the files.
    is_choice_of_running: bool,
    /// The chains without a hop that takes preferences. They refuse them only if the proxy has `server.auth`.
    chains_without_choice: Vec<Arc<str>>,
    /// Those of them that are only for hosts of `no_proxy`, which clients don't ask the proxy for.
    bypassed_chains: Vec<Arc<str>>,
}

/// The user as which a client presents itself.
#[derive(Clone, Debug, Default)]
pub(in crate::commands) struct ClientUser {
    /// The preferences for the exit, if any.
    pub preferences: Option<Preferences>,
    /// Whether the credentials of `server.auth` may be in the URL.
    pub shows_credentials: bool,
}

/// The variables that programs read. The value of the last two is a list of hosts; of all others, a URL.
///
/// `HTTP_PROXY` is missing on purpose: a web server that runs CGI programs sets it from a request's `Proxy` field, so
/// careful programs ignore it, and for a CGI program it would not be ours.
pub(in crate::commands) const VARIABLES: [&str; 7] =
    ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"];

/// Variables with URLs of proxies that some programs read, and that these commands leave alone.
const OTHER_VARIABLES: [&str; 6] = [
    "HTTP_PROXY",
    "npm_config_proxy",
    "npm_config_https_proxy",
    "PIP_PROXY",
    "ftp_proxy",
    "FTP_PROXY",
];

/// Variables that make programs use the others, with their values.
///
/// By default, git sends the username of a proxy URL only after a 407. This proxy may never send one, and would then not
/// learn the session. If a method is set, git sends the username at once. Node.js uses the variables only if it is asked
/// to, in version 22 since 22.21, and from version 24 on.
pub(in crate::commands) const SWITCHES: [(&str, &str); 2] =
    [("GIT_HTTP_PROXY_AUTHMETHOD", "basic"), ("NODE_USE_ENV_PROXY", "1")];

impl ClientSettings {
    /// Finds the proxy that `choice` names, and the settings for its clients in its configuration.
    ///
    /// The proxy may listen elsewhere than its files say: at a port that the system chose, or as `--listen` says. It need
    /// not run, since the variables may be set before it starts.
    ///
    /// # Errors
    /// The configuration is invalid, several proxies fit, or the system is to choose the port and no proxy runs.
    pub(in crate::commands) fn find(
        choice: &ProxyChoice,
        registry: Registry,
        environment: &Environment,
    ) -> Result<Self, String> {
        // The running proxy has its variables; this shell may lack those of the hops, which clients don't need.
        let load = |source: Source| {
            let loader =
                Loader::new(source, Overrides::default(), registry.clone(), environment.clone());
            loader.load_for_clients().map_err(|problems| problems.to_string())
        };
        let of_proxy = |control: Control, wanted: &[SocketAddr]| {
            let hides_hops = control.identity.has_hops_of_command_line;
            // An earlier version of the program does not know this question.
            let facts = control.get::<ClientFacts>("/v1/clients").ok();
            let view = match load(control.source()) {
                Ok(view) => view,
                Err(problems) => {
                    return Self::of_running(
                        facts.ok_or_else(|| problems.clone())?,
                        &problems,
                        wanted,
                    );
                }
            };
            let settings = Self::at(&view, control.identity.listeners, wanted)?;
            let may_take_preferences = settings.may_take_preferences || hides_hops;
            let settings = Self { may_take_preferences, ..settings };
            Ok(match facts {
                Some(facts) => settings.with_choice_of(facts),
                None => settings,
            })
        };
        // The address that the user names is the one to print, if it is one of the listeners'.
        let wanted = choice.address.as_deref().map(running::addresses).transpose()?;
        let wanted = wanted.unwrap_or_default();
        let running = running::find_if_any(choice, environment)?;
        let running = match running {
            Some(control) if control.is_exact => {
                running::introduce(&control);
                return of_proxy(control, &wanted);
            }
            other => other,
        };
        let source = Source::find(choice.config.path.clone(), environment)
            .map_err(|problems| problems.to_string())?;
        let config = load(source.clone());
        // A service of another user has its own control socket, which is closed to us. Its port is open.
        let status = config.as_ref().ok();
        let status = status.and_then(|view| status::of_server(view.config.server.clone()).ok());
        // The one proxy that runs has another configuration. It is what the user means unless a service answered.
        if let Some(control) = running
            && status.as_ref().is_none_or(|status| status["pid"] == control.identity.pid)
        {
            running::introduce(&control);
            return of_proxy(control, &wanted);
        }
        match &status {
            None => running::doubt_source(&choice.config, &source, environment),
            // Several run, and one of them has the address of this configuration.
            Some(status) => {
                let answered = running::of_process(&choice.config, &status["pid"], environment);
                if let Some(control) = answered {
                    complain(&control.introduction());
                    return of_proxy(control, &wanted);
                }
            }
        }
        let listening = status.as_ref().map(listeners).unwrap_or_default();
        let settings = Self::at(&config?, listening, &wanted)?;
        // An earlier version of the program does not say so.
        let takes_preferences = status.and_then(|status| status["takes_preferences"].as_bool());
        Ok(match takes_preferences {
            Some(takes_preferences) => settings.with_choice(takes_preferences),
            None => settings,
        })
    }

    /// Returns the settings for a proxy with `config` that listens on `listening`. If that is empty, the configuration
    /// says where it listens. Of several listeners, one of the addresses `wanted` comes first.
    fn at(
        view: &ClientView,
        listening: Vec<SocketAddr>,
        wanted: &[SocketAddr],
    ) -> Result<Self, String> {
        let ClientView { config, auth_problems, auth_places } = view;
        let unknown_auth =
            (!auth_problems.0.is_empty()).then(|| format!("{auth_problems}\n{SET_VARIABLE}"));
        let auth_origins = AuthOrigins::new(&config.server.credentials, auth_places);
        Ok(Self { unknown_auth, auth_origins, ..Self::of_config(config, listening, wanted)? })
    }

    /// Returns the settings that a proxy has in force whose files are invalid now, as `problems` says.
    ///
    /// # Errors
    /// The proxy has no port that clients can use.
    fn of_running(
        facts: ClientFacts,
        problems: &str,
        wanted: &[SocketAddr],
    ) -> Result<Self, String> {
        let ClientFacts { plain, over_tls, speaks_http, no_proxy, takes_preferences, .. } = facts;
        let requires_session = facts.requires_session;
        let leading = |listening: &[SocketAddr]| {
            let leads = |one: &&SocketAddr| listening.iter().any(|other| leads_to(**one, *other));
            wanted.iter().find(leads).copied().map(reachable)
        };
        let plain_scheme = if speaks_http { "http" } else { "socks5h" };
        let found = leading(&plain).map(|address| (plain_scheme, address));
        let found = found.or_else(|| Some(("https", leading(&over_tls)?)));
        let found = found.or_else(|| Some((plain_scheme, nearest(&plain)?)));
        let found = found.or_else(|| Some(("https", nearest(&over_tls)?)));
        let (scheme, address) = found.ok_or(NO_PORT)?;
        complain(&format_args!(
            "{problems}\nthe running proxy keeps the configuration that it has; these are its settings"
        ));
        Ok(Self {
            scheme,
            address,
            tls: None,
            auth: None,
            auth_origins: AuthOrigins::default(),
            unknown_auth: facts.needs_credentials.then(|| FILES_INVALID.to_owned()),
            no_proxy,
            takes_preferences,
            requires_session,
            may_take_preferences: false,
            is_choice_of_running: true,
            chains_without_choice: names(facts.chains_without_choice.unwrap_or_default()),
            bypassed_chains: Vec::new(),
        })
    }

    /// Takes from the running proxy whether clients may choose their session. The files may not be in force: the proxy may
    /// have rejected them, or a command-line option may switch a hop.
    fn with_choice_of(mut self, facts: ClientFacts) -> Self {
        self.requires_session = facts.requires_session;
        if let Some(chains) = facts.chains_without_choice {
            self.chains_without_choice = names(chains);
        }
        self.with_choice(facts.takes_preferences)
    }

    /// Notes whether clients may choose, as the running proxy says.
    fn with_choice(self, takes_preferences: bool) -> Self {
        Self { takes_preferences, may_take_preferences: false, is_choice_of_running: true, ..self }
    }

    fn of_config(
        config: &Config,
        listening: Vec<SocketAddr>,
        wanted: &[SocketAddr],
    ) -> Result<Self, String> {
        let sockets = |has_tls: bool| {
            let listeners = config.server.listen.iter();
            let listeners = listeners.filter(move |listener| listener.tls.is_some() == has_tls);
            listeners.flat_map(|listener| listener.address.sockets()).collect::<Vec<_>>()
        };
        let over_tls = sockets(true);
        let mut plain = if listening.is_empty() { sockets(false) } else { listening };
        plain.retain(|address| !over_tls.contains(address));
        let leading = |listening: &[SocketAddr]| {
            let leads = |one: &&SocketAddr| listening.iter().any(|other| leads_to(**one, *other));
            wanted.iter().find(leads).copied().map(reachable)
        };
        if let Some(address) = leading(&plain) {
            return Ok(Self::new(config, address));
        }
        if let Some(address) = leading(&over_tls) {
            return Ok(Self::over_tls(config, address));
        }
        // Fewer programs can speak TLS to a proxy, and they would have to trust its certificate.
        if let Some(address) = nearest(&plain) {
            return Ok(Self::new(config, address));
        }
        let address = nearest(&over_tls).ok_or(NO_PORT)?;
        Ok(Self::over_tls(config, address))
    }

    /// Returns the settings for the listener with TLS at `address`.
    fn over_tls(config: &Config, address: SocketAddr) -> Self {
        let is_it = |listener: &&Listener| {
            listener.address.sockets().any(|socket| leads_to(address, socket))
        };
        let mut with_tls = config.server.listen.iter().filter(|listener| listener.tls.is_some());
        let tls = with_tls.find(is_it).and_then(|listener| listener.tls.as_ref());
        let tls = tls.map(|tls| tls.client_checks(address.ip()));
        Self { scheme: "https", tls, ..Self::new(config, address) }
    }

    fn new(config: &Config, address: SocketAddr) -> Self {
        let takes = |index: &usize| {
            let hop = config.hops.get(*index).and_then(|hop| hop.hop.as_ref());
            hop.is_some_and(|hop| hop.describe().takes_preferences)
        };
        let requires = |index: &usize| {
            let hop = config.hops.get(*index).and_then(|hop| hop.hop.as_ref());
            hop.is_some_and(|hop| hop.describe().requires_session)
        };
        // Only chains that a route leads to count; a client can't get to others.
        let chains = config.routes.iter().filter_map(|route| config.chains.get(route.chain));
        let (with, without): (Vec<_>, Vec<_>) =
            chains.partition(|chain| chain.hops.iter().any(takes));
        let requires_session = with.iter().any(|chain| chain.hops.iter().any(requires));
        // A hop that could not be built may take them.
        let is_unknown = |index: &usize| {
            config.hops.get(*index).is_some_and(|hop| hop.is_enabled && hop.hop.is_none())
        };
        let without = without.into_iter().filter(|chain| !chain.hops.iter().any(is_unknown));
        let names: BTreeSet<_> = without.map(|chain| Arc::clone(&chain.name)).collect();
        let chains_without_choice: Vec<_> = names.into_iter().collect();
        let auth = config.server.auth.clone();
        let speaks_http = config.server.protocols.contains(&Protocol::Http);
        // With `socks5h` the proxy looks names up. With `socks5` clients would do that themselves, and routes
        // by name would not match.
        let scheme = if speaks_http { "http" } else { "socks5h" };
        let takes_preferences = !with.is_empty();
        let no_proxy = no_proxy(config);
        let asked = config.routes.iter().filter(|route| {
            let hosts = route.rule.parts().hosts;
            let is_bypassed = |host: &HostPattern| no_proxy.contains(&host.to_string());
            hosts.is_empty() || !hosts.iter().all(is_bypassed)
        });
        let asked: Vec<_> = asked.map(|route| &config.chains[route.chain].name).collect();
        let is_bypassed = |name: &&Arc<str>| !asked.contains(name);
        let bypassed_chains = chains_without_choice.iter().filter(is_bypassed).cloned().collect();
        let may_take_preferences =
            config.hops.iter().any(|hop| hop.is_enabled && hop.hop.is_none());
        let tls = None;
        Self {
            scheme,
            address,
            tls,
            auth,
            auth_origins: AuthOrigins::default(),
            unknown_auth: None,
            no_proxy,
            takes_preferences,
            requires_session,
            may_take_preferences,
            is_choice_of_running: false,
            chains_without_choice,
            bypassed_chains,
        }
    }

    /// Returns whether a client has to present `server.auth`.
    pub(in crate::commands) fn needs_credentials(&self) -> bool {
        self.auth.is_some() || self.unknown_auth.is_some()
    }

    /// Returns why the credentials of `server.auth` can't be passed on, though clients need them.
    pub(in crate::commands) fn unknown_credentials(&self) -> Option<String> {
        self.unknown_auth.clone()
    }

    /// Returns a note that clients have to name a session, which the URLs of a client without preferences don't.
    pub(in crate::commands) fn note_on_sessions(&self) -> Option<String> {
        let Self { scheme, address, .. } = self;
        let login = match self.needs_credentials() {
            true => "USER+session-NAME:PASSWORD",
            false => "session-NAME:x",
        };
        self.requires_session.then(|| {
            format!(
                "a hop has `sessions: by-client-required`, and these URLs name no session, so the proxy refuses requests through \
                 it; write one into the URL, as in `{scheme}://{login}@{address}`, or run one command with `mooltiroute exec`, \
                 which names one"
            )
        })
    }

    /// Returns a note if the proxy rejects the credentials that this command would pass on. It asks once, by HTTP without
    /// TLS; a proxy that does not answer soon gets no note.
    pub(in crate::commands) fn note_on_credentials(&self) -> Option<String> {
        let auth = self.auth.as_ref().filter(|_| self.scheme == "http")?;
        let address = self.address;
        status::rejects(address, auth).then(|| {
            format!(
                "the proxy at {address} does not accept the username and the password of `server.auth` as this command finds \
                 them{}",
                self.auth_origins
            )
        })
    }

    /// Returns a note on variables that this command leaves alone, and that have other credentials for the proxy. Programs that
    /// read them are refused.
    pub(in crate::commands) fn note_on_stale_variables(
        &self,
        environment: &Environment,
    ) -> Option<String> {
        let is_stale = |name: &&&str| {
            let value = environment.variable(name);
            value.is_some_and(|value| self.has_other_credentials(&value.to_string_lossy()))
        };
        let stale: Vec<_> =
            OTHER_VARIABLES.iter().filter(is_stale).map(|name| format!("`{name}`")).collect();
        let (has, them) = match stale.len() {
            0 => return None,
            1 => ("has", "it"),
            _ => ("have", "them"),
        };
        Some(format!(
            "{} of this terminal {has} other credentials for the proxy at {} than `server.auth`, so programs that read {them} are \
             refused; unset {them}",
            stale.join(" and "),
            self.address
        ))
    }

    /// Returns whether `url` leads to this proxy with credentials that are not those of `server.auth`.
    fn has_other_credentials(&self, url: &str) -> bool {
        let Some(auth) = &self.auth else { return false };
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let Some((login, place)) = rest.rsplit_once('@') else { return false };
        let place = place.split('/').next().unwrap_or_default();
        // Other names are not looked up: this command should wait for no DNS.
        let place = place.replacen("localhost:", "127.0.0.1:", 1);
        let leads_here = place.parse().is_ok_and(|address| leads_to(address, self.address));
        let (username, password) = login.split_once(':').unwrap_or((login, ""));
        // The name of a session may follow the username.
        let username = username.split_once('+').map_or(username, |(username, _)| username);
        let is_it = |text: &str, known: &str| text == known || text == encoded(known);
        let is_ours =
            is_it(username, auth.username.expose()) && is_it(password, auth.password.expose());
        leads_here && !is_ours
    }

    /// Returns the hosts of `listed`, a value of `no_proxy`, that these settings send through the proxy.
    pub(in crate::commands) fn lost_bypasses(&self, listed: &str) -> Vec<String> {
        let entries = listed.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty());
        let is_lost = |entry: &&str| !self.no_proxy.iter().any(|kept| kept_as(entry, kept));
        entries.filter(is_lost).map(str::to_owned).collect()
    }

    /// Returns whether a hop may let clients choose their session, though none is known to do so.
    pub(in crate::commands) fn may_take_preferences(&self) -> bool {
        self.may_take_preferences
    }

    /// Returns whether the running proxy said whether clients may choose their session. Otherwise the files say so.
    pub(in crate::commands) fn is_choice_of_running(&self) -> bool {
        self.is_choice_of_running
    }

    /// Returns whether a hop lets clients choose their session.
    pub(in crate::commands) fn takes_preferences(&self) -> bool {
        self.takes_preferences
    }

    /// Returns whether a session that the user did not ask for could make a chain refuse the client.
    pub(in crate::commands) fn some_chain_refuses_preferences(&self) -> bool {
        self.auth.is_some() && !self.chains_without_choice.is_empty()
    }

    /// Returns the chains that clients use and for which a session or a country has no meaning.
    pub(in crate::commands) fn chains_without_choice(&self) -> impl Iterator<Item = &Arc<str>> {
        let chains = self.chains_without_choice.iter();
        chains.filter(|name| !self.bypassed_chains.contains(name))
    }

    /// Returns a note on what clients of a listener with TLS need beside the variables.
    pub(in crate::commands) fn note_on_tls(&self) -> Option<String> {
        let ClientChecks { other_names, issuer, has_client_ca } = self.tls.as_ref()?;
        let (host, port) = (self.address.ip(), self.address.port());
        let names = match other_names.as_deref() {
            None => format!("Its certificate is for {host}"),
            Some([]) => {
                format!("Its certificate is not for {host}, and has no name to use instead")
            }
            Some(names) => {
                // A pattern is no name to connect to.
                let first = names.iter().find(|name| !name.contains('*'));
                let first = first.map_or("NAME", String::as_str);
                let all: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
                format!(
                    "Its certificate is for {} and not for {host}: use a name of it that leads to this address, as in `https://{first}:{port}`",
                    all.join(", ")
                )
            }
        };
        let issuer = match issuer {
            Some(issuer) => format!("the authority `{issuer}`, which issued it"),
            None => "this very certificate".to_owned(),
        };
        let own = match has_client_ca {
            true => {
                ". They have to show a certificate of `client_ca` too, which these variables can't give them"
            }
            false => "",
        };
        Some(format!(
            "clients speak TLS to this listener (`https://`). {names}. They have to trust {issuer}: curl by `--proxy-cacert FILE`, \
             Python by `REQUESTS_CA_BUNDLE`, Node.js by `NODE_EXTRA_CA_CERTS`, git by `http.proxySSLCAInfo`{own}"
        ))
    }

    /// Returns the address of the proxy.
    pub(in crate::commands) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the address of the proxy if nothing listens there.
    pub(in crate::commands) fn unanswered(&self) -> Option<SocketAddr> {
        let connected = TcpStream::connect_timeout(&self.address, PATIENCE);
        let is_refused =
            connected.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused);
        is_refused.then_some(self.address)
    }

    /// Returns the variables with their values. An empty list of hosts is written too: it removes an inherited one.
    pub(in crate::commands) fn variables(&self, user: &ClientUser) -> Vec<(&'static str, String)> {
        let (url, hosts) = (self.url(user), self.no_proxy.join(","));
        let value = |name: &&'static str| {
            let is_list = name.eq_ignore_ascii_case("no_proxy");
            (*name, if is_list { hosts.clone() } else { url.clone() })
        };
        let mut variables: Vec<_> = VARIABLES.iter().map(value).collect();
        if self.scheme != "socks5h" {
            variables.extend(SWITCHES.map(|(name, value)| (name, value.to_owned())));
        }
        variables
    }

    fn url(&self, user: &ClientUser) -> String {
        let stated = user.preferences.as_ref().map(ToString::to_string);
        let login = match (&self.auth, stated) {
            (Some(auth), stated) if user.shows_credentials => {
                // `server.auth` and preferences share one username, as in `dev+session-alice`.
                let username = auth.username.expose();
                let username =
                    stated.map_or(username.to_owned(), |stated| format!("{username}+{stated}"));
                format!("{}:{}@", encoded(&username), encoded(auth.password.expose()))
            }
            // Some programs send a username only together with a password, so there is one. It means nothing.
            (None, Some(stated)) => format!("{}:x@", encoded(&stated)),
            _ => String::new(),
        };
        format!("{}://{login}{}", self.scheme, self.address)
    }
}

/// Returns whether `kept` stands for the hosts of `entry` too: it is the same, or a network that has the address.
fn kept_as(entry: &str, kept: &str) -> bool {
    let (entry, kept) = (entry.trim_start_matches(['*', '.']), kept.trim_start_matches(['*', '.']));
    let is_below = entry.strip_suffix(kept).is_some_and(|rest| rest.ends_with('.'));
    let network = kept.parse::<ipnet::IpNet>();
    let contains = |network: ipnet::IpNet| {
        entry.parse().is_ok_and(|address: IpAddr| network.contains(&address))
    };
    entry.eq_ignore_ascii_case(kept) || is_below || network.is_ok_and(contains)
}

fn names(texts: BTreeSet<String>) -> Vec<Arc<str>> {
    texts.into_iter().map(Arc::from).collect()
}

/// Returns the addresses that the running proxy says it listens on.
fn listeners(status: &serde_json::Value) -> Vec<SocketAddr> {
    let listed = status["listeners"].as_array().into_iter().flatten();
    listed.filter_map(|address| address.as_str()?.parse().ok()).collect()
}

/// Returns the address that a program on this machine should use, loopback ones first.
fn nearest(listening: &[SocketAddr]) -> Option<SocketAddr> {
    let usable = listening.iter().filter(|address| address.port() != 0);
    let usable = usable.map(|address| reachable(*address));
    usable.min_by_key(|address| !address.ip().is_loopback())
}

/// Encodes what is not allowed in the user information of a URL (RFC 3986 section 3.2.1).
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~,+".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// How long a connection to the proxy may take.
const PATIENCE: Duration = Duration::from_millis(500);
const SET_VARIABLE: &str = "the proxy asks its clients for these credentials, so this command needs them too: set the variable here \
                            as for the proxy, or name a file in `password_file`";
const FILES_INVALID: &str = "the proxy asks its clients for `server.auth`, which can't be read while the files are invalid: correct \
                             them first";
const NO_PORT: &str = "the system chooses the port of `server.listen`, and no running proxy was found that tells which";

#[cfg(test)]
mod tests {
    use mooltiroute_hops::Secret;

    use super::*;

    fn settings(auth: Option<Auth>) -> ClientSettings {
        ClientSettings {
            scheme: "http",
            address: "127.0.0.1:8888".parse().unwrap(),
            tls: None,
            auth,
            auth_origins: AuthOrigins::default(),
            unknown_auth: None,
            no_proxy: vec!["localhost".into(), "127.0.0.0/8".into()],
            takes_preferences: true,
            requires_session: false,
            may_take_preferences: false,
            is_choice_of_running: false,
            chains_without_choice: Vec::new(),
            bypassed_chains: Vec::new(),
        }
    }

    #[test]
    fn the_url_has_the_login_that_the_proxy_asks_for() {
        let auth = || Auth { username: Secret::new("d@v"), password: Secret::new("p:w/") };
        let user = |preferences: Option<&str>, shows_credentials| ClientUser {
            preferences: preferences.map(|text| text.parse().unwrap()),
            shows_credentials,
        };
        let url = |auth, user: ClientUser| settings(auth).url(&user);
        assert_eq!(url(None, user(None, true)), "http://127.0.0.1:8888");
        assert_eq!(
            url(None, user(Some("session-a,country-us"), true)),
            "http://session-a,country-us:x@127.0.0.1:8888"
        );
        assert_eq!(url(Some(auth()), user(None, false)), "http://127.0.0.1:8888");
        assert_eq!(
            url(Some(auth()), user(Some("session-a"), true)),
            "http://d%40v+session-a:p%3Aw%2F@127.0.0.1:8888"
        );
    }

    #[test]
    fn a_variable_with_other_credentials_for_this_proxy_is_named_without_them() {
        let note = |value: &'static str, has_auth: bool| {
            let auth = Auth { username: Secret::new("dev"), password: Secret::new("p@w") };
            let environment =
                Environment::new(move |name| (name == "HTTP_PROXY").then(|| value.into()), "");
            settings(has_auth.then_some(auth)).note_on_stale_variables(&environment)
        };
        let stale = note("http://dev:0ld-one@127.0.0.1:8888/", true).unwrap();
        assert!(
            stale.starts_with("`HTTP_PROXY` of this terminal has other credentials"),
            "{stale}"
        );
        assert!(!stale.contains("0ld-one"), "{stale}");
        assert!(note("dev:0ld@localhost:8888", true).is_some());
        for fine in [
            "http://dev:p%40w@127.0.0.1:8888",
            "http://dev+session-a:p%40w@127.0.0.1:8888",
            "http://127.0.0.1:8888",
            "http://joe:other@elsewhere.test:8888",
            "http://dev:0ld@127.0.0.1:8889",
        ] {
            assert_eq!(note(fine, true), None, "{fine}");
        }
        assert_eq!(note("http://dev:0ld@127.0.0.1:8888", false), None);
    }

    #[test]
    fn only_hosts_that_no_entry_stands_for_lose_their_bypass() {
        let lost = settings(None)
            .lost_bypasses("localhost, 127.0.0.1,.corp.example 10.0.0.0/8,,api.localhost");
        assert_eq!(lost, [".corp.example", "10.0.0.0/8"]);
    }

    #[test]
    fn a_loopback_listener_comes_first() {
        let of = |texts: &[&str]| {
            let listening: Vec<_> = texts.iter().map(|text| text.parse().unwrap()).collect();
            nearest(&listening).map(|address| address.to_string())
        };
        assert_eq!(of(&["192.0.2.1:1", "127.0.0.1:2"]).as_deref(), Some("127.0.0.1:2"));
        assert_eq!(of(&["0.0.0.0:1"]).as_deref(), Some("127.0.0.1:1"));
        assert_eq!(of(&["127.0.0.1:0"]), None);
    }
}
