//! Finds the settings that mean the same as the URL of a proxy.

use std::num::NonZeroU16;

use mooltiroute_hops::{Authority, Host, InvalidAuthority};

/// Returns the settings to write in place of `text`, if that is a URL or has credentials in it.
///
/// No credential is repeated: variables stand for them. If `is_hidden`, the host isn't repeated either.
pub(crate) fn settings_instead(text: &str, is_hidden: bool) -> Option<String> {
    match text.parse::<Authority>() {
        Err(InvalidAuthority::Url | InvalidAuthority::UserInformation) => {}
        _ => return None,
    }
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let scheme = scheme.to_ascii_lowercase();
    let (authority, path) = match rest.find(['/', '?', '#']) {
        Some(end) => rest.split_at(end),
        None => (rest, ""),
    };
    let file = path.split(['?', '#']).next().unwrap_or_default();
    if file.ends_with(".pac") || file.ends_with(".dat") {
        return Some(PAC.to_owned());
    }
    // A `/` in a password ends the authority too early, and a part of the password would look like a host.
    // The `@` behind it gives that away.
    let is_clear = !is_hidden && !path.contains('@');
    let (has_credentials, host) = match authority.rsplit_once('@') {
        Some((_, host)) => (true, host),
        None => (path.contains('@'), authority),
    };
    let address = is_clear.then(|| shown_address(host)).flatten();
    let address = address.unwrap_or_else(|| "HOST:PORT".to_owned());
    let mut settings = Vec::new();
    if ["socks5", "socks5h", "socks"].contains(&&*scheme) {
        settings.push("`kind: socks5`".to_owned());
    }
    settings.push(format!("`address: \"{address}\"`"));
    if has_credentials {
        settings.push("`username: \"${PROXY_USERNAME}\"`".to_owned());
        settings.push("`password: \"${PROXY_PASSWORD}\"`".to_owned());
    }
    if scheme == "https" {
        settings.push("`tls: true`".to_owned());
    }
    let (last, others) = settings.split_last()?;
    let settings = match others {
        [] => last.clone(),
        _ => format!("{} and {last}", others.join(", ")),
    };
    // The scheme often stands for what the proxy is used for and not for how it is spoken to.
    let note = if scheme == "https" {
        ", unless the proxy speaks plain HTTP itself, as most do"
    } else {
        ""
    };
    Some(format!("write {settings}{note}"))
}

/// Returns `host` with its port, or with the word `PORT` if it has none.
fn shown_address(host: &str) -> Option<String> {
    const ANY: NonZeroU16 = NonZeroU16::MIN;
    if let Ok(address) = host.parse::<Authority>() {
        return Some(address.to_string());
    }
    Authority::with_default_port(host, ANY).ok()?;
    let host = host.trim_end_matches(':').parse::<Host>().ok()?;
    Some(format!("{host}:PORT"))
}

const PAC: &str = "this is a script that chooses a proxy (PAC): open its URL in a browser, and write the `HOST:PORT` \
                   after the word `PROXY` as `address`";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(settings_instead(text, false).as_deref(), expected, "{text}");
    }

    #[test]
    fn a_url_is_put_into_settings_without_its_credentials() {
        const BOTH: &str =
            "`username: \"${PROXY_USERNAME}\"` and `password: \"${PROXY_PASSWORD}\"`";
        check("http://proxy:3128", Some("write `address: \"proxy:3128\"`"));
        check("http://proxy/", Some("write `address: \"proxy:PORT\"`"));
        check("http://u:p@h:1", Some(&format!("write `address: \"h:1\"`, {BOTH}")));
        check("u:p@h:1", Some(&format!("write `address: \"h:1\"`, {BOTH}")));
        check("http://u:1234/x@h:1", Some(&format!("write `address: \"HOST:PORT\"`, {BOTH}")));
        check("socks5://[::1]:1080", Some("write `kind: socks5` and `address: \"[::1]:1080\"`"));
        check("http://h/proxy.pac?x", Some(PAC));
        check("proxy:3128", None);
        check("proxy", None);
        let https = settings_instead("https://proxy:3128", false).unwrap();
        assert!(https.starts_with("write `address: \"proxy:3128\"` and `tls: true`"), "{https}");
        let hidden = settings_instead("http://proxy:3128", true).unwrap();
        assert_eq!(hidden, "write `address: \"HOST:PORT\"`");
    }
}
