//! Advice about a hop. It depends on the settings that the kind of the hop has, and on where they are written.

mod certificate;
mod credentials;
mod next_stop;
mod protocol;

use std::sync::Arc;

use mooltiroute_hops::Refusal;

pub(super) use self::{
    certificate::{certificate, expired_certificate},
    credentials::{credentials, needs_another_scheme, settings_of_url},
    next_stop::{not_reached, target_refused, unknown_name},
    protocol::{other_protocol, tls_failed},
};
use self::{
    next_stop::next_address,
    protocol::{Wanted, perhaps_other_protocol, silent_protocol, write, written},
};
use crate::upstream::chain::{ChainError, Stage, Step};

/// Returns the place of the hop's address: a key, the line of a list, or the URL of the command line.
pub(super) fn address_setting(stage: &Stage) -> Option<String> {
    if let Some(url) = &stage.url {
        return Some(format!("the address in {url}"));
    }
    if let Some(line) = stage.listed() {
        return Some(line);
    }
    if let Some(place) = &stage.place {
        return Some(match place.split_once(".line ") {
            // A line of a list that belongs to another pool than that of the chain.
            Some((pool, line)) => format!("line {line} of the list of `{pool}`"),
            None if has_own_name(stage) => format!("`{place}.address`"),
            None => format!("the address of `{place}`"),
        });
    }
    let hop = stage.hop_name()?;
    Some(match stage.member {
        // A member may be written below the pool, or below a name of its own.
        Some(_) => format!("the address of `hops.{hop}`"),
        None => format!("`hops.{hop}.address`"),
    })
}

/// Returns what a client waited for that left during `error`, with the protocol that the silent hop may speak in place of
/// its own. Returns `None` if no client left.
pub(crate) fn waited(error: &ChainError) -> Option<String> {
    let waited = error.wait_in_words()?;
    let stage = &error.stage;
    // A client that leaves must not hide what it would have been told at the end of the wait.
    let guess = silent_protocol(stage).or_else(|| is_at_tls(stage).then(|| may_be_plain(stage)));
    Some(match guess {
        Some(guess) => format!("{waited}. {guess}"),
        None => waited,
    })
}

/// Returns advice for a hop that says nothing while it is asked for the next stop.
pub(super) fn silent(stage: &Stage) -> String {
    let guess = silent_protocol(stage).map_or_else(String::new, |guess| format!("{guess} "));
    format!(
        "It accepted the connection but did not answer. {guess}Try again; if it persists, check whether the hop is \
         overloaded, or raise `timeouts.handshake`{}.",
        in_a_configuration(stage)
    )
}

/// Returns advice for a hop that says nothing to the beginning of TLS.
pub(super) fn silent_at_tls(stage: &Stage) -> String {
    format!(
        "It accepted the connection but did not answer. {} Otherwise check that it is up, or raise `timeouts.connect`{}.",
        may_be_plain(stage),
        in_a_configuration(stage)
    )
}

/// Returns whether the stage is the beginning of TLS with a hop.
fn is_at_tls(stage: &Stage) -> bool {
    stage.step == Step::Enter && stage.hop.is_some()
}

/// Says what to write if a hop that says nothing to the beginning of TLS does not speak it.
fn may_be_plain(stage: &Stage) -> String {
    format!("This port may not speak TLS: then {}.", write(stage, Wanted::NoTls))
}

/// Returns advice for a hop that closed the connection instead of answering.
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
    if stage.has_answered {
        return format!(
            "It hung up instead of answering, and has answered before.{unreached} Try again; if it persists, look at its log."
        );
    }
    format!(
        "It hung up instead of answering.{protocol}{unreached} If it never answers, check {}, and look at its log.",
        place(stage)
    )
}

/// Returns advice for a hop that closed the connection instead of answering a plain request.
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
    if stage.has_answered {
        return format!(
            "It hung up instead of answering, and has answered before: it may have passed on a failure of `{stop}`.{https} Try \
             again; if it persists, look at its log."
        );
    }
    let protocol = perhaps_other_protocol(stage);
    format!(
        "It hung up instead of answering.{protocol} Or it may have passed on a failure of `{stop}`.{https} If it never answers, check {}, \
         and look at its log.",
        place(stage)
    )
}

/// Returns advice for a hop that sends the request elsewhere, as a captive portal does before a login.
pub(super) fn redirected_to_portal(stage: &Stage, refusal: &Refusal) -> String {
    let location = refusal.field("Location").and_then(origin_of);
    let (to, page) = match location {
        Some(origin) => (format!("`{origin}`"), "it"),
        None => ("a page".to_owned(), "any `http://` page"),
    };
    format!(
        "It redirects to {to}, which may be the login page of the network (a captive portal). Open {page} in a browser \
         without this proxy, and log in. If there is no login page, check that {} points to an HTTP proxy.",
        place(stage)
    )
}

/// Returns advice for a hop that is a captive portal, which asks for a login to the network (RFC 6585 §6).
pub(super) fn captive_portal(stage: &Stage) -> String {
    format!(
        "This network has a captive portal: open any `http://` page in a browser without this proxy, and log in. If \
         no login page comes, check that {} points to an HTTP proxy.",
        place(stage)
    )
}

/// Returns advice for a hop that answers a status that no standard has.
pub(super) fn own_status(stage: &Stage, status: u16) -> String {
    let hop = stage.hop_name().unwrap_or_default();
    format!(
        "{status} is not a standard status of HTTP: look it up in the documentation of the provider of `{hop}`. It \
         may be about the account, the session or the target."
    )
}

/// Returns the scheme and the host of a URL. The rest may have a token in it.
fn origin_of(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?.rsplit('@').next()?;
    (["http", "https"].contains(&scheme) && !host.is_empty()).then(|| format!("{scheme}://{host}/"))
}

/// Returns advice for a hop whose answer is not understood.
pub(super) fn not_a_proxy(stage: &Stage) -> String {
    let sort = if stage.settings.is_socks { "a SOCKS5" } else { "an HTTP" };
    let tls = match (stage.listed(), stage.settings.has_tls_key) {
        (Some(_), _) => ", and whether it wants TLS (`https://` before the address)".to_owned(),
        (None, true) => format!(", and whether it wants TLS (`{}`)", written(stage, Wanted::Tls)),
        (None, false) => String::new(),
    };
    format!("Check that {} points to {sort} proxy{tls}.", place(stage))
}

/// Returns advice for a hop that answers with more than the head of any proxy.
pub(super) fn large_head(stage: &Stage) -> String {
    format!(
        "No HTTP proxy sends a head that large. Check that {} points to an HTTP proxy.",
        place(stage)
    )
}

/// Returns advice for a hop whose answer to CONNECT says little. Web servers answer like this.
pub(super) fn perhaps_a_web_server(stage: &Stage) -> String {
    format!(
        "Check that this hop is an HTTP proxy that allows CONNECT. If it refuses every host, this port may belong to \
         a web server: check {}.",
        place(stage)
    )
}

/// Makes a sentence the end of another one.
pub(super) fn lower_first(sentence: &str) -> String {
    let mut rest = sentence.chars();
    rest.next().map_or_else(String::new, |first| first.to_lowercase().chain(rest).collect())
}

/// Returns whether the hop has a name of its own below `hops:`, and was chosen by another one.
fn has_own_name(stage: &Stage) -> bool {
    let names_it = |name: &Arc<str>| stage.place.as_deref() == Some(&format!("hops.{name}"));
    stage.through.last().is_some_and(names_it)
}

/// Calls the hop by its path in the configuration if the text calls it by another name.
fn this_hop(stage: &Stage) -> String {
    stage.place.as_ref().map_or_else(|| "this hop".to_owned(), |place| format!("`{place}`"))
}

fn place(stage: &Stage) -> String {
    address_setting(stage).unwrap_or_else(|| "the address".to_owned())
}

/// Completes advice about a setting that no option of the command line has.
pub(super) fn in_a_configuration(stage: &Stage) -> &'static str {
    match stage.url {
        Some(_) => " in a configuration, which `mooltiroute check --hop URL > config.yaml` writes",
        None => "",
    }
}
