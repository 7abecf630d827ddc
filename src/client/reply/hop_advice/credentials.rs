//! Advice about a hop that wants other credentials than it got.

use mooltiroute_hops::{HttpRefusal, Refusal};

use super::{place, this_hop};
use crate::upstream::chain::Stage;

/// Returns advice for a hop that wants other credentials than it got.
pub(in crate::client::reply) fn credentials(stage: &Stage, refusal: &Refusal) -> String {
    let advice = credentials_in_words(stage, refusal);
    // Some proxies answer 401 too, so the credentials come first.
    match refusal.http.as_ref().is_some_and(|http| http.status == 401) {
        true => format!(
            "{advice} 401 is the answer of a web server, and most proxies answer 407: also check that {} points to an \
             HTTP proxy.",
            place(stage)
        ),
        false => advice,
    }
}

fn credentials_in_words(stage: &Stage, refusal: &Refusal) -> String {
    let has_some = stage.settings.has_credentials;
    let hop = this_hop(stage);
    let it = if stage.place.is_some() { &*hop } else { "it" };
    let other = refusal.http.as_ref().filter(|http| needs_another_scheme(http));
    if let Some(url) = &stage.url {
        return credentials_of_url(url, stage, other);
    }
    match (other, stage.listed(), has_some) {
        // Usual in companies: the proxy wants NTLM, Negotiate or Digest, and the hop may only use Basic.
        (Some(http), None, true) => format!(
            "It offers only {}, and this hop may only use Basic. For {}, list it in {hop}'s `auth`. Otherwise ask its \
             administrator for Basic.",
            http.schemes.join(", "),
            known_schemes(http)
        ),
        (Some(http), None, false) => format!(
            "It offers only {}, and this hop has no credentials. Write `username`, `password` and `auth: {}` for {it}; the \
             client needs none.",
            http.schemes.join(", "),
            known_scheme(http)
        ),
        (Some(http), Some(line), _) => format!(
            "It offers only {}, and a proxy of a list can only use Basic. Write it as a hop of its own, with `auth`, and \
             take {line} out; another pool may have that hop and this pool as `members`.",
            http.schemes.join(", ")
        ),
        (None, Some(line), true) => {
            format!(
                "It does not accept these credentials. Correct those in {line}; the client needs none."
            )
        }
        (None, Some(line), false) => format!(
            "It wants a password, and {line} has none. Write the line as `host:port:user:password`; the client needs none."
        ),
        (None, None, true) => format!(
            "It does not accept these credentials. Correct {hop}'s `username` and `{}`; the client needs none. If they come \
             from variables, new values take a restart.",
            stage.settings.secret_key
        ),
        (None, None, false) => format!(
            "It wants credentials, and this hop has none. Write `username` and `password` for {it}; the client needs none."
        ),
    }
}

/// Returns advice for a hop of the command line that wants other credentials than those in `url`. `other` offers other
/// schemes than Basic.
fn credentials_of_url(url: &str, stage: &Stage, other: Option<&HttpRefusal>) -> String {
    let scheme = if stage.settings.is_socks { "socks5" } else { "http" };
    match (other, stage.settings.has_credentials) {
        (Some(http), true) => format!(
            "It offers only {}, and this hop may only use Basic. For {}, write `auth={}` after a `?` at the end of {url}. \
             Otherwise ask its administrator for Basic.",
            http.schemes.join(", "),
            known_schemes(http),
            known_scheme(http)
        ),
        (Some(http), false) => format!(
            "It offers only {}, and {url} has no credentials. Write `http://USERNAME:PASSWORD@HOST:PORT?auth={}` there; the \
             client needs none.",
            http.schemes.join(", "),
            known_scheme(http)
        ),
        (None, true) => format!(
            "It does not accept these credentials. Correct the username and the password in {url}; the client needs none. \
             {ENCODED}"
        ),
        (None, false) => format!(
            "It wants credentials, and {url} has none. Write `{scheme}://USERNAME:PASSWORD@HOST:PORT` there; the client needs \
             none. {ENCODED}"
        ),
    }
}

/// Tells which part of a hop's URL holds each setting that the advice calls by its key.
pub(in crate::client::reply) fn settings_of_url(url: &str) -> String {
    format!(
        "The hop's settings are in {url}: username and password before the `@`, others after a `?`, as in `?auth=ntlm`."
    )
}

/// Returns whether the hop asks for credentials only by schemes other than Basic.
pub(in crate::client::reply) fn needs_another_scheme(http: &HttpRefusal) -> bool {
    // A 407 without a challenge says nothing about schemes, so it is taken for wrong credentials.
    http.status == 407 && !http.schemes.is_empty() && !http.offers("Basic")
}

/// Returns the schemes on offer that `auth` can list, for a sentence.
fn known_schemes(http: &HttpRefusal) -> String {
    let known: Vec<_> = SCHEMES.iter().copied().filter(|scheme| http.offers(scheme)).collect();
    if known.is_empty() { SCHEMES.join(" or ") } else { known.join(" or ") }
}

/// Returns the value of `auth` for the first scheme on offer that a username and a password serve.
fn known_scheme(http: &HttpRefusal) -> &'static str {
    let values = [("Digest", "digest"), ("NTLM", "ntlm"), ("Negotiate", "negotiate")];
    values.iter().find(|(scheme, _)| http.offers(scheme)).map_or("digest", |(_, value)| value)
}

/// Passwords often have characters that a URL must encode.
const ENCODED: &str = "Write `%40`, `%3A`, `%2F`, `%3F`, `%23` and `%25` for `@`, `:`, `/`, `?`, `#` and `%` in them.";

/// The schemes that `auth` can list beside Basic.
const SCHEMES: [&str; 3] = ["Negotiate", "NTLM", "Digest"];
