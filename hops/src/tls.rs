//! TLS between this program and a hop.
//!
//! Three parts also serve TLS with clients: [`layer()`] puts an established TLS connection into a [`Tunnel`], [`certificate`]
//! reads the names and dates of a certificate, and [`FileContent`] recognises files that are not what they should be.

mod authorities;
pub mod certificate;
mod certificate_words;
mod file_content;
mod layer;
mod pinned;
mod rejected;
mod settings;

use std::{fmt, io, sync::Arc};

use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, ClientConfig, InvalidMessage,
        client::{Resumption, WebPkiServerVerifier, danger::ServerCertVerifier},
        crypto::{self, CryptoProvider},
        pki_types::ServerName,
    },
};

use self::{
    authorities::{Authorities, read_authorities},
    certificate::CertificateFacts,
    pinned::PinnedVerifier,
    rejected::ExplainingVerifier,
};
pub use self::{
    certificate_words::{certificate_in_words, library_name},
    file_content::FileContent,
    layer::layer,
    rejected::{GivenAuthorities, RejectedCertificate, RejectionReason, presented_name},
    settings::{TlsChecks, TlsSettings},
};
use crate::{BuildContext, HopError, Host, InvalidSetting, Spoken, Tunnel};

/// A client for TLS, and a warning about its settings.
#[derive(Debug)]
pub(crate) struct MadeClient {
    pub(crate) client: TlsClient,
    /// A warning about one of the checks.
    pub(crate) warning: Option<InvalidSetting>,
}

/// A TLS client for one hop.
#[derive(Clone)]
pub struct TlsClient {
    connector: TlsConnector,
    server_name: ServerName<'static>,
}

impl TlsClient {
    /// Returns the client that `settings` ask for with a hop at `host`, or `None` if they ask for no TLS.
    ///
    /// # Errors
    /// The problem below `tls`: a file that can't be read or holds no certificate, or a name that is invalid.
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

    /// Returns a client that makes these `checks` of a server at `host`.
    ///
    /// # Errors
    /// A problem of one of the `checks`, or of none of them if the system's certificates can't be used.
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
        // An authority of the operator replaces those of the system: no certificate of a public authority may serve to
        // impersonate a private proxy.
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
        // rustls calls this dangerous because a verifier could accept anything. Both of ours check the name, the dates, and
        // either the path or the certificate itself.
        let verifier = Arc::new(ExplainingVerifier::new(verifier, given));
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = builder.with_no_client_auth();
        // A client talks to only one server. With the default room for sessions with 32 servers, 6,500 hops took 710 MB.
        config.resumption = Resumption::in_memory_sessions(1);
        // A proxy that is offered HTTP/2 may choose it, and would then wait for frames that this program can't send.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let client = Self { connector: TlsConnector::from(Arc::new(config)), server_name };
        Ok(MadeClient { client, warning })
    }

    /// Returns a client with the same trust for the server at `host`, or `None` if no certificate can have that name.
    pub(crate) fn at(&self, host: &Host) -> Option<Self> {
        let server_name = server_name(None, host).ok()?;
        Some(Self { connector: self.connector.clone(), server_name })
    }

    /// Performs the TLS handshake over `tunnel`.
    ///
    /// # Errors
    /// [`HopError::Certificate`] with the reason, or [`HopError::Tls`] with what rustls says.
    pub async fn enter(&self, tunnel: Tunnel) -> Result<Tunnel, HopError> {
        // Boxed, so that a hop without TLS needs no room for it.
        match Box::pin(self.connector.connect(self.server_name.clone(), tunnel)).await {
            Ok(stream) => Ok(layer(stream)),
            // Each of the three kinds of failure has its own remedy: another authority or name, no `tls` at this port, or a
            // change of the server's settings.
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
    // Reading the system's authorities takes milliseconds. For each of thousands of hops, that would delay a start by
    // seconds.
    if let Some(verifier) = context.system_verifier.get() {
        return Ok(Arc::clone(verifier));
    }
    let verifier = Arc::new(rustls_platform_verifier::Verifier::new(provider)?);
    Ok(Arc::clone(context.system_verifier.get_or_init(|| verifier)))
}

/// Returns whether the peer sent something that is not a record of TLS.
fn is_not_tls(error: &io::Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)))
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").field("server_name", &self.server_name).finish_non_exhaustive()
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
    ServerName::try_from(name).map_err(|_| {
        InvalidSetting::new("server_name", "is not a name that a certificate can have")
    })
}

/// Returns a verifier that trusts `authorities`, and also a server that shows one of their certificates as its own.
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
