//! Processes that speak TLS in front of a hop, or for the clients. So that work is not counted as a proxy's, and clients, hops and
//! the origin are the same as without TLS.

use std::{fs, io, net::SocketAddr, path::Path, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};

/// An authority and a certificate for [`NAME`], as files that all programs read.
#[derive(Debug)]
pub(super) struct Credentials(TempDir);

impl Credentials {
    /// Issues a certificate. Its files last as long as the value.
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().unwrap();
        let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([NAME.to_owned()]).unwrap();
        // OpenSSL treats a certificate whose subject equals its issuer as self-signed.
        params.distinguished_name.push(DnType::CommonName, NAME);
        let certificate = params.signed_by(&key, &issuer).unwrap().pem();
        let key = key.serialize_pem();
        let write = |file: &str, text: &str| fs::write(directory.path().join(file), text).unwrap();
        write(AUTHORITY, &authority_pem);
        write(CERTIFICATE, &certificate);
        write(KEY, &key);
        write(BOTH, &[certificate, key].concat());
        Self(directory)
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Ends TLS, and passes the decrypted bytes on to `stop`.
pub(super) async fn end(listener: TcpListener, stop: SocketAddr, credentials: &Path) {
    let certificate = CertificateDer::from_pem_file(credentials.join(CERTIFICATE)).unwrap();
    let key = PrivateKeyDer::from_pem_file(credentials.join(KEY)).unwrap();
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    loop {
        // A client may have gone before it was accepted.
        let Ok((client, _)) = listener.accept().await else { continue };
        let acceptor = acceptor.clone();
        #[expect(clippy::disallowed_methods, reason = "the process ends and so does this")]
        tokio::spawn(async move {
            let mut upstream = connect(stop).await?;
            client.set_nodelay(true)?;
            let mut client = acceptor.accept(client).await?;
            copy_bidirectional(&mut client, &mut upstream).await
        });
    }
}

/// Begins TLS with `stop` for each client.
pub(super) async fn begin(listener: TcpListener, stop: SocketAddr, credentials: &Path) {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(credentials.join(AUTHORITY)).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    loop {
        // A client may have gone before it was accepted.
        let Ok((mut client, _)) = listener.accept().await else { continue };
        let connector = connector.clone();
        #[expect(clippy::disallowed_methods, reason = "the process ends and so does this")]
        tokio::spawn(async move {
            client.set_nodelay(true)?;
            let name = ServerName::try_from(NAME).unwrap();
            let mut upstream = connector.connect(name, connect(stop).await?).await?;
            copy_bidirectional(&mut client, &mut upstream).await
        });
    }
}

async fn connect(stop: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(stop).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Returns a provider with only one cipher, so that all programs use the same one.
fn provider() -> Arc<CryptoProvider> {
    let cipher_suites = vec![ring::cipher_suite::TLS13_AES_256_GCM_SHA384];
    Arc::new(CryptoProvider { cipher_suites, ..ring::default_provider() })
}

/// The name in the certificate.
pub(super) const NAME: &str = "localhost";
/// The certificate of the authority.
pub(super) const AUTHORITY: &str = "ca.pem";
pub(super) const CERTIFICATE: &str = "certificate.pem";
pub(super) const KEY: &str = "key.pem";
/// The certificate and its key in one file.
pub(super) const BOTH: &str = "both.pem";
