//! `kind: webshare`: the gateway of Webshare, whose username chooses the exit.

use std::{num::NonZeroU16, path::PathBuf, sync::Arc};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    Authority, BuildContext, Forwarding, Hop, HopConfig, HopError, Host, InvalidSetting, Refusal,
    Reuse, Secret, Tunnel, async_trait, credentials, handshake,
};

/// The settings of Webshare's gateway.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the gateway listens, as `host:port`.
    #[serde(default = "default_address")]
    address: Authority,
    /// The username of the proxy list, as it stands in the dashboard. `-rotate` at its end asks for a new exit for
    /// each connection.
    #[schemars(required)]
    username: Option<Secret>,
    /// The password of the proxy list. Better from a variable, as `"${NAME}"`, than written here.
    password: Option<Secret>,
    /// In place of `password`: a file whose content is the password. It is read again at each reload.
    password_file: Option<PathBuf>,
}

/// Webshare's gateway. The exit is chosen by the username, once for each connection.
#[derive(Debug)]
struct Webshare {
    address: Authority,
    forwarding: Forwarding,
}

impl HopConfig for Config {
    const KIND: &'static str = "webshare";

    fn build(self, context: &BuildContext<'_>) -> Result<Arc<dyn Hop>, InvalidSetting> {
        let password =
            credentials::password(self.password, self.password_file.as_deref(), context)?;
        let (username, password) = match (self.username, password) {
            (Some(username), Some(password)) => (username, password),
            (Some(_), None) => return Err(InvalidSetting::missing("password")),
            (None, Some(_)) => return Err(InvalidSetting::missing("username")),
            (None, None) => {
                let message = "the keys `username` and `password` are missing; the dashboard has them beside the proxy list";
                return Err(InvalidSetting::new("", message));
            }
        };
        for (key, secret) in [("username", &username), ("password", &password)] {
            if secret.is_empty() {
                return Err(InvalidSetting::new(
                    key,
                    "is empty; Webshare takes nobody without credentials",
                ));
            }
        }
        let authorization = credentials::basic(&username, &password)?;
        // On a kept connection the exit would stay the same.
        let is_rotating = username.expose().ends_with("-rotate");
        let reuse = if is_rotating { Reuse::Never } else { Reuse::SameClient };
        let forwarding = Forwarding { fields: vec![("Proxy-Authorization", authorization)], reuse };
        Ok(Arc::new(Webshare { address: self.address, forwarding }))
    }
}

#[async_trait]
impl Hop for Webshare {
    fn address(&self) -> &Authority {
        &self.address
    }

    async fn extend(&self, tunnel: Tunnel, next: &Authority) -> Result<Tunnel, HopError> {
        handshake::connect(tunnel, next, &self.forwarding.fields).await
    }

    fn forwarding(&self) -> Option<&Forwarding> {
        Some(&self.forwarding)
    }

    fn explain(&self, refusal: &mut Refusal) {
        refusal.advice = advice(refusal).map(str::to_owned);
    }
}

fn advice(refusal: &Refusal) -> Option<&'static str> {
    Some(match (refusal.status, refusal.detail.as_deref()) {
        (402, _) => "The account's bandwidth is used up. Buy more, or wait until the plan renews.",
        (403, Some("client_connect_forbidden_host")) => {
            "Webshare blocks this target on every exit. Another exit won't help; route this host another way."
        }
        (407, Some("no_proxies_allocated")) => {
            "The username asks for an exit that is not in the proxy list any more. Compare it with the list in the \
             dashboard."
        }
        (407, _) => {
            "Webshare did not accept the username and password. Compare `username` and `password` with the \
             dashboard, where they belong to the proxy list and not to the account."
        }
        (429, _) => {
            "The account has too many connections open at once. Open fewer, or choose a larger plan."
        }
        (502 | 503, Some(detail)) if detail.starts_with("target_") => {
            "The exit could not reach the target. Try again, or check that the target is up."
        }
        (500.., Some(detail)) if detail.starts_with("internal_") => {
            "Webshare itself has a fault. Try again later, and look at its status page."
        }
        _ => return None,
    })
}

fn default_address() -> Authority {
    const HTTP: NonZeroU16 = NonZeroU16::new(80).unwrap();
    Authority::new(Host::Name("p.webshare.io".into()), HTTP)
}
