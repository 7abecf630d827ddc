//! The settings by which a hop authenticates, and the checks that need no connection.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::authenticator::{Authenticator, Method};
use crate::{
    Field, InvalidSetting, Secret,
    auth::{
        digest::DigestCredentials,
        ntlm::{NtHash, NtlmCredentials},
    },
    credentials,
};

/// A scheme that `auth` can list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Scheme {
    /// Kerberos by SPNEGO (RFC 4559), which this version refuses.
    Negotiate,
    /// NTLMv2.
    Ntlm,
    /// Digest (RFC 7616).
    Digest,
    /// Basic (RFC 7617).
    Basic,
}

/// How a hop authenticates.
#[derive(Debug)]
pub(super) enum Authentication {
    /// Not at all, or by this field in every request.
    AtOnce(Option<Field>),
    /// As the proxy asks for it.
    WhenAsked(Authenticator),
}

/// The settings of authentication, with the password already read.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) schemes: Option<Vec<Scheme>>,
    pub(super) username: Option<Secret>,
    pub(super) password: Option<Secret>,
    /// The key that the password came from.
    pub(super) password_key: &'static str,
    pub(super) nt_hash: Option<Secret>,
    pub(super) has_tls: bool,
    /// The name of the service, such as `HTTP/proxy.example`.
    pub(super) service: String,
}

impl Written {
    /// Checks the settings against each other.
    ///
    /// # Errors
    /// The first contradiction, or the first scheme that lacks what it needs.
    pub(super) fn check(mut self) -> Result<Authentication, InvalidSetting> {
        let schemes = self.schemes.take();
        self.check_credentials()?;
        match schemes.as_deref() {
            None if self.nt_hash.is_some() => {
                invalid("nt_hash", "is for NTLM only; write `auth: [ntlm]` beside it")
            }
            None | Some([Scheme::Basic]) => {
                self.check_schemes(schemes.as_deref().unwrap_or_default())?;
                Ok(Authentication::AtOnce(self.basic()?))
            }
            Some([]) if self.username.is_some() => {
                invalid("auth", "is empty beside credentials; list a scheme, or remove them")
            }
            Some([]) => Ok(Authentication::AtOnce(None)),
            Some(schemes) => {
                self.check_schemes(schemes)?;
                let methods = schemes.iter().map(|scheme| self.method(*scheme));
                let methods = methods.collect::<Result<_, _>>()?;
                Ok(Authentication::WhenAsked(Authenticator::new(methods, self.service)))
            }
        }
    }

    fn check_credentials(&self) -> Result<(), InvalidSetting> {
        match (&self.username, &self.password, &self.nt_hash) {
            (_, Some(_), Some(_)) => {
                let message =
                    format!("stands beside `{}`; write one of the two", self.password_key);
                invalid("nt_hash", message)
            }
            (Some(_), None, None) => {
                invalid("username", "stands without a `password`; write one, even if empty")
            }
            (None, Some(_), _) => {
                invalid(self.password_key, "stands without a `username`; write one")
            }
            (None, _, Some(_)) => invalid("nt_hash", "stands without a `username`; write one"),
            (None, None, None) | (Some(_), Some(_), None) | (Some(_), None, Some(_)) => Ok(()),
        }
    }

    /// Checks that each scheme stands once, and has what it needs.
    fn check_schemes(&self, schemes: &[Scheme]) -> Result<(), InvalidSetting> {
        for (index, scheme) in schemes.iter().enumerate() {
            let name = scheme.name();
            if schemes[..index].contains(scheme) {
                return invalid("auth", format!("lists `{name}` twice; remove one of the two"));
            }
            if *scheme == Scheme::Negotiate {
                let message = "lists `negotiate`, which this version does not support; remove it";
                return invalid("auth", message);
            }
            if *scheme == Scheme::Ntlm && self.has_tls {
                let message = "lists `ntlm`, which this version does not support together with `tls`; remove one of \
                               the two";
                return invalid("auth", message);
            }
            if self.username.is_none() {
                let message = format!("lists `{name}`, which needs a `username` and a `password`");
                return invalid("auth", message);
            }
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
        if username.expose().chars().any(char::is_control) {
            let message = "has a control character, such as a line end; remove it";
            return invalid("username", message);
        }
        match scheme {
            Scheme::Ntlm => {
                let hash = match &self.nt_hash {
                    Some(hex) => NtHash::from_hex(hex)
                        .map_err(|error| InvalidSetting::new("nt_hash", error.to_string()))?,
                    None => NtHash::from_password(&password),
                };
                Ok(Method::ntlm(NtlmCredentials::new(username.expose(), hash)))
            }
            Scheme::Digest if username.expose().contains(':') => {
                invalid("username", "has a `:`, which Digest credentials can't carry")
            }
            Scheme::Digest => Ok(Method::digest(DigestCredentials::new(username, password))),
            Scheme::Negotiate => {
                invalid("auth", "lists `negotiate`, which this version does not support; remove it")
            }
            Scheme::Basic => credentials::basic(&username, &password).map(Method::Basic),
        }
    }

    /// Returns the field for Basic, if there are credentials.
    fn basic(&self) -> Result<Option<Field>, InvalidSetting> {
        let (Some(username), Some(password)) = (&self.username, &self.password) else {
            return Ok(None);
        };
        let value = credentials::basic(username, password)?;
        Ok(Some(Field::new("Proxy-Authorization", value)))
    }
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
