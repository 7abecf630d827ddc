//! `kind: http-connect`: an HTTP proxy, such as a company's, with or without credentials and TLS.

mod authenticator;
mod lockout;
mod settings;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::{
    authenticator::{Authenticator, Outcome},
    settings::{Authentication, Scheme, Written},
};
use crate::{
    Authority, BuildContext, Eventual, Field, FieldName, Hop, HopConfig, HopError, InvalidSetting,
    InvalidSettings, Link, RequestLine, Secret, Tunnel, async_trait, credentials, exchange, field,
    tls::{TlsClient, TlsSettings},
};

/// The settings of an HTTP proxy.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the proxy listens, as `host:port`.
    address: Authority,
    /// The schemes that may be used, in order of preference: `ntlm`, `digest`, `basic`. Without it, Basic if there is a
    /// `username`. Basic alone is sent without waiting for a challenge.
    auth: Option<Vec<Scheme>>,
    /// The username. With NTLM also `DOMAIN\user` or `user@domain`. Requires `password` or `nt_hash`.
    username: Option<Secret>,
    /// The password. Requires `username`. Prefer a variable, as in `"${NAME}"`.
    password: Option<Secret>,
    /// A file that holds the password, instead of `password`. It is read again at each reload.
    password_file: Option<PathBuf>,
    /// The NT hash of the password in 32 hexadecimal digits, instead of `password`. For `auth: [ntlm]` only.
    nt_hash: Option<Secret>,
    /// Whether to use TLS with the proxy itself.
    #[serde(default)]
    tls: TlsSettings,
    /// Header fields to add to each CONNECT, by name. Plain requests don't get them, because they would reach the
    /// target.
    #[serde(default)]
    headers: BTreeMap<FieldName, Secret>,
    /// How `http://` requests pass this hop if it is the last one: handed to it whole, or through a tunnel. Without it,
    /// `absolute`, but `connect` if `auth` lists more than Basic.
    plain: Option<Plain>,
}

/// How plain requests pass a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Plain {
    /// The hop gets them whole, in absolute-form, and forwards them.
    Absolute,
    /// Through a tunnel, as all else.
    Connect,
}

/// A proxy that speaks CONNECT, and takes plain requests in absolute-form.
#[derive(Clone, Debug)]
struct HttpConnect {
    address: Authority,
    tls: Option<TlsClient>,
    /// The fields of each CONNECT: the operator's, then credentials that are sent at once.
    connect: Arc<[Field]>,
    /// The fields of each plain request.
    plain: Arc<[Field]>,
    /// Whether plain requests are sent in absolute-form.
    forwards: bool,
    /// The authentication that waits for a challenge, if there is one.
    authenticator: Option<Arc<Authenticator>>,
    head_bytes_max: usize,
}

impl HopConfig for Config {
    const KIND: &'static str = "http-connect";
    const SHOWN: &'static [&'static str] = &["auth", "tls", "plain"];

    fn build(self, context: &BuildContext<'_>) -> Result<Arc<dyn Hop>, InvalidSettings> {
        let from_file = self.password_file.as_deref();
        let key = if from_file.is_some() { "password_file" } else { "password" };
        let password = credentials::password(self.password, from_file, context)?;
        let tls = TlsClient::new(&self.tls, self.address.host(), context)?;
        let written = Written {
            schemes: self.auth,
            username: self.username,
            password,
            password_key: key,
            nt_hash: self.nt_hash,
            has_tls: tls.is_some(),
            service: format!("HTTP/{}", self.address.host()),
        };
        let (ours, authenticator) = match written.check()? {
            Authentication::AtOnce(field) => (field, None),
            Authentication::WhenAsked(authenticator) => (None, Some(Arc::new(authenticator))),
        };
        if authenticator.is_some() && self.plain == Some(Plain::Absolute) {
            let message = "must be `connect` if `auth` lists more than `basic`; plain requests go through a tunnel then";
            return Err(InvalidSetting::new("plain", message).into());
        }
        let ours = Vec::from_iter(ours);
        let mut connect = field::checked("headers", self.headers)?;
        connect.extend_from_slice(&ours);
        Ok(Arc::new(HttpConnect {
            address: self.address,
            tls,
            connect: connect.into(),
            plain: ours.into(),
            forwards: self.plain != Some(Plain::Connect) && authenticator.is_none(),
            authenticator,
            head_bytes_max: context.head_bytes_max(),
        }))
    }
}

#[async_trait]
impl Link for HttpConnect {
    fn address(&self) -> &Authority {
        &self.address
    }

    fn tls(&self) -> Option<&TlsClient> {
        self.tls.as_ref()
    }

    async fn extend(&self, mut tunnel: Tunnel, next: &Authority) -> Result<Tunnel, HopError> {
        let Some(authenticator) = &self.authenticator else {
            return exchange::connect(tunnel, next, &self.connect, self.head_bytes_max).await;
        };
        let connected =
            authenticator.connect(&mut tunnel, next, &self.connect, self.head_bytes_max).await?;
        match connected {
            Outcome::Connected => Ok(tunnel),
            // The authenticator is shared, and so knows on the next connection what the proxy asked for.
            Outcome::Closes => Err(HopError::Again(Arc::new(self.clone()))),
        }
    }

    fn forwards(&self) -> bool {
        self.forwards
    }

    fn authorize<'a>(
        &'a self,
        _: &'a mut Tunnel,
        _: RequestLine<'a>,
    ) -> Eventual<'a, Result<Arc<[Field]>, HopError>> {
        Eventual::Ready(Ok(Arc::clone(&self.plain)))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;
    use crate::{Chosen, Preferences, Request, Settings};

    fn build(yaml: &str) -> Result<Arc<dyn Hop>, String> {
        let settings: Settings = serde_yaml::from_str(yaml).unwrap();
        let config = settings.read::<Config>().map_err(|invalid| invalid[0].path().to_string())?;
        let built = config.build(&BuildContext::new(".".as_ref()));
        built.map_err(|invalid| Vec::from(invalid)[0].path().to_string())
    }

    #[tokio::test]
    async fn connect_has_the_operators_fields_and_ours_last() {
        let yaml = "{address: 'a.example:1', username: u, password: p, headers: {X-B: b, X-A: a}}";
        let link = choose(build(yaml).unwrap()).await.link;
        let (near, mut far) = duplex(1024);
        let answer = "HTTP/1.1 200 OK\r\n\r\n";
        far.write_all(answer.as_bytes()).await.unwrap();
        let tunnel = link.extend(Tunnel::layered(near), &"b.example:2".parse().unwrap()).await;
        drop(tunnel.unwrap());
        let mut seen = String::new();
        far.read_to_string(&mut seen).await.unwrap();
        assert_eq!(
            seen,
            "CONNECT b.example:2 HTTP/1.1\r\nHost: b.example:2\r\nX-A: a\r\nX-B: b\r\n\
             Proxy-Authorization: Basic dTpw\r\n\r\n"
        );
        // A plain request's fields reach the target; the operator's are for the hop alone.
        let line = RequestLine { method: "GET", uri: &"http://b.example/" };
        let mut tunnel = Tunnel::layered(duplex(1).0);
        let fields = link.authorize(&mut tunnel, line).wait().await.unwrap();
        let names = fields.iter().map(|field| &*field.name);
        assert_eq!(names.collect::<Vec<_>>(), ["Proxy-Authorization"]);
    }

    async fn choose(hop: Arc<dyn Hop>) -> Chosen {
        let (target, preferences) = ("b.example:2".parse().unwrap(), Preferences::default());
        hop.choose(Request::new(&target, &preferences)).wait().await.unwrap()
    }

    #[test]
    fn plain_requests_go_as_the_operator_says() {
        let forwards = |plain| {
            let hop = build(&format!("{{address: 'a.example:1'{plain}}}"));
            hop.map(|hop| hop.describe().forwards)
        };
        assert_eq!(forwards(""), Ok(true));
        assert_eq!(forwards(", plain: absolute"), Ok(true));
        assert_eq!(forwards(", plain: connect"), Ok(false));
        assert_eq!(forwards(", plain: tunnel"), Err("plain".into()));
    }
}
