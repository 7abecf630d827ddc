//! The protocols of a provider's gateway, HTTP and SOCKS5, with credentials that choose the exit.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Authority, Field, FieldName, HopError, InvalidSetting, LinkSettings, PassHeaders, Secret,
    Tunnel, credentials, exchange,
    socks::{self, UserPassword},
};

/// The protocol in which a gateway is asked for tunnels. Providers speak both, often on the same port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum GatewayProtocol {
    /// CONNECT of HTTP, with Basic credentials. Plain requests are forwarded in absolute-form.
    #[default]
    Http,
    /// SOCKS5, with username and password (RFC 1929). Plain requests go through a tunnel.
    Socks5,
}

/// The credentials of one exit, in the protocol of its gateway.
#[derive(Clone, Debug)]
pub(super) enum GatewayLogin {
    /// Header fields.
    Http {
        /// The fields of each CONNECT.
        connect: Arc<[Field]>,
        /// The fields of each plain request.
        plain: Arc<[Field]>,
    },
    /// A username and a password.
    Socks5(Arc<UserPassword>),
}

impl GatewayLogin {
    /// Returns the login by `username` and `password`. With HTTP, `headers` are added to each CONNECT.
    ///
    /// # Errors
    /// Names `username` or `password` if the protocol can't carry it.
    pub(super) fn new(
        protocol: GatewayProtocol,
        username: Secret,
        password: Secret,
        headers: Vec<Field>,
    ) -> Result<Self, InvalidSetting> {
        // SOCKS5 has no place for `headers`. The kinds refuse them before they come here.
        if protocol == GatewayProtocol::Socks5 {
            let login = UserPassword::new(username, password)?;
            return Ok(Self::Socks5(Arc::new(login)));
        }
        let ours = Field::new("Proxy-Authorization", credentials::basic(&username, &password)?);
        // The operator's fields are for the gateway. A plain request reaches the target with all its fields, so it
        // only carries the credentials, which the gateway removes.
        let connect = headers.into_iter().chain([ours.clone()]).collect();
        Ok(Self::Http { connect, plain: [ours].into() })
    }

    /// Asks the gateway at the end of `tunnel` for a tunnel to `next`.
    ///
    /// # Errors
    /// The reason why the gateway did not reach `next`.
    pub(super) async fn connect(
        &self,
        tunnel: Tunnel,
        next: &Authority,
        head_bytes_max: usize,
    ) -> Result<Tunnel, HopError> {
        match self {
            Self::Http { connect, .. } => {
                exchange::connect(tunnel, next, connect, head_bytes_max).await
            }
            Self::Socks5(login) => socks::connect(tunnel, next, Some(login)).await,
        }
    }

    /// Returns the settings that choose this login.
    pub(super) fn settings(&self) -> LinkSettings {
        let settings = match self {
            Self::Http { .. } => LinkSettings::http(),
            Self::Socks5(_) => LinkSettings::socks(),
        };
        settings.of_gateway()
    }

    /// Returns whether the gateway takes plain requests in absolute-form.
    pub(super) fn forwards(&self) -> bool {
        matches!(self, Self::Http { .. })
    }

    /// Returns the fields of a plain request that the gateway forwards.
    pub(super) fn plain(&self) -> Arc<[Field]> {
        match self {
            Self::Http { plain, .. } => Arc::clone(plain),
            Self::Socks5(_) => Arc::default(),
        }
    }
}

/// Checks `pass_headers` and `return_headers` of a gateway that adds the fields `own`.
///
/// # Errors
/// A name that is listed twice or set already, or any name if the gateway speaks SOCKS5.
pub(super) fn pass_headers(
    protocol: GatewayProtocol,
    to_hop: Vec<FieldName>,
    to_client: Vec<FieldName>,
    own: &[Field],
) -> Result<PassHeaders, InvalidSetting> {
    for (key, names) in [("pass_headers", &to_hop), ("return_headers", &to_client)] {
        // A name that could never have an effect is an error, since its operator relies on it.
        if protocol == GatewayProtocol::Socks5 && !names.is_empty() {
            let message = "is for `protocol: http`: SOCKS5 has no header fields";
            return Err(InvalidSetting::new(key, message));
        }
    }
    PassHeaders::new(to_hop, to_client, own)
}
