//! The rounds of a login with the library of the system.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mooltiroute_sso::{self as sso, Credentials, Identity, Reason, SsoError};
use zeroize::Zeroizing;

use super::failure;
use crate::{Secret, auth::channel_bindings::ChannelBindings};

/// A token, and the state that answers the proxy's token on the same connection.
#[derive(Debug)]
pub(crate) struct SignOnRound {
    /// The source of the token, in words.
    pub(super) source: &'static str,
    /// The value of the field.
    pub(super) value: Secret,
    pub(super) context: sso::Context,
    pub(super) is_first: bool,
    /// Whether a token of the proxy has no answer.
    pub(super) is_done: bool,
    /// Whether the token proves nothing yet, and the proxy has to answer it.
    pub(super) is_question: bool,
}

impl SignOnRound {
    /// Returns the value of the `Proxy-Authorization` field.
    pub(crate) fn value(&self) -> &Secret {
        &self.value
    }

    /// Returns the source of the token, in words.
    pub(crate) fn source(&self) -> &'static str {
        self.source
    }

    /// Returns whether the token proves nothing yet, and the proxy has to answer it.
    pub(crate) fn is_question(&self) -> bool {
        self.is_question
    }

    /// Returns whether the token is the first on its connection.
    pub(crate) fn is_first(&self) -> bool {
        self.is_first
    }
}

pub(super) fn first_token(
    service: &str,
    identity: &Arc<Identity>,
    bindings: Option<&ChannelBindings>,
) -> Result<SignOnRound, SsoError> {
    let bindings = bindings.map(ChannelBindings::application_data);
    let source = match identity.credentials() {
        Credentials::Password { .. } => "the password",
        Credentials::Keytab { .. } => "the keytab",
        Credentials::LoggedIn { .. } if cfg!(windows) => "the logged-in user",
        _ => "a ticket",
    };
    next_token(sso::Context::new(service, identity, bindings)?, None, source)
}

pub(super) fn next_token(
    mut context: sso::Context,
    token: Option<&[u8]>,
    source: &'static str,
) -> Result<SignOnRound, SsoError> {
    let step = context.step(token)?;
    // Without a token there is nothing to send, and a request without one would begin the sign-on again.
    let Some(made) = step.token() else {
        return Err(failure(Reason::Refused, "the library has no answer to the proxy's token"));
    };
    let encoded = Zeroizing::new(STANDARD.encode(made));
    let value = Secret::new(format!("Negotiate {}", encoded.as_str()));
    let is_question = asks_for_challenge(made);
    Ok(SignOnRound { source, value, is_first: true, is_done: step.is_done(), is_question, context })
}

/// Returns whether a token holds the first message of NTLM (MS-NLMP § 2.2.1.1), perhaps inside of SPNEGO. Tokens of
/// Kerberos hold a ticket, and prove all at once, though the library goes on to wait for the proof of the other side.
pub(super) fn asks_for_challenge(token: &[u8]) -> bool {
    const NEGOTIATE_MESSAGE: &[u8] = b"NTLMSSP\0\x01\0\0\0";
    token.windows(NEGOTIATE_MESSAGE.len()).any(|bytes| bytes == NEGOTIATE_MESSAGE)
}
