//! Texts about the username and the password that a client sends, or should send.

use mooltiroute_hops::InvalidPreferences;

use crate::client::{ask::no_say, reply::ReplyText};

pub(in crate::client::reply) const CHALLENGE: &str =
    "Proxy-Authenticate: Basic realm=\"mooltiroute\", charset=\"UTF-8\"\r\n";
// Browsers and git show the realm when they ask for a username.
pub(in crate::client::reply) const SESSION_CHALLENGE: &str = "Proxy-Authenticate: Basic realm=\"mooltiroute: the username chooses the exit; \
     write session-NAME, and any password\", charset=\"UTF-8\"\r\n";
pub(in crate::client::reply) const SESSION_CHALLENGE_BESIDE_AUTH: &str = "Proxy-Authenticate: Basic realm=\"mooltiroute: append +session-NAME to the username to choose the exit\", \
     charset=\"UTF-8\"\r\n";
pub(in crate::client::reply) const UNAUTHORIZED_PAGE: &str = "This page asks for the username and the password of `server.auth`: write `curl -u \
     USER:PASSWORD URL`, or `basic_auth` for a scrape of Prometheus.";
const NO_COUNTRY: &str = "Leave `country-…` out of the username that was given to this proxy, or `--country` of `mooltiroute exec`. A hop of \
                          `kind: rotating` chooses a country if its template has `{country}`.";
/// The credentials of a client that chooses a session.
const OF_SESSION: &str = "session-NAME:x";

/// An example of a username with a session, for a listener with `server.auth`.
const OF_SESSION_BESIDE_AUTH: &str = "USER+session-NAME:PASSWORD";

/// The credentials of `server.auth`.
const OF_AUTH: &str = "USER:PASSWORD";

const ANY_PASSWORD: &str =
    "`; any password will do, but many programs send no username without one.";

pub(in crate::client::reply) fn no_session() -> ReplyText {
    ReplyText::from(
        "Each client chooses its own exit here, and this request names no session. Give this proxy a username, as in `",
    )
    .proxy_url_with(OF_SESSION)
    .words(ANY_PASSWORD)
}

pub(in crate::client::reply) fn no_username() -> ReplyText {
    ReplyText::from(
        "Each client chooses its own exit here by its username, and this request was sent without one. Give this proxy a \
         username, as in `",
    )
    .proxy_url_with(OF_SESSION)
    .words(ANY_PASSWORD)
}

pub(in crate::client::reply) fn unread_username() -> ReplyText {
    ReplyText::from(
        "Each client chooses its own exit here by its username, and the request has a `Proxy-Authorization` that is not \
         `Basic` with the base64 of `session-NAME:x`, or more than one. Give this proxy a username, as in `",
    )
    .proxy_url_with(OF_SESSION)
    .words("`, so that the client makes that field itself.")
}

pub(in crate::client::reply) fn no_session_beside_auth() -> ReplyText {
    ReplyText::from(
        "Each client chooses its own exit here, and this request names no session. Append it to the username of \
         `server.auth`, as in `",
    )
    .proxy_url_with(OF_SESSION_BESIDE_AUTH)
    .words("`.")
}

pub(in crate::client::reply) fn unauthorized() -> ReplyText {
    ReplyText::from(
        "This proxy asks for a username and a password of its own: those of `server.auth` in its configuration, as in `",
    )
    .proxy_url_with(OF_AUTH)
    .words(
        "`. It takes them by Basic authentication only, so a client that is set to Digest, NTLM or Negotiate sends none.",
    )
}

pub(in crate::client::reply) fn wrong_credentials() -> ReplyText {
    ReplyText::from(
        "The username or the password that was given to this proxy is not that of `server.auth` in its configuration. A URL \
         with both is `",
    )
    .proxy_url_with(OF_AUTH)
    .words("`; the name of a session follows the username, as in `USER+session-NAME`.")
}

/// Describes in a few words the mistake in a client's preferences.
pub(in crate::client::reply) fn preferences_summary(invalid: InvalidPreferences) -> &'static str {
    match invalid {
        InvalidPreferences::NoCountry => "can't choose a country",
        InvalidPreferences::CountryAlone => "country without session",
        _ => "username not understood",
    }
}

/// Says how to write preferences that the hop can meet.
pub(in crate::client::reply) fn other_preferences(invalid: InvalidPreferences) -> ReplyText {
    match invalid {
        InvalidPreferences::NoCountry => NO_COUNTRY.into(),
        InvalidPreferences::CountryAlone => ReplyText::from("Write both, as in `")
            .proxy_url_with("session-NAME,country-us:x")
            .words("`, or `")
            .proxy_url_with("USER+session-NAME,country-us:PASSWORD")
            .words("` if this proxy asks for credentials of its own."),
        _ => ReplyText::from("Give this proxy another username, as in `")
            .proxy_url_with(OF_SESSION)
            .words("`, or `")
            .proxy_url_with(OF_SESSION_BESIDE_AUTH)
            .words("` if it asks for credentials of its own."),
    }
}

/// Says in a reason phrase what is wrong with a username, without a word of it.
pub(in crate::client::reply) fn what_is_misread(
    invalid: InvalidPreferences,
    is_beside_auth: bool,
) -> &'static str {
    // They fit beside the longest reason phrase, that of 407.
    match invalid {
        InvalidPreferences::Session => "a session name takes only A-Z a-z 0-9 - _ .",
        InvalidPreferences::Country => "a country is a code of two letters",
        InvalidPreferences::Repeated => "one session and one country at most",
        InvalidPreferences::NoCountry | InvalidPreferences::CountryAlone => {
            preferences_summary(invalid)
        }
        _ if is_beside_auth => "after the +: session-NAME or country-CC only",
        _ => "username takes only session-NAME and country-CC",
    }
}

pub(in crate::client::reply) fn invalid_preferences(
    invalid: InvalidPreferences,
    is_beside_auth: bool,
) -> ReplyText {
    // These two are understood. The hop can't do what they ask for.
    if let InvalidPreferences::NoCountry | InvalidPreferences::CountryAlone = invalid {
        return ReplyText::from(format!(
            "This proxy can't meet the preferences in the username that it was given: {invalid}. "
        ))
        .text(other_preferences(invalid));
    }
    if is_beside_auth {
        return ReplyText::from(format!(
            "The part after the `+` of the username that this proxy was given is not understood: {invalid}. A complete URL \
             of the proxy is `"
        ))
        .proxy_url_with(OF_SESSION_BESIDE_AUTH)
        .words("`, with the credentials of `server.auth`.");
    }
    ReplyText::from(format!(
        "The username that this proxy was given is not understood: {invalid}. A complete URL of the proxy is `"
    ))
    .proxy_url_with(OF_SESSION)
    .words(ANY_PASSWORD)
}

pub(in crate::client::reply) fn no_say_beside_auth(chain: &str) -> String {
    let why = no_say(chain, false);
    format!(
        "The credentials are right, but {why}. Leave out the `+` of the username and what follows it, or `--session` and \
         `--country` if `mooltiroute exec` has written it."
    )
}

/// Refuses credentials of another scheme than Basic.
pub(in crate::client::reply) fn other_scheme(scheme: &str) -> String {
    format!(
        "The client sent {scheme} credentials, and `server.auth` of this proxy takes Basic only. Set the client to Basic for \
         this proxy (curl: `--proxy-basic`, which is its default), with the username and the password of `server.auth`."
    )
}
