//! Negotiate: tokens by which the user of the system, or a Kerberos user of the settings, signs on to the proxy.

mod rounds;

use std::{
    io,
    net::{Ipv4Addr, UdpSocket},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use dns_lookup::AddrInfoHints;
use mooltiroute_sso::{self as sso, Credentials, Identity, Reason, SsoError, Ticket, Words};

pub(super) use self::rounds::SignOnRound;
use self::rounds::{first_token, next_token};
use super::diagnosis::Diagnosis;
use crate::{
    Host, NO_DESCRIPTOR, Secret, Unready,
    auth::channel_bindings::ChannelBindings,
    kinds::blocking::{BlockingCalls, CallError},
};

/// The identities of a hop and the service that they sign on to.
#[derive(Debug)]
pub(super) struct SignOn {
    service: Arc<str>,
    /// In the order in which they are tried. The next one is used if there is no ticket for this one.
    identities: Arc<[Arc<Identity>]>,
    /// The key `username`, which must not show in an error.
    username: Option<Secret>,
    calls: BlockingCalls,
}

/// The reason why there is no token.
#[derive(Debug)]
pub(super) enum SignOnError {
    /// The system's library says why.
    Library(SsoError),
    /// The library does not return.
    TimedOut(Duration),
    /// This process has no descriptor left. Libraries then say that there is no ticket, or no file of settings.
    NoDescriptor(io::Error),
}

impl SignOnError {
    /// Returns whether the cause is this machine or its set-up, so that the next listed scheme may be tried.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::Library(error) => error.reason.is_local(),
            Self::TimedOut(_) => true,
            // Another scheme could do without a file, but its credentials may be weaker, and the lack is not about this one.
            Self::NoDescriptor(_) => false,
        }
    }

    /// Returns the reason for a failure of the library. `lack` returns the error of this process if it can open nothing.
    fn of_library(error: SsoError, lack: impl FnOnce() -> Option<io::Error>) -> Self {
        // A domain that rejected the user was asked, whatever has become of the descriptors since.
        let lack = if error.reason.is_rejection() { None } else { lack() };
        lack.map_or(Self::Library(error), Self::NoDescriptor)
    }

    /// Returns whether the domain rejected the user, so that another try could lock the account.
    pub(super) fn is_rejection(&self) -> bool {
        matches!(self, Self::Library(error) if error.reason.is_rejection())
    }
}

impl SignOn {
    /// Signs on to `service` with the first of the identities that has a ticket, waiting no longer than `patience`.
    pub(super) fn new(service: &str, identities: Vec<Identity>, patience: Duration) -> Self {
        let identities = identities.into_iter().map(Arc::new).collect();
        let calls = BlockingCalls::new("sign-on", CALLS_MAX, patience);
        Self { service: service.into(), identities, username: None, calls }
    }

    /// Keeps a username out of all errors.
    #[must_use]
    pub(super) fn hiding(self, username: Option<Secret>) -> Self {
        Self { username, ..self }
    }

    /// Replaces the username in the foreign words of an error.
    pub(super) fn hidden(&self, error: SsoError) -> SsoError {
        error.map_foreign(|words| self.without_username(words))
    }

    /// Replaces the username in a text of others: a name, a path or the words of the library. It may be any word, such as
    /// `password`, so this program's own sentences never pass through here.
    pub(super) fn without_username(&self, words: &str) -> String {
        // A username from the settings is a secret to this program, but Kerberos quotes it in its errors, without its
        // domain or with its realm. So only the name itself is looked for.
        let Some(username) = &self.username else { return words.to_owned() };
        let user = username.expose().split_once('\\').map_or(username.expose(), |(_, user)| user);
        let user = user.split_once('@').map_or(user, |(user, _)| user);
        replace_word(words, user, "(username)")
    }

    /// Returns the name of the service, such as `HTTP/proxy.example`.
    pub(super) fn service(&self) -> &str {
        &self.service
    }

    /// Returns the canonical name of the proxy's host if `error` says that its service name is unknown, and if DNS knows
    /// the host by another name.
    pub(super) async fn canonical_name(&self, error: &SignOnError) -> Option<String> {
        let SignOnError::Library(SsoError { reason: Reason::UnknownService, .. }) = error else {
            return None;
        };
        let (_, host) = self.service.split_once('/')?;
        let host = host.split('@').next()?.to_owned();
        let canonical = self.calls.run(move || canonical_name(&host)).await;
        canonical.ok().flatten()
    }

    /// Returns the path of the keytab and its principal, if this signs on with a keytab.
    pub(super) fn keytab(&self) -> Option<(&Path, &str)> {
        self.identities.iter().find_map(|identity| match identity.credentials() {
            Credentials::Keytab { path, principal, .. } => {
                Some((path.as_path(), principal.as_str()))
            }
            _ => None,
        })
    }

    /// Returns the name of the credential cache that the settings name, if they do.
    pub(super) fn ccache(&self) -> Option<&str> {
        self.identities.iter().find_map(|identity| match identity.credentials() {
            Credentials::Ccache { name, .. } => Some(name.as_str()),
            _ => None,
        })
    }

    /// Returns the user whose ticket is looked for, if it must be that of one, without what is secret.
    pub(super) fn principal(&self) -> Option<String> {
        let principal =
            self.identities.iter().find_map(|identity| match identity.credentials() {
                Credentials::Ccache { principal, .. } | Credentials::LoggedIn { principal } => {
                    principal.as_deref()
                }
                _ => None,
            })?;
        // Of `DOMAIN\\NAME`, Kerberos sees the name alone.
        let principal = principal.split_once('\\').map_or(principal, |(_, name)| name);
        Some(self.without_username(principal))
    }

    /// Describes the credentials that the next sign-on would use. Blocks.
    ///
    /// # Errors
    /// There is no library or no ticket.
    pub(super) fn readiness(&self) -> Result<String, Unready> {
        // `check` shows this. A password and a keytab are only named: whether they work shows at the first request.
        let unready = |error: SsoError| Unready {
            advice: Diagnosis::of(error.reason).advice_for(self),
            reason: self.hidden(error).to_string(),
        };
        sso::check_available().map_err(unready)?;
        let mut without = failure(Reason::NoTicket, "");
        for identity in self.identities.iter() {
            match identity.credentials() {
                Credentials::Password { .. } => return Ok("with the password".into()),
                // Its ticket is not looked for: the library might ask the KDC for one.
                Credentials::Keytab { .. } => return Ok("with the keytab".into()),
                _ => {}
            }
            match identity.ticket() {
                Ok(Ticket { principal, ends_at }) => {
                    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                    let rest = ends_at.saturating_sub(now.unwrap_or_default().as_secs());
                    let principal = self.without_username(&principal);
                    return Ok(format!("with a ticket of {principal}, good for {} min", rest / 60));
                }
                // Windows tells no more before it is asked for a token.
                Err(_) if cfg!(windows) => return Ok("as the logged-in user".into()),
                Err(error) => without = error,
            }
        }
        Err(unready(without))
    }

    /// Makes the first token for a connection. `note_rejection` is called if the domain rejects the user, also if nothing waits
    /// for the token any more: a logon that was given up is a failed one nevertheless.
    ///
    /// # Errors
    /// The reason of the last identity that was tried.
    pub(super) async fn begin(
        &self,
        bindings: Option<&ChannelBindings>,
        note_rejection: impl FnOnce(SsoError) + Send + 'static,
    ) -> Result<SignOnRound, SignOnError> {
        // The call runs on a thread that may outlive this future, so it borrows nothing.
        let (service, identities) = (Arc::clone(&self.service), Arc::clone(&self.identities));
        let bindings = bindings.cloned();
        self.call(move || {
            let mut last = None;
            // Only a missing or unusable ticket leads to the next identity, which is a password. Any other failure,
            // such as a service that the KDC does not know, is reported: trying the password would hide it.
            for identity in identities.iter() {
                match first_token(&service, identity, bindings.as_ref()) {
                    Err(error) if is_without_ticket(error.reason) => last = Some(error),
                    Err(error) => {
                        if error.reason.is_rejection() {
                            note_rejection(error.clone());
                        }
                        return Err(error);
                    }
                    Ok(round) => return Ok(round),
                }
            }
            Err(last.unwrap_or_else(|| failure(Reason::NoTicket, "there is no user")))
        })
        .await
    }

    /// Answers the token that the proxy sent on the connection of `round`.
    ///
    /// # Errors
    /// There is no answer, since the proxy refuses the sign-on.
    pub(super) async fn answer(
        &self,
        round: SignOnRound,
        token: Vec<u8>,
    ) -> Result<SignOnRound, SignOnError> {
        // The context was complete with our last token. A further challenge can only mean that the proxy did not
        // accept it.
        if round.is_done {
            return Err(SignOnError::Library(failure(Reason::Refused, "")));
        }
        // The context moves into the call and comes back with the token. If the call is given up, the context is gone
        // with it, and so is the connection that it belongs to.
        let next = move || next_token(round.context, Some(&token), round.source);
        Ok(SignOnRound { is_first: false, ..self.call(next).await? })
    }

    /// Identifies the ticket that the next sign-on would use. Returns `None` if that is unknown.
    pub(super) async fn ticket(&self) -> Option<Ticket> {
        let identities = Arc::clone(&self.identities);
        let first = move || identities.iter().find_map(|identity| identity.ticket().ok());
        self.calls.run(first).await.ok().flatten()
    }

    /// Identifies the ticket that the proxy refused. A ticket that a password or a keytab gave is forgotten instead: the
    /// service may have another key now, for which there are only new tickets.
    pub(super) async fn refused_ticket(&self) -> Option<Ticket> {
        let identities = Arc::clone(&self.identities);
        let forget = move || identities.iter().for_each(|identity| identity.forget_tickets());
        // A call, since another one may hold the tickets for as long as it waits for a domain controller.
        self.calls.run(forget).await.ok()?;
        self.ticket().await
    }

    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, SsoError> + Send + 'static,
    ) -> Result<T, SignOnError> {
        // A lack of threads and a panic in the call are reported as a failed sign-on, and do not end the program.
        let broken = |details| SignOnError::Library(SsoError { reason: Reason::Other, details });
        // Looked at in the same call, since a descriptor may be free again a moment later.
        let work = || work().map_err(|error| SignOnError::of_library(error, lack_of_descriptors));
        match self.calls.run(work).await {
            Ok(done) => done,
            Err(CallError::TimedOut(patience)) => Err(SignOnError::TimedOut(patience)),
            Err(CallError::NoThread(error)) => {
                let error = Words::Foreign(error.to_string());
                Err(broken(vec![Words::Ours("the system gives no thread: "), error]))
            }
            Err(CallError::Broken) => Err(broken(vec![Words::Ours("the call did not return")])),
        }
    }
}

/// Returns the error of this process if it has no descriptor left.
fn lack_of_descriptors() -> Option<io::Error> {
    let error = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).err()?;
    NO_DESCRIPTOR.contains(&error.raw_os_error()?).then_some(error)
}

/// Returns the canonical name of a host by the system's resolver, if it is another one. Blocks.
fn canonical_name(host: &str) -> Option<String> {
    let hints = AddrInfoHints { flags: AI_CANONNAME, ..AddrInfoHints::default() };
    let mut found = dns_lookup::getaddrinfo(Some(host), None, Some(hints)).ok()?;
    let name = found.find_map(|info| info.ok()?.canonname)?;
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let is_name = name.parse::<Host>().is_ok_and(|host| matches!(host, Host::Name(_)));
    (is_name && name != host.to_ascii_lowercase()).then_some(name)
}

/// Asks `getaddrinfo` for the canonical name, on all systems (RFC 3493 §6.1).
const AI_CANONNAME: i32 = 2;

/// Replaces `word` in a text, but not inside of longer words.
fn replace_word(text: &str, word: &str, replacement: &str) -> String {
    if word.is_empty() {
        return text.to_owned();
    }
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(word) {
        let (before, from) = rest.split_at(start);
        let after = &from[word.len()..];
        replaced += before;
        // A short name such as `al` also occurs inside other words. The character before it is the last one of this
        // piece, or of the piece before if this one is empty.
        let is_inside = before.chars().next_back().or(replaced.chars().next_back());
        let is_word = !is_inside.is_some_and(char::is_alphanumeric)
            && !after.starts_with(char::is_alphanumeric);
        replaced += if is_word { replacement } else { word };
        rest = after;
    }
    replaced + rest
}

fn is_without_ticket(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NoTicket | Reason::TicketExpired | Reason::Unsupported | Reason::BadCache
    )
}

fn failure(reason: Reason, detail: &'static str) -> SsoError {
    SsoError::new(reason, detail)
}

/// Calls of one hop at the same time. One takes about a millisecond if nothing has to be asked over the network.
const CALLS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::{rounds::asks_for_challenge, *};

    #[test]
    fn a_lack_of_descriptors_is_no_missing_ticket_and_hides_no_rejection() {
        let lack = || Some(io::Error::from_raw_os_error(NO_DESCRIPTOR[0]));
        for reason in [Reason::NoTicket, Reason::BadSettings, Reason::LibraryMissing, Reason::Other]
        {
            let error = SignOnError::of_library(failure(reason, ""), lack);
            assert!(matches!(error, SignOnError::NoDescriptor(_)), "{reason}: {error:?}");
            assert!(!error.is_local() && !error.is_rejection());
            let error = SignOnError::of_library(failure(reason, ""), || None);
            assert!(matches!(error, SignOnError::Library(_)), "{reason}: {error:?}");
        }
        let error = SignOnError::of_library(failure(Reason::WrongPassword, ""), lack);
        assert!(error.is_rejection(), "{error:?}");
        assert!(lack_of_descriptors().is_none());
    }

    #[test]
    fn only_the_first_message_of_ntlm_needs_an_answer() {
        for (token, expected) in [
            (&b"NTLMSSP\0\x01\0\0\0flags"[..], true),
            (b"\x60\x40\x06\x06spnego\xa2\x2aNTLMSSP\0\x01\0\0\0", true),
            (b"\xa1\x50NTLMSSP\0\x03\0\0\0", false),
            (b"\x60\x82ticket", false),
            (b"NTLMSSP\0", false),
            (b"", false),
        ] {
            assert_eq!(asks_for_challenge(token), expected, "{token:?}");
        }
    }

    #[test]
    fn a_username_is_replaced_in_the_words_of_the_library() {
        let words = |username: &str, text: &str| {
            let sign_on = SignOn::new("HTTP/a", Vec::new(), Duration::ZERO);
            sign_on.hiding(Some(Secret::new(username))).without_username(text)
        };
        let told = "Client 'alice@CORP.TEST' not found; with alice's malice";
        let hidden = "Client '(username)@CORP.TEST' not found; with (username)'s malice";
        for username in ["alice", "alice@CORP.TEST", r"CORP\alice"] {
            assert_eq!(words(username, told), hidden);
        }
        // A username may be any word, and the sentences around what is quoted keep theirs.
        for username in ["expired", "password", "of", "cache", "Kerberos"] {
            let sign_on = SignOn::new("HTTP/a", Vec::new(), Duration::ZERO);
            let sign_on = sign_on.hiding(Some(Secret::new(username)));
            let details = vec![
                Words::Foreign(format!("Client '{username}@CORP.TEST' not found")),
                Words::Ours("; with the password of "),
                Words::Foreign(username.to_owned()),
            ];
            for reason in [Reason::PasswordExpired, Reason::NoTicket] {
                let told = sign_on.hidden(SsoError { reason, details: details.clone() });
                let kept =
                    "(Client '(username)@CORP.TEST' not found; with the password of (username))";
                assert_eq!(told.to_string(), format!("{reason} {kept}"));
            }
        }
        assert_eq!(words("a", "a an aa a"), "(username) an aa (username)");
        assert_eq!(words("", "a"), "a");
    }
}
