//! The text that a PAC file returns.

use std::num::NonZeroU16;

use thiserror::Error;

use crate::Authority;

/// An entry of the list that a PAC file returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// No proxy.
    Direct,
    /// The proxy at this address. A connection speaks the protocol of the hop which it stands for, and not this one.
    Proxy(EntryProtocol, Authority),
}

/// The protocol that an entry names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryProtocol {
    Http,
    Https,
    Socks,
}

impl EntryProtocol {
    /// Returns a proxy that speaks it, in words.
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::Http => "an HTTP proxy",
            Self::Https => "an HTTPS proxy",
            Self::Socks => "a SOCKS proxy",
        }
    }

    /// Returns whether a hop whose URL has this scheme speaks it.
    pub(super) fn is_of(self, scheme: &str) -> bool {
        match self {
            Self::Http => scheme == "http",
            Self::Https => scheme == "https",
            Self::Socks => scheme.starts_with("socks"),
        }
    }
}

/// Why a text is not a list of proxies.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum NoList {
    #[error("it returned an empty text")]
    Empty,
    #[error("it returned `{0}`, which is not a list of proxies")]
    Entry(String),
}

/// Reads a list such as `PROXY a.example:3128; DIRECT`.
///
/// # Errors
/// The list is empty, or a part of it is not an entry. An unreadable part is never skipped, since it may be there to
/// keep requests from the entries after it.
pub(super) fn parse(text: &str) -> Result<Vec<Entry>, NoList> {
    let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
    let entries: Vec<_> = parts.map(entry).collect::<Result<_, _>>()?;
    if entries.is_empty() { Err(NoList::Empty) } else { Ok(entries) }
}

fn entry(part: &str) -> Result<Entry, NoList> {
    let no_entry = || NoList::Entry(shown(part));
    let mut words = part.split_ascii_whitespace();
    let (keyword, address) = (words.next().unwrap_or_default(), words.next());
    if words.next().is_some() {
        return Err(no_entry());
    }
    const HTTP: NonZeroU16 = NonZeroU16::new(80).unwrap();
    const HTTPS: NonZeroU16 = NonZeroU16::new(443).unwrap();
    const SOCKS: NonZeroU16 = NonZeroU16::new(1080).unwrap();
    let (protocol, default_port) = match (&*keyword.to_ascii_uppercase(), address) {
        ("DIRECT", None) => return Ok(Entry::Direct),
        ("PROXY" | "HTTP", Some(_)) => (EntryProtocol::Http, HTTP),
        ("HTTPS", Some(_)) => (EntryProtocol::Https, HTTPS),
        ("SOCKS" | "SOCKS4" | "SOCKS5", Some(_)) => (EntryProtocol::Socks, SOCKS),
        _ => return Err(no_entry()),
    };
    let address = Authority::with_default_port(address.unwrap_or_default(), default_port);
    let address = address.map_err(|_| no_entry())?;
    Ok(Entry::Proxy(protocol, address.to_lower().into_owned()))
}

/// Makes text from a script safe for a log or a status line: printable ASCII, and short.
pub(super) fn shown(text: &str) -> String {
    let shorter = text.chars().take(SHOWN_MAX);
    shorter.map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}

const SHOWN_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let read = parse(text).unwrap().into_iter().map(|entry| match entry {
            Entry::Direct => "DIRECT".to_owned(),
            Entry::Proxy(_, address) => address.to_string(),
        });
        assert_eq!(read.collect::<Vec<_>>(), expected, "{text}");
    }

    #[test]
    fn every_keyword_of_a_list_is_read() {
        check("DIRECT", &["DIRECT"]);
        check(" proxy A.example:3128 ;\n\tDirect; ", &["a.example:3128", "DIRECT"]);
        check("PROXY a;HTTP b;HTTPS c", &["a:80", "b:80", "c:443"]);
        check("SOCKS a;SOCKS4 b;SOCKS5 [::1]:9", &["a:1080", "b:1080", "[::1]:9"]);
    }

    #[test]
    fn a_text_that_is_no_list_is_refused() {
        for text in [
            "a.example:3128",
            "PROXY",
            "PROXY a b",
            "DIRECT a:1",
            "PROXY a:0",
            "QUIC a:443; DIRECT",
            "PROXY a:1, PROXY b:2",
            "null",
            "<html>",
        ] {
            assert!(matches!(parse(text), Err(NoList::Entry(_))), "{text}");
        }
        assert_eq!(parse(" ;; "), Err(NoList::Empty));
        assert_eq!(
            parse("b\u{e4}d\r\n").unwrap_err().to_string(),
            "it returned `b?d`, which is not a list of proxies"
        );
    }
}
