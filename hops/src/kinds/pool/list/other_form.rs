//! Lines of other forms: tables, lines of other programs, and proxies beside other things.

use super::{ListScheme, ListedProxy, scheme_of};
use crate::Authority;

/// The form of a line that is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kinds::pool) enum OtherForm {
    /// Columns that may be an address and a login, or an address and other facts.
    Columns(Separator),
    /// An address behind the name of its protocol, as in `socks5 HOST PORT`.
    SchemeColumn(ListScheme),
    /// A proxy beside something else, such as a country or a number.
    Beside,
    /// A proxy and a comment behind it.
    Comment,
    /// Several proxies.
    Several,
}

/// The character between the columns of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kinds::pool) enum Separator {
    Tab,
    Blank,
    Other(char),
}

/// Returns the address that a line with two columns is: a host and a port. Nothing else can be meant by them.
pub(super) fn host_and_port(line: &str) -> Option<String> {
    let [host, port] = columns(line)[..] else { return None };
    address_of(host, port)
}

/// Returns the columns of `line`.
fn columns(line: &str) -> Vec<&str> {
    let columns = line.split(|one| Separator::of(one).is_some());
    columns.filter(|column| !column.is_empty()).collect()
}

fn address_of(host: &str, port: &str) -> Option<String> {
    let address = format!("{host}:{port}");
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
    (is_port && address.parse::<Authority>().is_ok()).then_some(address)
}

impl OtherForm {
    /// Returns the form of `line`, which `parse` can't read, if it has columns.
    pub(super) fn of<E>(
        line: &str,
        parse: impl Fn(&str) -> Result<ListedProxy, E>,
    ) -> Option<Self> {
        let separator = line.chars().find_map(Separator::of)?;
        let columns = columns(line);
        let [first, rest @ ..] = &*columns else { return None };
        if let Some(scheme) = scheme_of(first).filter(|_| !rest.is_empty()) {
            return Some(Self::SchemeColumn(scheme));
        }
        if rest.first().is_some_and(|port| address_of(first, port).is_some()) {
            return Some(Self::Columns(separator));
        }
        let is_proxy = |column: &&&str| parse(column).is_ok();
        let has_parts = |column: &&str| {
            column
                .split_once(':')
                .is_some_and(|(name, value)| !name.is_empty() && !value.is_empty())
        };
        match columns.iter().filter(is_proxy).count() {
            0 => {
                // Columns of a table are a likelier mistake than an odd host or port.
                let is_table = rest.len() > 1 || !first.contains(':');
                is_table.then_some(Self::Columns(separator))
            }
            1 if rest.first().is_some_and(|column| column.starts_with(['#', '/'])) => {
                Some(Self::Comment)
            }
            1 if columns.iter().filter(|column| has_parts(column)).count() == 1 => {
                Some(Self::Beside)
            }
            1 => Some(Self::Columns(separator)),
            _ => Some(Self::Several),
        }
    }

    /// Describes the form, with the lines to write instead.
    pub(super) fn in_words(&self, with_login: &str, without_login: &str) -> String {
        match self {
            Self::Columns(separator) => format!(
                "its parts are separated by {}; write a `:` between them, and nothing but {without_login} or {with_login}",
                separator.in_words()
            ),
            Self::SchemeColumn(scheme) => {
                let scheme = scheme.name();
                format!(
                    "the protocol is written as in a URL: `{scheme}://HOST:PORT`, or \
                     `{scheme}://USER:PASSWORD@HOST:PORT`"
                )
            }
            Self::Beside => format!(
                "there is something beside the proxy, such as a country or a number; leave only {without_login} or {with_login}"
            ),
            Self::Comment => "write the comment in a line of its own, or remove it".to_owned(),
            Self::Several => "there is more than one proxy in it; write one a line".to_owned(),
        }
    }
}

impl Separator {
    fn of(one: char) -> Option<Self> {
        match one {
            '\t' => Some(Self::Tab),
            ' ' => Some(Self::Blank),
            ',' | ';' | '|' => Some(Self::Other(one)),
            _ => None,
        }
    }

    fn in_words(self) -> String {
        match self {
            Self::Tab => "tabs".to_owned(),
            Self::Blank => "blanks".to_owned(),
            Self::Other(one) => format!("`{one}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::parse_form, *};

    #[test]
    fn each_form_is_told_by_its_columns() {
        let form = |line: &str| OtherForm::of(line, parse_form);
        for (line, separator) in [
            ("1.2.3.4,80,u,p", Separator::Other(',')),
            ("1.2.3.4|80|u|p", Separator::Other('|')),
            ("1.2.3.4;80;u;p", Separator::Other(';')),
            ("1.2.3.4 80 u p", Separator::Blank),
            ("1.2.3.4\t80\tu\tp", Separator::Tab),
            ("1.2.3.4:80 u:p", Separator::Blank),
            ("1.2.3.4:80|u:p", Separator::Other('|')),
            ("u:p 1.2.3.4:80", Separator::Blank),
        ] {
            assert_eq!(form(line), Some(OtherForm::Columns(separator)), "{line}");
        }
        for line in [
            "US,1.2.3.4:80",
            "1.2.3.4:80 US elite",
            "1. 1.2.3.4:80",
            "- 1.2.3.4:80:u:p",
            "x: 1.2.3.4:80",
        ] {
            assert_eq!(form(line), Some(OtherForm::Beside), "{line}");
        }
        assert_eq!(form("1.2.3.4:80 # Berlin"), Some(OtherForm::Comment));
        assert_eq!(form("1.2.3.4:80 // Berlin"), Some(OtherForm::Comment));
        assert_eq!(form("1.2.3.4:80 1.2.3.5:80"), Some(OtherForm::Several));
        let socks = OtherForm::SchemeColumn(ListScheme::Socks5);
        assert_eq!(form("socks5 127.0.0.1 9050 u p"), Some(socks));
        for line in ["1.2.3.4:x", "x", "1.2.3.4:99999 x"] {
            assert_eq!(form(line), None, "{line}");
        }
    }

    #[test]
    fn two_columns_are_an_address_if_the_second_one_is_a_port() {
        assert_eq!(host_and_port("a.test , 80").as_deref(), Some("a.test:80"));
        for line in ["a.test", "a.test,80,x", "a.test:80,x", "a.test,x", "u:p 80", "a.test +80"] {
            assert_eq!(host_and_port(line), None, "{line}");
        }
    }
}
