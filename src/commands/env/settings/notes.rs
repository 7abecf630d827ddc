//! Notes on what a client needs beside the variables.

use super::{ClientSettings, encoded};
use crate::{commands::status, config::Environment, control::client::leads_to, tls::ClientChecks};

impl ClientSettings {
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
                // A pattern is not a name to connect to.
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
}

/// Variables with URLs of proxies that some programs read, and that these commands leave alone.
const OTHER_VARIABLES: [&str; 6] = [
    "HTTP_PROXY",
    "npm_config_proxy",
    "npm_config_https_proxy",
    "PIP_PROXY",
    "ftp_proxy",
    "FTP_PROXY",
];

#[cfg(test)]
mod tests {
    use mooltiroute_hops::Secret;

    use super::*;
    use crate::{commands::env::settings::tests::settings, config::Auth};

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
}
