//! The authentication to the proxy.

mod challenged;
mod plain;
mod rejections;
mod rounds;
mod wishes;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub(super) use self::plain::{Authorized, ProbeEnd};
use self::{
    rounds::{HopRequest, RoundsEnd},
    wishes::Wishes,
};
use super::{
    attempt::{Attempt, Method},
    lockout::{Lockout, Permit, Sent},
    sign_on::SignOn,
};
use crate::{
    Authority, Field, HopError, MissingCredentials, Readiness, Secret, Tunnel,
    auth::{
        challenge::{AuthScheme, Challenge},
        channel_bindings::ChannelBindings,
        digest::{DigestCredentials, DigestSession},
    },
    exchange::Exchange,
    refusal::{Refusal, RequestSecrets, SentLogin},
};

/// The schemes of a hop and what its connections learned about the proxy.
#[derive(Debug)]
pub(super) struct Authenticator {
    /// In the operator's order.
    methods: Vec<Method>,
    service: String,
    wishes: Mutex<Wishes>,
    lockout: Arc<Lockout>,
    /// The domain that the proxy's last challenge by NTLM named. Anyone can claim it.
    ntlm_domain: Mutex<Option<String>>,
    /// The parts of the login that the proxy might repeat.
    secrets: RequestSecrets,
    /// The key of the password or of its hash.
    secret_key: &'static str,
}

/// The way a CONNECT ended.
#[derive(Debug)]
pub(super) enum ConnectEnd {
    Connected,
    /// The proxy closes the connection, and a new one goes on with what was learned.
    Closes,
}

/// A connection to the proxy that is to carry one request, with as many rounds before it as its scheme takes.
#[derive(Debug)]
pub(super) struct LoginConnection<'a> {
    pub(super) tunnel: &'a mut Tunnel,
    /// The outcome of asking on an earlier connection whether the proxy wants credentials for this request.
    pub(super) probed: Option<ProbeEnd>,
    /// The bindings to the TLS connection with the proxy, if there is one.
    pub(super) bindings: Option<&'a ChannelBindings>,
    pub(super) head_bytes_max: usize,
}

/// The request that credentials are for, and the connection that it is sent on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Purpose<'a> {
    pub(super) method: &'a str,
    pub(super) uri: &'a str,
    pub(super) target: &'a Authority,
    /// The bindings to the TLS connection with the proxy, if there is one.
    pub(super) bindings: Option<&'a ChannelBindings>,
    /// Whether the proxy has just asked for credentials for this request.
    pub(super) is_again: bool,
    /// Whether no nonce of an earlier request will do: it may be used up, and this request can't be sent again.
    pub(super) needs_new_nonce: bool,
}

/// The reason to end an authentication after a 407.
enum Stop {
    /// The credentials are rejected, which counts towards a lock-out.
    Rejected(AuthScheme),
    /// The proxy does not accept a ticket.
    TokenRefused,
    /// The domain that issues tickets rejects the user.
    RejectedByDomain(MissingCredentials),
    /// The proxy offered this scheme, and does not go on with it.
    BrokenOff(AuthScheme),
    /// The proxy offers none of the schemes.
    NothingInCommon,
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

impl Authenticator {
    /// Creates one that begins with no knowledge of the proxy, except of rejected credentials.
    pub(super) fn new(methods: Vec<Method>, service: String, lockout: Arc<Lockout>) -> Self {
        // Basic alone needs no challenge.
        let at_once = matches!(methods[..], [Method::Basic(_)]).then(|| vec![AuthScheme::Basic]);
        let wishes = Mutex::new(Wishes::presumed(at_once));
        // The proxy may repeat what it got with an earlier request.
        let basic = methods.iter().filter_map(|method| match method {
            Method::Basic(value) => Some(Field::new("Proxy-Authorization", value.clone())),
            _ => None,
        });
        let secrets = RequestSecrets::of(&basic.collect::<Vec<_>>());
        Self {
            methods,
            service,
            wishes,
            lockout,
            ntlm_domain: Mutex::default(),
            secrets,
            secret_key: "password",
        }
    }

    /// Redacts these parts of the login in quoted answers of the proxy.
    #[must_use]
    pub(super) fn hiding<'a>(mut self, parts: impl IntoIterator<Item = &'a Secret>) -> Self {
        parts.into_iter().for_each(|part| self.secrets.add(part.expose()));
        self
    }

    /// Leaves out all words of the proxy that may repeat a part of the login.
    pub(super) fn leave_secrets_out(&self, refusal: &mut Refusal) {
        refusal.leave_out(&self.secrets);
    }

    /// Sets the key that messages name as the place of the password or its hash.
    #[must_use]
    pub(super) fn with_secret_key(self, secret_key: &'static str) -> Self {
        Self { secret_key, ..self }
    }

    /// Returns the key of the password or of its hash.
    pub(super) fn secret_key(&self) -> &'static str {
        self.secret_key
    }

    /// Returns whether an authentication may take more than one request on a connection.
    pub(super) fn takes_rounds(&self) -> bool {
        self.basic().is_none()
    }

    /// Returns the value of the field for Basic, if no other scheme is allowed.
    pub(super) fn basic(&self) -> Option<&Secret> {
        match &self.methods[..] {
            [Method::Basic(value)] => Some(value),
            _ => None,
        }
    }

    /// Returns how long the credentials are still held back after a rejection.
    pub(super) fn held_back(&self) -> Option<Duration> {
        self.lockout.held_back()
    }

    /// Ends that wait, by an order of the operator.
    pub(super) fn release(&self) {
        self.lockout.release();
    }

    /// Says for each scheme whether this machine can use it now. Blocks.
    pub(super) fn readiness(&self) -> Vec<Readiness> {
        if !self.takes_rounds() {
            return Vec::new();
        }
        let readiness = |method: &Method| Readiness {
            scheme: method.scheme(),
            credentials: match method {
                Method::Negotiate(sign_on) => sign_on.readiness(),
                Method::Ntlm(credentials) if credentials.is_hash_written() => {
                    Ok("with the NT hash".into())
                }
                _ => Ok("with the password".into()),
            },
        };
        self.methods.iter().map(readiness).collect()
    }

    /// Asks the proxy to connect to `next`, in as many rounds as its scheme takes.
    ///
    /// The first request has the credentials of the scheme that the proxy asked for last, as far as that scheme can
    /// begin without a challenge.
    ///
    /// # Errors
    /// The proxy refused, rejected the credentials, or did so a short time ago; or there are no credentials.
    pub(super) async fn connect(
        &self,
        connection: LoginConnection<'_>,
        next: &Authority,
        fields: &[Field],
    ) -> Result<ConnectEnd, HopError> {
        let LoginConnection { tunnel, probed, bindings, head_bytes_max } = connection;
        // Digest hashes the request target, and Negotiate and NTLM hash the proxy's certificate if there is TLS. So
        // their answers are made for this one request on this one connection, and are never kept for another.
        let uri = next.to_string();
        let is_again = probed == Some(ProbeEnd::Asked);
        let purpose = Purpose {
            method: "CONNECT",
            uri: &uri,
            target: next,
            bindings,
            is_again,
            needs_new_nonce: false,
        };
        let mut exchange = Exchange::new(tunnel, head_bytes_max);
        let opening = self.opening(purpose).await?;
        let asked = HopRequest::Connect(next, fields);
        match self.rounds(&mut exchange, asked, opening, purpose).await? {
            // Any 2xx at any round opens the tunnel. Proxies that know users by their IP address agree to NTLM's
            // first message.
            RoundsEnd::Answered(answer, attempt, permit) if answer.is_success() => {
                self.succeeded(&attempt, permit.as_ref().map(Permit::sent));
                Ok(ConnectEnd::Connected)
            }
            // Other refusals say nothing about the credentials, so no verdict is recorded, and the next connection may
            // try them.
            RoundsEnd::Answered(answer, attempt, permit) => {
                let rejects = answer.status() == 401 && attempt.is_last();
                let fields = [fields, &self.fields(&attempt)[..]].concat();
                let mut secrets = RequestSecrets::of(&fields);
                secrets.extend(&self.secrets);
                let mut refusal = exchange.refusal(answer, &secrets).await;
                refusal.login = self.login_of(&attempt);
                // Some proxies answer 401 in place of 407. It is no answer of the target, which was not reached.
                if rejects {
                    return Err(self.rejected_by_proxy(refusal, permit.as_ref().map(Permit::sent)));
                }
                Err(refusal.into())
            }
            RoundsEnd::Closes | RoundsEnd::Ready(..) | RoundsEnd::Unanswered => {
                Ok(ConnectEnd::Closes)
            }
        }
    }

    /// Returns the fields that carry the credentials of a request.
    fn fields(&self, attempt: &Attempt) -> Vec<Field> {
        // Old proxies answer 407 in HTTP/1.0 and close, unless this field asks them to stay. NTLM is impossible
        // without it. Basic alone never needs the connection after a 407, so its requests stay as short as
        // providers like them.
        let stay = || Field::new("Proxy-Connection", Secret::new("keep-alive"));
        self.takes_rounds().then(stay).into_iter().chain(attempt.field()).collect()
    }

    /// Returns the login that `attempt` was. The first message of NTLM is none: it names no user.
    fn login_of(&self, attempt: &Attempt) -> Option<SentLogin> {
        let scheme = attempt.scheme().filter(|_| attempt.is_last())?.name();
        // Basic alone is sent at once. Any other scheme waits for a challenge, though perhaps for one to another request.
        Some(SentLogin { scheme, was_asked_for: self.takes_rounds() })
    }

    /// Records that the proxy accepted the credentials, if there are any in `attempt`.
    fn succeeded(&self, attempt: &Attempt, sent: Option<&Sent>) {
        // From now on a new nonce of the proxy is not a rejection, also without `stale=true`.
        if let (Attempt::Digest(sent), Some((_, session))) = (attempt, self.digest()) {
            session.accepted(sent);
        }
        if let (Some(sent), false) = (sent, matches!(attempt, Attempt::None)) {
            self.lockout.accepted(sent);
        }
    }

    /// Returns the credentials of a connection's first request.
    async fn opening(&self, purpose: Purpose<'_>) -> Result<Attempt, HopError> {
        // This look at the tickets takes a thread, so it is only made while a rejected ticket blocks the hop.
        if let Some(sign_on) = self.sign_on()
            && let Some(old) = self.lockout.rejected_ticket()
        {
            // A new ticket, or none any more: either way the rejection says nothing about it.
            if sign_on.ticket().await.is_none_or(|new| !new.is_same(&old)) {
                self.lockout.ticket_changed(&old);
            }
        }
        // Also if the request begins without credentials, so that it does not reach the proxy while they are held back.
        self.lockout.check(purpose.target)?;
        if self.lockout.wants_proof() {
            return Ok(Attempt::None);
        }
        let offered = self.wishes().offered();
        // Except for Basic alone, the proxy gets no credentials before its first challenge: it may not want any, or
        // only by another scheme.
        let Some(offered) = offered else { return Ok(Attempt::None) };
        match self.choose(&offered, &[], purpose).await {
            Ok(attempt) => Ok(attempt),
            Err(Stop::Failed(error)) => Err(error),
            Err(Stop::RejectedByDomain(missing)) => Err(self.rejected_by_domain(missing)),
            // The next challenge may offer more than the last one did.
            Err(
                Stop::Rejected(_)
                | Stop::TokenRefused
                | Stop::BrokenOff(_)
                | Stop::NothingInCommon
                | Stop::Refused(_),
            ) => Ok(Attempt::None),
        }
    }

    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        // Each change is one step, so they are valid even after a panic of another holder.
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the schemes of a challenge, and returns them.
    fn note_offer(&self, challenges: &[Challenge]) -> Vec<AuthScheme> {
        let offered: Vec<_> = challenges.iter().filter_map(Challenge::scheme).collect();
        self.wishes().asked(offered.clone());
        offered
    }

    fn digest(&self) -> Option<(&DigestCredentials, &DigestSession)> {
        self.methods.iter().find_map(|method| match method {
            Method::Digest(credentials, session) => Some((&**credentials, &**session)),
            _ => None,
        })
    }

    fn sign_on(&self) -> Option<&SignOn> {
        self.methods.iter().find_map(|method| match method {
            Method::Negotiate(sign_on) => Some(&**sign_on),
            _ => None,
        })
    }
}
