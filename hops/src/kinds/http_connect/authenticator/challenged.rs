//! The answers to the challenges of a proxy.

use std::{
    sync::{Arc, PoisonError},
    time::SystemTime,
};

use super::{Authenticator, Purpose, Stop};
use crate::{
    HopError,
    auth::{
        challenge::{AuthScheme, Challenge},
        channel_bindings::ChannelBindings,
        digest::{
            DigestAuthorization, DigestChallenge, DigestCredentials, DigestError, DigestRequest,
            DigestSession, DigestVerdict,
        },
        ntlm::{self, NtlmChallenge, NtlmRound},
    },
    kinds::http_connect::{
        attempt::{Attempt, Method, ntlm_value},
        diagnosis::missing_credentials,
        lockout::{Rejection, Tried},
        sign_on::{SignOn, SignOnError, SignOnRound},
    },
    random,
};

impl Authenticator {
    /// Finds the answer to a 407.
    ///
    /// Credentials that were sent and not accepted are a rejection, and no other scheme is tried then. NTLM's first
    /// message has none, so a proxy that does not offer NTLM any more gets another scheme of the list.
    pub(super) async fn after(
        &self,
        attempt: Attempt,
        challenges: &[Challenge],
        purpose: Purpose<'_>,
    ) -> Result<Attempt, Stop> {
        match attempt {
            // These two prove the password in this one request. A second try would be a second failed logon of the
            // account.
            Attempt::NtlmAuthenticate(_) => Err(Stop::Rejected(AuthScheme::Ntlm)),
            Attempt::Basic(_) => Err(Stop::Rejected(AuthScheme::Basic)),
            // A proxy rejects a first message with a new offer. Without any, it does not go on: Squid makes none on a
            // connection that it is going to close, and these two schemes need one that stays open.
            Attempt::NtlmNegotiate if challenges.is_empty() => {
                Err(self.broken_off(AuthScheme::Ntlm))
            }
            Attempt::Negotiate(round) if round.is_first() && challenges.is_empty() => {
                Err(self.broken_off(AuthScheme::Negotiate))
            }
            // Negotiate may go on for several rounds, and Digest may only need a newer nonce. Both decide that for
            // themselves.
            Attempt::Negotiate(round) => self.after_token(round, challenges).await,
            Attempt::Digest(sent) => self.after_digest(challenges, Some(&sent), purpose),
            Attempt::NtlmNegotiate if is_offered(challenges, AuthScheme::Ntlm) => {
                self.after_negotiate_message(challenges, purpose.bindings)
            }
            Attempt::NtlmNegotiate | Attempt::None => {
                // Also if no credentials can be made now, so that the next connection knows of a rejection at once.
                // This replaces the offer of an earlier challenge, since a proxy may offer less after its settings
                // have changed.
                let offered = match self.basic() {
                    // It is sent without a challenge too, and so needs no offer in one.
                    Some(_) => vec![AuthScheme::Basic],
                    None => self.note_offer(challenges),
                };
                self.choose(&offered, challenges, purpose).await
            }
        }
    }

    /// Begins the first scheme of the list that the proxy offers. Another one is only tried if the first fails for a
    /// reason of this machine, such as a missing ticket.
    ///
    /// Without `challenges`, the choice is for a connection's first request.
    pub(super) async fn choose(
        &self,
        offered: &[AuthScheme],
        challenges: &[Challenge],
        purpose: Purpose<'_>,
    ) -> Result<Attempt, Stop> {
        // Before a ticket is asked for with a password, which counts as a try.
        self.lockout.check(purpose.target).map_err(HopError::from)?;
        let mut without = None;
        // The order is the operator's. The order in which the proxy offers the schemes does not count.
        for method in self.methods.iter().filter(|method| offered.contains(&method.scheme())) {
            match method {
                Method::Negotiate(sign_on) => match self.begin_sign_on(sign_on, purpose).await {
                    Ok(round) => return Ok(Attempt::Negotiate(round)),
                    Err(SignOnError::NoDescriptor(error)) => {
                        return Err(Stop::Failed(HopError::Io(error)));
                    }
                    Err(error) => {
                        let is_local = error.is_local();
                        let is_rejection = error.is_rejection();
                        let canonical = sign_on.canonical_name(&error).await;
                        let missing = missing_credentials(sign_on, error, canonical);
                        // The domain controller rejected the user. Another scheme would try the same password, which
                        // could lock the account.
                        if is_rejection {
                            return Err(Stop::RejectedByDomain(missing));
                        }
                        if !is_local {
                            return Err(Stop::Failed(missing.into()));
                        }
                        // If no later scheme works either, the reason of the first one is the most useful: the
                        // operator prefers that scheme.
                        without = without.or(Some(missing));
                    }
                },
                Method::Ntlm(_) => return Ok(Attempt::NtlmNegotiate),
                Method::Basic(value) => return Ok(Attempt::Basic(value.clone())),
                // At the start of a connection there is no challenge to read. The nonce of an earlier one is used
                // again, which saves a round; without any, a bare request asks for one.
                Method::Digest(..) if challenges.is_empty() && purpose.needs_new_nonce => {
                    return Ok(Attempt::None);
                }
                Method::Digest(credentials, session) if challenges.is_empty() => {
                    let sent = authorize(credentials, session, purpose)?;
                    return Ok(sent.map_or(Attempt::None, Attempt::Digest));
                }
                Method::Digest(..) => return self.after_digest(challenges, None, purpose),
            }
        }
        Err(match without {
            Some(missing) => Stop::Failed(missing.into()),
            None => Stop::NothingInCommon,
        })
    }

    /// Makes the first token, and records a rejection by the domain even if this request does not wait for it.
    async fn begin_sign_on(
        &self,
        sign_on: &Arc<SignOn>,
        purpose: Purpose<'_>,
    ) -> Result<SignOnRound, SignOnError> {
        let (lockout, of_call) = (Arc::clone(&self.lockout), Arc::clone(sign_on));
        let note_rejection = move |error| {
            let missing = missing_credentials(&of_call, SignOnError::Library(error), None);
            lockout.rejected(Rejection::ByDomain(Box::new(missing)), Tried::Logon, None);
        };
        sign_on.begin(purpose.bindings, note_rejection).await
    }

    /// Answers the proxy's token. Without one, or if the library has no answer, the proxy refused ours.
    async fn after_token(
        &self,
        round: SignOnRound,
        challenges: &[Challenge],
    ) -> Result<Attempt, Stop> {
        // A ticket is all in the first token. Passwords, as of NTLM inside of SPNEGO, take more.
        let refused = if round.is_first() {
            Stop::TokenRefused
        } else {
            Stop::Rejected(AuthScheme::Negotiate)
        };
        // A bare `Negotiate` after a token is how proxies say no.
        let token = token(challenges, AuthScheme::Negotiate);
        let (Some(token), Some(sign_on)) = (token, self.sign_on()) else { return Err(refused) };
        // Only an answer of the library counts as a refusal. A call that does not return has rejected nothing.
        match sign_on.answer(round, token).await {
            Ok(round) => Ok(Attempt::Negotiate(round)),
            Err(error @ SignOnError::TimedOut(_)) => {
                Err(Stop::Failed(missing_credentials(sign_on, error, None).into()))
            }
            Err(SignOnError::NoDescriptor(error)) => Err(Stop::Failed(HopError::Io(error))),
            Err(SignOnError::Library(_)) => Err(refused),
        }
    }

    /// Notes that the proxy does not go on with `scheme`. The next connection asks again what it offers.
    fn broken_off(&self, scheme: AuthScheme) -> Stop {
        self.wishes().forget_offer();
        Stop::BrokenOff(scheme)
    }

    fn after_negotiate_message(
        &self,
        challenges: &[Challenge],
        bindings: Option<&ChannelBindings>,
    ) -> Result<Attempt, Stop> {
        // No state is kept between message 1 and message 3: the integrity code of message 3 covers message 1, which
        // is always the same.
        let credentials = self.methods.iter().find_map(|method| match method {
            Method::Ntlm(credentials) => Some(credentials),
            _ => None,
        });
        let (Some(token), Some(credentials)) = (token(challenges, AuthScheme::Ntlm), credentials)
        else {
            return Err(match is_token_broken(challenges, AuthScheme::Ntlm) {
                true => Stop::Refused("the proxy's challenge by NTLM is not valid".to_owned()),
                false => self.broken_off(AuthScheme::Ntlm),
            });
        };
        // The client challenge is random, so that a malicious proxy can't use a table that was computed for its own
        // challenge.
        let round = NtlmRound {
            spn: Some(&self.service),
            bindings,
            client_challenge: random::bytes()?,
            now: SystemTime::now(),
        };
        let domain = NtlmChallenge::parse(&token).ok().and_then(|challenge| challenge.domain());
        *self.ntlm_domain.lock().unwrap_or_else(PoisonError::into_inner) = domain;
        match ntlm::authenticate_message(credentials, &token, &round) {
            Ok(message) => Ok(Attempt::NtlmAuthenticate(ntlm_value(&message))),
            Err(error) => Err(Stop::Refused(error.to_string())),
        }
    }

    fn after_digest(
        &self,
        challenges: &[Challenge],
        sent: Option<&DigestAuthorization>,
        purpose: Purpose<'_>,
    ) -> Result<Attempt, Stop> {
        // A proxy that does not offer Digest any more, after an answer by Digest, has rejected the answer.
        let challenge = match DigestChallenge::strongest(challenges) {
            Ok(challenge) => challenge,
            Err(DigestError::NotOffered) => return Err(Stop::Rejected(AuthScheme::Digest)),
            Err(error) => return Err(Stop::Refused(error.to_string())),
        };
        let Some((credentials, session)) = self.digest() else {
            return Err(Stop::Rejected(AuthScheme::Digest));
        };
        // The session tells a stale nonce from a wrong password. Only the latter counts towards a lock-out.
        if session.challenged(challenge, sent) != DigestVerdict::Answer {
            return Err(Stop::Rejected(AuthScheme::Digest));
        }
        let answer = authorize(credentials, session, Purpose { is_again: true, ..purpose })?;
        Ok(answer.map_or(Attempt::None, Attempt::Digest))
    }
}

fn is_offered(challenges: &[Challenge], scheme: AuthScheme) -> bool {
    challenges.iter().any(|challenge| challenge.scheme() == Some(scheme))
}

/// Returns the proxy's token for a scheme.
fn token(challenges: &[Challenge], scheme: AuthScheme) -> Option<Vec<u8>> {
    let mut offers = challenges.iter().filter(|offer| offer.scheme() == Some(scheme));
    offers.find_map(|offer| offer.token().ok().flatten())
}

/// Returns whether the proxy sent a token for a scheme that can't be decoded.
fn is_token_broken(challenges: &[Challenge], scheme: AuthScheme) -> bool {
    challenges.iter().any(|offer| offer.scheme() == Some(scheme) && offer.token().is_err())
}

fn authorize(
    credentials: &DigestCredentials,
    session: &DigestSession,
    Purpose { method, uri, is_again, .. }: Purpose<'_>,
) -> Result<Option<DigestAuthorization>, HopError> {
    let request = DigestRequest { method, uri, client_nonce: random::bytes()?, is_again };
    Ok(session.authorize(credentials, &request))
}
