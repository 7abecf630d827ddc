//! Reads the certificates that a hop is trusted by.

use std::path::Path;

use tokio_rustls::rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer,
        pem::{self, PemObject},
    },
};
use zeroize::Zeroizing;

use crate::{BuildContext, InvalidSetting};

/// Reads the certificates of the file `path`, the setting `ca`, and returns them as authorities and as they are.
///
/// # Errors
/// The file can't be read, is in another format than PEM, or has no usable certificate.
pub(super) fn read_authorities(
    path: &Path,
    context: &BuildContext<'_>,
) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), InvalidSetting> {
    let fail = |message: String| InvalidSetting::file("ca", message);
    // Certificates are handed out in formats that are no text, so the file is read as bytes and the format is named.
    let bytes =
        context.read_binary(path).map_err(|error| fail(format!("can't be read: {error}")))?;
    let bytes = Zeroizing::new(bytes);
    if let Some(format) = OtherFormat::of(&bytes) {
        return Err(fail(format.message().into()));
    }
    let (mut roots, mut certificates) = (RootCertStore::empty(), Vec::new());
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| fail(damage(&error).into()))?;
        // Each certificate is kept in both forms. As an authority it can sign the certificate that the hop shows; as
        // itself it can be that certificate.
        roots
            .add(certificate.clone())
            .map_err(|error| fail(format!("has an unusable certificate: {error}")))?;
        certificates.push(certificate);
    }
    // A key file is legal PEM too. Without this check it would be a hop that trusts no certificate at all.
    if roots.is_empty() {
        return Err(fail(NO_CERTIFICATE.into()));
    }
    Ok((roots, certificates))
}

/// Describes damaged PEM. The library's own words quote a line of the file, which may be that of a private key.
fn damage(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::Base64Decode(_) => "has a certificate whose base64 text is damaged",
        _ => "has a `-----BEGIN` line without its `-----END` line, or one that is damaged",
    }
}

/// A format of certificates that is not PEM with `-----BEGIN CERTIFICATE-----`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OtherFormat {
    /// One certificate, binary.
    Der,
    /// Certificates with a private key, protected by a password.
    Pkcs12,
    /// Certificates, binary.
    Pkcs7Der,
    /// Certificates, as text.
    Pkcs7Pem,
    /// Text in UTF-16, as some tools of Windows write it.
    Utf16,
}

impl OtherFormat {
    /// Returns the format of `bytes`, or `None` if it is none of these.
    fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
            return Some(Self::Utf16);
        }
        let is_pkcs7 = |label: &[u8]| bytes.windows(label.len()).any(|part| part == label);
        if is_pkcs7(b"-----BEGIN PKCS7-----") || is_pkcs7(b"-----BEGIN CMS-----") {
            return Some(Self::Pkcs7Pem);
        }
        // All three binary formats are one SEQUENCE (tag 0x30) of DER, and differ in its first element.
        let [0x30, length, rest @ ..] = bytes else { return None };
        // From 0x80 on, the byte says how many more the length has (X.690 section 8.1.3).
        let skipped = if *length >= 0x80 { usize::from(length & 0x7f) } else { 0 };
        match rest.get(skipped..)? {
            // The version, which is 3 (RFC 7292 section 4).
            [0x02, 0x01, 0x03, ..] => Some(Self::Pkcs12),
            // An object identifier, the type of the content (RFC 5652 section 3).
            [0x06, ..] => Some(Self::Pkcs7Der),
            // The part that is signed (RFC 5280 section 4.1).
            [0x30, ..] => Some(Self::Der),
            _ => None,
        }
    }

    /// Says what the file is, and how it is converted.
    fn message(self) -> &'static str {
        match self {
            Self::Der => {
                "is a binary certificate (DER); `openssl x509 -inform der -in FILE -out NEW` converts it to PEM"
            }
            Self::Pkcs12 => {
                "is a PKCS#12 file; `openssl pkcs12 -in FILE -nokeys -out NEW` takes its certificates out as PEM"
            }
            Self::Pkcs7Der => {
                "is a binary PKCS#7 file; `openssl pkcs7 -inform der -in FILE -print_certs -out NEW` converts it to PEM"
            }
            Self::Pkcs7Pem => {
                "is a PKCS#7 file; `openssl pkcs7 -in FILE -print_certs -out NEW` converts it to PEM"
            }
            Self::Utf16 => "is text in UTF-16; save it as UTF-8 or ASCII",
        }
    }
}

const NO_CERTIFICATE: &str = "has no certificate; expected `-----BEGIN CERTIFICATE-----`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_formats_of_certificates_are_named() {
        for (bytes, expected) in [
            (&b"\x30\x82\x03\x01\x30\x82"[..], Some(OtherFormat::Der)),
            (b"\x30\x05\x30\x03\x02\x01\x00", Some(OtherFormat::Der)),
            (b"\x30\x82\x09\x01\x02\x01\x03\x30", Some(OtherFormat::Pkcs12)),
            (b"\x30\x80\x06\x09\x2a", Some(OtherFormat::Pkcs7Der)),
            (b"x\n-----BEGIN PKCS7-----\n", Some(OtherFormat::Pkcs7Pem)),
            (b"\xff\xfe-\0", Some(OtherFormat::Utf16)),
            (b"\xfe\xff\0-", Some(OtherFormat::Utf16)),
            (b"-----BEGIN CERTIFICATE-----", None),
            (b"0", None),
            (b"0\xff", None),
            (b"", None),
        ] {
            assert_eq!(OtherFormat::of(bytes), expected, "{bytes:?}");
        }
    }

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
