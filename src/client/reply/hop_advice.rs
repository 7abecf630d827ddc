//! Advice about a hop. It depends on the settings that the kind of the hop has, and on where they are written.

use mooltiroute_hops::{
    HttpRefusal, LinkSettings, Refusal, Spoken,
    tls::{GivenAuthorities, RejectedCertificate, RejectionReason},
};

use super::texts;
use crate::upstream::chain::{ChainError, Stage, Step};

/// Returns the place of the hop's address: a key, the line of a list, or the URL of the command line.
pub(super) fn address_setting(stage: &Stage) -> Option<String> {
    if let Some(url) = &stage.url {
        return Some(format!("the address in {url}"));
    }
    if let Some(line) = stage.listed() {
        return Some(line);
    }
    let hop = stage.hop_name()?;
    Some(match stage.member {
        // A member may be written below the pool, or below a name of its own.
        Some(_) => format!("the address of `hops.{hop}`"),
        None => format!("`hops.{hop}.address`"),
    })
}

/// Advice for a hop whose first bytes are those of another protocol.
pub(super) fn other_protocol(stage: &Stage, spoken: Spoken) -> String {
    let settings = &stage.settings;
    match (spoken, stage.listed()) {
        (Spoken::Tls, None) if !settings.has_tls_key => format!(
            "This port seems to speak TLS, which this kind of hop never does: check {}.",
            place(stage)
        ),
        (Spoken::Tls, Some(line)) if settings.is_socks => {
            format!(
                "This port seems to speak TLS, and lists have no SOCKS5 over TLS: check {line}."
            )
        }
        (Spoken::Tls, _) => {
            format!("This port seems to speak TLS: {}.", write(stage, Wanted::Tls))
        }
        (Spoken::NoTls, _) => {
            format!("This port does not seem to speak TLS: {}.", write(stage, Wanted::NoTls))
        }
        (Spoken::Http, _) => {
            format!("This port seems to be an HTTP proxy: {}.", write(stage, Wanted::Http))
        }
        (Spoken::Socks5, _) => {
            format!("This port seems to be a SOCKS5 proxy: {}.", write(stage, Wanted::Socks5))
        }
        _ => format!("Check {}.", place(stage)),
    }
}

/// The protocol that a hop should be told to speak.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    Tls,
    NoTls,
    Http,
    Socks5,
}

impl Wanted {
    /// Returns the key and the value that ask a hop with these settings for it.
    fn setting(self, settings: &LinkSettings) -> (&'static str, &'static str) {
        match self {
            Self::Tls => ("tls", "true"),
            Self::NoTls => ("tls", "false"),
            // The name of the protocol depends on the key.
            Self::Http if settings.protocol_key == "kind" => ("kind", "http-connect"),
            Self::Http => (settings.protocol_key, "http"),
            Self::Socks5 => (settings.protocol_key, "socks5"),
        }
    }

    /// Returns the scheme that asks for it, in a line of a list or in a URL.
    fn scheme(self) -> &'static str {
        match self {
            Self::Tls => "https",
            Self::NoTls | Self::Http => "http",
            Self::Socks5 => "socks5",
        }
    }

    /// Returns the part after the `?` of `--hop` that asks for it, if the scheme of the URL does not say it.
    fn after_question_mark(self, settings: &LinkSettings) -> Option<String> {
        let is_scheme = match self {
            Self::Tls | Self::NoTls => !settings.is_socks && settings.protocol_key == "kind",
            Self::Http | Self::Socks5 => settings.protocol_key == "kind",
        };
        let (key, value) = self.setting(settings);
        (!is_scheme).then(|| format!("{key}={value}"))
    }
}

/// Returns what a client waited for that left during `error`, with the protocol that the silent hop may speak in place of
/// its own. Returns `None` if no client left.
pub(crate) fn waited(error: &ChainError) -> Option<String> {
    let waited = error.wait_in_words()?;
    Some(match silent_protocol(&error.stage) {
        Some(guess) => format!("{waited}. {guess}"),
        None => waited,
    })
}

/// Returns the protocol that a silent hop may speak in place of its own, with what to write then.
fn silent_protocol(stage: &Stage) -> Option<String> {
    // An HTTP proxy waits for the rest of a line that never comes.
    (stage.settings.is_socks && stage.step == Step::Extend).then(|| {
        let write = write(stage, Wanted::Http);
        format!("This port may not speak SOCKS5: an HTTP proxy would wait for more. Then {write}.")
    })
}

/// Advice for a hop that says nothing while it is asked for the next stop.
pub(super) fn silent(stage: &Stage) -> String {
    let guess = silent_protocol(stage).map_or_else(String::new, |guess| format!("{guess} "));
    format!(
        "It accepted the connection and says nothing. {guess}Try again; if it persists, check whether the hop is \
         overloaded, or raise `timeouts.handshake`{}.",
        needs_file(stage)
    )
}

/// Advice for a hop that says nothing to the beginning of TLS.
pub(super) fn silent_at_tls(stage: &Stage) -> String {
    let write = write(stage, Wanted::NoTls);
    format!(
        "It accepted the connection and says nothing. This port may not speak TLS: then {write}. Otherwise check that it \
         is up, or raise `timeouts.connect`{}.",
        needs_file(stage)
    )
}

/// Advice for a hop that closed the connection instead of answering.
pub(super) fn hung_up(stage: &Stage) -> String {
    let protocol = perhaps_other_protocol(stage);
    // Many proxies have no answer for a stop that they can't reach.
    let unreached = match (next_address(stage), stage.step) {
        (Some(check), _) => {
            format!(" Some proxies do so if they can't reach the next stop. {check}")
        }
        (None, Step::Extend) => {
            format!(" Some proxies do so if they can't reach `{}`.", stage.stop)
        }
        (None, _) => String::new(),
    };
    format!(
        "It hung up instead of answering.{protocol}{unreached} If it never answers, check {}, and look at its log.",
        place(stage)
    )
}

/// Says what to write if the hop hung up because its port speaks TLS or SOCKS5.
fn perhaps_other_protocol(stage: &Stage) -> String {
    let can_be_said = stage.listed().is_some() || stage.settings.has_tls_key;
    if !can_be_said || stage.is_secure {
        return String::new();
    }
    let tls = write(stage, Wanted::Tls);
    match stage.settings.is_socks {
        true => format!(" This port may speak TLS: then {tls}."),
        false => {
            let socks = write(stage, Wanted::Socks5);
            format!(" This port may speak TLS: then {tls}. Or SOCKS5: then {socks}.")
        }
    }
}

/// Advice for a hop that closed the connection instead of answering a plain request.
pub(super) fn cut_plain_request(stage: &Stage) -> String {
    let stop = &stage.stop;
    // TLS servers close a connection on which they read a request that is not TLS.
    let https = match stop.port() {
        80 => String::new(),
        443 | 8443 => {
            format!(" Port {} usually speaks TLS: try `https://` in the URL.", stop.port())
        }
        port => format!(" If `{stop}` speaks TLS at port {port}, write `https://` in the URL."),
    };
    let protocol = perhaps_other_protocol(stage);
    format!(
        "It hung up instead of answering.{protocol} Or it may have passed on a failure of `{stop}`.{https} If it never answers, check {}, \
         and look at its log.",
        place(stage)
    )
}

/// Advice for a hop that sends the request elsewhere, as the gate of a network does before a login.
pub(super) fn redirected(stage: &Stage, refusal: &Refusal) -> String {
    let location = refusal.field("Location").and_then(origin_of);
    let at = location.map_or("the network's login page".to_owned(), |origin| format!("`{origin}`"));
    format!(
        "It redirects to a page, as a login page of a network does. Open {at} in a browser. If there is none, check that {} is \
         that of an HTTP proxy.",
        place(stage)
    )
}

/// Advice for a hop that asks for a login to the network (RFC 6585 §6), as its gate does.
pub(super) fn gate_of_network(stage: &Stage) -> String {
    format!(
        "The network wants a login first: open any `http://` page in a browser without this proxy, and log in. If no login \
         page comes, check that {} is that of an HTTP proxy.",
        place(stage)
    )
}

/// Advice for a hop that answers a status that no standard has.
pub(super) fn own_status(stage: &Stage, status: u16) -> String {
    let hop = stage.hop_name().unwrap_or_default();
    format!(
        "No standard has the status {status}, so look for it in the documentation of the provider of `{hop}`: it may be about \
         the account, the session or the target."
    )
}

/// Returns the scheme and the host of a URL. The rest may have a token in it.
fn origin_of(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?.rsplit('@').next()?;
    (["http", "https"].contains(&scheme) && !host.is_empty()).then(|| format!("{scheme}://{host}/"))
}

/// Advice for a hop whose answer is not understood.
pub(super) fn not_a_proxy(stage: &Stage) -> String {
    let sort = if stage.settings.is_socks { "a SOCKS5" } else { "an HTTP" };
    let tls = match (stage.listed(), stage.settings.has_tls_key) {
        (Some(_), _) => ", and whether it wants TLS (`https://` before the address)".to_owned(),
        (None, true) => format!(", and whether it wants TLS (`{}`)", written(stage, Wanted::Tls)),
        (None, false) => String::new(),
    };
    format!("Check that {} is that of {sort} proxy{tls}.", place(stage))
}

/// Advice for a hop that answers with more than the head of any proxy.
pub(super) fn large_head(stage: &Stage) -> String {
    format!("No proxy sends that much. Check that {} is that of an HTTP proxy.", place(stage))
}

/// Advice for a hop whose certificate is not accepted.
pub(super) fn certificate(stage: &Stage, rejected: &RejectedCertificate) -> String {
    let hop = stage.hop_name().unwrap_or_default();
    let remedy = match (&rejected.reason, &rejected.authorities) {
        (RejectionReason::Expired(_) | RejectionReason::NotYetValid(_), _) => {
            return texts::expired_certificate(&format!("`{hop}`"));
        }
        (RejectionReason::OtherName { names, .. }, _) => {
            let name = names.first().map_or("NAME", String::as_str);
            format!("write the name that it was made for, as in `tls: {{ server_name: {name} }}`")
        }
        (RejectionReason::SelfSigned, None) => {
            "save it as a PEM file, and name that as `tls: { ca: FILE }`".to_owned()
        }
        (RejectionReason::SelfSigned, Some(given)) => {
            format!("put it into {}", file_of(given))
        }
        (RejectionReason::UnknownIssuer { issuer, .. }, given) => {
            let issuer = match issuer {
                Some(issuer) => format!("`{issuer}`"),
                None => "the authority that signed it".to_owned(),
            };
            match given {
                None => format!("give the certificate of {issuer} as `tls: {{ ca: FILE }}`"),
                Some(given) => {
                    format!(
                        "put the certificate of {issuer}, or of the authority above it, into {}",
                        file_of(given)
                    )
                }
            }
        }
        _ => "give the authority that signed it as `tls: { ca: FILE }`".to_owned(),
    };
    // Only its own certificate came, and nothing in it says whether others know the issuer as an authority.
    let intermediates = match &rejected.reason {
        RejectionReason::UnknownIssuer { has_intermediates: false, .. } => {
            format!(
                " If the issuer is an intermediate authority, the administrator of `{hop}` should have it sent along."
            )
        }
        _ => String::new(),
    };
    let remedy = match (stage.listed(), &stage.url) {
        // A line of a list has no such settings, and neither has a URL.
        (_, Some(url)) => format!(
            "write {url} as a configuration (`mooltiroute check --hop URL > config.yaml`), {remedy} in its hop, and run with `-c \
             config.yaml`"
        ),
        (Some(line), None) => {
            format!(
                "write this proxy as a hop of its own, {remedy}, and take {line} out; another pool may have that hop and this \
                 pool as `members`"
            )
        }
        (None, None) => remedy,
    };
    format!("If it belongs to your company, {remedy}.{intermediates}")
}

/// Names the file of authorities, with those that it holds.
fn file_of(given: &GivenAuthorities) -> String {
    let file = given.file.display();
    match given.names.is_empty() {
        true => format!("`{file}`, the file of `ca`"),
        false => {
            let names: Vec<_> = given.names.iter().map(|name| format!("`{name}`")).collect();
            format!("`{file}`, the file of `ca`, which holds {}", names.join(", "))
        }
    }
}

/// Advice for a hop with which TLS failed.
pub(super) fn tls_failed(stage: &Stage) -> String {
    let (plain, socks) = (write(stage, Wanted::NoTls), write(stage, Wanted::Socks5));
    match stage.settings.is_socks {
        true => format!("Check whether it speaks TLS at all; if not, {plain}."),
        false => format!(
            "Check whether it speaks TLS at all; if not, {plain}, or, for a SOCKS5 proxy, {socks}."
        ),
    }
}

/// Returns whether the hop asks for credentials only by schemes other than Basic.
pub(super) fn needs_another_scheme(http: &HttpRefusal) -> bool {
    // A 407 without a challenge says nothing about schemes, so it is taken for wrong credentials.
    http.status == 407 && !http.schemes.is_empty() && !http.offers("Basic")
}

/// Advice for a hop that wants other credentials than it got.
pub(super) fn credentials(stage: &Stage, refusal: &Refusal) -> String {
    let advice = credentials_in_words(stage, refusal);
    // Some proxies answer 401 too, so the credentials come first.
    match refusal.http.as_ref().is_some_and(|http| http.status == 401) {
        true => format!(
            "{advice} 401 is the answer of a web server, and most proxies answer 407: also check that {} is that of an HTTP \
             proxy.",
            place(stage)
        ),
        false => advice,
    }
}

fn credentials_in_words(stage: &Stage, refusal: &Refusal) -> String {
    let has_some = stage.settings.has_credentials;
    let other = refusal.http.as_ref().filter(|http| needs_another_scheme(http));
    if let Some(url) = &stage.url {
        return credentials_of_url(url, stage, other);
    }
    match (other, stage.listed(), has_some) {
        // Usual in companies: the proxy wants NTLM, Negotiate or Digest, and the hop may only use Basic.
        (Some(http), None, true) => format!(
            "It offers only {}, and this hop may only use Basic. For {}, list it in this hop's `auth`. Otherwise ask its \
             administrator for Basic.",
            http.schemes.join(", "),
            known_schemes(http)
        ),
        (Some(http), None, false) => format!(
            "It offers only {}, and this hop has no credentials. Write `username`, `password` and `auth: {}` for it; the \
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
            format!("It does not accept these credentials. Correct those in {line}; the client needs none.")
        }
        (None, Some(line), false) => format!(
            "It wants a password, and {line} has none. Write the line as `host:port:user:password`; the client needs none."
        ),
        (None, None, true) => format!(
            "It does not accept these credentials. Correct this hop's `username` and `{}`; the client needs none. If they come \
             from variables, new values take a restart.",
            stage.settings.secret_key
        ),
        (None, None, false) => "It wants credentials, and this hop has none. Write `username` and `password` for it; the \
                                client needs none."
            .to_owned(),
    }
}

/// Advice for a hop of the command line that wants other credentials than those in `url`. `other` offers other schemes than
/// Basic.
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

/// Says where the URL of a hop has the settings that the advice of its kind calls by their keys.
pub(super) fn settings_of_url(url: &str) -> String {
    format!(
        "The hop's settings are in {url}: username and password before the `@`, others after a `?`, as in `?auth=ntlm`."
    )
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

/// Advice for a hop that did not reach the next stop.
pub(super) fn not_reached(stage: &Stage) -> String {
    let check = next_address(stage).unwrap_or_else(|| look_at_log(stage));
    format!("It could not reach the address that it was asked for. {check}")
}

/// Advice for a hop that can't look up the name of the next stop.
pub(super) fn unknown_name(stage: &Stage) -> String {
    match next_address(stage) {
        Some(check) => format!("It can't look up the name. {check}"),
        None => format!(
            "Check the host name first: the hop can't look up the name `{}`. If it is right, {}",
            stage.stop.host(),
            lower_first(&look_at_log(stage))
        ),
    }
}

/// Advice for a hop that reached the next stop, which refused.
pub(super) fn target_refused(stage: &Stage) -> String {
    let check = next_address(stage).unwrap_or_else(|| "Check that something listens there.".into());
    format!("It reached the address that it was asked for, which refused the connection. {check}")
}

/// Advice for a hop whose answer to CONNECT says little. Web servers answer like this.
pub(super) fn perhaps_a_web_server(stage: &Stage) -> String {
    format!(
        "Check that this hop is an HTTP proxy that allows CONNECT. If it refuses every host, this port may be that of a web \
         server: check {}.",
        place(stage)
    )
}

/// Advice for a failure that only the hop itself can explain.
fn look_at_log(stage: &Stage) -> String {
    match stage.hop_name() {
        Some(hop) => format!(
            "Try again. If it fails each time, ask the administrator of `{hop}`, or look at the log there."
        ),
        None => "Try again.".to_owned(),
    }
}

/// Makes a sentence the end of another one.
pub(super) fn lower_first(sentence: &str) -> String {
    let mut rest = sentence.chars();
    rest.next().map_or_else(String::new, |first| first.to_lowercase().chain(rest).collect())
}

/// Returns advice that names the setting with the next hop's address, if the step was to reach one.
fn next_address(stage: &Stage) -> Option<String> {
    let Stage { next, stop, .. } = stage;
    let next = next.as_ref()?;
    if stage.url.is_some() {
        return Some(format!(
            "`{stop}` is the address of the next hop, `{next}`: check the URL of that hop, and that this one may reach it."
        ));
    }
    Some(format!(
        "`{stop}` is the address of the next hop, `{next}`: check `hops.{next}`, and that this hop may reach it."
    ))
}

fn place(stage: &Stage) -> String {
    address_setting(stage).unwrap_or_else(|| "the address".to_owned())
}

/// Returns what to write: a setting of the hop, the scheme before the address in a line of a list, or a part of the URL.
fn write(stage: &Stage, wanted: Wanted) -> String {
    match (&stage.url, stage.listed()) {
        (Some(url), _) => match wanted.after_question_mark(&stage.settings) {
            Some(part) => format!("write `{part}` after a `?` at the end of {url}"),
            None => format!("begin {url} with `{}://`", wanted.scheme()),
        },
        (None, Some(line)) => format!("begin {line} with `{}://`", wanted.scheme()),
        (None, None) => format!("write `{}` for this hop", written(stage, wanted)),
    }
}

/// Returns the setting of the hop, or the part of its URL, that asks for `wanted`.
fn written(stage: &Stage, wanted: Wanted) -> String {
    let (key, value) = wanted.setting(&stage.settings);
    match (&stage.url, wanted.after_question_mark(&stage.settings)) {
        (None, _) => format!("{key}: {value}"),
        (Some(_), Some(part)) => format!("?{part}"),
        (Some(_), None) => format!("{}://", wanted.scheme()),
    }
}

/// Completes advice about a setting that no option of the command line has.
pub(super) fn needs_file(stage: &Stage) -> &'static str {
    match stage.url {
        Some(_) => " in a configuration, which `mooltiroute check --hop URL > config.yaml` writes",
        None => "",
    }
}

/// Passwords often have characters that a URL must encode.
const ENCODED: &str = "Write `%40`, `%3A`, `%2F`, `%3F`, `%23` and `%25` for `@`, `:`, `/`, `?`, `#` and `%` in them.";

/// The schemes that `auth` can list beside Basic.
const SCHEMES: [&str; 3] = ["Negotiate", "NTLM", "Digest"];
