//! Recognises the content of a file that is not PEM with certificates or a key.
//!
//! Authorities issue certificates in several formats, and people confuse the files that they get. So messages name the content,
//! and the command that converts it.

use crate::is_utf16;

/// The content of a file that should hold certificates or a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileContent {
    /// Certificates, as text.
    Certificates,
    /// A private key, as text.
    PrivateKey,
    /// A private key in the format of OpenSSH.
    OpenSshKey,
    /// A public key, as text.
    PublicKey,
    /// A request for a certificate.
    Request,
    /// A list of revoked certificates.
    RevocationList,
    /// One certificate, binary.
    Der,
    /// A private key, binary.
    DerKey,
    /// Certificates with a private key, protected by a password.
    Pkcs12,
    /// Certificates, binary.
    Pkcs7Der,
    /// Certificates, as text of another format.
    Pkcs7Pem,
    /// Text in UTF-16, as some tools of Windows write it.
    Utf16,
}

impl FileContent {
    /// Returns the format of `bytes` if it is one that can't be read as PEM at all.
    pub fn of_other_format(bytes: &[u8]) -> Option<Self> {
        if is_utf16(bytes) {
            return Some(Self::Utf16);
        }
        if has_label(bytes, "PKCS7") || has_label(bytes, "CMS") {
            return Some(Self::Pkcs7Pem);
        }
        // The binary formats are one SEQUENCE (tag 0x30) of DER each, and differ in its first element.
        let [0x30, length, rest @ ..] = bytes else { return None };
        // From 0x80 on, the byte is followed by the rest of the length, whose size it gives (X.690 §8.1.3).
        let skipped = if *length >= 0x80 { usize::from(length & 0x7f) } else { 0 };
        match rest.get(skipped..)? {
            // The version, which is 3 (RFC 7292 §4).
            [0x02, 0x01, 0x03, ..] => Some(Self::Pkcs12),
            // The version, which is 0 or 1 (RFC 5958 §2, RFC 8017 appendix A.1.2, RFC 5915 §3).
            [0x02, 0x01, 0x00 | 0x01, ..] => Some(Self::DerKey),
            // An object identifier, the type of the content (RFC 5652 §3).
            [0x06, ..] => Some(Self::Pkcs7Der),
            // The part that is signed (RFC 5280 §4.1).
            [0x30, ..] => Some(Self::Der),
            _ => None,
        }
    }

    /// Returns the content of `bytes` by the labels of its PEM sections, if they are known.
    pub fn of_pem(bytes: &[u8]) -> Option<Self> {
        let labels = [
            ("CERTIFICATE", Self::Certificates),
            ("OPENSSH PRIVATE KEY", Self::OpenSshKey),
            ("PRIVATE KEY", Self::PrivateKey),
            ("RSA PRIVATE KEY", Self::PrivateKey),
            ("EC PRIVATE KEY", Self::PrivateKey),
            ("ENCRYPTED PRIVATE KEY", Self::PrivateKey),
            ("CERTIFICATE REQUEST", Self::Request),
            ("NEW CERTIFICATE REQUEST", Self::Request),
            ("PUBLIC KEY", Self::PublicKey),
            ("RSA PUBLIC KEY", Self::PublicKey),
            ("X509 CRL", Self::RevocationList),
        ];
        let found = labels.iter().find(|(label, _)| has_label(bytes, label));
        found.map(|(_, content)| *content)
    }

    /// Returns the content in words, with an article.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Certificates => "a certificate",
            Self::PrivateKey => "a private key",
            Self::OpenSshKey => "a private key of OpenSSH",
            Self::PublicKey => "a public key",
            Self::Request => "a request for a certificate (CSR)",
            Self::RevocationList => "a list of revoked certificates (CRL)",
            Self::Der => "a binary certificate (DER)",
            Self::DerKey => "a binary private key (DER)",
            Self::Pkcs12 => "a PKCS#12 file",
            Self::Pkcs7Der => "a binary PKCS#7 file",
            Self::Pkcs7Pem => "a PKCS#7 file",
            Self::Utf16 => "text in UTF-16",
        }
    }

    /// Says how to get a PEM file of certificates instead.
    pub fn to_certificates(self) -> &'static str {
        match self {
            Self::Certificates => "it can be used",
            Self::PrivateKey | Self::OpenSshKey | Self::PublicKey | Self::DerKey => {
                "write the file with the certificate, which begins with `-----BEGIN CERTIFICATE-----`"
            }
            Self::Request => {
                "write the certificate that the authority made of it, which begins with `-----BEGIN CERTIFICATE-----`"
            }
            Self::RevocationList => "write the certificate of the authority that made it",
            Self::Der => "`openssl x509 -inform der -in FILE -out NEW` converts it to PEM",
            Self::Pkcs12 => {
                "`openssl pkcs12 -in FILE -nokeys -out NEW` takes its certificates out as PEM"
            }
            Self::Pkcs7Der => {
                "`openssl pkcs7 -inform der -in FILE -print_certs -out NEW` converts it to PEM"
            }
            Self::Pkcs7Pem => "`openssl pkcs7 -in FILE -print_certs -out NEW` converts it to PEM",
            Self::Utf16 => "save it as UTF-8 or ASCII",
        }
    }

    /// Says how to get a PEM file with a private key instead.
    pub fn to_private_key(self) -> &'static str {
        match self {
            Self::PrivateKey => "it can be used",
            Self::OpenSshKey => "`ssh-keygen -p -m PEM -f COPY` converts a copy of it to PEM",
            Self::DerKey => "`openssl pkey -inform der -in FILE -out NEW` converts it to PEM",
            Self::Pkcs12 => {
                "`openssl pkcs12 -in FILE -nocerts -nodes -out NEW` takes its key out as PEM; make the new file readable \
                 for the proxy only"
            }
            Self::Utf16 => "save it as UTF-8 or ASCII",
            Self::Certificates
            | Self::PublicKey
            | Self::Request
            | Self::RevocationList
            | Self::Der
            | Self::Pkcs7Der
            | Self::Pkcs7Pem => {
                "write the file with the private key that was made with it, which begins with `-----BEGIN PRIVATE KEY-----`"
            }
        }
    }
}

fn has_label(bytes: &[u8], label: &str) -> bool {
    let begin = format!("-----BEGIN {label}-----");
    bytes.windows(begin.len()).any(|part| part == begin.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_formats_are_recognised_by_their_first_bytes() {
        for (bytes, expected) in [
            (&b"\x30\x82\x03\x01\x30\x82"[..], Some(FileContent::Der)),
            (b"\x30\x05\x30\x03\x02\x01\x00", Some(FileContent::Der)),
            (b"\x30\x82\x09\x01\x02\x01\x03\x30", Some(FileContent::Pkcs12)),
            (b"\x30\x82\x04\xbd\x02\x01\x00\x30", Some(FileContent::DerKey)),
            (b"\x30\x77\x02\x01\x01\x04", Some(FileContent::DerKey)),
            (b"\x30\x80\x06\x09\x2a", Some(FileContent::Pkcs7Der)),
            (b"x\n-----BEGIN PKCS7-----\n", Some(FileContent::Pkcs7Pem)),
            (b"\xff\xfe-\0", Some(FileContent::Utf16)),
            (b"\xfe\xff\0-", Some(FileContent::Utf16)),
            (b"-----BEGIN CERTIFICATE-----", None),
            (b"0", None),
            (b"0\xff", None),
            (b"", None),
        ] {
            assert_eq!(FileContent::of_other_format(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn sections_of_pem_are_recognised_by_their_labels() {
        for (label, expected) in [
            ("CERTIFICATE", Some(FileContent::Certificates)),
            ("ENCRYPTED PRIVATE KEY", Some(FileContent::PrivateKey)),
            ("OPENSSH PRIVATE KEY", Some(FileContent::OpenSshKey)),
            ("NEW CERTIFICATE REQUEST", Some(FileContent::Request)),
            ("X509 CRL", Some(FileContent::RevocationList)),
            ("RSA PUBLIC KEY", Some(FileContent::PublicKey)),
            ("MESSAGE", None),
        ] {
            let text = format!("x\n-----BEGIN {label}-----\nAA==\n-----END {label}-----\n");
            assert_eq!(FileContent::of_pem(text.as_bytes()), expected, "{label}");
        }
    }
}
