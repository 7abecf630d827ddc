//! `kind: http-connect`: a proxy that speaks CONNECT, such as a company's, with or without Basic and TLS.

use std::{path::PathBuf, sync::Arc};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    Authority, BuildContext, Forwarding, Hop, HopConfig, HopError, InvalidSetting, Reuse, Secret,
    Tunnel, async_trait, credentials, handshake,
    tls::{TlsClient, TlsSettings},
};

/// The settings of an HTTP proxy.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the proxy listens, as `host:port`.
    address: Authority,
    /// For Basic, which is sent without being asked for; needs `password`.
    username: Option<Secret>,
    /// For Basic; needs `username`. Better from a variable, as `"${NAME}"`, than written here.
    password: Option<Secret>,
    /// In place of `password`: a file whose content is the password. It is read again at each reload.
    password_file: Option<PathBuf>,
    /// Whether the proxy itself is spoken to over TLS.
    #[serde(default)]
    tls: TlsSettings,
}

/// A proxy that speaks CONNECT, and takes plain requests in absolute-form.
#[derive(Debug)]
struct HttpConnect {
    address: Authority,
    tls: Option<TlsClient>,
    forwarding: Forwarding,
}

impl HopConfig for Config {
    const KIND: &'static str = "http-connect";

    fn build(self, context: &BuildContext<'_>) -> Result<Arc<dyn Hop>, InvalidSetting> {
        let from_file = self.password_file.as_deref();
        let key = if from_file.is_some() { "password_file" } else { "password" };
        let password = credentials::password(self.password, from_file, context)?;
        let authorization = match (&self.username, &password) {
            (Some(username), Some(password)) => Some(credentials::basic(username, password)?),
            (None, None) => None,
            (Some(_), None) => {
                return Err(InvalidSetting::new(
                    "username",
                    "stands without a `password`; write one, even if empty",
                ));
            }
            (None, Some(_)) => {
                return Err(InvalidSetting::new(key, "stands without a `username`; write one"));
            }
        };
        let tls = TlsClient::new(&self.tls, self.address.host(), context)?;
        let fields =
            authorization.map(|value| ("Proxy-Authorization", value)).into_iter().collect();
        let forwarding = Forwarding { fields, reuse: Reuse::SameClient };
        Ok(Arc::new(HttpConnect { address: self.address, tls, forwarding }))
    }
}

#[async_trait]
impl Hop for HttpConnect {
    fn address(&self) -> &Authority {
        &self.address
    }

    async fn enter(&self, tunnel: Tunnel) -> Result<Tunnel, HopError> {
        match &self.tls {
            Some(tls) => tls.enter(tunnel).await,
            None => Ok(tunnel),
        }
    }

    async fn extend(&self, tunnel: Tunnel, next: &Authority) -> Result<Tunnel, HopError> {
        handshake::connect(tunnel, next, &self.forwarding.fields).await
    }

    fn forwarding(&self) -> Option<&Forwarding> {
        Some(&self.forwarding)
    }
}
