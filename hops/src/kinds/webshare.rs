//! `kind: webshare`: the gateway of Webshare, whose username chooses the exit.

mod reason;
mod username;

use std::{num::NonZeroU16, sync::Arc};

use serde::Deserialize;

use self::username::Session;
use crate::{
    Authority, BuildContext, Country, Forwarding, Hop, HopConfig, HopError, Host, InvalidSetting,
    OneOrList, Refusal, Reuse, Secret, Tunnel, async_trait, credentials, handshake,
};

/// The settings of Webshare's gateway.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the gateway listens, as `host:port`.
    address: Option<Authority>,
    /// Ports to try in turn where the hop before refuses one, after that of `address`. By default those that Webshare
    /// documents, if `address` is not written.
    ports: Option<Vec<NonZeroU16>>,
    /// The username of the proxy list. With `session: as-written` it is sent as it stands here; otherwise it stands
    /// here bare, and what the other settings say is added.
    username: Secret,
    /// The password of the proxy list.
    password: Secret,
    /// The countries that the exit may be in, as codes of two letters; needs another `session` than `as-written`.
    #[serde(default)]
    country: OneOrList<Country>,
    /// The city that the exit is in; needs another `session` than `as-written`.
    city: Option<String>,
    /// `as-written`; `rotate`, for a new exit for each connection; or a number, for an exit that stays.
    #[serde(default)]
    session: Session,
}

/// Webshare's gateway. The exit is chosen by the username, once for each connection.
#[derive(Debug)]
struct Webshare {
    address: Authority,
    alternatives: Vec<Authority>,
    forwarding: Forwarding,
}

impl HopConfig for Config {
    const KIND: &'static str = "webshare";

    fn build(self, _: &BuildContext<'_>) -> Result<Arc<dyn Hop>, InvalidSetting> {
        for (key, secret) in [("username", &self.username), ("password", &self.password)] {
            if secret.is_empty() {
                return Err(InvalidSetting::new(
                    key,
                    "is empty; Webshare takes nobody without credentials",
                ));
            }
        }
        let (address, alternatives) = addresses(self.address, self.ports)?;
        let wish = username::Wish {
            countries: &self.country.0,
            city: self.city.as_deref(),
            session: self.session,
        };
        let username = wish.written_into(&self.username)?;
        let authorization = credentials::basic(&username, &self.password)?;
        // On a kept connection the exit would stay the same.
        let is_rotating = username.expose().ends_with("-rotate");
        let reuse = if is_rotating { Reuse::Never } else { Reuse::SameClient };
        let forwarding = Forwarding { fields: vec![("Proxy-Authorization", authorization)], reuse };
        Ok(Arc::new(Webshare { address, alternatives, forwarding }))
    }
}

#[async_trait]
impl Hop for Webshare {
    fn address(&self) -> &Authority {
        &self.address
    }

    fn alternatives(&self) -> &[Authority] {
        &self.alternatives
    }

    async fn extend(&self, tunnel: Tunnel, next: &Authority) -> Result<Tunnel, HopError> {
        handshake::connect(tunnel, next, &self.forwarding.fields).await
    }

    fn forwarding(&self) -> Option<&Forwarding> {
        Some(&self.forwarding)
    }

    fn refuses(&self, refusal: &Refusal) -> bool {
        refusal.status == 407 || reason::of(refusal).is_some()
    }

    fn explain(&self, refusal: &mut Refusal) {
        reason::explain(refusal);
    }
}

/// Where the gateway is reached, and where else.
fn addresses(
    address: Option<Authority>,
    ports: Option<Vec<NonZeroU16>>,
) -> Result<(Authority, Vec<Authority>), InvalidSetting> {
    let ports = match (ports, &address) {
        (Some(ports), _) if ports.is_empty() || ports.len() > PORTS_MAX => {
            let message = format!("must have from 1 to {PORTS_MAX} ports");
            return Err(InvalidSetting::new("ports", message));
        }
        (Some(ports), _) => ports,
        (None, Some(_)) => vec![],
        (None, None) => DOCUMENTED_PORTS.to_vec(),
    };
    // The first of `ports` is the first that is tried, if no address says otherwise.
    let address = address.unwrap_or_else(|| {
        let first = ports.first().copied().unwrap_or(DOCUMENTED_PORTS[0]);
        Authority::new(Host::Name("p.webshare.io".into()), first)
    });
    let mut alternatives: Vec<Authority> = Vec::with_capacity(ports.len());
    for port in ports {
        let alternative = address.with_port(port);
        if alternative != address && !alternatives.contains(&alternative) {
            alternatives.push(alternative);
        }
    }
    Ok((address, alternatives))
}

const DOCUMENTED_PORTS: [NonZeroU16; 4] = [
    NonZeroU16::new(80).unwrap(),
    NonZeroU16::new(3128).unwrap(),
    NonZeroU16::new(1080).unwrap(),
    NonZeroU16::new(9999).unwrap(),
];
/// Each is a connection of its own to try.
const PORTS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Registry, Settings};

    #[track_caller]
    fn check(yaml: &str, expected: Result<&str, &str>) {
        let text = format!("{{username: useruser, password: passpass, {yaml}}}");
        let settings: Settings = serde_yaml::from_str(&text).unwrap();
        let kind = Registry::default().with::<Config>().kind("webshare").unwrap();
        let built = kind.build(&settings, &BuildContext::new(".".as_ref()));
        let shown = built.map(|hop| {
            let all = std::iter::once(hop.address()).chain(hop.alternatives());
            all.map(|address| address.to_string()).collect::<Vec<_>>().join(" ")
        });
        let shown = shown.map_err(|invalid| invalid[0].path().to_string());
        assert_eq!(shown.as_deref().map_err(String::as_str), expected, "{yaml}");
    }

    #[test]
    fn ports_come_after_that_of_the_address() {
        const HOST: &str = "p.webshare.io";
        check("", Ok(&[80, 3128, 1080, 9999].map(|port| format!("{HOST}:{port}")).join(" ")));
        check("address: 'a.example:80'", Ok("a.example:80"));
        check("address: 'a.example:80', ports: [443, 80, 443]", Ok("a.example:80 a.example:443"));
        check("ports: [443, 80]", Ok("p.webshare.io:443 p.webshare.io:80"));
        check("ports: []", Err("ports"));
        check("ports: [80, 0]", Err("ports[1]"));
    }

    #[test]
    fn what_can_not_be_asked_for_is_an_error() {
        check("country: usa", Err("country"));
        check("country: [us, f1]", Err("country[1]"));
        check("session: alice", Err("session"));
        check("session: -1", Err("session"));
        check("session: '007'", Err("session"));
        check("country: us", Err("country"));
        check("session: 5, city: new york", Err("city"));
        check("session: rotate-5", Err("session"));
    }
}
