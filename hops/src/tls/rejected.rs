//! Says in words why a certificate was refused. rustls shows the names of its own errors.

use std::{io, sync::Arc};

use thiserror::Error;
use tokio_rustls::rustls::{
    self, CertificateError, DigitallySignedStruct, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::certificate::CertificateFacts;

/// A verifier that says of a certificate it refuses whether that has issued itself.
///
/// Such a certificate can only be trusted by naming it, so its operator needs other advice than one whose authority is
/// missing. rustls has two errors for it, depending on the extensions of the certificate.
#[derive(Debug)]
pub(super) struct NotingSelfSigned(pub(super) Arc<dyn ServerCertVerifier>);

/// A certificate that has issued itself, and that the operator did not name.
#[derive(Debug, Error)]
#[error("it is self-signed")]
struct SelfSigned;

impl ServerCertVerifier for NotingSelfSigned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified =
            self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        verified.map_err(|error| {
            // These errors are about the path. A wrong name or date is reported as such.
            let is_of_path = matches!(
                error,
                rustls::Error::InvalidCertificate(
                    CertificateError::UnknownIssuer | CertificateError::Other(_)
                )
            );
            let facts = CertificateFacts::read(end_entity).filter(|_| is_of_path);
            match facts.is_some_and(|facts| facts.names_as_issuer(&facts)) {
                true => CertificateError::Other(OtherError(Arc::new(SelfSigned))).into(),
                false => error,
            }
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Returns `error`, which is about a certificate, in words.
pub(super) fn in_words(error: io::Error) -> io::Error {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let words = match tls {
        Some(rustls::Error::InvalidCertificate(reason)) => reason_in_words(reason),
        Some(rustls::Error::NoCertificatesPresented) => Some("it shows none".to_owned()),
        _ => None,
    };
    words.map_or_else(|| error, |words| io::Error::new(io::ErrorKind::InvalidData, words))
}

fn reason_in_words(reason: &CertificateError) -> Option<String> {
    Some(match reason {
        CertificateError::UnknownIssuer => {
            "no authority that is trusted here has issued it".to_owned()
        }
        CertificateError::Other(OtherError(other)) if other.is::<SelfSigned>() => {
            SelfSigned.to_string()
        }
        CertificateError::NotValidForName => "it is for another name".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            // rustls writes `DnsName("NAME")`.
            let names: Vec<_> =
                presented.iter().map(|name| name.split('"').nth(1).unwrap_or(name)).collect();
            format!("it is for {}, and not for {}", names.join(", "), expected.to_str())
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet, or the clock of this machine is wrong".to_owned()
        }
        CertificateError::Revoked => "it was revoked".to_owned(),
        CertificateError::BadEncoding => "it can't be read".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not meant for servers".to_owned()
        }
        _ => return None,
    })
}
