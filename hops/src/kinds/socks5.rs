//! `kind: socks5`: a SOCKS5 proxy, with or without username and password, and TLS.

use std::{path::PathBuf, sync::Arc};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    Authority, BuildContext, Hop, HopConfig, HopError, InvalidSetting, InvalidSettings, Link,
    LinkSettings, Secret, Tunnel, async_trait, credentials,
    socks::{self, UserPassword},
    tls::{TlsClient, TlsSettings},
};

/// The settings of a SOCKS5 proxy.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Socks5Config {
    /// The address of the proxy, as `host:port`.
    address: Authority,
    /// The username, of 1 to 255 bytes. Requires `password`. With it, Mooltiroute does not offer to go without authentication.
    username: Option<Secret>,
    /// The password, of 1 to 255 bytes. Requires `username`. Prefer a variable, as in `"${NAME}"`.
    password: Option<Secret>,
    /// A file that holds the password, instead of `password`. It is read again at each reload.
    password_file: Option<PathBuf>,
    /// Whether to use TLS with the proxy itself.
    #[serde(default)]
    tls: TlsSettings,
}

/// A SOCKS5 proxy. Plain requests go through a tunnel like everything else.
#[derive(Debug)]
struct Socks5 {
    address: Authority,
    tls: Option<TlsClient>,
    credentials: Option<UserPassword>,
    /// The key of the password.
    password_key: &'static str,
}

impl HopConfig for Socks5Config {
    const KIND: &'static str = "socks5";
    const SHOWN: &'static [&'static str] = &["tls"];

    fn build(self, context: &BuildContext<'_>) -> Result<Arc<dyn Hop>, InvalidSettings> {
        let from_file = self.password_file.as_deref();
        let password_key = if from_file.is_some() { "password_file" } else { "password" };
        let username = self.username.as_ref();
        let password = credentials::password(self.password, from_file, username, context)?;
        // Half of a pair is an error, so that no hop works without the credentials that its operator meant. RFC 1929
        // has no empty username or password, and `UserPassword` rejects those.
        let credentials = match (self.username, password) {
            (Some(username), Some(password)) => Some(UserPassword::new(username, password)?),
            (None, None) => None,
            (Some(_), None) => {
                let message = "needs a `password` beside it";
                return Err(InvalidSetting::new("username", message).into());
            }
            (None, Some(_)) => {
                let message = "needs a `username` beside it";
                return Err(InvalidSetting::new(password_key, message).into());
            }
        };
        let tls = TlsClient::new(&self.tls, self.address.host(), context)?;
        Ok(Arc::new(Socks5 { address: self.address, tls, credentials, password_key }))
    }
}

#[async_trait]
impl Link for Socks5 {
    fn address(&self) -> &Authority {
        &self.address
    }

    fn tls(&self) -> Option<&TlsClient> {
        self.tls.as_ref()
    }

    fn settings(&self) -> LinkSettings {
        let settings = LinkSettings::socks().with_credentials(self.credentials.is_some());
        settings.with_secret_key(self.password_key)
    }

    async fn extend(&self, tunnel: Tunnel, next: &Authority) -> Result<Tunnel, HopError> {
        socks::connect(tunnel, next, self.credentials.as_ref()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    #[test]
    fn credentials_come_in_pairs_and_fit() {
        let build = |yaml: &str| {
            let text = format!("{{address: 'a.example:1080'{yaml}}}");
            let settings: Settings = serde_yaml::from_str(&text).unwrap();
            let config =
                settings.read::<Socks5Config>().map_err(|invalid| invalid[0].path().to_string());
            let built = config?.build(&BuildContext::new(".".as_ref()));
            built.map(|_| ()).map_err(|invalid| Vec::from(invalid)[0].path().to_string())
        };
        assert_eq!(build(""), Ok(()));
        assert_eq!(build(", username: u, password: p"), Ok(()));
        assert_eq!(build(", username: u"), Err("username".into()));
        assert_eq!(build(", password: p"), Err("password".into()));
        assert_eq!(build(", username: u, password: ''"), Err("password".into()));
        assert_eq!(
            build(&format!(", username: {}, password: p", "u".repeat(256))),
            Err("username".into())
        );
        assert_eq!(build(", plain: absolute"), Err("plain".into()));
    }
}
