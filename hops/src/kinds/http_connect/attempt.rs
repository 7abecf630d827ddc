//! The credentials of one request.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::sign_on::{SignOn, SignOnRound};
use crate::{
    Field, Secret,
    auth::{
        challenge::AuthScheme,
        digest::{DigestAuthorization, DigestCredentials, DigestSession},
        ntlm::{self, NtlmCredentials},
    },
};

/// A scheme with what it needs.
#[derive(Debug)]
pub(super) enum Method {
    Negotiate(Arc<SignOn>),
    Ntlm(Box<NtlmCredentials>),
    Digest(Box<DigestCredentials>, Box<DigestSession>),
    /// The value of the field.
    Basic(Secret),
}

/// The credentials of one request.
#[derive(Debug, Default)]
pub(super) enum Attempt {
    #[default]
    None,
    Negotiate(SignOnRound),
    NtlmNegotiate,
    /// Belongs on the connection that the challenge came on.
    NtlmAuthenticate(Secret),
    Digest(DigestAuthorization),
    Basic(Secret),
}

impl Method {
    pub(super) fn ntlm(credentials: NtlmCredentials) -> Self {
        Self::Ntlm(Box::new(credentials))
    }

    pub(super) fn digest(credentials: DigestCredentials) -> Self {
        Self::Digest(Box::new(credentials), Box::default())
    }

    pub(super) fn scheme(&self) -> AuthScheme {
        match self {
            Self::Negotiate(_) => AuthScheme::Negotiate,
            Self::Ntlm(_) => AuthScheme::Ntlm,
            Self::Digest(..) => AuthScheme::Digest,
            Self::Basic(_) => AuthScheme::Basic,
        }
    }
}

impl Attempt {
    /// Returns the scheme of the credentials, if there are any.
    pub(super) fn scheme(&self) -> Option<AuthScheme> {
        match self {
            Self::None => None,
            Self::Negotiate(_) => Some(AuthScheme::Negotiate),
            Self::NtlmNegotiate | Self::NtlmAuthenticate(_) => Some(AuthScheme::Ntlm),
            Self::Digest(_) => Some(AuthScheme::Digest),
            Self::Basic(_) => Some(AuthScheme::Basic),
        }
    }

    /// Returns the source of the credentials, if the scheme leaves a choice.
    pub(super) fn source(&self) -> Option<&'static str> {
        match self {
            Self::Negotiate(round) => Some(round.source()),
            _ => None,
        }
    }

    /// Returns whether these credentials prove who asks, so that no further round is needed if they are accepted.
    pub(super) fn is_last(&self) -> bool {
        match self {
            Self::None | Self::NtlmNegotiate => false,
            Self::Negotiate(round) => !round.is_question(),
            Self::NtlmAuthenticate(_) | Self::Digest(_) | Self::Basic(_) => true,
        }
    }

    /// Returns whether these credentials answer a challenge that holds for its connection only.
    pub(super) fn needs_connection(&self) -> bool {
        match self {
            Self::None | Self::NtlmNegotiate | Self::Digest(_) | Self::Basic(_) => false,
            Self::Negotiate(round) => !round.is_first(),
            Self::NtlmAuthenticate(_) => true,
        }
    }

    /// Returns the field for the request, if it has credentials.
    pub(super) fn field(&self) -> Option<Field> {
        let value = match self {
            Self::None => return None,
            // Message 1 is not a secret, because it names no user and is always the same. The other values are.
            Self::NtlmNegotiate => ntlm_value(&ntlm::negotiate_message()),
            Self::NtlmAuthenticate(value) | Self::Basic(value) => value.clone(),
            Self::Digest(sent) => sent.value().clone(),
            Self::Negotiate(round) => round.value().clone(),
        };
        Some(Field::new("Proxy-Authorization", value))
    }
}

/// Returns the field value that carries a message of NTLM.
pub(super) fn ntlm_value(message: &[u8]) -> Secret {
    let encoded = Zeroizing::new(STANDARD.encode(message));
    Secret::new(format!("NTLM {}", encoded.as_str()))
}
