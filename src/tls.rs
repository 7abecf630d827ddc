//! TLS with clients: the certificate of a listener, and the handshake.

pub(crate) mod failed_handshake;
mod names;
mod problem;

use std::{fmt, io, sync::Arc, time::SystemTime};

use mooltiroute_hops::{
    Tunnel,
    tls::{FileContent, certificate::CertificateFacts, layer},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
        server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
        sign::CertifiedKey,
    },
};

pub(crate) use self::{
    names::ClientChecks,
    problem::{TlsProblem, TlsSetting},
};

/// Serves TLS with one certificate.
#[derive(Clone)]
pub struct TlsServer {
    acceptor: TlsAcceptor,
    /// The authorities of clients, as their PEM text. If there are any, every client must have a certificate.
    client_ca: Option<Box<str>>,
    /// The certificates that it presents.
    chain: Vec<CertificateDer<'static>>,
    out_of_date: Vec<TlsProblem>,
}

/// The PEM texts that a listener's TLS is made of.
#[derive(Clone, Copy)]
pub struct ServerPem<'a> {
    /// The certificate of the server, followed by those of its issuers.
    pub cert: &'a str,
    /// The private key of the first certificate.
    pub key: &'a str,
    /// The authorities of clients. If there are any, every client must have a certificate of one of them.
    pub client_ca: Option<&'a str>,
}

impl TlsServer {
    /// Makes a server of PEM texts. Checks everything that would make clients refuse its certificate and that can be
    /// seen without them: the order of the chain, its dates at `now`, and that the key belongs to it. Dates alone are no
    /// error; see [`out_of_date`](Self::out_of_date).
    ///
    /// # Errors
    /// All problems of all texts.
    pub fn new(pem: &ServerPem<'_>, now: SystemTime) -> Result<Self, Vec<TlsProblem>> {
        // Two problems, each with its own advice, would hide the one mistake.
        if FileContent::of_pem(pem.cert.as_bytes()) == Some(FileContent::PrivateKey)
            && FileContent::of_pem(pem.key.as_bytes()) == Some(FileContent::Certificates)
        {
            return Err(vec![TlsProblem::Swapped]);
        }
        let provider = Arc::new(ring::default_provider());
        let (mut problems, mut out_of_date) = (Vec::new(), Vec::new());
        let chain = certificates(pem.cert, TlsSetting::Cert);
        if let Ok(chain) = &chain {
            check_chain(chain, now, &mut problems, &mut out_of_date);
        }
        let key = private_key(pem.key);
        let clients = pem.client_ca.map(|text| client_verifier(text, &provider)).transpose();
        let (chain, key, clients) = match (chain, key, clients) {
            (Ok(chain), Ok(key), Ok(clients)) => (chain, key, clients),
            (chain, key, clients) => {
                out_of_date.append(&mut problems);
                out_of_date.extend(chain.err().into_iter().chain(key.err()).chain(clients.err()));
                return Err(out_of_date);
            }
        };
        match certified_key(chain, key, &provider) {
            Ok(_) if !problems.is_empty() => {
                out_of_date.append(&mut problems);
                Err(out_of_date)
            }
            Ok(certified) => {
                let made = Self::with(certified, clients, provider);
                let client_ca = pem.client_ca.map(Box::from);
                made.map(|server| Self { client_ca, out_of_date, ..server })
                    .map_err(|problem| vec![problem])
            }
            Err(problem) => {
                // The server's certificate in another place breaks the order too, and one advice is enough.
                if matches!(problem, TlsProblem::KeyOfAnother { .. }) {
                    problems.retain(|problem| !matches!(problem, TlsProblem::Order { .. }));
                }
                out_of_date.append(&mut problems);
                out_of_date.push(problem);
                Err(out_of_date)
            }
        }
    }

    fn with(
        certified: CertifiedKey,
        clients: Option<Arc<dyn ClientCertVerifier>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TlsProblem> {
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsProblem::Unusable(TlsSetting::Cert, error.to_string()))?;
        let checks_clients = clients.is_some();
        let builder = match clients {
            Some(clients) => builder.with_client_cert_verifier(clients),
            None => builder.with_no_client_auth(),
        };
        let chain = certified.cert.clone();
        let resolver = tokio_rustls::rustls::sign::SingleCertAndKey::from(certified);
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![ALPN.to_vec()];
        if checks_clients {
            // A resumed session would not be asked for its certificate again, which may have expired.
            config.session_storage = Arc::new(NoServerSessionStorage {});
        }
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self { acceptor, client_ca: None, chain, out_of_date: Vec::new() })
    }

    /// Returns the certificates that are not valid now. Each is a [`TlsProblem::OutOfDate`].
    ///
    /// They are no reason to refuse the server: time alone has made them invalid, and a proxy that refused to load them
    /// would refuse every other edit too.
    pub fn out_of_date(&self) -> &[TlsProblem] {
        &self.out_of_date
    }

    /// Returns whether both servers present the same certificates.
    pub fn has_certificates_of(&self, other: &Self) -> bool {
        self.chain == other.chain
    }

    /// Returns whether clients must have a certificate.
    pub fn checks_clients(&self) -> bool {
        self.client_ca.is_some()
    }

    /// Returns whether a client that `other` let in meets all that this server asks of clients.
    pub(crate) fn asks_no_more_of_clients_than(&self, other: &Self) -> bool {
        self.client_ca.is_none() || self.client_ca == other.client_ca
    }

    /// Performs the TLS handshake with the client at the other end of `tunnel`. There is no timeout in here.
    ///
    /// # Errors
    /// The reason why there is no TLS, and the tunnel, on which the alert that says so was sent if there is one.
    pub async fn accept(&self, tunnel: Tunnel) -> Result<Tunnel, (io::Error, Tunnel)> {
        // Boxed, so that a connection without TLS needs no room for it.
        Box::pin(self.acceptor.accept(tunnel).into_fallible()).await.map(layer)
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer").finish_non_exhaustive()
    }
}

impl fmt::Debug for ServerPem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerPem").finish_non_exhaustive()
    }
}

/// Reads all certificates of a text, at least one.
fn certificates(
    text: &str,
    setting: TlsSetting,
) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| TlsProblem::BrokenPem(setting, in_words(&error)))?;
    if certificates.is_empty() {
        let content = FileContent::of_pem(text.as_bytes());
        let instead = content.map(|content| TlsProblem::Instead(setting, content));
        return Err(instead.unwrap_or(TlsProblem::NoCertificate(setting)));
    }
    Ok(certificates)
}

/// Checks the dates of each certificate, and that each is followed by that of its issuer.
fn check_chain(
    chain: &[CertificateDer<'_>],
    now: SystemTime,
    problems: &mut Vec<TlsProblem>,
    out_of_date: &mut Vec<TlsProblem>,
) {
    let facts: Vec<_> =
        chain.iter().map(|certificate| CertificateFacts::read(certificate)).collect();
    for (index, certificate) in facts.iter().enumerate() {
        let Some(certificate) = certificate else {
            problems.push(TlsProblem::NotACertificate { position: index + 1 });
            continue;
        };
        if let Err(reason) = certificate.check_dates(now) {
            out_of_date.push(TlsProblem::OutOfDate { position: index + 1, reason });
        }
        if let Some(Some(next)) = facts.get(index + 1)
            && !certificate.names_as_issuer(next)
        {
            problems.push(TlsProblem::Order { position: index + 1 });
        }
    }
}

fn private_key(text: &str) -> Result<PrivateKeyDer<'static>, TlsProblem> {
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| match error {
        // Both ways in which OpenSSL marks a key that needs a passphrase.
        _ if text.contains("ENCRYPTED") => TlsProblem::EncryptedKey,
        pem::Error::NoItemsFound => match FileContent::of_pem(text.as_bytes()) {
            Some(content) => TlsProblem::Instead(TlsSetting::Key, content),
            None => TlsProblem::NoKey,
        },
        error => TlsProblem::BrokenPem(TlsSetting::Key, in_words(&error)),
    })
}

/// Describes an error of the PEM parser, whose own words quote the file.
fn in_words(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no `-----END …-----` line",
        pem::Error::Base64Decode(_) => "a section is not in base64",
        _ => "a section is damaged",
    }
}

/// Joins a chain and its key, after a check that they belong together.
fn certified_key(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsProblem> {
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|error| TlsProblem::Unusable(TlsSetting::Key, error.to_string()))?;
    let owns = |certificate: &CertificateDer<'static>| {
        CertifiedKey::new(vec![certificate.clone()], Arc::clone(&key)).keys_match()
    };
    let Some(first) = chain.first() else {
        return Err(TlsProblem::NoCertificate(TlsSetting::Cert));
    };
    match owns(first) {
        Ok(()) => Ok(CertifiedKey::new(chain, key)),
        Err(tokio_rustls::rustls::Error::InconsistentKeys(_)) => {
            let position = chain.iter().position(|certificate| owns(certificate).is_ok());
            Err(match position {
                Some(index) => TlsProblem::KeyOfAnother { position: index + 1 },
                None => TlsProblem::KeyMismatch,
            })
        }
        Err(error) => Err(TlsProblem::Unusable(TlsSetting::Cert, error.to_string())),
    }
}

/// Returns a verifier that asks every client for a certificate of one of the authorities in `text`.
fn client_verifier(
    text: &str,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsProblem> {
    let unusable =
        |error: &dyn fmt::Display| TlsProblem::Unusable(TlsSetting::ClientCa, error.to_string());
    let mut roots = RootCertStore::empty();
    for certificate in certificates(text, TlsSetting::ClientCa)? {
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(provider))
        .build()
        .map_err(|error| unusable(&error))
}

/// The only protocol that is spoken inside TLS to clients that negotiate one (RFC 7301). SOCKS clients do not.
const ALPN: &[u8] = b"http/1.1";

#[cfg(test)]
mod tests;
