//! The reasons why a client did not complete its handshake with a listener.

use std::{borrow::Cow, io};

use mooltiroute_hops::tls::{certificate_in_words, library_name};
use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};

/// Says in plain words why a handshake failed. The library's own words follow in parentheses, since people search for them.
pub(crate) fn in_words(error: &io::Error) -> Cow<'static, str> {
    let source = error.get_ref().and_then(|source| source.downcast_ref::<Error>());
    let reason = match source {
        Some(Error::AlertReceived(alert)) => {
            let words = of_alert(*alert).unwrap_or(ENDED_BY_CLIENT);
            return format!("{words} (alert {alert:?})").into();
        }
        Some(Error::NoCertificatesPresented) => {
            "the client sent no certificate, and `client_ca` of this listener asks for one"
        }
        Some(Error::InvalidCertificate(invalid)) => match invalid {
            CertificateError::UnknownIssuer => {
                "no authority in `client_ca` of this listener has issued the client's certificate"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the client's certificate has expired"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the client's certificate is not valid yet"
            }
            other => {
                let (words, name) = (certificate_in_words(other), library_name(other));
                return format!(
                    "the client's certificate is not accepted: {words}; {ISSUE} ({name})"
                )
                .into();
            }
        },
        Some(Error::PeerIncompatible(_)) => {
            "the client and this listener have no version or cipher of TLS in common; the listener speaks TLS 1.2 and 1.3"
        }
        Some(Error::InvalidMessage(_)) => {
            "the client does not speak TLS, or what it sent was damaged"
        }
        _ => return error.to_string().into(),
    };
    format!("{reason} ({error})").into()
}

/// Says what a client means by an alert (RFC 8446 §6.2). Libraries choose among those about certificates as they like.
fn of_alert(alert: AlertDescription) -> Option<&'static str> {
    Some(match alert {
        AlertDescription::UnknownCA
        | AlertDescription::CertificateUnknown
        | AlertDescription::BadCertificate => {
            "the client does not trust this proxy's certificate; give it the authority that issued `cert` of this listener, \
             and check that the certificate is for the name in the client's proxy URL"
        }
        AlertDescription::CertificateExpired => {
            "the client says that this proxy's certificate has expired; renew `cert` of this listener, or correct the \
             client's clock"
        }
        AlertDescription::UnsupportedCertificate => {
            "the client can't use this proxy's certificate; take one with another kind of key as `cert` of this listener"
        }
        AlertDescription::ProtocolVersion => "the client can't speak the version of TLS",
        _ => return None,
    })
}

const ISSUE: &str = "give the client a certificate that an authority in `client_ca` has issued for clients (`openssl req -x509` makes authorities)";
const ENDED_BY_CLIENT: &str = "the client ended the handshake";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio_rustls::rustls::OtherError;

    use super::*;

    fn told(error: Error) -> String {
        in_words(&io::Error::new(io::ErrorKind::InvalidData, error)).into_owned()
    }

    #[test]
    fn alerts_and_missing_certificates_have_plain_words_and_their_name() {
        for (error, words, name) in [
            (
                Error::AlertReceived(AlertDescription::UnknownCA),
                "does not trust",
                "(alert UnknownCA)",
            ),
            (
                Error::AlertReceived(AlertDescription::CertificateUnknown),
                "does not trust",
                "(alert CertificateUnknown)",
            ),
            (
                Error::AlertReceived(AlertDescription::UserCanceled),
                "the client ended the handshake",
                "(alert UserCanceled)",
            ),
            (Error::NoCertificatesPresented, "`client_ca`", "(peer sent no certificates)"),
            (
                Error::InvalidCertificate(CertificateError::UnknownIssuer),
                "no authority in `client_ca`",
                "UnknownIssuer",
            ),
        ] {
            let told = told(error);
            assert!(told.contains(words) && told.contains(name), "{told}");
        }
        assert_eq!(in_words(&io::Error::other("broken")), "broken");
        let inner = io::Error::other("CaUsedAsEndEntity");
        let other = CertificateError::Other(OtherError(Arc::new(inner)));
        let words = told(Error::InvalidCertificate(other));
        assert!(words.contains("the certificate of an authority (`CA:TRUE`)"), "{words}");
        assert!(words.ends_with("(CaUsedAsEndEntity)") && !words.contains("OtherError"), "{words}");
    }
}
