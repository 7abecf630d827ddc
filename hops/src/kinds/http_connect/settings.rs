//! The settings by which a hop authenticates, and the checks that need no connection.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    attempt::Method,
    authenticator::Authenticator,
    kerberos::{KerberosSettings, Login},
    lockout::{LoginKey, lockout_of},
    sign_on::SignOn,
};
use crate::{
    Authority, BuildContext, InvalidSetting, Listed, Secret,
    auth::{
        digest::DigestCredentials,
        ntlm::{NtHash, NtlmCredentials},
    },
    credentials,
};

/// The key of a hash in place of a password.
pub(super) const NT_HASH: &str = "nt_hash";

/// A scheme that `auth` can list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Scheme {
    /// Kerberos by SPNEGO (RFC 4559), as the user of the system.
    Negotiate,
    /// NTLMv2.
    Ntlm,
    /// Digest (RFC 7616).
    Digest,
    /// Basic (RFC 7617).
    Basic,
}

/// The settings of an authentication, with the password already read.
#[derive(Debug)]
pub(super) struct Written<'a> {
    pub(super) context: &'a BuildContext<'a>,
    pub(super) address: &'a Authority,
    pub(super) schemes: Option<Vec<Scheme>>,
    pub(super) username: Option<Secret>,
    pub(super) password: Option<Secret>,
    /// The key of the password.
    pub(super) password_key: &'static str,
    pub(super) nt_hash: Option<Secret>,
    pub(super) kerberos: Option<KerberosSettings>,
}

impl Written<'_> {
    /// Checks the settings against each other. Returns `None` if the hop has no credentials.
    ///
    /// # Errors
    /// The first contradiction, or the first scheme that lacks what it needs.
    pub(super) fn check(mut self) -> Result<Option<Authenticator>, InvalidSetting> {
        // Credentials are checked before schemes: a password without a username is the more basic mistake, and the
        // message about it does not depend on `auth`.
        let schemes = self.schemes.take();
        let has_sign_on =
            schemes.as_ref().is_some_and(|schemes| schemes.contains(&Scheme::Negotiate));
        self.check_credentials(has_sign_on)?;
        if self.kerberos.is_some() && !has_sign_on {
            return invalid("kerberos", "is for Negotiate only; list `negotiate` in `auth`");
        }
        let schemes = match schemes {
            // Without `auth` the scheme would be Basic, which needs the password itself.
            None if self.nt_hash.is_some() => {
                return invalid("nt_hash", "is for NTLM only; write `auth: [ntlm]` beside it");
            }
            None if self.username.is_none() => return Ok(None),
            None => vec![Scheme::Basic],
            // `auth: []` says that no credentials are sent. Beside credentials that is a contradiction, and dropping
            // them silently would look like a proxy that rejects them.
            Some(schemes) if schemes.is_empty() && self.username.is_some() => {
                return invalid(
                    "auth",
                    "is empty beside credentials; list a scheme, or remove them",
                );
            }
            Some(schemes) if schemes.is_empty() => return Ok(None),
            Some(schemes) => schemes,
        };
        // Every scheme is checked now, also one that may never be used. A mistake would otherwise only show when the
        // schemes before it fail.
        self.check_schemes(&schemes)?;
        let has_domain = self.username.as_ref().is_some_and(|name| name.expose().contains('\\'));
        if has_domain && schemes == [Scheme::Digest] {
            let message = "has a domain before a `\\`, which Digest sends as a part of the name; most proxies know the name \
                           without it";
            self.context.warn(InvalidSetting::new("username", message));
        }
        if has_domain {
            self.warn_of_ignored_domain(&schemes);
        }
        let methods = schemes.iter().map(|scheme| self.method(*scheme));
        let methods = methods.collect::<Result<_, _>>()?;
        let service = format!("HTTP/{}", self.address.host());
        let lockout = lockout_of(self.login_key(&schemes), self.context.handshake());
        let authenticator = Authenticator::new(methods, service, lockout);
        let login = [&self.username, &self.password, &self.nt_hash];
        let secret_key = if self.nt_hash.is_some() { NT_HASH } else { self.password_key };
        let authenticator = authenticator.with_secret_key(secret_key);
        Ok(Some(authenticator.hiding(login.into_iter().flatten())))
    }

    /// Identifies the credentials and the proxy that they are for.
    fn login_key(&self, schemes: &[Scheme]) -> LoginKey {
        let secrets = [&self.username, &self.password, &self.nt_hash];
        let secrets = secrets.map(|secret| secret.as_ref().map(Secret::expose));
        let names: Vec<_> = schemes.iter().map(|scheme| scheme.name()).collect();
        let keys = self.kerberos.as_ref().and_then(|kerberos| kerberos.keys(self.context));
        let kerberos = self.kerberos.as_ref().map(|kerberos| format!("{kerberos:?}"));
        LoginKey::of(&(self.address.to_string(), secrets, names, kerberos, keys.as_deref()))
    }

    fn check_credentials(&self, has_sign_on: bool) -> Result<(), InvalidSetting> {
        match (&self.username, &self.password, &self.nt_hash) {
            (_, Some(_), Some(_)) => {
                let message =
                    format!("can't be beside `{}`; write one of the two", self.password_key);
                invalid("nt_hash", message)
            }
            // For Negotiate a username alone chooses among the tickets. An empty password is possible, so it must be
            // written.
            (Some(_), None, None) if !has_sign_on => {
                invalid("username", "needs a `password` beside it, even if empty")
            }
            (None, Some(_), _) => invalid(self.password_key, "needs a `username` beside it"),
            (None, _, Some(_)) => invalid("nt_hash", "needs a `username` beside it"),
            (None, None, None) | (Some(_), _, None) | (Some(_), None, Some(_)) => Ok(()),
        }
    }

    /// Checks that each scheme is listed once, and has the credentials that it needs.
    fn check_schemes(&self, schemes: &[Scheme]) -> Result<(), InvalidSetting> {
        for (index, scheme) in schemes.iter().enumerate() {
            let name = scheme.name();
            if schemes[..index].contains(scheme) {
                return invalid("auth", format!("lists `{name}` twice; remove one of the two"));
            }
            // Negotiate needs none of these keys, because it can use the tickets of the logged-in user.
            if *scheme == Scheme::Negotiate {
                continue;
            }
            if self.username.is_none() || (self.password.is_none() && self.nt_hash.is_none()) {
                let message = format!("lists `{name}`, which needs a `username` and a `password`");
                return invalid("auth", message);
            }
            // The NT hash is one-way. Digest and Basic need the password in plain text.
            if *scheme != Scheme::Ntlm && self.nt_hash.is_some() {
                let message =
                    format!("lists `{name}`, which needs a `password` in place of `nt_hash`");
                return invalid("auth", message);
            }
        }
        Ok(())
    }

    fn method(&self, scheme: Scheme) -> Result<Method, InvalidSetting> {
        let username = self.username.clone().unwrap_or_else(|| Secret::new(""));
        let password = self.password.clone().unwrap_or_else(|| Secret::new(""));
        // The username may go into a header field or a Kerberos name. A line end in it could add a field of its own.
        if let Some(fault) = credentials::control_character(&username) {
            return invalid("username", fault);
        }
        match scheme {
            Scheme::Ntlm => {
                self.warn_of_domain(username.expose());
                let hash = match &self.nt_hash {
                    Some(hex) => NtHash::from_hex(hex)
                        .map_err(|error| InvalidSetting::new("nt_hash", error.to_string()))?,
                    None => NtHash::from_password(&password),
                };
                let credentials = NtlmCredentials::new(username.expose(), hash);
                Ok(Method::ntlm(match self.nt_hash {
                    Some(_) => credentials.with_written_hash(),
                    None => credentials,
                }))
            }
            // Digest hashes `username:realm:password`, in which a colon of the username can't be told from a
            // separator.
            Scheme::Digest if username.expose().contains(':') => {
                invalid("username", "has a `:`, which Digest credentials can't carry")
            }
            Scheme::Digest => Ok(Method::digest(DigestCredentials::new(username, password))),
            Scheme::Negotiate => self.sign_on().map(Arc::new).map(Method::Negotiate),
            Scheme::Basic => credentials::basic(&username, &password).map(Method::Basic),
        }
    }

    /// Warns of a domain that is not written as NTLM needs it. No account of Windows has a `/` or a `\\` in its name.
    fn warn_of_domain(&self, username: &str) {
        let found = if username.starts_with('\\') {
            "begins with a `\\`, so its domain is empty"
        } else if username.contains("\\\\") {
            "has two `\\` after the domain instead of one"
        } else if username.contains('/') {
            "has a `/`, which the name of a Windows account can't have"
        } else {
            return;
        };
        let message = format!("{found}; write `username: 'DOMAIN\\NAME'`");
        self.context.warn(InvalidSetting::new("username", message));
    }

    /// Warns of a domain in the username that Kerberos, which has realms, does not see.
    fn warn_of_ignored_domain(&self, schemes: &[Scheme]) {
        let names_user = self.kerberos.as_ref().is_some_and(KerberosSettings::names_user);
        // The domain may be meant for NTLM. Windows uses it for Kerberos too.
        if schemes.contains(&Scheme::Negotiate)
            && !schemes.contains(&Scheme::Ntlm)
            && !names_user
            && !cfg!(windows)
        {
            let message = "has a domain before a `\\`, which Negotiate leaves out: Kerberos looks for this user in the default \
                           realm of krb5.conf; if that is another one, write `kerberos: { principal: NAME@REALM }`";
            self.context.warn(InvalidSetting::new("username", message));
        }
    }

    fn sign_on(&self) -> Result<SignOn, InvalidSetting> {
        let default = KerberosSettings::default();
        let kerberos = self.kerberos.as_ref().unwrap_or(&default);
        let login = Login { username: self.username.as_ref(), password: self.password.as_ref() };
        let identities = kerberos.identities(login, self.context)?;
        let service = kerberos.service(self.address.host())?;
        // So that the wait is explained before the chain ends it.
        let patience = self.context.handshake() * 3 / 4;
        Ok(SignOn::new(&service, identities, patience).hiding(self.username.clone()))
    }
}

impl Listed for Scheme {
    const EXPECTED: &'static str = "a scheme such as `ntlm`, or a list such as `[negotiate, ntlm]`";
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Negotiate => "negotiate",
            Self::Ntlm => "ntlm",
            Self::Digest => "digest",
            Self::Basic => "basic",
        }
    }
}

fn invalid<T>(key: &str, message: impl Into<String>) -> Result<T, InvalidSetting> {
    Err(InvalidSetting::new(key, message))
}
