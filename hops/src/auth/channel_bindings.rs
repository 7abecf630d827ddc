//! Channel bindings of the type `tls-server-end-point` (RFC 5929 §4).
//!
//! They put a hash of the proxy's certificate into an answer, by which a proxy detects an attacker who relays the answer over
//! another TLS connection.

use std::fmt;

use md5::{Digest as _, Md5};
use sha2::{Sha224, Sha256, Sha384, Sha512, Sha512_224, Sha512_256};
use thiserror::Error;

use super::der::{Element, OBJECT_IDENTIFIER, SEQUENCE};

/// The bindings to one TLS connection.
///
/// [`application_data`](Self::application_data) goes to GSS-API and SSPI, [`ntlm_hash`](Self::ntlm_hash) into NTLM's
/// message 3.
///
/// ```
/// use mooltiroute_hops::auth::channel_bindings::{ChannelBindings, NoBindings};
///
/// // From rustls: `connection.peer_certificates()`, the first of them.
/// let not_a_certificate = ChannelBindings::tls_server_end_point(b"hello");
/// assert_eq!(not_a_certificate, Err(NoBindings::NotACertificate));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ChannelBindings(Box<[u8]>);

/// The reason why no channel bindings can be made from a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NoBindings {
    /// The bytes are not an X.509 certificate.
    #[error("the proxy's certificate can't be read")]
    NotACertificate,
    /// RFC 5929 defines no hash for the signature algorithm, such as Ed25519.
    #[error("the signature algorithm of the proxy's certificate has no hash for channel bindings")]
    UnknownSignature,
}

impl ChannelBindings {
    /// Makes the bindings to a server with this certificate in DER.
    ///
    /// # Errors
    /// The certificate can't be read, or its signature algorithm has no hash of its own.
    pub fn tls_server_end_point(certificate: &[u8]) -> Result<Self, NoBindings> {
        Ok(Self::from_hash(&end_point_hash(signature_algorithm(certificate)?, certificate)?))
    }

    fn from_hash(hash: &[u8]) -> Self {
        Self([PREFIX, hash].concat().into())
    }

    /// Returns the text `tls-server-end-point:` and the hash of the certificate.
    pub fn application_data(&self) -> &[u8] {
        &self.0
    }

    /// Returns the MD5 of the `gss_channel_bindings` structure with this application data (MS-NLMP §2.2.2.1, RFC 4121
    /// §4.1.1.2): four empty address fields of 32 bits, then the length and the bytes of the data.
    pub fn ntlm_hash(&self) -> [u8; 16] {
        // The hash of a certificate has 64 bytes at most.
        let data_bytes = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        let mut hash = Md5::new();
        // Bindings to TLS have no addresses: the types and the lengths of both are zero.
        hash.update([0; 16]);
        hash.update(data_bytes.to_le_bytes());
        hash.update(&self.0);
        hash.finalize().into()
    }
}

impl fmt::Debug for ChannelBindings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChannelBindings(tls-server-end-point)")
    }
}

/// Returns the `AlgorithmIdentifier` of a certificate (RFC 5280 §4.1.1.2): its object identifier and its parameters.
fn signature_algorithm(certificate: &[u8]) -> Result<(&[u8], &[u8]), NoBindings> {
    let read = || {
        let (certificate, after) = Element::expect(SEQUENCE, certificate)?;
        if !after.is_empty() {
            return None;
        }
        let (_to_be_signed, rest) = Element::expect(SEQUENCE, certificate)?;
        let (algorithm, _signature) = Element::expect(SEQUENCE, rest)?;
        Element::expect(OBJECT_IDENTIFIER, algorithm)
    };
    read().ok_or(NoBindings::NotACertificate)
}

/// Hashes a certificate with the hash of its signature algorithm. SHA-256 replaces MD5 and SHA-1.
fn end_point_hash(
    (identifier, parameters): (&[u8], &[u8]),
    certificate: &[u8],
) -> Result<Vec<u8>, NoBindings> {
    let known = SIGNATURES.iter().find(|(known, _)| *known == identifier);
    let hash = match known {
        Some((_, hash)) => *hash,
        None if identifier == RSASSA_PSS => pss_hash(parameters)?,
        None => return Err(NoBindings::UnknownSignature),
    };
    Ok(match hash {
        CertificateHash::Sha224 => Sha224::digest(certificate).to_vec(),
        CertificateHash::Sha256 => Sha256::digest(certificate).to_vec(),
        CertificateHash::Sha384 => Sha384::digest(certificate).to_vec(),
        CertificateHash::Sha512 => Sha512::digest(certificate).to_vec(),
        CertificateHash::Sha512To224 => Sha512_224::digest(certificate).to_vec(),
        CertificateHash::Sha512To256 => Sha512_256::digest(certificate).to_vec(),
    })
}

/// Finds the hash in the parameters of RSASSA-PSS (RFC 4055 §3.1). The default is SHA-1, which SHA-256 replaces.
fn pss_hash(parameters: &[u8]) -> Result<CertificateHash, NoBindings> {
    let Some((parameters, _)) = Element::expect(SEQUENCE, parameters) else {
        return if parameters.is_empty() {
            Ok(CertificateHash::Sha256)
        } else {
            Err(NoBindings::UnknownSignature)
        };
    };
    let Some((hash, _)) = Element::expect(PSS_HASH_ALGORITHM, parameters) else {
        return Ok(CertificateHash::Sha256);
    };
    let identifier = Element::expect(SEQUENCE, hash)
        .and_then(|(algorithm, _)| Element::expect(OBJECT_IDENTIFIER, algorithm));
    let known =
        identifier.and_then(|(hash, _)| PSS_HASHES.iter().find(|(known, _)| *known == hash));
    known.map(|(_, hash)| *hash).ok_or(NoBindings::UnknownSignature)
}

#[derive(Clone, Copy)]
enum CertificateHash {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
    Sha512To224,
    Sha512To256,
}

const PREFIX: &[u8] = b"tls-server-end-point:";
/// `[0]`, the field `hashAlgorithm` of `RSASSA-PSS-params`.
const PSS_HASH_ALGORITHM: u8 = 0xA0;
const RSASSA_PSS: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0A];

/// Object identifiers of signature algorithms in DER, each with its hash by RFC 5929 §4.1.
const SIGNATURES: [(&[u8], CertificateHash); 18] = {
    use CertificateHash::*;
    [
        // RSA with MD5, SHA-1, SHA-256, SHA-384, SHA-512, SHA-224, SHA-512/224, SHA-512/256 (RFC 8017).
        (&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x04], Sha256),
        (&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x05], Sha256),
        (&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0B], Sha256),
        (&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0C], Sha384),
        (&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0D], Sha512),
        (&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0E], Sha224),
        (&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0F], Sha512To224),
        (&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x10], Sha512To256),
        // SHA-1 with RSA, by an older name (OIW).
        (&[0x2B, 0x0E, 0x03, 0x02, 0x1D], Sha256),
        // ECDSA with SHA-1, SHA-224, SHA-256, SHA-384, SHA-512 (RFC 5758).
        (&[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x01], Sha256),
        (&[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x01], Sha224),
        (&[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02], Sha256),
        (&[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x03], Sha384),
        (&[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x04], Sha512),
        // DSA with SHA-1, SHA-224, SHA-256 (RFC 5758).
        (&[0x2A, 0x86, 0x48, 0xCE, 0x38, 0x04, 0x03], Sha256),
        (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x01], Sha224),
        (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x02], Sha256),
        // RSA with MD2. RFC 5929 does not mention it, but it is even weaker than MD5.
        (&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x02], Sha256),
    ]
};

/// Object identifiers of the hashes that RSASSA-PSS can name: SHA-1, SHA-256, SHA-384, SHA-512, SHA-224 (RFC 4055).
const PSS_HASHES: [(&[u8], CertificateHash); 5] = {
    use CertificateHash::*;
    [
        (&[0x2B, 0x0E, 0x03, 0x02, 0x1A], Sha256),
        (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01], Sha256),
        (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02], Sha384),
        (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03], Sha512),
        (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x04], Sha224),
    ]
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};

    use super::*;

    fn certificate(algorithm: &'static SignatureAlgorithm) -> Vec<u8> {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let params = CertificateParams::new(["proxy.corp.test".to_owned()]).unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_hash_follows_the_signature_algorithm() {
        let p256 = certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
        let bindings = ChannelBindings::tls_server_end_point(&p256).unwrap();
        assert_eq!(bindings, ChannelBindings::from_hash(&Sha256::digest(&p256)));
        let p384 = certificate(&rcgen::PKCS_ECDSA_P384_SHA384);
        let bindings = ChannelBindings::tls_server_end_point(&p384).unwrap();
        assert_eq!(bindings, ChannelBindings::from_hash(&Sha384::digest(&p384)));
        let ed25519 = certificate(&rcgen::PKCS_ED25519);
        let unknown = ChannelBindings::tls_server_end_point(&ed25519);
        assert_eq!(unknown, Err(NoBindings::UnknownSignature));
    }

    /// Uses certificates as of old proxies, reduced to the parts that are read.
    #[test]
    fn md5_and_sha1_become_sha256() {
        for last in [0x02, 0x04, 0x05] {
            let certificate = [
                &[0x30, 0x11, 0x30, 0x00, 0x30, 0x0D, 0x06, 0x09][..],
                &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, last, 0x05, 0x00],
            ]
            .concat();
            let bindings = ChannelBindings::tls_server_end_point(&certificate).unwrap();
            assert_eq!(bindings, ChannelBindings::from_hash(&Sha256::digest(&certificate)));
        }
    }

    #[test]
    fn the_hash_of_pss_is_in_its_parameters() {
        let sha384 = [
            &[0x30, 0x11, 0xA0, 0x0F, 0x30, 0x0D, 0x06, 0x09][..],
            &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00],
        ]
        .concat();
        let hash_bytes = |parameters: &[u8]| {
            end_point_hash((RSASSA_PSS, parameters), b"").map(|hash| hash.len())
        };
        assert_eq!(hash_bytes(&sha384), Ok(48));
        assert_eq!(hash_bytes(&[0x30, 0x00]), Ok(32));
        assert_eq!(hash_bytes(&[]), Ok(32));
        assert_eq!(hash_bytes(&sha384[..18]), Err(NoBindings::UnknownSignature));
    }

    /// The example that Microsoft published with Extended Protection.
    #[test]
    fn the_ntlm_hash_is_that_of_the_published_example() {
        let hash = [
            0xE3, 0xCA, 0x49, 0x27, 0x1E, 0x50, 0x89, 0xCC, 0x48, 0xCE, 0x82, 0x10, 0x9F, 0x13,
            0x24, 0xF4, 0x1D, 0xBE, 0xDD, 0xC2, 0x9A, 0x77, 0x74, 0x10, 0xC7, 0x38, 0xF7, 0x86,
            0x8C, 0x4F, 0xF4, 0x05,
        ];
        let expected = [
            0x6E, 0xA1, 0x9D, 0xF0, 0x66, 0xDA, 0x46, 0x22, 0x05, 0x1F, 0x9C, 0x4F, 0x92, 0xC6,
            0xDF, 0x74,
        ];
        assert_eq!(ChannelBindings::from_hash(&hash).ntlm_hash(), expected);
    }

    proptest! {
        #[test]
        fn a_damaged_certificate_causes_no_panic(at: prop::sample::Index, byte: u8) {
            let mut damaged = certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
            let at = at.index(damaged.len());
            damaged[at] = byte;
            let _ = ChannelBindings::tls_server_end_point(&damaged);
            prop_assert!(ChannelBindings::tls_server_end_point(&damaged[..at]).is_err());
        }
    }
}
