//! The facts of a listener's certificate that clients check, for those who set the clients up.

use std::net::IpAddr;

use mooltiroute_hops::tls::{certificate::CertificateFacts, presented_name};
use tokio_rustls::rustls::{
    CertificateError, Error,
    client::verify_server_name,
    pki_types::{CertificateDer, ServerName},
    server::ParsedCertificate,
};

use super::TlsServer;

/// The facts about the certificate of a listener that its clients depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientChecks {
    /// The names in the certificate, if the address of the listener is none of them: clients have to use one of these.
    pub(crate) other_names: Option<Vec<String>>,
    /// The authority that clients have to trust: the issuer of the last certificate that the listener sends. `None` if its only
    /// certificate is no other's work, and has to be trusted itself.
    pub(crate) issuer: Option<String>,
    /// Whether clients have to show a certificate of their own.
    pub(crate) has_client_ca: bool,
}

impl TlsServer {
    /// Returns the facts that a client which connects to `address` checks.
    pub(crate) fn client_checks(&self, address: IpAddr) -> ClientChecks {
        let last = self.chain.last().and_then(|last| CertificateFacts::read(last));
        let last = last.filter(|last| self.chain.len() > 1 || !last.names_as_issuer(last));
        ClientChecks {
            other_names: self.chain.first().and_then(|first| other_names(first, address)),
            issuer: last.and_then(|last| last.issuer_name()),
            has_client_ca: self.checks_clients(),
        }
    }
}

/// Returns the names in `certificate`, or `None` if it is for `address`.
fn other_names(certificate: &CertificateDer<'_>, address: IpAddr) -> Option<Vec<String>> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    match verify_server_name(&parsed, &ServerName::IpAddress(address.into())) {
        Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext {
            presented,
            ..
        })) => Some(presented.iter().map(|name| presented_name(name).to_owned()).collect()),
        Err(_) => Some(Vec::new()),
        Ok(()) => None,
    }
}
