//! Says why a certificate was refused, with the facts that a remedy needs: who issued it, and who is trusted.

use std::{
    fmt, io,
    path::PathBuf,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use thiserror::Error;
use tokio_rustls::rustls::{
    self, CertificateError, DigitallySignedStruct, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::{
    certificate::CertificateFacts,
    certificate_words::{OLD_VERSION, certificate_in_words, library_name},
};

/// A certificate that is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct RejectedCertificate {
    /// The reason.
    pub reason: RejectionReason,
    /// The authorities that the operator gave, if any.
    pub authorities: Option<GivenAuthorities>,
}

/// The authorities in the file of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenAuthorities {
    /// The file, as the configuration names it.
    pub file: PathBuf,
    /// The names of those who own its certificates.
    pub names: Vec<String>,
}

/// The reason why a certificate is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RejectionReason {
    /// No trusted authority has issued it.
    UnknownIssuer {
        /// The name of the authority at the end of what the server sent, as far as it can be read.
        issuer: Option<String>,
        /// Whether the server sent certificates of authorities beside its own.
        has_intermediates: bool,
    },
    /// It has issued itself, and the operator did not list it.
    SelfSigned,
    /// Its version of X.509 is below 3, so it can't name a host.
    OldVersion,
    /// It is for these names, and not for the one that is expected.
    OtherName {
        /// The names that it is for. A common name does not count, so there may be none.
        names: Vec<String>,
        /// The expected name, if the library reports it.
        expected: Option<String>,
    },
    /// It was valid until then.
    Expired(Option<SystemTime>),
    /// It is valid from then on.
    NotYetValid(Option<SystemTime>),
    /// Another reason, in words.
    Other(String),
}

impl fmt::Display for RejectionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownIssuer { issuer, has_intermediates } => {
                f.write_str("no authority that is trusted here has issued it")?;
                if let Some(issuer) = issuer {
                    write!(f, "; its issuer is `{issuer}`")?;
                }
                match has_intermediates {
                    true => Ok(()),
                    false => f.write_str(", and no intermediate certificate came with it"),
                }
            }
            Self::SelfSigned => f.write_str("it is self-signed"),
            Self::OldVersion => f.write_str(OLD_VERSION),
            Self::OtherName { names, expected: Some(expected) } if names.is_empty() => {
                write!(f, "it has no subjectAltName, and so is not for {expected}")
            }
            Self::OtherName { names, expected: Some(expected) } => {
                write!(f, "it is for {}, and not for {expected}", names.join(", "))
            }
            Self::OtherName { expected: None, .. } => f.write_str("it is for another name"),
            Self::Expired(Some(at)) => write!(f, "it expired on {}", date(*at)),
            Self::Expired(None) => f.write_str("it has expired"),
            Self::NotYetValid(Some(from)) => write!(f, "it is not valid before {}", date(*from)),
            Self::NotYetValid(None) => f.write_str("it is not valid yet"),
            Self::Other(words) => f.write_str(words),
        }
    }
}

/// Returns a time as `2026-11-26 20:15 UTC`.
pub(super) fn date(time: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(time.max(UNIX_EPOCH)).to_string();
    let (day, rest) = text.split_once('T').unwrap_or((&text, ""));
    format!("{day} {} UTC", rest.get(..5).unwrap_or_default())
}

/// A verifier that collects the facts about a certificate which it refuses.
///
/// A self-signed certificate can only be trusted by listing it, so that operators need other advice than if an authority is
/// missing. rustls has two errors for such a certificate, depending on its extensions.
#[derive(Debug)]
pub(super) struct ExplainingVerifier {
    verifier: Arc<dyn ServerCertVerifier>,
    authorities: Option<GivenAuthorities>,
}

impl ExplainingVerifier {
    /// Explains the refusals of `verifier`, which trusts these authorities, or the system's if there are none.
    pub(super) fn new(
        verifier: Arc<dyn ServerCertVerifier>,
        authorities: Option<GivenAuthorities>,
    ) -> Self {
        Self { verifier, authorities }
    }
}

impl ServerCertVerifier for ExplainingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        verified.map_err(|error| {
            let rustls::Error::InvalidCertificate(reason) = &error else { return error };
            let reason = reason_of(reason, end_entity, intermediates);
            let authorities = self.authorities.clone();
            let rejected = RejectedCertificate { reason, authorities };
            CertificateError::Other(OtherError(Arc::new(rejected))).into()
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Returns the facts behind `error`, or `None` if it is not about a certificate.
pub(super) fn of_error(error: &io::Error) -> Option<RejectedCertificate> {
    let tls = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let bare = |reason| RejectedCertificate { reason, authorities: None };
    match tls {
        rustls::Error::InvalidCertificate(reason @ CertificateError::Other(OtherError(other))) => {
            let known = other.downcast_ref::<RejectedCertificate>().cloned();
            let words = || certificate_in_words(reason).into_owned();
            Some(known.unwrap_or_else(|| bare(RejectionReason::Other(words()))))
        }
        // For example, the handshake is not signed with the key of the certificate.
        rustls::Error::InvalidCertificate(reason) => Some(bare(reason_of(reason, &[], &[]))),
        rustls::Error::NoCertificatesPresented => {
            Some(bare(RejectionReason::Other("it shows none".to_owned())))
        }
        _ => None,
    }
}

fn reason_of(
    reason: &CertificateError,
    end_entity: &[u8],
    intermediates: &[CertificateDer<'_>],
) -> RejectionReason {
    let other = |words: &str| RejectionReason::Other(words.to_owned());
    match reason {
        CertificateError::UnknownIssuer | CertificateError::Other(_) => {
            // Listing such a certificate as `ca` does not help, even if it has issued itself.
            if library_name(reason).starts_with("UnsupportedCertVersion") {
                return RejectionReason::OldVersion;
            }
            let facts = CertificateFacts::read(end_entity);
            if facts.is_some_and(|facts| facts.names_as_issuer(&facts)) {
                return RejectionReason::SelfSigned;
            }
            if !matches!(reason, CertificateError::UnknownIssuer) {
                return other(&certificate_in_words(reason));
            }
            RejectionReason::UnknownIssuer {
                issuer: facts.and_then(|facts| last_issuer(facts, intermediates)),
                has_intermediates: !intermediates.is_empty(),
            }
        }
        CertificateError::NotValidForName => {
            RejectionReason::OtherName { names: Vec::new(), expected: None }
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names = presented.iter().map(|name| presented_name(name));
            RejectionReason::OtherName {
                names: names.map(str::to_owned).collect(),
                expected: Some(expected.to_str().into_owned()),
            }
        }
        CertificateError::Expired => RejectionReason::Expired(None),
        CertificateError::ExpiredContext { not_after, .. } => {
            RejectionReason::Expired(Some(system_time(*not_after)))
        }
        CertificateError::NotValidYet => RejectionReason::NotYetValid(None),
        CertificateError::NotValidYetContext { not_before, .. } => {
            RejectionReason::NotYetValid(Some(system_time(*not_before)))
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            other("it is not meant for servers")
        }
        reason => other(&certificate_in_words(reason)),
    }
}

/// Returns the name of the authority that issued the last certificate in the path that the server sent.
fn last_issuer<'a>(
    mut facts: CertificateFacts<'a>,
    intermediates: &'a [CertificateDer<'_>],
) -> Option<String> {
    // A path is never longer than the list, so this ends even if some certificates have issued each other.
    for _ in intermediates {
        let mut above = intermediates.iter().filter_map(|der| CertificateFacts::read(der));
        let Some(next) = above.find(|above| facts.names_as_issuer(above)) else { break };
        if next.names_as_issuer(&next) {
            break;
        }
        facts = next;
    }
    facts.issuer_name()
}

fn system_time(time: UnixTime) -> SystemTime {
    UNIX_EPOCH + std::time::Duration::from_secs(time.as_secs())
}

/// Returns the name in one of the texts by which rustls lists the names of a certificate: `DnsName("NAME")` or
/// `IpAddress(ADDRESS)`.
pub fn presented_name(text: &str) -> &str {
    let inner = text.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(text).trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_certificate_are_shown_bare() {
        assert_eq!(presented_name("DnsName(\"*.a.test\")"), "*.a.test");
        assert_eq!(presented_name("IpAddress(192.0.2.1)"), "192.0.2.1");
        assert_eq!(presented_name("other"), "other");
    }

    #[derive(Debug, Error)]
    #[error("{0}")]
    struct Inner(&'static str);

    #[test]
    fn a_certificate_that_can_name_no_host_has_its_own_reason() {
        let inner = OtherError(Arc::new(Inner("UnsupportedCertVersion")));
        let reason = reason_of(&CertificateError::Other(inner), &[], &[]);
        assert_eq!(reason, RejectionReason::OldVersion);
        let expected = ServerName::try_from("a.test").unwrap();
        let without_names =
            CertificateError::NotValidForNameContext { expected, presented: Vec::new() };
        let reason = reason_of(&without_names, &[], &[]);
        assert_eq!(reason.to_string(), "it has no subjectAltName, and so is not for a.test");
    }
}
