//! Lines of other forms: tables, lines of other programs, and proxies beside other things.

use std::fmt;

use super::{ListScheme, ListedProxy, scheme_of};
use crate::Authority;

/// The form of a line that is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kinds::pool) enum OtherForm {
    /// Columns that may be an address and a login, or an address and other facts.
    Columns(Shape),
    /// An address behind the name of its protocol, as in `socks5 HOST PORT`.
    SchemeColumn(ListScheme),
    /// A proxy with its login beside something else, such as a country or a number.
    Beside,
    /// An address beside something else, which may be its login.
    BesideAddress(Shape),
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

/// The shape of a line with columns: where its address is, and what is between its parts. Nothing of its text is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kinds::pool) struct Shape {
    /// The first columns, and the separator before each of them. The first one has none.
    parts: [Option<(Option<Separator>, ColumnContent)>; PARTS_MAX],
    has_more: bool,
}

/// The content of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ColumnContent {
    /// A host and a port.
    Address,
    /// A host, port and username, as in the beginning of `HOST:PORT:USER:PASSWORD`.
    AddressAndUser,
    Host,
    Port,
    /// Anything else, which may be a secret.
    Other,
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
        line.chars().find_map(Separator::of)?;
        let columns = columns(line);
        let [first, rest @ ..] = &*columns else { return None };
        if let Some(scheme) = scheme_of(first).filter(|_| !rest.is_empty()) {
            return Some(Self::SchemeColumn(scheme));
        }
        if rest.first().is_some_and(|port| address_of(first, port).is_some()) {
            return Some(Self::Columns(Shape::of(line)));
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
                let has_user = part_of(first) == ColumnContent::AddressAndUser && !rest.is_empty();
                (is_table || has_user).then(|| Self::Columns(Shape::of(line)))
            }
            1 if rest.first().is_some_and(|column| column.starts_with(['#', '/'])) => {
                Some(Self::Comment)
            }
            1 if columns.iter().filter(|column| has_parts(column)).count() == 1 => {
                // `HOST:PORT,USER,PASSWORD` can't be told from `HOST:PORT,COUNTRY,CITY`.
                let is_address = |column: &&str| part_of(column) == ColumnContent::Address;
                Some(match columns.iter().any(is_address) {
                    true => Self::BesideAddress(Shape::of(line)),
                    false => Self::Beside,
                })
            }
            1 => Some(Self::Columns(Shape::of(line))),
            _ => Some(Self::Several),
        }
    }

    /// Describes the form, with the lines to write instead.
    pub(super) fn in_words(&self, with_login: &str, without_login: &str) -> String {
        match self {
            Self::Columns(shape) => {
                // A list of lines like these is not a list of URLs, whose examples would be the same twice.
                let or_login_first = match with_login.contains("://") {
                    true => "",
                    false => ", `USER:PASSWORD@HOST:PORT` or a URL",
                };
                let or = if or_login_first.is_empty() { " or" } else { "," };
                format!(
                    "its parts are separated by {}, as in `{shape}`; write {without_login}{or} {with_login}{or_login_first}",
                    shape.separators()
                )
            }
            Self::SchemeColumn(scheme) => {
                let scheme = scheme.name();
                format!(
                    "the protocol is written as in a URL: `{scheme}://HOST:PORT`, or \
                     `{scheme}://USER:PASSWORD@HOST:PORT`"
                )
            }
            Self::BesideAddress(shape) => format!(
                "there is something beside the address, as in `{shape}`; if it is a login, write {with_login}{}; otherwise remove it, \
                 to leave {without_login}",
                if with_login.contains("://") { "" } else { " or `USER:PASSWORD@HOST:PORT`" }
            ),
            Self::Beside => format!(
                "there is something beside the proxy, such as a country or a number; leave only {without_login} or {with_login}"
            ),
            Self::Comment => "write the comment in a line of its own, or remove it".to_owned(),
            Self::Several => "there is more than one proxy in it; write one a line".to_owned(),
        }
    }
}

impl Shape {
    fn of(line: &str) -> Self {
        let (mut parts, mut count, mut before) = ([None; PARTS_MAX], 0, None);
        let mut rest = line.trim();
        while !rest.is_empty() {
            let end = rest.find(|one| Separator::of(one).is_some()).unwrap_or(rest.len());
            let (column, behind) = rest.split_at(end);
            if !column.is_empty() {
                if let Some(part) = parts.get_mut(count) {
                    *part = Some((before, part_of(column)));
                }
                (count, before) = (count + 1, None);
            }
            let mut characters = behind.chars();
            // Of several characters between two columns, a blank says least.
            let found = characters.next().and_then(Separator::of);
            before = before.filter(|one| *one != Separator::Blank).or(found);
            rest = characters.as_str();
        }
        // A host and its port are two columns too.
        if let [Some((_, first)), Some((_, second)), ..] = &mut parts
            && let [host, port, ..] = columns(line)[..]
            && address_of(host, port).is_some()
        {
            (*first, *second) = (ColumnContent::Host, ColumnContent::Port);
        }
        Self { parts, has_more: count > PARTS_MAX }
    }

    /// Names the characters that separate the parts, each once.
    fn separators(&self) -> String {
        let mut names: Vec<String> = Vec::new();
        for (before, _) in self.parts.iter().flatten() {
            let name = before.map(Separator::in_words);
            names.extend(name.filter(|name| !names.contains(name)));
        }
        names.join(" and ")
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (before, part) in self.parts.iter().flatten() {
            if let Some(before) = before {
                // A tab would move the text behind it.
                let shown = if *before == Separator::Tab { ' ' } else { before.character() };
                write!(f, "{shown}")?;
            }
            f.write_str(match part {
                ColumnContent::Address => "HOST:PORT",
                ColumnContent::AddressAndUser => "HOST:PORT:…",
                ColumnContent::Host => "HOST",
                ColumnContent::Port => "PORT",
                ColumnContent::Other => "…",
            })?;
        }
        if self.has_more { f.write_str(" …") } else { Ok(()) }
    }
}

fn part_of(column: &str) -> ColumnContent {
    let column = column.split_once("://").map_or(column, |(_, rest)| rest);
    if column.parse::<Authority>().is_ok() {
        return ColumnContent::Address;
    }
    let address = column.rsplit_once(':').map(|(address, _)| address);
    match address.is_some_and(|address| address.parse::<Authority>().is_ok()) {
        true => ColumnContent::AddressAndUser,
        false => ColumnContent::Other,
    }
}

/// The columns of a line that its shape shows.
const PARTS_MAX: usize = 4;

impl Separator {
    fn character(self) -> char {
        match self {
            Self::Tab => '\t',
            Self::Blank => ' ',
            Self::Other(one) => one,
        }
    }

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
        for (line, separators, shape) in [
            ("1.2.3.4,80,u,p", "`,`", "HOST,PORT,…,…"),
            ("1.2.3.4|80|u|p", "`|`", "HOST|PORT|…|…"),
            ("1.2.3.4;80;u;p", "`;`", "HOST;PORT;…;…"),
            ("1.2.3.4 80 u p", "blanks", "HOST PORT … …"),
            ("1.2.3.4\t80\tu\tp", "tabs", "HOST PORT … …"),
            ("1.2.3.4:80 u:p", "blanks", "HOST:PORT …"),
            ("1.2.3.4:80|u:p", "`|`", "HOST:PORT|…"),
            ("u:p 1.2.3.4:80", "blanks", "… HOST:PORT"),
            ("1.2.3.4,80;u:p", "`,` and `;`", "HOST,PORT;…"),
            ("1.2.3.4, 80 u p", "`,` and blanks", "HOST,PORT … …"),
            ("1.2.3.4:80\tu:p", "tabs", "HOST:PORT …"),
            ("1.2.3.4:80:u,p", "`,`", "HOST:PORT:…,…"),
            ("1.2.3.4:80:u p", "blanks", "HOST:PORT:… …"),
            ("1.2.3.4,80,u,p,US,elite", "`,`", "HOST,PORT,…,… …"),
        ] {
            let Some(OtherForm::Columns(found)) = form(line) else { panic!("{line}") };
            assert_eq!((&*found.separators(), &*found.to_string()), (separators, shape), "{line}");
        }
        for (line, shape) in [
            ("1.2.3.4:80,u,p", "HOST:PORT,…,…"),
            ("1.2.3.4:80;u;p", "HOST:PORT;…;…"),
            ("1.2.3.4:80, u; p", "HOST:PORT,…;…"),
            ("US,1.2.3.4:80", "…,HOST:PORT"),
            ("1.2.3.4:80 US elite", "HOST:PORT … …"),
            ("1. 1.2.3.4:80", "… HOST:PORT"),
            ("x: 1.2.3.4:80", "… HOST:PORT"),
        ] {
            let Some(OtherForm::BesideAddress(found)) = form(line) else { panic!("{line}") };
            assert_eq!(found.to_string(), shape, "{line}");
        }
        assert_eq!(form("- 1.2.3.4:80:u:p"), Some(OtherForm::Beside));
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
