//! TLS with a hop itself, inside which everything else then runs.
//!
//! Three parts also serve TLS with clients: [`layer`] puts an established TLS connection into a [`Tunnel`],
//! [`certificate`] reads the names and dates of a certificate, and [`FileContent`] names what a file holds instead.

mod authorities;
pub mod certificate;
mod file_content;
mod pinned;
mod rejected;

use std::{
    borrow::Cow,
    fmt,
    io::{self, ErrorKind},
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector, TlsStream,
    rustls::{
        self, ClientConfig, InvalidMessage,
        client::{Resumption, WebPkiServerVerifier, danger::ServerCertVerifier},
        crypto::{self, CryptoProvider},
        pki_types::ServerName,
    },
};

pub use self::file_content::FileContent;
pub use self::rejected::{GivenAuthorities, RejectedCertificate, RejectionReason, presented_name};
use self::{
    authorities::{Authorities, read_authorities},
    certificate::CertificateFacts,
    pinned::PinnedVerifier,
    rejected::ExplainingVerifier,
};
use crate::{BuildContext, CountWire, HopError, Host, InvalidSetting, Spoken, Stream, Tunnel};

/// The value of a hop's `tls:`: `true`, `false`, or a mapping of `ca` and `server_name`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TlsSettings {
    /// No TLS.
    #[default]
    Off,
    /// TLS with these checks.
    On(TlsChecks),
}

/// How the certificate of a hop is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsChecks {
    /// A PEM file with the only authorities to trust, or with the very certificate that the hop shows. Without it, the
    /// system's authorities are trusted.
    pub ca: Option<PathBuf>,
    /// The name that the certificate must have. Without it, the host of `address`.
    pub server_name: Option<String>,
}

/// A client for TLS, and a warning about its settings.
#[derive(Debug)]
pub(crate) struct MadeClient {
    pub(crate) client: TlsClient,
    /// A warning about one of the checks.
    pub(crate) warning: Option<InvalidSetting>,
}

/// Makes TLS with one hop.
#[derive(Clone)]
pub struct TlsClient {
    connector: TlsConnector,
    server_name: ServerName<'static>,
}

impl TlsClient {
    /// Returns the client that `settings` ask for with a hop at `host`, or `None` if they ask for no TLS.
    ///
    /// # Errors
    /// Names what is wrong below `tls`: a file that can't be read or holds no certificate, or a name that is none.
    pub fn new(
        settings: &TlsSettings,
        host: &Host,
        context: &BuildContext<'_>,
    ) -> Result<Option<Self>, InvalidSetting> {
        let TlsSettings::On(checks) = settings else { return Ok(None) };
        let made = Self::with_checks(checks, host, context).map_err(below_tls)?;
        made.warning.map(below_tls).into_iter().for_each(|warning| context.warn(warning));
        Ok(Some(made.client))
    }

    /// Returns the client that makes these `checks` of a server at `host`.
    ///
    /// # Errors
    /// Names one of the `checks`, or none of them if the system's certificates can't be used.
    pub(crate) fn with_checks(
        checks: &TlsChecks,
        host: &Host,
        context: &BuildContext<'_>,
    ) -> Result<MadeClient, InvalidSetting> {
        let server_name = server_name(checks.server_name.as_deref(), host)?;
        let provider = Arc::new(crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions();
        let builder = builder
            .map_err(|error| InvalidSetting::new("", format!("can't be set up: {error}")))?;
        // An authority of the operator replaces those of the system, and is not added to them: a private proxy must
        // not be impersonated with a certificate of any public authority.
        let (verifier, given, warning) = match &checks.ca {
            Some(ca) => {
                let authorities = read_authorities(ca, context)?;
                let (warning, names) = (authorities.warning.clone(), names_of(&authorities));
                let given = GivenAuthorities { file: ca.clone(), names };
                (file_verifier(authorities, provider)?, Some(given), warning)
            }
            None => {
                let verifier = system_verifier(provider, context).map_err(|error| {
                    let message = format!("the system's certificates can't be used: {error}");
                    InvalidSetting::new("", message)
                })?;
                (verifier, None, None)
            }
        };
        // rustls calls this dangerous because a verifier could accept anything. Both of ours check the path or the
        // exact certificate, the name and the dates.
        let verifier = Arc::new(ExplainingVerifier::new(verifier, given));
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = builder.with_no_client_auth();
        // Only one server is spoken to. With the usual room for sessions with 32 servers, 6,500 hops took 710 MB.
        config.resumption = Resumption::in_memory_sessions(1);
        // A proxy that is offered HTTP/2 may choose it, and then waits for frames that this program does not speak.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let client = Self { connector: TlsConnector::from(Arc::new(config)), server_name };
        Ok(MadeClient { client, warning })
    }

    /// Returns a client with the same trust for the server at `host`, or `None` if no certificate can have that name.
    pub(crate) fn at(&self, host: &Host) -> Option<Self> {
        let server_name = server_name(None, host).ok()?;
        Some(Self { connector: self.connector.clone(), server_name })
    }

    /// Makes TLS over `tunnel`.
    ///
    /// # Errors
    /// [`HopError::Certificate`] with the reason, or [`HopError::Tls`] with what rustls says.
    pub async fn enter(&self, tunnel: Tunnel) -> Result<Tunnel, HopError> {
        // Boxed, so that a hop without TLS needs no room for it.
        match Box::pin(self.connector.connect(self.server_name.clone(), tunnel)).await {
            Ok(stream) => Ok(layer(stream)),
            // The three kinds of failure have three remedies: another authority or name, no `tls` at this port, or
            // the server's own settings.
            Err(error) => Err(match rejected::of_error(&error) {
                Some(rejected) => HopError::Certificate(Box::new(rejected)),
                None if is_not_tls(&error) => HopError::OtherProtocol(Spoken::NoTls),
                None => HopError::Tls(error),
            }),
        }
    }
}

fn system_verifier(
    provider: Arc<CryptoProvider>,
    context: &BuildContext<'_>,
) -> Result<Arc<dyn ServerCertVerifier>, rustls::Error> {
    // Reading the system's authorities takes milliseconds. Once for each of thousands of hops would be seconds of a
    // start.
    if let Some(verifier) = context.system_verifier.get() {
        return Ok(Arc::clone(verifier));
    }
    let verifier = Arc::new(rustls_platform_verifier::Verifier::new(provider)?);
    Ok(Arc::clone(context.system_verifier.get_or_init(|| verifier)))
}

/// Makes a tunnel of an established TLS connection, with a server or with a client.
pub fn layer(stream: impl Into<TlsStream<Tunnel>>) -> Tunnel {
    Tunnel::layered(TlsLayer(stream.into()))
}

/// Returns whether the peer sent something that is no record of TLS.
fn is_not_tls(error: &io::Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)))
}

/// A TLS connection that may end without `close_notify`.
///
/// Many servers close the TCP connection without it: Python's `ssl`, Apache's mod_proxy_connect, Squid's
/// `https_port`. RFC 8446 section 6.1 demands the alert, and rustls reports its absence as
/// [`ErrorKind::UnexpectedEof`]. That protects protocols which can't tell a complete message from a cut one.
/// Everything that passes through a proxy can: HTTP by lengths and chunks, and a tunnel carries a protocol that would
/// meet the same end without TLS. So this is an end, and a reset stays an error.
struct TlsLayer(TlsStream<Tunnel>);

impl AsyncRead for TlsLayer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.0).poll_read(cx, buf) {
            // rustls returns every byte that it has decrypted before it reports this, so an end here loses nothing.
            Poll::Ready(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                Poll::Ready(Ok(()))
            }
            read => read,
        }
    }
}

impl AsyncWrite for TlsLayer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Stream for TlsLayer {
    fn socket(&self) -> Option<&TcpStream> {
        self.0.get_ref().0.bottom()
    }

    fn bottom_wire(&self) -> Option<&Arc<dyn CountWire>> {
        self.0.get_ref().0.bottom_wire()
    }

    fn peer_certificate(&self) -> Option<&[u8]> {
        let (_, connection) = self.0.get_ref();
        connection.peer_certificates()?.first().map(AsRef::as_ref)
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

impl<'de> Deserialize<'de> for TlsSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TlsVisitor)
    }
}

/// Writes the default of `tls` into the schema.
impl Serialize for TlsSettings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_bool(false),
            Self::On(checks) => checks.serialize(serializer),
        }
    }
}

impl JsonSchema for TlsSettings {
    fn schema_name() -> Cow<'static, str> {
        "Tls".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let checks = generator.subschema_for::<TlsChecks>();
        json_schema!({ "anyOf": [{ "type": "boolean" }, checks] })
    }
}

struct TlsVisitor;

impl<'de> de::Visitor<'de> for TlsVisitor {
    type Value = TlsSettings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`true`, `false`, or a mapping of `ca` and `server_name`")
    }

    fn visit_bool<E: de::Error>(self, is_on: bool) -> Result<TlsSettings, E> {
        Ok(if is_on { TlsSettings::On(TlsChecks::default()) } else { TlsSettings::Off })
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<TlsSettings, E> {
        // `"true"` may come from a variable, which is always a text.
        match text.parse() {
            Ok(is_on) => self.visit_bool(is_on),
            Err(_) => Err(E::invalid_type(de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<TlsSettings, A::Error> {
        TlsChecks::deserialize(de::value::MapAccessDeserializer::new(map)).map(TlsSettings::On)
    }
}

fn below_tls(invalid: InvalidSetting) -> InvalidSetting {
    invalid.below(crate::Key::Name("tls".into()))
}

fn server_name(written: Option<&str>, host: &Host) -> Result<ServerName<'static>, InvalidSetting> {
    let name = match (written, host) {
        (Some(name), _) => name.to_owned(),
        // An address is compared with the addresses in the certificate, and is not sent as SNI (RFC 6066 §3).
        (None, Host::Address(address)) => return Ok(ServerName::from(*address)),
        (None, Host::Name(name)) => name.to_string(),
    };
    ServerName::try_from(name)
        .map_err(|_| InvalidSetting::new("server_name", "is no name that a certificate can have"))
}

/// Returns a verifier that trusts `authorities`, and each of their certificates if a server shows that itself.
fn file_verifier(
    Authorities { roots, certificates, .. }: Authorities,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, InvalidSetting> {
    let authorities = WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build();
    let authorities = authorities
        .map_err(|error| InvalidSetting::new("ca", format!("can't be used: {error}")))?;
    Ok(Arc::new(PinnedVerifier::new(certificates, authorities)))
}

/// Returns the names of the first authorities, for advice. A bundle of the system has more than a hundred.
fn names_of(authorities: &Authorities) -> Vec<String> {
    let facts = authorities.certificates.iter().filter_map(|der| CertificateFacts::read(der));
    facts.filter_map(|facts| facts.subject_name()).take(NAMES_MAX).collect()
}

/// The most names of authorities that are kept for advice.
const NAMES_MAX: usize = 3;
/// The name of the protocol that [`TlsClient::enter`] speaks.
pub const PROTOCOL: &str = "TLS";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_authorities_of_the_system_are_read_once_for_a_configuration() {
        let context = BuildContext::new(Path::new(""));
        let verifier = |context: &BuildContext<'_>| {
            system_verifier(Arc::new(crypto::ring::default_provider()), context).unwrap()
        };
        let first = verifier(&context);
        assert!(Arc::ptr_eq(&first, &verifier(&context.another())));
        assert!(!Arc::ptr_eq(&first, &verifier(&BuildContext::new(Path::new("")))));
    }
}
