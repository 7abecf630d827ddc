//! The problems that the files of a listener's TLS can have.

use std::fmt;

use mooltiroute_hops::tls::{FileContent, certificate::OutOfDate};
use thiserror::Error;

/// A setting below `tls` that names a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsSetting {
    /// The chain of certificates.
    Cert,
    /// The private key.
    Key,
    /// The authorities of clients.
    ClientCa,
}

/// One thing that is wrong with a file. Positions of certificates in the file count from one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TlsProblem {
    /// The file has no certificate.
    #[error("the file has no certificate; expected `-----BEGIN CERTIFICATE-----`")]
    NoCertificate(TlsSetting),
    /// The file holds something else.
    #[error("the file is {}; expected a {} as PEM", .1.in_words(), .0.expected())]
    Instead(TlsSetting, FileContent),
    /// The paths of the certificate and the key are swapped.
    #[error("`cert` names a private key, and `key` a certificate")]
    Swapped,
    /// The file has a section that does not decode.
    #[error("the file is not valid PEM: {1}")]
    BrokenPem(TlsSetting, &'static str),
    /// A certificate that is not X.509.
    #[error("certificate {position} of the file can't be read")]
    NotACertificate {
        /// The certificate.
        position: usize,
    },
    /// A certificate that is valid at another time.
    #[error("certificate {position} of the file {}", dates(reason))]
    OutOfDate {
        /// The certificate.
        position: usize,
        /// How its dates differ from now.
        reason: OutOfDate,
    },
    /// A certificate that is not followed by that of its issuer.
    #[error(
        "certificate {} of the file did not issue certificate {position}, so clients can't verify the chain",
        position + 1
    )]
    Order {
        /// The certificate whose issuer should come next.
        position: usize,
    },
    /// The key belongs to a later certificate of the chain.
    #[error(
        "the server's certificate is not the first of the file: `key` belongs to certificate {position}"
    )]
    KeyOfAnother {
        /// The certificate to which it belongs.
        position: usize,
    },
    /// The key belongs to none of the certificates.
    #[error("the key does not belong to the certificate in `cert`")]
    KeyMismatch,
    /// The file has no private key.
    #[error("the file has no private key; expected `-----BEGIN PRIVATE KEY-----`")]
    NoKey,
    /// The key needs a passphrase.
    #[error("the key is encrypted, and Mooltiroute can't ask for its passphrase")]
    EncryptedKey,
    /// A file that is well-formed and yet can't be used.
    #[error("can't be used: {1}")]
    Unusable(TlsSetting, String),
}

impl TlsProblem {
    /// Returns the setting whose file has the problem.
    pub fn setting(&self) -> TlsSetting {
        match self {
            Self::NoCertificate(setting)
            | Self::Instead(setting, _)
            | Self::BrokenPem(setting, _)
            | Self::Unusable(setting, _) => *setting,
            Self::Swapped
            | Self::NotACertificate { .. }
            | Self::OutOfDate { .. }
            | Self::Order { .. }
            | Self::KeyOfAnother { .. } => TlsSetting::Cert,
            Self::KeyMismatch | Self::NoKey | Self::EncryptedKey => TlsSetting::Key,
        }
    }

    /// Returns what to do.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Instead(TlsSetting::Key, content) => content.to_private_key(),
            Self::Instead(TlsSetting::Cert | TlsSetting::ClientCa, content) => {
                content.to_certificates()
            }
            Self::Swapped => "swap the two paths",
            Self::NoCertificate(_) => {
                "write a PEM file with a certificate; authorities call it `.pem` or `.crt`"
            }
            Self::NoKey => {
                "write a PEM file with the private key that the certificate was made with"
            }
            Self::BrokenPem(..) => "copy the file again, from its first to its last line",
            Self::NotACertificate { .. } => "replace it with an X.509 certificate in PEM",
            Self::OutOfDate { reason: OutOfDate::Expired { .. }, .. } => {
                "renew it; a new file takes effect without a restart"
            }
            Self::OutOfDate { reason: OutOfDate::NotYetValid { .. }, .. } => {
                "check the clock of this machine, or use the previous certificate until then"
            }
            Self::Order { .. } | Self::KeyOfAnother { .. } => {
                "write the server's certificate first, and each certificate before that of its issuer"
            }
            Self::KeyMismatch => {
                "use the key that the certificate was made with: `openssl x509 -in CERT -pubkey -noout` and `openssl \
                 pkey -in KEY -pubout` must print the same"
            }
            Self::EncryptedKey => {
                "`openssl pkey -in KEY -out NEW` removes the passphrase; make the new file readable for the proxy only"
            }
            Self::Unusable(TlsSetting::Key, _) => "use an RSA, ECDSA (P-256, P-384) or Ed25519 key",
            Self::Unusable(TlsSetting::Cert | TlsSetting::ClientCa, _) => {
                "use X.509 certificates of version 3"
            }
        }
    }
}

impl TlsSetting {
    /// Returns the key of the setting.
    pub fn key(self) -> &'static str {
        match self {
            Self::Cert => "cert",
            Self::Key => "key",
            Self::ClientCa => "client_ca",
        }
    }

    /// Names what the file of the setting has to hold.
    fn expected(self) -> &'static str {
        match self {
            Self::Cert | Self::ClientCa => "certificate",
            Self::Key => "private key",
        }
    }
}

fn dates(reason: &OutOfDate) -> impl fmt::Display {
    let (words, time) = match *reason {
        OutOfDate::NotYetValid { from } => ("is not valid before", from),
        OutOfDate::Expired { at } => ("expired on", at),
    };
    format!("{words} {}", humantime::format_rfc3339_seconds(time))
}
