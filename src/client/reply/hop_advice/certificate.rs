//! Advice about a certificate that is not accepted.

use std::time::SystemTime;

use mooltiroute_hops::tls::{GivenAuthorities, RejectedCertificate, RejectionReason};

use crate::{timestamp::rfc_3339, upstream::chain::Stage};

/// Returns advice for a hop whose certificate is not accepted.
pub(in crate::client::reply) fn certificate(
    stage: &Stage,
    rejected: &RejectedCertificate,
) -> String {
    let hop = stage.hop_name().unwrap_or_default();
    let remedy = match (&rejected.reason, &rejected.authorities) {
        (RejectionReason::Expired(_) | RejectionReason::NotYetValid(_), _) => {
            return expired_certificate(&format!("`{hop}`"));
        }
        (RejectionReason::OldVersion, _) => {
            return format!(
                "The administrator of `{hop}` must have it issued again as version 3, with a `subjectAltName`; no `ca` changes this."
            );
        }
        (RejectionReason::OtherName { names, expected: Some(expected) }, _) if names.is_empty() => {
            return format!(
                "The administrator of `{hop}` must have it issued again with `subjectAltName=DNS:{expected}`. Its common name \
                 does not count, so no `server_name` fits it."
            );
        }
        (RejectionReason::OtherName { names, .. }, _) => {
            let name = names.first().map_or("NAME", String::as_str);
            format!("write the name that it was made for, as in `tls: {{ server_name: {name} }}`")
        }
        (RejectionReason::SelfSigned, None) => {
            "save it as a PEM file, and name that as `tls: { ca: FILE }`".to_owned()
        }
        (RejectionReason::SelfSigned, Some(given)) => {
            format!("put it into {}", file_of(given))
        }
        (RejectionReason::UnknownIssuer { issuer, .. }, given) => {
            let issuer = match issuer {
                Some(issuer) => format!("`{issuer}`"),
                None => "the authority that signed it".to_owned(),
            };
            match given {
                None => format!("give the certificate of {issuer} as `tls: {{ ca: FILE }}`"),
                Some(given) => {
                    format!(
                        "put the certificate of {issuer}, or of the authority above it, into {}",
                        file_of(given)
                    )
                }
            }
        }
        _ => "give the authority that signed it as `tls: { ca: FILE }`".to_owned(),
    };
    // Only its own certificate came, and nothing in it says whether others know the issuer as an authority.
    let intermediates = match &rejected.reason {
        RejectionReason::UnknownIssuer { has_intermediates: false, .. } => {
            format!(
                " If the issuer is an intermediate authority, the administrator of `{hop}` should have it sent along."
            )
        }
        _ => String::new(),
    };
    let remedy = match (stage.listed(), &stage.url) {
        // A line of a list has no such settings, and neither has a URL.
        (_, Some(url)) => format!(
            "write {url} as a configuration (`mooltiroute check --hop URL > config.yaml`), {remedy} in its hop, and run with `-c \
             config.yaml`"
        ),
        (Some(line), None) => {
            format!(
                "write this proxy as a hop of its own, {remedy}, and take {line} out; another pool may have that hop and this \
                 pool as `members`"
            )
        }
        (None, None) => match &stage.place {
            Some(place) => format!("{remedy} of `{place}`"),
            None => remedy,
        },
    };
    format!("If it belongs to your company, {remedy}.{intermediates}")
}

/// Names the file of authorities, with those that it holds.
fn file_of(given: &GivenAuthorities) -> String {
    let file = given.file.display();
    match given.names.is_empty() {
        true => format!("`{file}`, the file of `ca`"),
        false => {
            let names: Vec<_> = given.names.iter().map(|name| format!("`{name}`")).collect();
            format!("`{file}`, the file of `ca`, which holds {}", names.join(", "))
        }
    }
}

/// Returns advice about a certificate of `owner` whose time has not come, or is over.
pub(in crate::client::reply) fn expired_certificate(owner: &str) -> String {
    let now = rfc_3339(SystemTime::now());
    format!(
        "The administrator of {owner} must renew it. If the date seems right, check the clock of this machine: it says {now}."
    )
}
