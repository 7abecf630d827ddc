//! A line of a list of proxies, in any of the forms that providers hand out.

use std::borrow::Cow;

use thiserror::Error;

use crate::{Authority, InvalidAuthority, Secret};

/// A proxy of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListedProxy {
    /// The scheme, if the line is a URL.
    pub(super) scheme: Option<ListScheme>,
    pub(super) address: Authority,
    /// Username and password.
    pub(super) login: Option<(Secret, Secret)>,
    /// Whether the login is behind the address, so that nothing marks its end.
    is_login_last: bool,
}

/// The protocol that a proxy of a list speaks.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    serde::Deserialize,
    serde::Serialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub(super) enum ListScheme {
    /// HTTP, with CONNECT.
    #[default]
    Http,
    /// HTTP over TLS.
    Https,
    /// SOCKS5.
    Socks5,
}

/// Why a line is no proxy. The text never repeats the line, which may hold a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum InvalidLine {
    #[error(transparent)]
    Address(#[from] InvalidAuthority),
    #[error("the scheme is none of `http`, `https` and `socks5`")]
    Scheme,
    #[error("in a URL the login comes first, as in `socks5://USER:PASSWORD@HOST:PORT`")]
    UrlLogin,
    #[error("separate the parts with `:`, as in `HOST:PORT:USER:PASSWORD`")]
    Separator,
    #[error("this is a web page or XML; download the list again")]
    Markup,
    #[error("this is JSON; ask the provider for the list as text, one proxy a line")]
    Json,
    #[error("it is in quotes; remove them")]
    Quotes,
    #[error("this names the columns of a table, and is no proxy; remove the line")]
    Header,
    #[error("the address comes first, as in `HOST:PORT:USER:PASSWORD`")]
    Order,
    #[error("the login lacks its username or its password")]
    Login,
    #[error(
        "it can be read as `host:port:user:password` and as `user:password@host:port`; write it as a URL"
    )]
    Ambiguous,
    #[error("it has an invisible character; type the line again")]
    Control,
    #[error("a `%` in the login is not followed by two hexadecimal digits; write `%25` for a `%`")]
    Escape,
}

impl ListedProxy {
    /// Describes a probable mistake in the line, although it is valid.
    pub(super) fn doubt(&self) -> Option<&'static str> {
        let (user, password) = self.login.as_ref()?;
        if self.is_login_last && password.expose().contains(':') {
            return Some(
                "all after the third `:` is read as the password; if it has a `:` in it, write the line as a URL, as in \
                 `http://USER:PASSWORD@HOST:PORT`, with `%25` for a `%`; otherwise remove what follows the password",
            );
        }
        if password.expose().contains(" #") {
            return Some(
                "`# …` after a proxy is part of its password; write a comment in a line of its own",
            );
        }
        let is_variable = |text: &str| text.starts_with("${") && text.ends_with('}');
        let has_variable = is_variable(user.expose()) || is_variable(password.expose());
        has_variable.then_some("variables are not replaced in lists")
    }
}

/// Reads a line, or returns `None` for a blank one or a comment.
///
/// # Errors
/// The line is neither.
pub(super) fn parse_line(line: &str) -> Option<Result<ListedProxy, InvalidLine>> {
    let line = line.trim();
    (!line.is_empty() && !line.starts_with('#')).then(|| parse(line))
}

fn parse(line: &str) -> Result<ListedProxy, InvalidLine> {
    if line.contains('\t') {
        return Err(InvalidLine::Separator);
    }
    if line.chars().any(char::is_control) {
        return Err(InvalidLine::Control);
    }
    // These come before the URL, since a page or a JSON text has URLs in it too.
    if line.starts_with('<') {
        return Err(InvalidLine::Markup);
    }
    if line.starts_with('{') {
        return Err(InvalidLine::Json);
    }
    if is_quoted(line) && !is_header(line) {
        return Err(InvalidLine::Quotes);
    }
    if let Some((scheme, rest)) = line.split_once("://") {
        return parse_url(scheme, rest);
    }
    parse_parts(line).map_err(|error| {
        // A line that can be read is a proxy, also if its login is `user` and `password`.
        if is_header(line) {
            return InvalidLine::Header;
        }
        if has_login_first(line) {
            return InvalidLine::Order;
        }
        // Columns of a table are a likelier mistake than an odd host or port.
        let host = line.split(':').next().unwrap_or_default();
        let is_table = host.contains([',', ';', ' ']) || line.split(',').count() > 2;
        if is_table { InvalidLine::Separator } else { error }
    })
}

/// Returns whether `line` is in quotes, perhaps with a comma after them.
fn is_quoted(line: &str) -> bool {
    let line = line.trim_end_matches(',');
    ['"', '\'']
        .iter()
        .any(|quote| line.len() > 1 && line.starts_with(*quote) && line.ends_with(*quote))
}

/// Returns whether `line` is the first one of a table, with the names of its columns.
fn is_header(line: &str) -> bool {
    const NAMES: [&str; 12] = [
        "host",
        "ip",
        "ip address",
        "address",
        "proxy_address",
        "proxy",
        "port",
        "user",
        "username",
        "password",
        "pass",
        "protocol",
    ];
    let columns: Vec<&str> = line.split([',', ';', ':', '|', '\t']).map(str::trim).collect();
    let is_name = |column: &&str| {
        let column = column.trim_matches('"');
        NAMES.iter().any(|name| column.eq_ignore_ascii_case(name))
    };
    // A proxy has a port, so a line without a digit is none, even if its user is called `user`.
    let has_digit = line.contains(|one: char| one.is_ascii_digit());
    !has_digit && columns.iter().filter(|column| is_name(column)).count() > 1
}

/// Returns whether `line` is `user:password:host:port`. The port is certain: nothing else of a line is one.
fn has_login_first(line: &str) -> bool {
    let parts: Vec<&str> = line.split(':').collect();
    let [_, _, host, port] = parts[..] else { return false };
    format!("{host}:{port}").parse::<Authority>().is_ok() && host.contains('.')
}

fn parse_parts(line: &str) -> Result<ListedProxy, InvalidLine> {
    let by_colons = by_colons(line);
    let by_at = line.rsplit_once('@').map(|(login, address)| {
        let (user, password) = login.split_once(':').ok_or(InvalidLine::Login)?;
        proxy(None, address, Some((user.into(), password.into())))
    });
    match (by_colons, by_at) {
        (Some(Ok(_)), Some(Ok(_))) => Err(InvalidLine::Ambiguous),
        // A password may have an `@` in it.
        (Some(Ok(found)), _) | (_, Some(Ok(found))) => Ok(found),
        (_, Some(Err(error))) | (Some(Err(error)), None) => Err(error),
        (None, None) => proxy(None, line, None),
    }
}

/// Reads `host:port:user:password`; returns `None` for a line without a third part.
fn by_colons(line: &str) -> Option<Result<ListedProxy, InvalidLine>> {
    // The colons of an IPv6 address are between its brackets.
    let host = if line.starts_with('[') { line.find(']')? } else { 0 };
    let port = host + line.get(host..)?.find(':')? + 1;
    let end = port + line.get(port..)?.find(':')?;
    let (address, login) = (line.get(..end)?, line.get(end + 1..)?);
    Some(match login.split_once(':') {
        Some((user, password)) => proxy(None, address, Some((user.into(), password.into())))
            .map(|proxy| ListedProxy { is_login_last: true, ..proxy }),
        None => address.parse::<Authority>().map_err(Into::into).and(Err(InvalidLine::Login)),
    })
}

fn parse_url(scheme: &str, rest: &str) -> Result<ListedProxy, InvalidLine> {
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => ListScheme::Http,
        "https" => ListScheme::Https,
        "socks5" | "socks5h" => ListScheme::Socks5,
        _ => return Err(InvalidLine::Scheme),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let Some((login, address)) = rest.rsplit_once('@') else {
        // Providers' lists have the login behind the address, and people put a scheme before it.
        return match by_colons(rest) {
            Some(Ok(_)) => Err(InvalidLine::UrlLogin),
            _ => proxy(Some(scheme), rest, None),
        };
    };
    let (user, password) = login.split_once(':').ok_or(InvalidLine::Login)?;
    proxy(Some(scheme), address, Some((decoded(user)?, decoded(password)?)))
}

fn proxy(
    scheme: Option<ListScheme>,
    address: &str,
    login: Option<(Cow<'_, str>, Cow<'_, str>)>,
) -> Result<ListedProxy, InvalidLine> {
    let address = address.parse()?;
    let login = login.map(|(user, password)| {
        let (user, password) = (Secret::new(user.into_owned()), Secret::new(password.into_owned()));
        if user.is_empty() { Err(InvalidLine::Login) } else { Ok((user, password)) }
    });
    Ok(ListedProxy { scheme, address, login: login.transpose()?, is_login_last: false })
}

/// Decodes the login of a URL (RFC 3986 section 2.1).
fn decoded(text: &str) -> Result<Cow<'_, str>, InvalidLine> {
    if !text.contains('%') {
        return Ok(text.into());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || {
            let digit = rest.next().and_then(|byte| char::from(byte).to_digit(16));
            digit.and_then(|digit| u8::try_from(digit).ok()).ok_or(InvalidLine::Escape)
        };
        bytes.push(if byte == b'%' { digit()? << 4 | digit()? } else { byte });
    }
    let text = String::from_utf8(bytes).map_err(|_| InvalidLine::Escape)?;
    if text.chars().any(char::is_control) { Err(InvalidLine::Control) } else { Ok(text.into()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Result<(&str, &str), InvalidLine>) {
        let read = parse_line(line).unwrap().map(|proxy| {
            let login = proxy.login.as_ref();
            let login = login
                .map_or(String::new(), |(user, word)| [user.expose(), word.expose()].join("|"));
            (proxy.address.to_string(), login)
        });
        let read = read.as_ref().map(|(address, login)| (address.as_str(), login.as_str()));
        assert_eq!(read.map_err(|error| *error), expected, "{line}");
    }

    #[test]
    fn every_form_is_read() {
        check("1.2.3.4:80", Ok(("1.2.3.4:80", "")));
        check("1.2.3.4:80:u:p", Ok(("1.2.3.4:80", "u|p")));
        check("1.2.3.4:80:u:p:q@r", Ok(("1.2.3.4:80", "u|p:q@r")));
        check("1.2.3.4:80:user:password", Ok(("1.2.3.4:80", "user|password")));
        check("user:pass@proxy:80", Ok(("proxy:80", "user|pass")));
        check("1.2.3.4:80:u:", Ok(("1.2.3.4:80", "u|")));
        check("[::1]:80:u:p", Ok(("[::1]:80", "u|p")));
        check("u:p@a.example:80", Ok(("a.example:80", "u|p")));
        check("u:p@q@a.example:80", Ok(("a.example:80", "u|p@q")));
        check("u:p:q@[::1]:80", Ok(("[::1]:80", "u|p:q")));
        check("HTTPS://u%3a:%70@a.example:80/", Ok(("a.example:80", "u:|p")));
        check("socks5h://a.example:1080", Ok(("a.example:1080", "")));
        assert_eq!(parse_line("  "), None);
        assert_eq!(parse_line(" # 1.2.3.4:80"), None);
    }

    #[test]
    fn a_comment_and_a_variable_in_a_line_are_doubtful() {
        let doubt = |line: &str| parse_line(line).unwrap().unwrap().doubt();
        assert!(doubt("1.2.3.4:80:u:p   # Berlin").unwrap().contains("line of its own"));
        let login_last = doubt("1.2.3.4:80:u:p:5").unwrap();
        assert!(
            login_last.contains("third `:`") && login_last.contains("as a URL"),
            "{login_last}"
        );
        assert!(doubt("1.2.3.4:80:u:${PW}").unwrap().contains("variables"));
        for ordinary in [
            "1.2.3.4:80:u:p#1",
            "1.2.3.4:80",
            "1.2.3.4:80:u:p$",
            "u:p@ss:w#rd@1.2.3.4:80",
            "http://u:p:5@1.2.3.4:80",
        ] {
            assert_eq!(doubt(ordinary), None, "{ordinary}");
        }
    }

    #[test]
    fn a_line_that_can_not_be_read_is_refused() {
        use InvalidAuthority as A;
        use InvalidLine as L;
        check("1.2.3.4", Err(L::Address(A::MissingPort)));
        check("1.2.3.4:0", Err(L::Address(A::InvalidPort)));
        check("1.2.3.4:80:u", Err(L::Login));
        check("1.2.3.4:80::p", Err(L::Login));
        check("u@a.example:80", Err(L::Login));
        check("a:80:u:p@b:90", Err(L::Ambiguous));
        check("ftp://a:80", Err(L::Scheme));
        check("socks5://1.2.3.4:80:u:p", Err(L::UrlLogin));
        check("1.2.3.4,80,u,p", Err(L::Separator));
        check("1.2.3.4\t80", Err(L::Separator));
        check("1.2.3.4 80", Err(L::Separator));
        check("ip:port:username:password", Err(L::Header));
        check("Host,Port,User,Password", Err(L::Header));
        check("1.2.3.4:80:user:pass", Ok(("1.2.3.4:80", "user|pass")));
        check("u:p:1.2.3.4:80", Err(L::Order));
        check("u:p:proxy.test:80", Err(L::Order));
        check("<!DOCTYPE html>", Err(L::Markup));
        check("{\"ip\": \"1.2.3.4\", \"port\": 80}", Err(L::Json));
        check("\"1.2.3.4:80\"", Err(L::Quotes));
        check("'http://1.2.3.4:80'", Err(L::Quotes));
        check("http://u:%zz@a:80", Err(L::Escape));
        check("http://u:%0a@a:80", Err(L::Control));
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in "[a1:@%\\[\\]/#. é]{0,24}") {
            let _ = parse_line(&line);
        }
    }
}
