//! A verifier that also accepts the certificates which the operator listed.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

use super::certificate::{CertificateFacts, OutOfDate};

/// Verifies that a server shows one of certain certificates, or one of their authorities.
///
/// `openssl req -x509` makes a certificate that is an authority and a server in one. The path validation of RFC 5280 refuses
/// it, because an authority must not be an end entity, and so does rustls, even if the operator trusts this very certificate.
/// Other clients, such as curl, accept it. If the file contains the server's certificate byte for byte, there is no path to
/// validate. Its name and its dates are checked, and so is the signature of the handshake, which proves that the server has
/// the key.
#[derive(Debug)]
pub(super) struct PinnedVerifier {
    pinned: Vec<CertificateDer<'static>>,
    authorities: Arc<dyn ServerCertVerifier>,
}

impl PinnedVerifier {
    /// Accepts each of `pinned` itself, and everything that `authorities` accepts.
    pub(super) fn new(
        pinned: Vec<CertificateDer<'static>>,
        authorities: Arc<dyn ServerCertVerifier>,
    ) -> Self {
        Self { pinned, authorities }
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // Only the path is not checked. A pinned certificate that has expired or is for another name is refused.
        if self.pinned.iter().any(|pinned| pinned == end_entity) {
            check_dates(end_entity, now)?;
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        self.authorities.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

fn check_dates(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let facts = CertificateFacts::read(certificate).ok_or(CertificateError::BadEncoding)?;
    let at = |time: std::time::SystemTime| {
        UnixTime::since_unix_epoch(time.duration_since(UNIX_EPOCH).unwrap_or_default())
    };
    match facts.check_dates(UNIX_EPOCH + Duration::from_secs(now.as_secs())) {
        Ok(()) => Ok(()),
        Err(OutOfDate::NotYetValid { from }) => {
            Err(CertificateError::NotValidYetContext { time: now, not_before: at(from) }.into())
        }
        Err(OutOfDate::Expired { at: end }) => {
            Err(CertificateError::ExpiredContext { time: now, not_after: at(end) }.into())
        }
    }
}
