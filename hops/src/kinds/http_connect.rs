//! `kind: http-connect`: a proxy that speaks CONNECT, such as a company's, with or without Basic and TLS.

use std::sync::Arc;

use serde::Deserialize;

use crate::{
    Authority, BuildContext, Forwarding, Hop, HopConfig, HopError, InvalidSetting, Reuse, Secret,
    Tunnel, async_trait, credentials, handshake,
    tls::{TlsClient, TlsSettings},
};

/// The settings of an HTTP proxy.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the proxy listens, as `host:port`.
    address: Authority,
    /// For Basic, which is sent without being asked for; needs `password`.
    username: Option<Secret>,
    /// For Basic; needs `username`.
    password: Option<Secret>,
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
        let authorization = match (&self.username, &self.password) {
            (Some(username), Some(password)) => Some(credentials::basic(username, password)?),
            (None, None) => None,
            (Some(_), None) => {
                return Err(InvalidSetting::new(
                    "username",
                    "stands without a `password`; write one, even if empty",
                ));
            }
            (None, Some(_)) => {
                return Err(InvalidSetting::new("password", "stands without a `username`"));
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
