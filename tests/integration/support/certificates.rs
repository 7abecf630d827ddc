//! A certificate authority for one test.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tempfile::TempDir;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig, crypto,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

/// An authority, and one certificate of it for `localhost` and 127.0.0.1.
#[derive(Debug)]
pub(crate) struct Certificates {
    directory: TempDir,
    issuer: Issuer<'static, KeyPair>,
    acceptor_config: Arc<ServerConfig>,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut authority = CertificateParams::default();
        // Two authorities with one name would be taken for one that has changed its key.
        let name = format!("Throw-away authority {}", directory.path().display());
        authority.distinguished_name.push(DnType::CommonName, name);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority_key = KeyPair::generate().unwrap();
        let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
        let issuer = Issuer::new(authority, authority_key);

        let names = ["localhost", "127.0.0.1"].map(String::from);
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();

        fs::write(directory.path().join("ca.pem"), authority_pem).unwrap();
        fs::write(directory.path().join("certificate.pem"), certificate.pem()).unwrap();
        fs::write(directory.path().join("key.pem"), key.serialize_pem()).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        Self { directory, issuer, acceptor_config: Arc::new(config) }
    }

    /// Issues a certificate for `name`, for clients and servers, until the end of the year before `end`. Returns the files
    /// of the certificate and its key.
    pub(crate) fn issue(&self, name: &str, end: i32) -> [PathBuf; 2] {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_after = date_time_ymd(end, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = ["pem", "key"].map(|kind| self.path().join(format!("{name}-{end}.{kind}")));
        fs::write(&files[0], certificate.pem()).unwrap();
        fs::write(&files[1], key.serialize_pem()).unwrap();
        files
    }

    /// Returns the directory of all files: `ca.pem`, `certificate.pem` and `key.pem`, and those that were issued.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Returns the value of `tls` for a listener with the certificate.
    pub(crate) fn listener_tls(&self) -> String {
        let [certificate, key] =
            ["certificate.pem", "key.pem"].map(|file| self.path().join(file).display().to_string());
        format!("cert: '{certificate}', key: '{key}'")
    }

    /// Returns an acceptor of TLS with the certificate.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.acceptor_config))
    }

    /// Returns the file with the certificate of the authority, for programs that should trust it.
    pub(crate) fn authority_file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// Returns the PEM texts of the certificate and its key, for a peer that is another program.
    pub(crate) fn pem_texts(&self) -> [String; 2] {
        ["certificate.pem", "key.pem"]
            .map(|file| fs::read_to_string(self.directory.path().join(file)).unwrap())
    }
}
