//! Texts about the username and the password that a client sends, or should send.

use mooltiroute_hops::InvalidPreferences;

use crate::client::ask::no_say;

pub(in crate::client::reply) const CHALLENGE: &str =
    "Proxy-Authenticate: Basic realm=\"mooltiroute\", charset=\"UTF-8\"\r\n";
// Browsers and git show the realm when they ask for a username.
pub(in crate::client::reply) const SESSION_CHALLENGE: &str = "Proxy-Authenticate: Basic realm=\"mooltiroute: the username chooses the exit; \
     write session-NAME, and any password\", charset=\"UTF-8\"\r\n";
pub(in crate::client::reply) const SESSION_CHALLENGE_BESIDE_AUTH: &str = "Proxy-Authenticate: Basic realm=\"mooltiroute: append +session-NAME to the username to choose the exit\", \
     charset=\"UTF-8\"\r\n";
pub(in crate::client::reply) const NO_SESSION: &str = "Each client chooses its own exit here, and this request names no session. Give this \
     proxy a username, as in `http://session-NAME:x@localhost:8888`; any password \
     will do, but many programs send no username without one.";
pub(in crate::client::reply) const NO_USERNAME: &str = "Each client chooses its own exit here by its username, and this request was sent without one. Give this \
     proxy a username, as in `http://session-NAME:x@localhost:8888`; any password \
     will do, but many programs send no username without one.";
pub(in crate::client::reply) const UNREAD_USERNAME: &str = "Each client chooses its own exit here by its username, and the request has a `Proxy-Authorization` that is not `Basic` with \
     the base64 of `session-NAME:x`, or more than one. Give this proxy a username, as in `http://session-NAME:x@localhost:8888`, so that the \
     client makes that field itself.";
pub(in crate::client::reply) const NO_SESSION_BESIDE_AUTH: &str = "Each client chooses its own exit here, and this request names no session. Append it to the username of \
     `server.auth`, as in `http://USER+session-NAME:PASSWORD@localhost:8888`.";
pub(in crate::client::reply) const UNAUTHORIZED: &str = "This proxy asks for a username and a password of its own: those of \
     `server.auth` in its configuration, as in \
     `http://USER:PASSWORD@localhost:8888`. It takes them by Basic authentication only, \
     so a client that is set to Digest, NTLM or Negotiate sends none.";
pub(in crate::client::reply) const WRONG_CREDENTIALS: &str = "The username or the password that was given to this proxy is not that of \
     `server.auth` in its configuration. A URL with both is \
     `http://USER:PASSWORD@localhost:8888`; the name of a session follows the \
     username, as in `USER+session-NAME`.";
pub(in crate::client::reply) const UNAUTHORIZED_PAGE: &str = "This page asks for the username and the password of `server.auth`: write `curl -u \
     USER:PASSWORD URL`, or `basic_auth` for a scrape of Prometheus.";
const NO_COUNTRY: &str = "Leave `country-…` out of the username that was given to this proxy, or `--country` of `mooltiroute exec`. A hop of \
                          `kind: rotating` chooses a country if its template has `{country}`.";
const COUNTRY_ALONE: &str = "Write both, as in `http://session-NAME,country-us:x@localhost:8888`, or \
                             `http://USER+session-NAME,country-us:PASSWORD@localhost:8888` if this proxy asks for credentials of its \
                             own.";
const OTHER_USERNAME: &str = "Give this proxy another username, as in `http://session-NAME:x@localhost:8888`, or \
     `http://USER+session-NAME:PASSWORD@localhost:8888` if it asks for credentials of its own.";

/// Describes in a few words the mistake in a client's preferences.
pub(in crate::client::reply) fn preferences_summary(invalid: InvalidPreferences) -> &'static str {
    match invalid {
        InvalidPreferences::NoCountry => "can't choose a country",
        InvalidPreferences::CountryAlone => "country without session",
        _ => "username not understood",
    }
}

/// Says how to write preferences that the hop can meet.
pub(in crate::client::reply) fn other_preferences(invalid: InvalidPreferences) -> &'static str {
    match invalid {
        InvalidPreferences::NoCountry => NO_COUNTRY,
        InvalidPreferences::CountryAlone => COUNTRY_ALONE,
        _ => OTHER_USERNAME,
    }
}

/// Says in a reason phrase what is wrong with a username, without a word of it.
pub(in crate::client::reply) fn what_is_misread(
    invalid: InvalidPreferences,
    is_beside_auth: bool,
) -> &'static str {
    // They fit beside the longest reason phrase, that of 407.
    match invalid {
        InvalidPreferences::Session => "a session's name has A-Z, a-z, 0-9, - _ . only",
        InvalidPreferences::Country => "a country is a code of two letters",
        InvalidPreferences::Repeated => "one session and one country at most",
        InvalidPreferences::NoCountry | InvalidPreferences::CountryAlone => {
            preferences_summary(invalid)
        }
        _ if is_beside_auth => "behind the +: session-NAME or country-CC only",
        _ => "username takes only session-NAME and country-CC",
    }
}

pub(in crate::client::reply) fn invalid_preferences(
    invalid: InvalidPreferences,
    is_beside_auth: bool,
) -> String {
    // These two are understood. The hop can't do what they ask for.
    if let InvalidPreferences::NoCountry | InvalidPreferences::CountryAlone = invalid {
        let advice = other_preferences(invalid);
        return format!(
            "The username that was given to this proxy can't be followed: {invalid}. {advice}"
        );
    }
    if is_beside_auth {
        return format!(
            "The part behind the `+` of the username that was given to this proxy is not understood: {invalid}. A whole URL \
             of the proxy is `http://USER+session-NAME:PASSWORD@localhost:8888`, with the credentials of `server.auth`."
        );
    }
    format!(
        "The username that was given to this proxy is not understood: {invalid}. A whole URL of the proxy is \
         `http://session-NAME:x@localhost:8888`; any password will do, but many programs send no username without one."
    )
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
