//! Finds the proxy, and the settings for its clients.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use mooltiroute_hops::Registry;

use super::{ClientSettings, NO_PORT, nearest, of_config::plain_scheme};
use crate::{
    cli::ProxyChoice,
    commands::{complain, env::auth_origins::AuthOrigins, running, status},
    config::{Environment, Loader, Overrides, Source, load::ClientView, reachable},
    control::{
        api::ClientFacts,
        client::{Control, leads_to},
    },
};

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

    /// Returns the settings for a proxy with `config` that listens on `listening`, or on the addresses of the configuration if
    /// that is empty. If it has several listeners, one of the addresses `wanted` comes first.
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
        let speaks_socks5 = facts.speaks_socks5.unwrap_or(true);
        let requires_session = facts.requires_session;
        let leading = |listening: &[SocketAddr]| {
            let leads = |one: &&SocketAddr| listening.iter().any(|other| leads_to(**one, *other));
            wanted.iter().find(leads).copied().map(reachable)
        };
        let plain_scheme = plain_scheme(speaks_http, speaks_socks5);
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
}

fn names(texts: BTreeSet<String>) -> Vec<Arc<str>> {
    texts.into_iter().map(Arc::from).collect()
}

/// Returns the addresses that the running proxy says it listens on.
fn listeners(status: &serde_json::Value) -> Vec<SocketAddr> {
    let listed = status["listeners"].as_array().into_iter().flatten();
    listed.filter_map(|address| address.as_str()?.parse().ok()).collect()
}

const SET_VARIABLE: &str = "the proxy asks its clients for these credentials, so this command needs them too: set the variable here \
                            as for the proxy, or name a file in `password_file`";

const FILES_INVALID: &str = "the proxy asks its clients for `server.auth`, which can't be read while the files are invalid: correct \
                             them first";
