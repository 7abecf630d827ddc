//! `kind: http-connect`: an HTTP proxy, such as a company's, with or without credentials and TLS.

mod attempt;
mod authenticator;
mod diagnosis;
mod explanations;
mod kerberos;
mod lockout;
mod settings;
mod sign_on;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::{
    authenticator::{Authenticator, Authorized, ConnectEnd, LoginConnection, ProbeEnd},
    kerberos::KerberosSettings,
    settings::{Scheme, Written},
};
use crate::{
    Authority, BuildContext, Eventual, Field, FieldName, Hop, HopConfig, HopError, InvalidSettings,
    Link, LinkSettings, Meaning, OneOrList, PassHeaders, PlainRequest, Readiness, Refusal, Secret,
    Tunnel, async_trait,
    auth::channel_bindings::ChannelBindings,
    credentials, exchange, field,
    refusal::{CREDENTIALS_NEEDED, CREDENTIALS_REJECTED},
    tls::{TlsClient, TlsSettings},
};

/// The settings of an HTTP proxy.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpConnectConfig {
    /// The address of the proxy, as `host:port`.
    address: Authority,
    /// The schemes that may be used, in order of preference: `negotiate`, `ntlm`, `digest`, `basic`. Default: Basic if
    /// there is a `username`, or else none. Basic alone is sent without waiting for a challenge.
    auth: Option<OneOrList<Scheme>>,
    /// Kerberos settings of Negotiate. Default: the tickets of the logged-in user.
    kerberos: Option<KerberosSettings>,
    /// The username. With NTLM also `DOMAIN\user` or `user@domain`. Requires `password` or `nt_hash`, except with
    /// Negotiate, which uses the ticket of this user then.
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
    /// Header fields that pass from the client's CONNECT to this hop, if it is the last one, such as
    /// `X-ProxyMesh-Country`.
    #[serde(default)]
    pass_headers: Vec<FieldName>,
    /// Header fields that pass from this hop's 200 to the client, if it is the last one, such as `X-ProxyMesh-IP`.
    #[serde(default)]
    return_headers: Vec<FieldName>,
    /// How `http://` requests are sent to this hop if it is the last one: in absolute form (`absolute`), or through a
    /// tunnel (`connect`). Many proxies allow a tunnel to port 443 only.
    #[serde(default)]
    plain: Plain,
}

/// How plain requests pass a hop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Plain {
    /// The hop gets them whole, in absolute-form, and forwards them.
    #[default]
    Absolute,
    /// Through a tunnel, as all else.
    Connect,
}

/// A proxy that speaks CONNECT, and takes plain requests in absolute-form.
#[derive(Clone, Debug)]
struct HttpConnect {
    address: Authority,
    tls: Option<TlsClient>,
    /// The operator's fields of each CONNECT.
    connect: Arc<[Field]>,
    /// The fields of a plain request that needs no rounds.
    plain: Arc<[Field]>,
    /// Whether plain requests are sent in absolute-form.
    forwards: bool,
    /// The credentials, if there are any.
    authenticator: Option<Arc<Authenticator>>,
    /// The outcome of asking whether the proxy wants credentials, if this is to serve the request that was about.
    probed: Option<Arc<Probed>>,
    pass_headers: PassHeaders,
    head_bytes_max: usize,
}

/// The outcome of asking whether the proxy wants credentials, which counts for one request.
#[derive(Debug)]
struct Probed {
    end: ProbeEnd,
    is_used: AtomicBool,
}

impl HopConfig for HttpConnectConfig {
    const KIND: &'static str = "http-connect";
    const SHOWN: &'static [&'static str] = &["auth", "tls", "plain"];

    fn build(self, context: &BuildContext<'_>) -> Result<Arc<dyn Hop>, InvalidSettings> {
        let from_file = self.password_file.as_deref();
        let key = if from_file.is_some() { "password_file" } else { "password" };
        let username = self.username.as_ref();
        let password = credentials::password(self.password, from_file, username, context)?;
        let tls = TlsClient::new(&self.tls, self.address.host(), context)?;
        let written = Written {
            context,
            address: &self.address,
            schemes: self.auth.map(|OneOrList(schemes)| schemes),
            username: self.username,
            password,
            password_key: key,
            nt_hash: self.nt_hash,
            kerberos: self.kerberos,
        };
        // The authenticator is shared by all connections of the hop: what one learns from a 407, and a rejection that
        // one meets, holds for all of them.
        let authenticator = written.check()?.map(Arc::new);
        let connect = field::checked("headers", self.headers)?;
        let pass_headers = PassHeaders::new(self.pass_headers, self.return_headers, &connect)?;
        // The operator's fields are left out here: the hop passes a plain request on with all its fields, and the
        // target would see them.
        let basic = authenticator.as_ref().and_then(|one| one.basic());
        let plain = basic.map(|basic| Field::new("Proxy-Authorization", basic.clone()));
        Ok(Arc::new(HttpConnect {
            address: self.address,
            tls,
            connect: connect.into(),
            plain: plain.into_iter().collect(),
            forwards: self.plain == Plain::Absolute,
            authenticator,
            probed: None,
            pass_headers,
            head_bytes_max: context.head_bytes_max(),
        }))
    }
}

impl HttpConnect {
    /// Has the proxy extend the tunnel to `next`, with the credentials that it asks for.
    async fn log_in(
        &self,
        authenticator: &Authenticator,
        mut tunnel: Tunnel,
        next: &Authority,
    ) -> Result<Tunnel, HopError> {
        let bindings = self.bindings(&tunnel);
        let connection = self.login_connection(&mut tunnel, bindings.as_ref());
        match authenticator.connect(connection, next, &self.connect).await? {
            ConnectEnd::Connected => Ok(tunnel),
            // The authenticator is shared, and so knows on the next connection what the proxy asked for.
            ConnectEnd::Closes => {
                Err(HopError::Again(Arc::new(self.after_probe(Some(ProbeEnd::Asked)))))
            }
        }
    }

    /// Describes the connection of `tunnel` for the next request on it.
    fn login_connection<'a>(
        &self,
        tunnel: &'a mut Tunnel,
        bindings: Option<&'a ChannelBindings>,
    ) -> LoginConnection<'a> {
        let (probed, head_bytes_max) = (self.take_probed(), self.head_bytes_max);
        LoginConnection { tunnel, probed, bindings, head_bytes_max }
    }

    /// Returns the link for the connection on which a request goes on.
    fn after_probe(&self, end: Option<ProbeEnd>) -> Self {
        let probed = end.map(|end| Arc::new(Probed { end, is_used: AtomicBool::new(false) }));
        Self { probed, ..self.clone() }
    }

    /// Returns the outcome of asking whether the proxy wants credentials, for the first request that is to know.
    fn take_probed(&self) -> Option<ProbeEnd> {
        let probed = self.probed.as_ref()?;
        (!probed.is_used.swap(true, Relaxed)).then_some(probed.end)
    }

    /// Returns the bindings to the TLS connection with this hop, if there is one and its certificate has any.
    fn bindings(&self, tunnel: &Tunnel) -> Option<ChannelBindings> {
        // Without TLS of its own, the layer on top belongs to a hop before this one.
        let certificate = self.tls.as_ref().and_then(|_| tunnel.peer_certificate())?;
        ChannelBindings::tls_server_end_point(certificate).ok()
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

    fn settings(&self) -> LinkSettings {
        let settings = LinkSettings::http().with_credentials(self.authenticator.is_some());
        match &self.authenticator {
            Some(authenticator) => settings.with_secret_key(authenticator.secret_key()),
            None => settings,
        }
    }

    fn pass_headers(&self) -> Option<&PassHeaders> {
        Some(&self.pass_headers)
    }

    async fn extend(&self, tunnel: Tunnel, next: &Authority) -> Result<Tunnel, HopError> {
        match &self.authenticator {
            // Boxed, so that tunnels through hops without credentials don't need its room.
            Some(authenticator) => Box::pin(self.log_in(authenticator, tunnel, next)).await,
            None => exchange::connect(tunnel, next, &self.connect, self.head_bytes_max).await,
        }
    }

    fn forwards(&self) -> bool {
        self.forwards
    }

    fn authorize<'a>(
        &'a self,
        tunnel: &'a mut Tunnel,
        request: PlainRequest<'a>,
    ) -> Eventual<'a, Result<Arc<[Field]>, HopError>> {
        let Some(authenticator) = &self.authenticator else {
            return Eventual::Ready(Ok(Arc::clone(&self.plain)));
        };
        // A password that was rejected for a tunnel is not sent with plain requests either while the rejection
        // counts.
        match authenticator.is_ready(tunnel, request.target) {
            Ok(false) => {}
            ready => return Eventual::Ready(ready.map(|_| Arc::clone(&self.plain))),
        }
        Eventual::later(async move {
            let bindings = self.bindings(tunnel);
            let connection = self.login_connection(tunnel, bindings.as_ref());
            match authenticator.authorize(connection, request).await? {
                Authorized::Ready(fields) => Ok(fields),
                Authorized::NeedsConnection(probed) => {
                    Err(HopError::Again(Arc::new(self.after_probe(probed))))
                }
            }
        })
    }

    fn explain(&self, refusal: &mut Refusal) {
        // A refusal with a summary is in words of our own, in which the names of users and domains may stand.
        if let (Some(authenticator), None) = (&self.authenticator, &refusal.summary) {
            authenticator.leave_secrets_out(refusal);
        }
        if refusal.meaning == Meaning::Credentials && refusal.summary.is_none() {
            let is_sent = self.authenticator.is_some();
            refusal.summary =
                Some(if is_sent { CREDENTIALS_REJECTED } else { CREDENTIALS_NEEDED }.into());
        }
    }

    fn readiness(&self) -> Vec<Readiness> {
        self.authenticator.as_ref().map_or_else(Vec::new, |one| one.readiness())
    }

    fn held_back(&self) -> Option<Duration> {
        self.authenticator.as_ref()?.held_back()
    }

    fn release(&self) {
        if let Some(authenticator) = &self.authenticator {
            authenticator.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;
    use crate::{Chosen, Preferences, Request, RequestLine, Settings};

    fn build(yaml: &str) -> Result<Arc<dyn Hop>, String> {
        let settings: Settings = serde_yaml::from_str(yaml).unwrap();
        let config = settings
            .read::<HttpConnectConfig>()
            .map_err(|invalid| invalid[0].path().to_string())?;
        let built = config.build(&BuildContext::new(".".as_ref()));
        built.map_err(|invalid| Vec::from(invalid)[0].path().to_string())
    }

    #[tokio::test]
    async fn connect_has_the_operators_fields_and_ours_last() {
        let yaml = "{address: 'a.example:1', username: u, password: p, headers: {X-B: b, X-A: a}}";
        let link = choose(build(yaml).unwrap()).await.link.unwrap();
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
        let mut tunnel = Tunnel::layered(duplex(1).0);
        let fields = link.authorize(&mut tunnel, get(&target())).wait().await.unwrap();
        let names = fields.iter().map(|field| &*field.name);
        assert_eq!(names.collect::<Vec<_>>(), ["Proxy-Authorization"]);
    }

    fn target() -> Authority {
        "b.example:80".parse().unwrap()
    }

    fn get(target: &Authority) -> PlainRequest<'_> {
        let line = RequestLine { method: "GET", uri: &"http://b.example/" };
        PlainRequest::new(line, target)
    }

    async fn choose(hop: Arc<dyn Hop>) -> Chosen {
        let (target, preferences) = ("b.example:2".parse().unwrap(), Preferences::default());
        hop.choose(Request::new(&target, &preferences)).wait().await.unwrap()
    }

    #[test]
    fn negotiate_needs_a_name_and_no_credentials() {
        for (settings, invalid) in [
            ("a.example:1', auth: [negotiate]}", None),
            ("a.example:1', auth: [negotiate], username: alice}", None),
            (
                "a.example:1', auth: [negotiate, ntlm], username: u, nt_hash: '0cb6948805f797bf2a82807973b89537'}",
                None,
            ),
            ("10.0.0.1:1', auth: [negotiate], kerberos: {spn: HTTP/a@B, ccache: /c}}", None),
            ("a.example:1', auth: [negotiate], kerberos: {ccache: c}}", Some("kerberos.ccache")),
            ("10.0.0.1:1', auth: [negotiate]}", Some("address")),
            ("a.example:1', auth: [negotiate], kerberos: {spn: a.example}}", Some("kerberos.spn")),
            ("a.example:1', auth: [negotiate], kerberos: {keytab: f}}", Some("kerberos.keytab")),
            (
                "a.example:1', auth: [negotiate], kerberos: {keytab: f, principal: a}}",
                Some("kerberos.keytab"),
            ),
            (
                "a.example:1', auth: [ntlm], kerberos: {}, username: u, password: p}",
                Some("kerberos"),
            ),
            ("a.example:1', auth: [negotiate, digest], username: u}", Some("auth")),
            ("a.example:1', auth: [negotiate], password: p}", Some("password")),
        ] {
            let built = build(&format!("{{address: '{settings}"));
            assert_eq!(built.err().as_deref(), invalid, "{settings}");
        }
    }

    #[tokio::test]
    async fn a_missing_ticket_leaves_the_next_listed_scheme() {
        let yaml = "{address: 'a.example:1', auth: [negotiate, basic], username: u, password: p, \
                    kerberos: {ccache: 'FILE:/nonexistent/tickets'}}";
        let link = choose(build(yaml).unwrap()).await.link.unwrap();
        let (near, mut far) = duplex(4096);
        let challenge = "HTTP/1.1 407 Who\r\nProxy-Authenticate: Negotiate\r\n\
                         Proxy-Authenticate: Basic realm=\"a\"\r\nContent-Length: 0\r\n\r\n";
        let proxy = async {
            let mut seen = String::new();
            for (number, answer) in [(1, challenge), (2, "HTTP/1.1 200 OK\r\n\r\n")] {
                while seen.matches("\r\n\r\n").count() < number {
                    seen.push(char::from(far.read_u8().await.unwrap()));
                }
                far.write_all(answer.as_bytes()).await.unwrap();
            }
            seen
        };
        let next = "b.example:2".parse().unwrap();
        let (connected, seen) = tokio::join!(link.extend(Tunnel::layered(near), &next), proxy);
        connected.unwrap();
        let sent = seen.lines().filter(|line| line.starts_with("Proxy-Authorization"));
        assert_eq!(sent.collect::<Vec<_>>(), ["Proxy-Authorization: Basic dTpw"]);
    }

    #[tokio::test]
    async fn a_rejected_basic_password_is_sent_once_for_plain_requests_too() {
        let hop = build("{address: 'rejects.example:1', username: u, password: p}").unwrap();
        let link = choose(hop).await.link.unwrap();
        let (near, mut far) = duplex(1024);
        far.write_all(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        let next = "b.example:2".parse().unwrap();
        link.extend(Tunnel::layered(near), &next).await.unwrap_err();
        let (near, mut far) = duplex(1024);
        let told = link.extend(Tunnel::layered(near), &next).await.unwrap_err();
        let HopError::HeldBack(held) = told else { panic!("{told}") };
        assert!(held.wait.as_secs() >= 29, "{held:?}");
        assert_eq!(far.read(&mut [0]).await.unwrap(), 0, "nothing was sent");
        let mut tunnel = Tunnel::layered(duplex(1).0);
        let told = link.authorize(&mut tunnel, get(&target())).wait().await;
        assert!(matches!(told, Err(HopError::HeldBack(_))));
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
