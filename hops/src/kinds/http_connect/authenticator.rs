//! The rounds of an authentication that waits for the proxy's challenge.

use std::{
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio_rustls::rustls::crypto::ring;
use zeroize::Zeroizing;

use super::lockout::Lockout;
use crate::{
    Authority, Field, HopError, Meaning, Refusal, Secret, Tunnel,
    auth::{
        challenge::{AuthScheme, Challenge},
        digest::{
            DigestAuthorization, DigestChallenge, DigestCredentials, DigestError, DigestRequest,
            DigestSession, DigestVerdict,
        },
        ntlm::{self, NtlmCredentials, NtlmRound},
    },
    exchange::{Answer, Exchange},
};

/// The schemes of a hop and what its connections learned about the proxy.
#[derive(Debug)]
pub(super) struct Authenticator {
    /// In the operator's order.
    methods: Vec<Method>,
    service: String,
    /// The scheme that the proxy asked for last.
    last: Mutex<Option<AuthScheme>>,
    lockout: Lockout,
}

/// A scheme with what it needs.
#[derive(Debug)]
pub(super) enum Method {
    Ntlm(Box<NtlmCredentials>),
    Digest(Box<DigestCredentials>, Box<DigestSession>),
    /// The value of the field.
    Basic(Secret),
}

/// The way a CONNECT ended.
#[derive(Debug)]
pub(super) enum Outcome {
    Connected,
    /// The proxy closes the connection, and a new one goes on with what was learned.
    Closes,
}

/// The credentials of one request.
#[derive(Debug)]
enum Attempt {
    None,
    NtlmNegotiate,
    /// Belongs on the connection that the challenge came on.
    NtlmAuthenticate(Secret),
    Digest(DigestAuthorization),
    Basic(Secret),
}

/// The reason not to go on after a 407.
enum Stop {
    /// The proxy does not accept the credentials, which counts towards a lock-out.
    Rejected(AuthScheme),
    /// No credentials are sent, for this reason.
    Refused(String),
    /// Something else failed.
    Failed(HopError),
}

impl From<HopError> for Stop {
    fn from(error: HopError) -> Self {
        Self::Failed(error)
    }
}

impl Method {
    pub(super) fn ntlm(credentials: NtlmCredentials) -> Self {
        Self::Ntlm(Box::new(credentials))
    }

    pub(super) fn digest(credentials: DigestCredentials) -> Self {
        Self::Digest(Box::new(credentials), Box::default())
    }

    fn scheme(&self) -> AuthScheme {
        match self {
            Self::Ntlm(_) => AuthScheme::Ntlm,
            Self::Digest(..) => AuthScheme::Digest,
            Self::Basic(_) => AuthScheme::Basic,
        }
    }
}

impl Attempt {
    fn field(&self) -> Option<Field> {
        let value = match self {
            Self::None => return None,
            Self::NtlmNegotiate => ntlm_value(&ntlm::negotiate_message()),
            Self::NtlmAuthenticate(value) | Self::Basic(value) => value.clone(),
            Self::Digest(sent) => sent.value().clone(),
        };
        Some(Field::new("Proxy-Authorization", value))
    }
}

impl Authenticator {
    pub(super) fn new(methods: Vec<Method>, service: String) -> Self {
        Self { methods, service, last: Mutex::default(), lockout: Lockout::default() }
    }

    /// Asks the proxy to connect to `next`, in as many rounds as its scheme takes.
    ///
    /// The first request has the credentials of the scheme that the proxy asked for last, as far as that scheme can
    /// begin without a challenge. Each 407 is answered by at most one more request, until one is a rejection.
    ///
    /// # Errors
    /// The proxy refused, rejected the credentials, or did so a short time ago.
    pub(super) async fn connect(
        &self,
        tunnel: &mut Tunnel,
        next: &Authority,
        fields: &[Field],
        head_bytes_max: usize,
    ) -> Result<Outcome, HopError> {
        let uri = next.to_string();
        let mut exchange = Exchange::new(tunnel, head_bytes_max);
        let mut attempt = self.opening(&uri)?;
        let mut permit = None;
        for _ in 0..ROUNDS_MAX {
            // A proxy that asks for nothing makes nobody wait.
            if permit.is_none() && !matches!(attempt, Attempt::None) {
                permit = Some(self.lockout.permit().await.map_err(HopError::Refused)?);
            }
            let mut fields = fields.to_vec();
            fields.push(Field::new("Proxy-Connection", Secret::new("keep-alive")));
            fields.extend(attempt.field());
            let answer = exchange.connect(next, &fields).await?;
            if answer.is_success() {
                if let Attempt::Digest(sent) = &attempt {
                    self.digest_session(|session| session.accepted(sent));
                }
                if let Some(permit) = permit {
                    permit.accepted();
                }
                return Ok(Outcome::Connected);
            }
            if answer.status() != 407 {
                return Err(answer.into_refusal().into());
            }
            attempt = match self.after(attempt, &answer, &uri) {
                Ok(attempt) => attempt,
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Refused(reason)) => return Err(refusal(answer, reason).into()),
                Err(Stop::Rejected(scheme)) => {
                    let refusal = rejection(answer, scheme);
                    if let Some(permit) = permit {
                        permit.rejected(&refusal);
                    }
                    return Err(refusal.into());
                }
            };
            if !exchange.finish(&answer).await? {
                return Ok(Outcome::Closes);
            }
        }
        Err(HopError::Malformed("it asks for credentials again and again"))
    }

    /// Returns the credentials of a connection's first request.
    fn opening(&self, uri: &str) -> Result<Attempt, HopError> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let method = self.methods.iter().find(|method| Some(method.scheme()) == last);
        Ok(match method {
            None => Attempt::None,
            Some(Method::Ntlm(_)) => Attempt::NtlmNegotiate,
            Some(Method::Basic(value)) => Attempt::Basic(value.clone()),
            Some(Method::Digest(credentials, session)) => {
                let sent = authorize(credentials, session, uri)?;
                sent.map_or(Attempt::None, Attempt::Digest)
            }
        })
    }

    /// Finds the answer to a 407.
    ///
    /// Credentials that were sent and not accepted are a rejection, and no other scheme is tried then. NTLM's first
    /// message has none, so a proxy that does not offer NTLM any more gets another scheme of the list.
    fn after(&self, attempt: Attempt, answer: &Answer, uri: &str) -> Result<Attempt, Stop> {
        let challenges = Challenge::parse(answer.challenges());
        match attempt {
            Attempt::NtlmAuthenticate(_) => Err(Stop::Rejected(AuthScheme::Ntlm)),
            Attempt::Basic(_) => Err(Stop::Rejected(AuthScheme::Basic)),
            Attempt::Digest(sent) => self.after_digest(&challenges, Some(&sent), uri),
            Attempt::NtlmNegotiate if is_offered(&challenges, AuthScheme::Ntlm) => {
                self.after_negotiate_message(&challenges)
            }
            Attempt::NtlmNegotiate | Attempt::None => self.choose(&challenges, uri),
        }
    }

    /// Takes the first scheme of the list that the proxy offers.
    fn choose(&self, challenges: &[Challenge], uri: &str) -> Result<Attempt, Stop> {
        let mut methods = self.methods.iter();
        let Some(method) = methods.find(|method| is_offered(challenges, method.scheme())) else {
            return Err(Stop::Refused(self.nothing_in_common(challenges)));
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(method.scheme());
        match method {
            Method::Ntlm(_) => Ok(Attempt::NtlmNegotiate),
            Method::Basic(value) => Ok(Attempt::Basic(value.clone())),
            Method::Digest(..) => self.after_digest(challenges, None, uri),
        }
    }

    fn after_negotiate_message(&self, challenges: &[Challenge]) -> Result<Attempt, Stop> {
        let mut offers = challenges.iter().filter(|offer| offer.scheme() == Some(AuthScheme::Ntlm));
        let token = offers.find_map(|offer| offer.token().ok().flatten());
        let credentials = self.methods.iter().find_map(|method| match method {
            Method::Ntlm(credentials) => Some(credentials),
            Method::Digest(..) | Method::Basic(_) => None,
        });
        let (Some(token), Some(credentials)) = (token, credentials) else {
            let reason = "the proxy offers NTLM and does not go on with it".to_owned();
            return Err(Stop::Refused(reason));
        };
        let round = NtlmRound {
            spn: Some(&self.service),
            bindings: None,
            client_challenge: random()?,
            now: SystemTime::now(),
        };
        match ntlm::authenticate_message(credentials, &token, &round) {
            Ok(message) => Ok(Attempt::NtlmAuthenticate(ntlm_value(&message))),
            Err(error) => Err(Stop::Refused(error.to_string())),
        }
    }

    fn after_digest(
        &self,
        challenges: &[Challenge],
        sent: Option<&DigestAuthorization>,
        uri: &str,
    ) -> Result<Attempt, Stop> {
        let challenge = match DigestChallenge::strongest(challenges) {
            Ok(challenge) => challenge,
            Err(DigestError::NotOffered) => return Err(Stop::Rejected(AuthScheme::Digest)),
            Err(error) => return Err(Stop::Refused(error.to_string())),
        };
        let verdict = self.digest_session(|session| session.challenged(challenge, sent));
        if verdict != Some(DigestVerdict::Answer) {
            return Err(Stop::Rejected(AuthScheme::Digest));
        }
        let answer = self.methods.iter().find_map(|method| match method {
            Method::Digest(credentials, session) => {
                authorize(credentials, session, uri).transpose()
            }
            Method::Ntlm(_) | Method::Basic(_) => None,
        });
        Ok(answer.transpose()?.map_or(Attempt::None, Attempt::Digest))
    }

    fn digest_session<T>(&self, act: impl FnOnce(&DigestSession) -> T) -> Option<T> {
        let session = self.methods.iter().find_map(|method| match method {
            Method::Digest(_, session) => Some(session),
            Method::Ntlm(_) | Method::Basic(_) => None,
        });
        session.map(|session| act(session))
    }

    fn nothing_in_common(&self, challenges: &[Challenge]) -> String {
        let ours: Vec<_> = self.methods.iter().map(|method| method.scheme().name()).collect();
        let mut offered: Vec<_> = challenges.iter().map(Challenge::name).collect();
        offered.dedup();
        let offered = if offered.is_empty() { "nothing".to_owned() } else { offered.join(", ") };
        format!("it offers {offered}, and `auth` of this hop allows {}", ours.join(", "))
    }
}

fn is_offered(challenges: &[Challenge], scheme: AuthScheme) -> bool {
    challenges.iter().any(|challenge| challenge.scheme() == Some(scheme))
}

fn authorize(
    credentials: &DigestCredentials,
    session: &DigestSession,
    uri: &str,
) -> Result<Option<DigestAuthorization>, HopError> {
    let request = DigestRequest { method: "CONNECT", uri, client_nonce: random()? };
    Ok(session.authorize(credentials, &request))
}

fn refusal(answer: Answer, reason: String) -> Refusal {
    let mut refusal = answer.into_refusal();
    refusal.means(Meaning::Credentials);
    refusal.detail = Some(reason);
    refusal.advice = Some(
        "Nothing of the credentials was sent. List in this hop's `auth` a scheme that the proxy offers, or ask its \
         administrator for one that is listed."
            .to_owned(),
    );
    refusal
}

fn rejection(answer: Answer, scheme: AuthScheme) -> Refusal {
    let mut refusal = answer.into_refusal();
    refusal.means(Meaning::Credentials);
    refusal.detail = Some(format!("it rejected the credentials, by {}", scheme.name()));
    refusal.advice = Some(
        "Correct this hop's `username` and `password`. To keep the account from being locked, they are not tried again \
         for a while; an edit of them ends that."
            .to_owned(),
    );
    refusal
}

fn ntlm_value(message: &[u8]) -> Secret {
    let encoded = Zeroizing::new(STANDARD.encode(message));
    Secret::new(format!("NTLM {}", encoded.as_str()))
}

fn random<const N: usize>() -> Result<[u8; N], HopError> {
    let mut bytes = [0; N];
    let source = ring::default_provider().secure_random;
    let no_source = |_| HopError::Other("the system gives no random numbers".into());
    source.fill(&mut bytes).map_err(no_source)?;
    Ok(bytes)
}

/// Requests on one connection, so that a proxy that never ends is left.
const ROUNDS_MAX: usize = 6;
