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

/// Returns the settings to write in place of `text`, if that is a line of a list of proxies: `HOST:PORT:USER:PASSWORD`.
pub(crate) fn listed_instead(text: &str, is_hidden: bool) -> Option<String> {
    let mut parts = text.splitn(4, ':');
    let (host, port) = (parts.next()?, parts.next()?);
    let address = format!("{host}:{port}").parse::<Authority>().ok()?;
    // An IPv6 address without brackets has more than three colons too, and nothing but digits between them.
    let is_login = parts.next().is_some() && parts.next().is_some();
    let is_ipv6 = text.chars().all(|one| one.is_ascii_hexdigit() || one == ':');
    let address = if is_hidden { "HOST:PORT".to_owned() } else { address.to_string() };
    (is_login && !is_ipv6).then(|| {
        format!(
            "this is a line of a list of proxies: write `address: \"{address}\"`, `username: NAME` and `password: \
             \"${{PASSWORD}}\"`"
        )
    })
}

/// Returns the settings to write in place of `text`, if that is several proxies. Other programs use the next one if one
/// fails.
pub(crate) fn several_instead(text: &str) -> Option<&'static str> {
    let parts: Vec<_> = text.split([',', ';', ' ', '|']).filter(|part| !part.is_empty()).collect();
    let is_proxy = |part: &&str| proxy_address(part).is_some();
    (parts.len() > 1 && parts.iter().all(is_proxy)).then_some(ONE_HOP_FOR_EACH)
}

/// Returns the address to write in place of `text`, if that has a scheme without the `//` behind it. If `is_hidden`, the
/// address isn't repeated.
pub(crate) fn scheme_instead(text: &str, is_hidden: bool) -> Option<String> {
    let (scheme, rest) = text.split_once(':')?;
    let scheme = scheme.to_ascii_lowercase();
    if !["http", "https", "socks5", "socks5h", "socks"].contains(&&*scheme) {
        return None;
    }
    // An address such as `http:3128` has a host of that name.
    let address = rest.trim_start_matches('/').parse::<Authority>().ok()?;
    settings_instead(&format!("{scheme}://{address}"), is_hidden)
}

/// Returns the host and the port of `text`, which is an address or the URL of a proxy, without its credentials.
///
/// Returns `None` if there is no port, or if it is uncertain where credentials end.
pub(crate) fn proxy_address(text: &str) -> Option<String> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if path.contains('@') {
        return None;
    }
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    Some(host.parse::<Authority>().ok()?.to_string())
}

/// Says how to use one of several proxies.
pub(crate) const ONE_HOP_FOR_EACH: &str = "a hop has one address: write one hop for each proxy, and a hop that takes the first that works, as in `NAME: { kind: pool, \
     pick: failover, members: [ONE, TWO] }`";

/// Returns the address to write in place of `text`, if that differs from one only by a blank, a sign at its end, or a word
/// that a PAC file has before it. If `is_hidden`, the address isn't repeated.
pub(crate) fn mended_address(text: &str, is_hidden: bool) -> Option<String> {
    let bare = text.trim();
    let parts: Vec<&str> = bare.split_whitespace().collect();
    let (note, address, kind) = match parts[..] {
        [one] if bare != text => ("it begins or ends with a blank; ", one.to_owned(), None),
        [one] => {
            let last = one.chars().next_back()?;
            if !"/;,".contains(last) {
                return None;
            }
            ("", one.trim_end_matches(['/', ';', ',']).to_owned(), None)
        }
        [word, address] => {
            let address = address.trim_end_matches(';');
            match &*word.to_ascii_uppercase() {
                _ if address.parse::<u16>().is_ok() => ("", format!("{word}:{address}"), None),
                "PROXY" | "HTTP" => ("", address.to_owned(), None),
                "SOCKS" | "SOCKS5" => ("", address.to_owned(), Some("socks5")),
                _ => return None,
            }
        }
        _ => return None,
    };
    let address = address.parse::<Authority>().ok()?;
    let address = if is_hidden { "HOST:PORT".to_owned() } else { address.to_string() };
    let kind = kind.map_or_else(String::new, |kind| format!("`kind: {kind}` and "));
    Some(format!("{note}write {kind}`address: \"{address}\"`"))
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

const PAC: &str = "this is a script that chooses a proxy (PAC): keep a hop for that proxy, with its `HOST:PORT` as \
                   `address`, and write a hop `{ kind: pac, url: \"URL\", hops: { \"*\": HOP } }` that leads to it";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(settings_instead(text, false).as_deref(), expected, "{text}");
    }

    #[test]
    fn an_address_is_mended_if_its_meaning_is_clear() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(mended_address(text, false).as_deref(), expected, "{text:?}");
        };
        const BLANK: &str = "it begins or ends with a blank; write `address: \"proxy:3128\"`";
        check("proxy:3128 ", Some(BLANK));
        check("\tproxy:3128", Some(BLANK));
        check("proxy:3128/", Some("write `address: \"proxy:3128\"`"));
        check("proxy:3128;", Some("write `address: \"proxy:3128\"`"));
        check("proxy 3128", Some("write `address: \"proxy:3128\"`"));
        check("PROXY proxy:3128;", Some("write `address: \"proxy:3128\"`"));
        check("SOCKS5 proxy:1080", Some("write `kind: socks5` and `address: \"proxy:1080\"`"));
        for text in [
            "proxy:3128",
            "proxy",
            "proxy:x ",
            "a b:1",
            "joe:hunter2@h:1 ",
            "",
            " ",
            "PROXY a:1; DIRECT",
        ] {
            check(text, None);
        }
        assert_eq!(
            mended_address("proxy:1/", true).as_deref(),
            Some("write `address: \"HOST:PORT\"`")
        );
    }

    #[test]
    fn a_line_of_a_list_is_put_into_settings_without_its_credentials() {
        let told = listed_instead("127.0.0.1:8001:alice:hunter2:x", false).unwrap();
        assert!(
            told.contains("`address: \"127.0.0.1:8001\"`") && !told.contains("alice"),
            "{told}"
        );
        let hidden = listed_instead("127.0.0.1:8001:alice:hunter2", true).unwrap();
        assert!(hidden.contains("HOST:PORT") && !hidden.contains("8001"), "{hidden}");
        for other in ["2001:db8::1:443", "a:1", "a:1:b", "a:x:b:c", ":::"] {
            assert_eq!(listed_instead(other, false), None, "{other}");
        }
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
