//! The nonces that a hop's connections use in turn.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    DigestChallenge, DigestCredentials, DigestRequest,
    algorithm::hex,
    response::{NonceUse, answer},
};
use crate::Secret;

/// The nonces of a proxy and how often each was used. They are shared by all connections of a hop.
///
/// Each nonce is leased to one request at a time, until its [`DigestAuthorization`] is dropped. The counts of requests that
/// share a nonce arrive in another order than they were made in, and proxies that insist on the order answer `stale=true`
/// again and again. A request that finds no free nonce goes without credentials, and the 407 brings another one. So there are
/// soon as many as there are requests at once. Only a proxy that gives the same nonce to several requests has it shared.
#[derive(Debug, Default)]
pub struct DigestSession(Arc<Mutex<Nonces>>);

#[derive(Debug, Default)]
struct Nonces {
    /// The one that was learned or returned last is at the end. It has the longest time to live, and is leased first.
    known: Vec<KnownNonce>,
}

#[derive(Debug)]
struct KnownNonce {
    challenge: DigestChallenge,
    uses: u32,
    /// Whether the proxy accepted an answer with this nonce.
    is_proven: bool,
    is_leased: bool,
    /// Whether the proxy gave it to a request while another one used it.
    is_shared: bool,
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
///
/// Keep it until the proxy has answered. Dropping it makes its nonce free for the next request.
pub struct DigestAuthorization {
    value: Secret,
    nonce: String,
    was_proven: bool,
    nonces: Arc<Mutex<Nonces>>,
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

impl Drop for DigestAuthorization {
    fn drop(&mut self) {
        lock(&self.nonces).release(&self.nonce);
    }
}

impl DigestSession {
    /// Answers with a free nonce and counts its use. Returns `None` if there is none.
    ///
    /// Send the value, or a proxy that checks counts strictly will answer the next one with `stale=true`.
    pub fn authorize(
        &self,
        credentials: &DigestCredentials,
        request: &DigestRequest<'_>,
    ) -> Option<DigestAuthorization> {
        // A nonce is chosen and its use counted under one lock. To the proxy, two requests with the same count would look like
        // a replay.
        let mut nonces = lock(&self.0);
        let current = nonces.lease(request.is_again)?;
        // The key of a `-sess` algorithm is derived from the client's nonce of the first answer. Later answers repeat
        // that nonce, or the proxy would compute another key.
        let mut client_nonce = hex(&request.client_nonce).to_string();
        if current.challenge.algorithm.is_session() {
            client_nonce = current.session_client_nonce.get_or_insert(client_nonce).clone();
        }
        let nonce_use = NonceUse { count: current.uses, client_nonce: &client_nonce };
        Some(DigestAuthorization {
            value: answer(&current.challenge, credentials, request, nonce_use),
            nonce: current.challenge.nonce.clone(),
            was_proven: current.is_proven,
            nonces: Arc::clone(&self.0),
        })
    }

    /// Stores the nonce of a 407, and returns whether to answer it. `sent` is the answer that the request carried.
    ///
    /// A request without an answer gets one. So does a request whose nonce is too old: the proxy sends another nonce, and says
    /// `stale=true` or had accepted the old nonce before, as after a restart in which it forgot its nonces. The second
    /// reason can't hold twice in a row, since the new nonce has not been accepted yet. Anything else is a rejection.
    pub fn challenged(
        &self,
        challenge: DigestChallenge,
        sent: Option<&DigestAuthorization>,
    ) -> DigestVerdict {
        let mut nonces = lock(&self.0);
        if let Some(sent) = sent {
            nonces.forget(&sent.nonce);
            // A 407 that repeats the nonce just used is a rejection, even with `stale=true`: a stale nonce would have
            // been replaced. Otherwise a wrong password would be tried again and again.
            if sent.nonce == challenge.nonce || !(challenge.is_stale() || sent.was_proven) {
                return DigestVerdict::Rejected;
            }
            // The proxy has forgotten all nonces, or the password has changed. After a change of the password, each proven
            // nonce would cost one more failed logon.
            if !challenge.is_stale() {
                nonces.known.clear();
            }
        }
        nonces.learn(challenge);
        DigestVerdict::Answer
    }

    /// Records that the proxy accepted an answer.
    pub fn accepted(&self, sent: &DigestAuthorization) {
        if let Some(known) = lock(&self.0).find(&sent.nonce) {
            known.is_proven = true;
        }
    }
}

impl Nonces {
    /// Leases a free nonce, or else a shared one, and counts its use.
    ///
    /// A request that comes again after a challenge gets one that was never used, and others get one of the rest. With the nonces
    /// of others, which may be used up, the request would be challenged again and again on a busy proxy.
    fn lease(&mut self, is_again: bool) -> Option<&mut KnownNonce> {
        // A count never wraps, or the proxy would take the answer for a replay.
        self.known.retain(|known| known.uses < u32::MAX);
        let is_free = |known: &KnownNonce| !known.is_leased;
        let is_meant = |known: &KnownNonce| is_free(known) && (known.uses == 0) == is_again;
        let position = self.known.iter().rposition(is_meant);
        let position = position.or_else(|| self.known.iter().rposition(is_free));
        let position = position.or_else(|| self.known.iter().rposition(|known| known.is_shared))?;
        let known = self.known.get_mut(position)?;
        known.is_leased = true;
        known.uses += 1;
        Some(known)
    }

    /// Ends the lease of `nonce`, unless it was forgotten meanwhile.
    fn release(&mut self, nonce: &str) {
        let Some(position) = self.position(nonce) else { return };
        let mut known = self.known.remove(position);
        known.is_leased = false;
        self.known.push(known);
        // One that was never used belongs to a request that was just asked.
        let is_spare = |known: &KnownNonce| !known.is_leased && known.uses > 0;
        if self.known.iter().filter(|known| is_spare(known)).count() > SPARE_MAX
            && let Some(oldest) = self.known.iter().position(is_spare)
        {
            self.known.remove(oldest);
        }
    }

    /// Adds the nonce of a challenge. If it is known, it is in use by another request, and its count goes on.
    fn learn(&mut self, challenge: DigestChallenge) {
        if let Some(known) = self.find(&challenge.nonce) {
            known.is_shared = true;
            return;
        }
        self.known.push(KnownNonce {
            challenge,
            uses: 0,
            is_proven: false,
            is_leased: false,
            is_shared: false,
            session_client_nonce: None,
        });
    }

    fn forget(&mut self, nonce: &str) {
        self.known.retain(|known| known.challenge.nonce != nonce);
    }

    fn find(&mut self, nonce: &str) -> Option<&mut KnownNonce> {
        let position = self.position(nonce)?;
        self.known.get_mut(position)
    }

    fn position(&self, nonce: &str) -> Option<usize> {
        self.known.iter().rposition(|known| known.challenge.nonce == nonce)
    }
}

fn lock(nonces: &Mutex<Nonces>) -> MutexGuard<'_, Nonces> {
    // Nothing panics under the lock.
    nonces.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The most free nonces that are kept after a time with many requests at once.
const SPARE_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::challenge::Challenge;

    fn challenge(nonce: &str, extra: &str) -> DigestChallenge {
        let field = format!("Digest realm=r, nonce={nonce}, qop=auth{extra}");
        DigestChallenge::strongest(&Challenge::parse([field.as_bytes()])).unwrap()
    }

    fn authorize(session: &DigestSession, byte: u8) -> Option<DigestAuthorization> {
        authorize_for(session, byte, false)
    }

    fn authorize_for(
        session: &DigestSession,
        byte: u8,
        is_again: bool,
    ) -> Option<DigestAuthorization> {
        let credentials = DigestCredentials::new(Secret::new("u"), Secret::new("p"));
        let request =
            DigestRequest { method: "CONNECT", uri: "a:1", client_nonce: [byte; 16], is_again };
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
        assert_eq!(parameter(&authorize_for(&session, 5, true).unwrap(), "nc"), "00000001");
    }

    #[test]
    fn a_count_never_wraps() {
        let session = DigestSession::default();
        assert_eq!(session.challenged(challenge("n", ""), None), DigestVerdict::Answer);
        lock(&session.0).known[0].uses = u32::MAX - 1;
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
                drop(sent);
                sent = authorize(&session, 2).unwrap();
            }
            let verdict = session.challenged(challenge(nonce, extra), Some(&sent));
            assert_eq!(verdict, expected, "{nonce} {extra} {is_proven}");
            assert_eq!(authorize(&session, 3).is_some(), expected == DigestVerdict::Answer);
        }
    }

    #[test]
    fn each_of_two_requests_at_once_has_a_nonce_of_its_own() {
        let session = DigestSession::default();
        assert_eq!(session.challenged(challenge("n", ""), None), DigestVerdict::Answer);
        let first = authorize(&session, 1).unwrap();
        assert!(authorize(&session, 2).is_none());
        assert_eq!(session.challenged(challenge("m", ""), None), DigestVerdict::Answer);
        let second = authorize(&session, 2).unwrap();
        assert_eq!([&first, &second].map(|sent| parameter(sent, "nonce")), ["n", "m"]);
        drop(first);
        let third = authorize(&session, 3).unwrap();
        assert_eq!(["nonce", "nc"].map(|name| parameter(&third, name)), ["n", "00000002"]);
    }

    #[test]
    fn a_nonce_that_was_never_used_is_for_a_request_that_was_challenged() {
        let session = DigestSession::default();
        assert_eq!(session.challenged(challenge("used", ""), None), DigestVerdict::Answer);
        let [first, second] = ["used", "new"].map(|_| authorize(&session, 1));
        assert!(first.is_some() && second.is_none());
        assert_eq!(session.challenged(challenge("new", ""), None), DigestVerdict::Answer);
        drop(first);
        let mut nonces = [false, true, false].map(|is_again| {
            let sent = authorize_for(&session, 2, is_again);
            sent.map(|sent| (parameter(&sent, "nonce"), sent))
        });
        let leased = nonces.each_mut().map(|lease| lease.take().map(|(nonce, _)| nonce));
        assert_eq!(leased, [Some("used".into()), Some("new".into()), None]);
    }

    #[test]
    fn a_nonce_that_the_proxy_gives_to_two_requests_is_shared() {
        let session = DigestSession::default();
        let asked = || session.challenged(challenge("n", ""), None);
        assert_eq!(asked(), DigestVerdict::Answer);
        let first = authorize(&session, 1).unwrap();
        assert_eq!(asked(), DigestVerdict::Answer);
        let others = [2, 3].map(|byte| authorize(&session, byte).unwrap());
        assert_eq!(parameter(&first, "nc"), "00000001");
        assert_eq!(others.map(|sent| parameter(&sent, "nc")), ["00000002", "00000003"]);
    }

    #[test]
    fn a_proxy_that_forgot_one_nonce_is_sent_none_of_the_others() {
        let session = DigestSession::default();
        let sent = ["n", "m"].map(|nonce| {
            assert_eq!(session.challenged(challenge(nonce, ""), None), DigestVerdict::Answer);
            let sent = authorize(&session, 1).unwrap();
            session.accepted(&sent);
            sent
        });
        drop(sent);
        let stale = authorize(&session, 2).unwrap();
        assert_eq!(session.challenged(challenge("k", ""), Some(&stale)), DigestVerdict::Answer);
        assert_eq!(parameter(&authorize(&session, 3).unwrap(), "nonce"), "k");
        let rejected = authorize(&session, 4).unwrap();
        assert_eq!(
            session.challenged(challenge("l", ""), Some(&rejected)),
            DigestVerdict::Rejected
        );
        assert!(authorize(&session, 5).is_none());
    }

    #[test]
    fn few_free_nonces_are_kept_after_many_requests_at_once() {
        let session = DigestSession::default();
        let sent: Vec<_> = (0..200)
            .map(|number| {
                let challenge = challenge(&format!("n{number}"), "");
                assert_eq!(session.challenged(challenge, None), DigestVerdict::Answer);
                authorize(&session, 1).unwrap()
            })
            .collect();
        drop(sent);
        assert_eq!(lock(&session.0).known.len(), SPARE_MAX);
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
        let third = authorize_for(&session, 3, true).unwrap();
        assert_eq!(parameter(&third, "cnonce"), "03".repeat(16));
    }

    #[test]
    fn debug_shows_no_credentials() {
        let session = DigestSession::default();
        assert_eq!(session.challenged(challenge("n", ""), None), DigestVerdict::Answer);
        let sent = authorize(&session, 1).unwrap();
        assert_eq!(format!("{sent:?}"), "DigestAuthorization(hidden)");
    }
}
