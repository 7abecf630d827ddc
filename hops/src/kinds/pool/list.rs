//! A line of a list of proxies, in any of the forms that providers hand out.

mod listed_proxy;
mod messages;
mod other_form;

use std::{
    borrow::Cow,
    net::{Ipv6Addr, SocketAddr},
};

use self::other_form::{OtherForm, host_and_port};
pub(super) use self::{
    listed_proxy::{InvalidLine, LineDoubt, ListScheme, ListedProxy},
    messages::LineForm,
};
use crate::{Authority, InvalidAuthority, Secret};

/// Reads a line, or returns `None` for a blank one or a comment.
///
/// # Errors
/// The line is neither.
pub(super) fn parse_line(line: &str) -> Option<Result<ListedProxy, InvalidLine>> {
    let line = line.trim();
    (!line.is_empty() && !line.starts_with('#')).then(|| parse(line))
}

fn parse(line: &str) -> Result<ListedProxy, InvalidLine> {
    if line.chars().any(|one| one.is_control() && one != '\t') {
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
    parse_form(line).or_else(|error| {
        // A line that can be read is a proxy, also if its login is `user` and `password`.
        if is_header(line) {
            return Err(InvalidLine::Header);
        }
        if has_login_first(line) {
            return Err(InvalidLine::Order);
        }
        // Nothing but an address can end before one of these, so it is not part of anything.
        let whole = line.trim_end_matches([',', ';', ' ', '\t']);
        if whole.len() < line.len()
            && let Ok(proxy) = parse_form(whole)
            && !proxy.is_login_last
        {
            return Ok(proxy);
        }
        if let Some(address) = host_and_port(line) {
            return proxy(None, &address, None);
        }
        match without_path(line).map(parse_form) {
            Some(Ok(_)) => return Err(InvalidLine::Path),
            Some(Err(missing @ InvalidLine::Address(InvalidAuthority::MissingPort))) => {
                return Err(missing);
            }
            _ => {}
        }
        Err(OtherForm::of(line, parse_form).map_or(error, InvalidLine::Form))
    })
}

/// Reads a line of one of the forms that lists are documented to have.
fn parse_form(line: &str) -> Result<ListedProxy, InvalidLine> {
    if line.contains('\t') {
        return Err(InvalidLine::Control);
    }
    match line.split_once("://") {
        Some((scheme, rest)) => parse_url(scheme, rest),
        None => parse_parts(line),
    }
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
    if has_bare_ipv6(line) {
        return Err(InvalidAuthority::Brackets.into());
    }
    let by_colons = by_colons(line);
    let by_at = line.rsplit_once('@').map(|(login, address)| {
        let (user, password) = split_login(login, address)?;
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

/// Returns `line` up to the path, the query or the fragment behind its address, if it has one.
fn without_path(line: &str) -> Option<&str> {
    // A login may have these characters in it, and comes before the `@`.
    let address = line.find("://").map_or(0, |at| at + "://".len());
    let address = line[address..].rfind('@').map_or(address, |at| address + at + 1);
    let end = line[address..].find(['/', '?', '#'])?;
    Some(&line[..address + end])
}

/// Splits the login before an `@`.
fn split_login<'a>(login: &'a str, address: &str) -> Result<(&'a str, &'a str), InvalidLine> {
    // Nobody has an address as the name and its port as the password. A name with a dot is an address only if what is
    // behind the `@` is none.
    let is_socket = login.parse::<SocketAddr>().is_ok();
    let is_address = || login.contains('.') && login.parse::<Authority>().is_ok();
    if is_socket || (is_address() && address.parse::<Authority>().is_err()) {
        return Err(InvalidLine::AddressBeforeAt);
    }
    login.split_once(':').ok_or(InvalidLine::Login)
}

/// Returns whether `text` begins with an IPv6 address that is not in brackets, so that its end can't be seen.
fn has_bare_ipv6(text: &str) -> bool {
    // Few lines have so many colons, and each of them is tried.
    let may_be = text.contains("::") || text.bytes().filter(|byte| *byte == b':').count() > 7;
    let ends = || text.match_indices(':').map(|(at, _)| at).chain([text.len()]);
    may_be && ends().any(|end| text[..end].parse::<Ipv6Addr>().is_ok())
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
    let scheme = scheme_of(scheme).ok_or_else(|| {
        let is_socks4 = scheme.get(..6).is_some_and(|name| name.eq_ignore_ascii_case("socks4"));
        if is_socks4 { InvalidLine::Socks4 } else { InvalidLine::Scheme }
    })?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let Some((login, address)) = rest.rsplit_once('@') else {
        // Providers' lists have the login behind the address, and people put a scheme before it.
        return match by_colons(rest) {
            Some(Ok(found)) if !has_bare_ipv6(rest) => {
                Ok(ListedProxy { scheme: Some(scheme), ..found })
            }
            _ => proxy(Some(scheme), rest, None),
        };
    };
    let (user, password) = split_login(login, address)?;
    proxy(Some(scheme), address, Some((decoded(user)?, decoded(password)?)))
}

fn scheme_of(scheme: &str) -> Option<ListScheme> {
    Some(match &*scheme.to_ascii_lowercase() {
        "http" => ListScheme::Http,
        "https" => ListScheme::Https,
        "socks5" | "socks5h" => ListScheme::Socks5,
        _ => return None,
    })
}

fn proxy(
    scheme: Option<ListScheme>,
    address: &str,
    login: Option<(Cow<'_, str>, Cow<'_, str>)>,
) -> Result<ListedProxy, InvalidLine> {
    let address = address.parse().map_err(|invalid| match has_bare_ipv6(address) {
        true => InvalidAuthority::Brackets,
        false => invalid,
    })?;
    let login = login.map(|(user, password)| {
        let (user, password) = (Secret::new(user.into_owned()), Secret::new(password.into_owned()));
        if user.is_empty() { Err(InvalidLine::Login) } else { Ok((user, password)) }
    });
    Ok(ListedProxy { scheme, address, login: login.transpose()?, is_login_last: false })
}

/// Decodes the login of a URL (RFC 3986 § 2.1).
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
        // Without a login, nothing else can be meant by these.
        for line in [
            "1.2.3.4:80;",
            "1.2.3.4:80,",
            "1.2.3.4 80",
            "1.2.3.4\t80",
            "1.2.3.4, 80",
            "1.2.3.4|80;",
        ] {
            check(line, Ok(("1.2.3.4:80", "")));
        }
        check("u:p@a.example:80;", Ok(("a.example:80", "u|p")));
        check("socks5://a.example:80 ,", Ok(("a.example:80", "")));
        check("1.2.3.4:80:u:p;", Ok(("1.2.3.4:80", "u|p;")));
        check("1.2.3.4:80:user:password", Ok(("1.2.3.4:80", "user|password")));
        check("user:pass@proxy:80", Ok(("proxy:80", "user|pass")));
        check("1.2.3.4:80:u:", Ok(("1.2.3.4:80", "u|")));
        check("[::1]:80:u:p", Ok(("[::1]:80", "u|p")));
        check("u:p@a.example:80", Ok(("a.example:80", "u|p")));
        check("u:p@q@a.example:80", Ok(("a.example:80", "u|p@q")));
        check("u:p:q@[::1]:80", Ok(("[::1]:80", "u|p:q")));
        check("HTTPS://u%3a:%70@a.example:80/", Ok(("a.example:80", "u:|p")));
        // The form of many lists, with the scheme that a message asks for.
        check("socks5://1.2.3.4:80:u:p%40", Ok(("1.2.3.4:80", "u|p%40")));
        check("socks5h://a.example:1080", Ok(("a.example:1080", "")));
        assert_eq!(parse_line("  "), None);
        assert_eq!(parse_line(" # 1.2.3.4:80"), None);
    }

    #[test]
    fn a_comment_and_a_variable_in_a_line_are_doubtful() {
        let doubt = |line: &str| parse_line(line).unwrap().unwrap().doubt();
        assert_eq!(doubt("1.2.3.4:80:u:p   # Berlin"), Some(LineDoubt::Comment));
        assert_eq!(doubt("1.2.3.4:80:u:p:5"), Some(LineDoubt::LongPassword));
        for line in ["1.2.3.4:80:u:", "http://1.2.3.4:80:u:", "[::1]:80:u:"] {
            assert_eq!(doubt(line), Some(LineDoubt::NoPassword), "{line}");
        }
        // An empty password in this form is meant.
        for line in ["u:@1.2.3.4:80", "http://u:@1.2.3.4:80"] {
            assert_eq!(doubt(line), None, "{line}");
        }
        assert_eq!(doubt("1.2.3.4:80:u:p  US"), Some(LineDoubt::Column(' ')));
        assert_eq!(doubt("1.2.3.4:80:u:p|DE"), Some(LineDoubt::Column('|')));
        assert_eq!(doubt("http://u:p|DE@1.2.3.4:80"), None);
        assert_eq!(doubt("1.2.3.4:80:u:${PW}"), Some(LineDoubt::Variable));
        assert_eq!(doubt("1.2.3.4:80:u:p;"), Some(LineDoubt::Ending(';')));
        for line in ["u:a%70b@1.2.3.4:80", "1.2.3.4:80:u%2Fv:p", "http://1.2.3.4:80:u:a%70b"] {
            assert_eq!(doubt(line), Some(LineDoubt::Encoded), "{line}");
        }
        for line in ["http://u:a%70b@1.2.3.4:80", "u:100%@1.2.3.4:80", "1.2.3.4:80:u:a%7g"] {
            assert_eq!(doubt(line), None, "{line}");
        }
        for ordinary in [
            "1.2.3.4:80:u:p#1",
            "1.2.3.4:80",
            "1.2.3.4:80:u:p$",
            "u:p@ss:w#rd@1.2.3.4:80",
            "http://u:p:5@1.2.3.4:80",
            "u:p,@1.2.3.4:80",
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
        check("http://u:p@127.0.0.1:80/path?x=1", Err(L::Path));
        check("http://a:80?x", Err(L::Path));
        check("socks5://a:80/#x", Err(L::Path));
        check("a:80/x", Err(L::Path));
        check("u:p@a:80/x", Err(L::Path));
        check("http://a.test/path", Err(L::Address(InvalidAuthority::MissingPort)));
        check("http://a:x/path", Err(L::Address(InvalidAuthority::InvalidPort)));
        check("socks4://a:80", Err(L::Socks4));
        check("SOCKS4a://a:80", Err(L::Socks4));
        for line in [
            "::1:1080",
            "2001:db8::1:1080:u:p",
            "1:2:3:4:5:6:7:8:80",
            "u:p@::1:80",
            "http://::1:80",
            "a:1::2:80",
        ] {
            check(line, Err(L::Address(A::Brackets)));
        }
        check("1.2.3.4:80@u:p", Err(L::AddressBeforeAt));
        check("1.2.3.4:80@u:8080", Err(L::AddressBeforeAt));
        check("a.example:80@u:p", Err(L::AddressBeforeAt));
        check("http://a.example:80@u:p", Err(L::AddressBeforeAt));
        check("joe.doe:1234@a.example:80", Ok(("a.example:80", "joe.doe|1234")));
        check("ip:port:username:password", Err(L::Header));
        check("Host,Port,User,Password", Err(L::Header));
        check("1.2.3.4:80:user:pass", Ok(("1.2.3.4:80", "user|pass")));
        check("u:p:1.2.3.4:80", Err(L::Order));
        check("u:p:proxy.test:80", Err(L::Order));
        check("<!DOCTYPE html>", Err(L::Markup));
        check("{\"ip\": \"1.2.3.4\", \"port\": 80}", Err(L::Json));
        check("\"1.2.3.4:80\"", Err(L::Quotes));
        check("'http://1.2.3.4:80'", Err(L::Quotes));
        check("http://a:80/path", Err(L::Path));
        check("http://u:p/w@a:80/path?x=1", Err(L::Path));
        check("http://u:p/w@a:80/", Ok(("a:80", "u|p/w")));
        check("http://u:%zz@a:80", Err(L::Escape));
        check("http://u:%0a@a:80", Err(L::Control));
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in "[a1:@%\\[\\]/#. ,;|\té]{0,24}") {
            let _ = parse_line(&line);
        }
    }
}
