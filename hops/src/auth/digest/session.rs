//! The nonce that a hop's connections share.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    DigestChallenge, DigestCredentials, DigestRequest,
    algorithm::hex,
    response::{NonceUse, answer},
};
use crate::Secret;

/// The current nonce of a proxy and how often it was used. It is shared by all connections of a hop.
#[derive(Debug, Default)]
pub struct DigestSession(Mutex<Option<CurrentNonce>>);

#[derive(Debug)]
struct CurrentNonce {
    challenge: DigestChallenge,
    uses: u32,
    /// Whether the proxy accepted an answer with this nonce.
    is_proven: bool,
    /// The client's nonce of a `-sess` algorithm, whose key is derived once for a nonce of the server.
    session_client_nonce: Option<String>,
}

/// The meaning of a 407 for the request that received it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "an answer after a rejection counts towards a lock-out"]
pub enum DigestVerdict {
    /// Send the request again with a new [`authorize`](DigestSession::authorize).
    Answer,
    /// The proxy does not accept the credentials.
    Rejected,
}

/// One answer: the value of `Proxy-Authorization`, to be sent once.
pub struct DigestAuthorization {
    value: Secret,
    nonce: String,
    was_proven: bool,
}

impl DigestAuthorization {
    /// Returns the value of the field.
    pub fn value(&self) -> &Secret {
        &self.value
    }
}

impl fmt::Debug for DigestAuthorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestAuthorization(hidden)")
    }
}

impl DigestSession {
    /// Answers with the current nonce and counts its use. Returns `None` if no nonce is known.
    ///
    /// Send the value, or a proxy that checks counts strictly will answer the next one with `stale=true`.
    pub fn authorize(
        &self,
        credentials: &DigestCredentials,
        request: &DigestRequest<'_>,
    ) -> Option<DigestAuthorization> {
        // The nonce is read and its use counted under one lock. To the proxy, two connections with the same count would look
        // like a replayed request.
        let mut slot = self.lock();
        let Some(count) = slot.as_ref()?.uses.checked_add(1) else {
            *slot = None;
            return None;
        };
        let current = slot.as_mut()?;
        current.uses = count;
        // The key of a `-sess` algorithm is derived from the client's nonce of the first answer. Later answers repeat
        // that nonce, or the proxy would compute another key.
        let mut client_nonce = hex(&request.client_nonce).to_string();
        if current.challenge.algorithm.is_session() {
            client_nonce = current.session_client_nonce.get_or_insert(client_nonce).clone();
        }
        let nonce_use = NonceUse { count, client_nonce: &client_nonce };
        Some(DigestAuthorization {
            value: answer(&current.challenge, credentials, request, nonce_use),
            nonce: current.challenge.nonce.clone(),
            was_proven: current.is_proven,
        })
    }

    /// Stores the nonce of a 407, and returns whether to answer it. `sent` is the answer that the request carried.
    ///
    /// A request without an answer gets one. So does a request whose nonce is too old: the proxy sends another nonce, and says
    /// `stale=true` or had accepted the old nonce before, as after a restart in which it forgot its nonces. The latter can't
    /// happen twice in a row, since the new nonce has not been accepted yet. Anything else is a rejection, and the nonce is
    /// forgotten.
    pub fn challenged(
        &self,
        challenge: DigestChallenge,
        sent: Option<&DigestAuthorization>,
    ) -> DigestVerdict {
        // A 407 that repeats the nonce just used is a rejection, even with `stale=true`: a stale nonce would have
        // been replaced. Otherwise a wrong password would be tried again and again.
        let is_answerable = sent.is_none_or(|sent| {
            sent.nonce != challenge.nonce && (challenge.is_stale() || sent.was_proven)
        });
        let mut slot = self.lock();
        if !is_answerable {
            // Another connection may have learned a newer nonce meanwhile, to which this rejection does not apply.
            let rejected = sent.map(|sent| &sent.nonce);
            if slot.as_ref().is_some_and(|current| Some(&current.challenge.nonce) == rejected) {
                *slot = None;
            }
            return DigestVerdict::Rejected;
        }
        // Another connection may have received the same nonce. Its count goes on.
        let is_known = |current: &CurrentNonce| current.challenge.nonce == challenge.nonce;
        if !slot.as_ref().is_some_and(is_known) {
            *slot = Some(CurrentNonce {
                challenge,
                uses: 0,
                is_proven: false,
                session_client_nonce: None,
            });
        }
        DigestVerdict::Answer
    }

    /// Records that the proxy accepted an answer.
    pub fn accepted(&self, sent: &DigestAuthorization) {
        if let Some(current) = self.lock().as_mut().filter(|one| one.challenge.nonce == sent.nonce)
        {
            current.is_proven = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<CurrentNonce>> {
        // Nothing panics under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::challenge::Challenge;

    fn challenge(nonce: &str, extra: &str) -> DigestChallenge {
        let field = format!("Digest realm=r, nonce={nonce}, qop=auth{extra}");
        DigestChallenge::strongest(&Challenge::parse([field.as_bytes()])).unwrap()
    }

    fn authorize(session: &DigestSession, byte: u8) -> Option<DigestAuthorization> {
        let credentials = DigestCredentials::new(Secret::new("u"), Secret::new("p"));
        let request = DigestRequest { method: "CONNECT", uri: "a:1", client_nonce: [byte; 16] };
        session.authorize(&credentials, &request)
    }

    fn parameter(sent: &DigestAuthorization, name: &str) -> String {
        let parsed = Challenge::parse([sent.value.expose().as_bytes()]);
        String::from_utf8(parsed[0].parameter(name).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn uses_are_counted_for_each_nonce() {
        let session = DigestSession::default();
        assert!(authorize(&session, 0).is_none());
        assert_eq!(session.challenged(challenge("n", ""), None), DigestVerdict::Answer);
        let counts = [1, 2, 3].map(|byte| parameter(&authorize(&session, byte).unwrap(), "nc"));
        assert_eq!(counts, ["00000001", "00000002", "00000003"]);
        // A second connection that was given the same nonce does not start again.
        assert_eq!(session.challenged(challenge("n", ""), None), DigestVerdict::Answer);
        assert_eq!(parameter(&authorize(&session, 4).unwrap(), "nc"), "00000004");
        assert_eq!(session.challenged(challenge("m", ""), None), DigestVerdict::Answer);
        assert_eq!(parameter(&authorize(&session, 5).unwrap(), "nc"), "00000001");
    }

    #[test]
    fn a_count_never_wraps() {
        let session = DigestSession::default();
        assert_eq!(session.challenged(challenge("n", ""), None), DigestVerdict::Answer);
        session.lock().as_mut().unwrap().uses = u32::MAX - 1;
        assert_eq!(parameter(&authorize(&session, 1).unwrap(), "nc"), "ffffffff");
        assert!(authorize(&session, 2).is_none());
    }

    #[test]
    fn only_a_new_nonce_for_a_stale_one_is_no_rejection() {
        for (nonce, extra, is_proven, expected) in [
            ("m", ", stale=TRUE", false, DigestVerdict::Answer),
            ("n", ", stale=true", false, DigestVerdict::Rejected),
            ("m", ", stale=false", false, DigestVerdict::Rejected),
            ("m", "", false, DigestVerdict::Rejected),
            ("m", "", true, DigestVerdict::Answer),
            ("n", "", true, DigestVerdict::Rejected),
        ] {
            let session = DigestSession::default();
            assert_eq!(session.challenged(challenge("n", ""), None), DigestVerdict::Answer);
            let mut sent = authorize(&session, 1).unwrap();
            if is_proven {
                session.accepted(&sent);
                sent = authorize(&session, 2).unwrap();
            }
            let verdict = session.challenged(challenge(nonce, extra), Some(&sent));
            assert_eq!(verdict, expected, "{nonce} {extra} {is_proven}");
            assert_eq!(authorize(&session, 3).is_some(), expected == DigestVerdict::Answer);
        }
    }

    #[test]
    fn a_session_keeps_the_client_nonce_of_its_first_answer() {
        let session = DigestSession::default();
        let sess = challenge("n", ", algorithm=SHA-256-sess");
        assert_eq!(session.challenged(sess, None), DigestVerdict::Answer);
        let [first, second] =
            [1, 2].map(|byte| parameter(&authorize(&session, byte).unwrap(), "cnonce"));
        assert_eq!(first, second);
        assert_eq!(session.challenged(challenge("m", ""), None), DigestVerdict::Answer);
        assert_eq!(parameter(&authorize(&session, 3).unwrap(), "cnonce"), "03".repeat(16));
    }

    #[test]
    fn debug_shows_no_credentials() {
        let session = DigestSession::default();
        assert_eq!(session.challenged(challenge("n", ""), None), DigestVerdict::Answer);
        let sent = authorize(&session, 1).unwrap();
        assert_eq!(format!("{sent:?}"), "DigestAuthorization(hidden)");
    }
}
