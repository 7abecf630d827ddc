//! `kerberos:`, the key that says as whom and to which service Negotiate signs on.

use std::path::PathBuf;

use mooltiroute_sso::{Credentials, Identity, Password};
use schemars::JsonSchema;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{BuildContext, Host, InvalidSetting, Key, Secret};

/// The settings of Negotiate. Without them, the ticket of the logged-in user is used.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KerberosSettings {
    /// The service name of the proxy. Default: `HTTP/` and the host of `address`, exactly as written there.
    spn: Option<String>,
    /// The credential cache to look for tickets in, such as `FILE:/run/user/1000/tickets`. Unix only.
    ccache: Option<String>,
    /// A file with the keys of `principal`, which gets tickets without a password. Unix only.
    keytab: Option<PathBuf>,
    /// The Kerberos user, such as `alice@CORP.EXAMPLE`. Default: `username`, if that is written.
    principal: Option<String>,
}

/// The credentials of other keys, which Kerberos can use too.
#[derive(Clone, Copy, Debug)]
pub(super) struct Login<'a> {
    pub(super) username: Option<&'a Secret>,
    pub(super) password: Option<&'a Secret>,
}

impl KerberosSettings {
    /// Returns whether these settings name the user, so that `username` is not used.
    pub(super) fn names_user(&self) -> bool {
        self.principal.is_some() || (self.ccache.is_some() && self.keytab.is_none())
    }

    /// Returns the content of the keytab.
    pub(super) fn keys(&self, context: &BuildContext<'_>) -> Option<Zeroizing<Vec<u8>>> {
        context.read_binary(self.keytab.as_ref()?).ok().map(Zeroizing::new)
    }

    /// Returns the service to sign on to.
    ///
    /// # Errors
    /// The name is malformed, or there is none because `address` is an IP address.
    pub(super) fn service(&self, host: &Host) -> Result<String, InvalidSetting> {
        // The name is taken from `address` as it is written. A name from DNS would let an attacker who controls DNS
        // choose the service that the ticket is for.
        let Some(spn) = &self.spn else {
            return match host {
                Host::Name(name) => Ok(format!("HTTP/{name}")),
                Host::Address(_) => Err(InvalidSetting::new("address", NO_NAME)),
            };
        };
        let is_whole = |part: &str| {
            !part.is_empty() && !part.chars().any(|one| one.is_whitespace() || one.is_control())
        };
        let port = spn.rsplit_once(':').map(|(_, port)| port);
        if port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit())) {
            return Err(below("spn", "has a port, and service names have none; remove it"));
        }
        match spn.split_once('/') {
            Some((service, host)) if is_whole(service) && is_whole(host) => Ok(spn.clone()),
            _ => Err(below(
                "spn",
                "is not a service name; write one such as `HTTP/proxy.corp.example`",
            )),
        }
    }

    /// Returns the identities to try in turn.
    ///
    /// Settings of this key win. Otherwise the user's tickets are used, for the named user if there is a name, and a
    /// password only if that user has no ticket.
    ///
    /// # Errors
    /// The first setting that lacks another one, or names a file that can't be read.
    pub(super) fn identities(
        &self,
        login: Login<'_>,
        context: &BuildContext<'_>,
    ) -> Result<Vec<Identity>, InvalidSetting> {
        if self.ccache.as_deref().is_some_and(|name| !is_cache(name)) {
            return Err(below("ccache", NO_CACHE));
        }
        if self.ccache.as_deref().is_some_and(|name| name.contains("%{")) {
            let message =
                "has a `%{`, which is a part of the name of the cache: nothing is put in its place";
            let help = "write the number or the name itself; without `ccache`, the cache of the user is used";
            context.warn(below("ccache", message).with_help(help));
        }
        let username = login.username.map(Secret::expose);
        let principal = self.principal.as_deref().or(username).map(str::to_owned);
        // A keytab or a cache in the settings is the only identity. Nothing falls back to the tickets of the
        // logged-in user, with whom the proxy would see another name.
        if let Some(keytab) = &self.keytab {
            let Some(principal) = principal else {
                return Err(below("keytab", "needs a `principal`; write one"));
            };
            // The library reads the file by itself. It is noted, so that a replaced keytab is a change of the hop at
            // the next reload.
            let path = context.note(keytab).map_err(|error| {
                let invalid = InvalidSetting::file("keytab", format!("can't be read: {error}"));
                invalid.below(Key::Name("kerberos".into()))
            })?;
            let ccache = self.ccache.clone();
            return Ok(vec![Identity::new(Credentials::Keytab { path, principal, ccache })]);
        }
        if let Some(ccache) = &self.ccache {
            // The name of another scheme's user says nothing about the owner of the cache.
            let principal = self.principal.clone();
            return Ok(vec![Identity::new(Credentials::Ccache {
                name: ccache.clone(),
                principal,
            })]);
        }
        // Tickets come before the password, because no failed logon can come of them.
        let mut identities =
            vec![Identity::new(Credentials::LoggedIn { principal: principal.clone() })];
        if let (Some(username), Some(password)) = (principal, login.password) {
            let password = Password::new(password.expose());
            identities.push(Identity::new(Credentials::Password { username, password }));
        }
        Ok(identities)
    }
}

fn below(key: &str, message: &str) -> InvalidSetting {
    InvalidSetting::new(key, message).below(Key::Name("kerberos".into()))
}

/// Returns whether `name` names a credential cache: a type and a colon, or the whole path of a file.
///
/// The libraries take any other text for a file in the current directory of the process. Such a text is
/// more likely a password in the wrong place, and errors show the name of a cache without a ticket.
fn is_cache(name: &str) -> bool {
    name.starts_with('/')
        || name.split_once(':').is_some_and(|(kind, _)| CACHE_TYPES.contains(&kind))
}

/// The types of credential caches of MIT Kerberos and Heimdal.
const CACHE_TYPES: [&str; 9] =
    ["FILE", "DIR", "MEMORY", "KEYRING", "KCM", "API", "MSLSA", "SCC", "XCACHE"];

const NO_CACHE: &str = "is not a credential cache; write one such as `FILE:/run/user/1000/tickets`, as `klist` shows it";

const NO_NAME: &str = "is an IP address, for which Kerberos has no tickets; write the proxy's name, or \
    `kerberos: { spn: HTTP/NAME }`";
