//! The settings of a client that is to use the proxy: environment variables and their values.

mod find;
mod notes;
mod of_config;

use std::{
    net::{IpAddr, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use mooltiroute_hops::Preferences;

use super::auth_origins::AuthOrigins;
use crate::{
    config::{Auth, reachable},
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

/// Variables that make programs use the others, with their values.
///
/// By default, git sends the username of a proxy URL only after a 407. This proxy may never send one, and would then not
/// learn the session. If a method is set, git sends the username at once. Node.js uses the variables only if it is asked
/// to, in version 22 since 22.21, and from version 24 on.
pub(in crate::commands) const SWITCHES: [(&str, &str); 2] =
    [("GIT_HTTP_PROXY_AUTHMETHOD", "basic"), ("NODE_USE_ENV_PROXY", "1")];

impl ClientSettings {
    /// Returns whether a client has to present `server.auth`.
    pub(in crate::commands) fn needs_credentials(&self) -> bool {
        self.auth.is_some() || self.unknown_auth.is_some()
    }

    /// Returns why the credentials of `server.auth` can't be passed on, though clients need them.
    pub(in crate::commands) fn unknown_credentials(&self) -> Option<String> {
        self.unknown_auth.clone()
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
        if !self.scheme.starts_with("socks") {
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

/// Returns the address that a program on this machine should use, loopback ones first.
fn nearest(listening: &[SocketAddr]) -> Option<SocketAddr> {
    let usable = listening.iter().filter(|address| address.port() != 0);
    let usable = usable.map(|address| reachable(*address));
    usable.min_by_key(|address| !address.ip().is_loopback())
}

/// Encodes what is not allowed in the user information of a URL (RFC 3986 § 3.2.1).
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
const NO_PORT: &str = "the system chooses the port of `server.listen`, and no running proxy was found that tells which";

#[cfg(test)]
mod tests {
    use mooltiroute_hops::Secret;

    use super::*;

    pub(super) fn settings(auth: Option<Auth>) -> ClientSettings {
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
