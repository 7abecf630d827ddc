//! Reads the certificates by which a hop is trusted.

use std::{path::Path, time::SystemTime};

use tokio_rustls::rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer,
        pem::{self, PemObject},
    },
};
use zeroize::Zeroizing;

use super::{
    certificate::{CertificateFacts, OutOfDate},
    file_content::FileContent,
};
use crate::{BuildContext, InvalidSetting};

/// The certificates of a file that the setting `ca` names.
#[derive(Debug)]
pub(super) struct Authorities {
    /// The certificates as authorities.
    pub(super) roots: RootCertStore,
    /// The certificates as they are.
    pub(super) certificates: Vec<CertificateDer<'static>>,
    /// A warning if none of them is valid now.
    pub(super) warning: Option<InvalidSetting>,
}

/// Reads the certificates of the file `path`, the setting `ca`.
///
/// # Errors
/// The file can't be read, is in another format than PEM, or has no usable certificate.
pub(super) fn read_authorities(
    path: &Path,
    context: &BuildContext<'_>,
) -> Result<Authorities, InvalidSetting> {
    let fail = |message: String| InvalidSetting::file("ca", message);
    // Some formats of certificates are not text. The file is read as bytes, so that the error can name its format.
    let bytes =
        context.read_binary(path).map_err(|error| fail(format!("can't be read: {error}")))?;
    let bytes = Zeroizing::new(bytes);
    let is_instead = |content: FileContent| {
        fail(format!("is {}; {}", content.in_words(), content.to_certificates()))
    };
    if let Some(content) = FileContent::of_other_format(&bytes) {
        return Err(is_instead(content));
    }
    let (mut roots, mut certificates) = (RootCertStore::empty(), Vec::new());
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| fail(damage(&error).into()))?;
        // Each certificate is kept twice: as an authority, which can sign the certificate that the hop shows, and as it is,
        // since the hop may show this very certificate.
        roots
            .add(certificate.clone())
            .map_err(|error| fail(format!("has an unusable certificate: {error}")))?;
        certificates.push(certificate);
    }
    // A file with only a key is valid PEM too. A hop with it would trust no certificate at all.
    if roots.is_empty() {
        let content = FileContent::of_pem(&bytes);
        return Err(content.map_or_else(|| fail(NO_CERTIFICATE.into()), is_instead));
    }
    let warning = dates(&certificates);
    Ok(Authorities { roots, certificates, warning })
}

/// Returns a warning if no certificate of the file is valid now. Bundles often hold some expired ones beside others.
fn dates(certificates: &[CertificateDer<'_>]) -> Option<InvalidSetting> {
    let now = SystemTime::now();
    let mut problems = certificates.iter().map(|certificate| {
        CertificateFacts::read(certificate).and_then(|facts| facts.check_dates(now).err())
    });
    let first = problems.next()??;
    problems.all(|problem| problem.is_some()).then(|| {
        let message = match first {
            OutOfDate::Expired { at } => format!(
                "expired on {}; nothing is reached with it until the file has a new one",
                humantime::format_rfc3339_seconds(at)
            ),
            OutOfDate::NotYetValid { from } => format!(
                "is not valid before {}; check the clock of this machine",
                humantime::format_rfc3339_seconds(from)
            ),
        };
        InvalidSetting::file("ca", message)
    })
}

/// Describes damaged PEM. The library's own message quotes a line of the file, which may belong to a private key.
fn damage(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::Base64Decode(_) => "has a certificate whose base64 text is damaged",
        _ => "has a `-----BEGIN` line without its `-----END` line, or one that is damaged",
    }
}

const NO_CERTIFICATE: &str = "has no certificate; expected `-----BEGIN CERTIFICATE-----`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_quotes_the_file() {
        let directory = tempfile::tempdir().unwrap();
        for text in [
            "-----BEGIN CERTIFICATE-----\nhunter2!\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\nhunter2\n",
            "-----BEGIN hunter2\n",
            "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n",
        ] {
            std::fs::write(directory.path().join("hunter2.pem"), text).unwrap();
            let context = BuildContext::new(directory.path());
            let error = read_authorities(Path::new("hunter2.pem"), &context).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
