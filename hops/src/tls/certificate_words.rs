//! Describes in plain words why the TLS library refuses a certificate.

use std::borrow::Cow;

use tokio_rustls::rustls::{CertificateError, OtherError};

/// Says why a certificate is refused, as a clause about `it`. For an error without a description here, the clause holds its name,
/// which can be looked up.
pub fn certificate_in_words(error: &CertificateError) -> Cow<'static, str> {
    match error {
        CertificateError::Revoked => "it was revoked".into(),
        CertificateError::BadEncoding => "it can't be read".into(),
        CertificateError::BadSignature => "its signature is wrong".into(),
        CertificateError::UnknownIssuer => "no trusted authority has issued it".into(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet".into()
        }
        CertificateError::UnhandledCriticalExtension => EXTENSION.into(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not meant for this side of a connection (its extended key usage)".into()
        }
        other => {
            let name = library_name(other);
            match of_name(&name) {
                Some(words) => words.into(),
                None => format!("the TLS library refuses it: {name}").into(),
            }
        }
    }
}

/// Returns the name of the innermost error, which belongs to the library that checks certificates.
pub fn library_name(error: &CertificateError) -> String {
    match error {
        // The type of the error inside is not public, and its text is its name.
        CertificateError::Other(OtherError(inner)) => inner.to_string(),
        other => format!("{other:?}"),
    }
}

fn of_name(name: &str) -> Option<&'static str> {
    Some(match name.split(['(', ' ']).next()? {
        "CaUsedAsEndEntity" => {
            "it is the certificate of an authority (`CA:TRUE`), and no authority may show its own certificate here"
        }
        "EndEntityUsedAsCa" => {
            "it was issued by a certificate that does not belong to an authority"
        }
        "PathLenConstraintViolated" | "MaximumPathDepthExceeded" => {
            "there are more authorities between it and the trusted one than allowed"
        }
        "NameConstraintViolation" => "its authority may not issue certificates for its name",
        "UnsupportedCertVersion" => OLD_VERSION,
        "UnsupportedCriticalExtension" => EXTENSION,
        "InvalidSerialNumber" => "its serial number is not valid",
        "InvalidCertValidity" => "its end date is before its start date",
        "EmptyEkuExtension" => "its extended key usage is empty",
        "MalformedExtensions"
        | "ExtensionValueInvalid"
        | "TrailingData"
        | "BadDer"
        | "BadDerTime"
        | "MalformedDnsIdentifier" => "it can't be read",
        "UnsupportedSignatureAlgorithm"
        | "UnsupportedSignatureAlgorithmContext"
        | "UnsupportedSignatureAlgorithmForPublicKey"
        | "UnsupportedSignatureAlgorithmForPublicKeyContext"
        | "SignatureAlgorithmMismatch" => {
            "it is signed with an algorithm that is not accepted, such as SHA-1"
        }
        _ => return None,
    })
}

pub(super) const OLD_VERSION: &str = "it is not of version 3 of X.509";
const EXTENSION: &str = "it has a critical extension that is not known here";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Inner(&'static str);

    #[test]
    fn no_words_are_those_of_a_programmer() {
        let other = |name| CertificateError::Other(OtherError(Arc::new(Inner(name))));
        for (error, words) in [
            (other("CaUsedAsEndEntity"), "the certificate of an authority (`CA:TRUE`)"),
            (other("TrailingData(Certificate)"), "it can't be read"),
            (other("UnsupportedCertVersion"), "version 3"),
            (CertificateError::BadSignature, "its signature is wrong"),
            (other("SomethingNew"), "the TLS library refuses it: SomethingNew"),
        ] {
            let told = certificate_in_words(&error);
            assert!(told.contains(words) && !told.contains("OtherError"), "{told}");
        }
        assert_eq!(library_name(&other("CaUsedAsEndEntity")), "CaUsedAsEndEntity");
    }
}
