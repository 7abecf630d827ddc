//! Hops that the command line names as URLs, and the configuration that means the same.
//!
//! A URL is only another way to write the settings of a kind: its parts become `kind`, the three settings that
//! [`HopConfig::URL`](mooltiroute_hops::HopConfig::URL) names, and one setting for each `KEY=VALUE` after the `?`. So
//! every kind can be written as a URL, also one from outside, and the checks and words of the settings hold here too.

mod parts;
mod problems;

use std::{fmt, fmt::Write as _};

use mooltiroute_hops::{Registry, Secret};
use thiserror::Error;

use self::parts::Parts;
pub(crate) use self::problems::{in_terms_of_urls, url_in_words};

/// A hop as a URL, such as `http-connect://USERNAME:PASSWORD@HOST:PORT?tls=true`. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct HopUrl(Secret);

/// The configuration that means the same as some URLs.
#[derive(Debug)]
pub struct UrlChain {
    /// The file, in which variables stand for everything that could be a secret.
    pub yaml: String,
    /// The variables of the file, with their values.
    pub variables: Vec<(String, Secret)>,
    /// Whether one of the values may be a credential.
    pub has_credentials: bool,
}

/// A malformed URL of a hop. It is not quoted, since it may contain a credential.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("--hop: {} {fault}", ordinal(*position))]
pub struct InvalidHopUrl {
    /// The number of the URL, counted from zero.
    pub position: usize,
    /// The mistake in it.
    pub fault: UrlFault,
}

/// A mistake in the URL of a hop.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UrlFault {
    /// There is no scheme. The address is the one that is written, without credentials.
    #[error(
        "has no scheme; write `http://{0}` if it is an HTTP proxy, or `socks5://{0}` if it is a SOCKS5 one"
    )]
    NoScheme(String),
    /// It is the URL of a SOCKS4 proxy, and no kind has that name.
    #[error("is for SOCKS4, which no hop speaks; write `socks5://` if the proxy speaks that too")]
    Socks4,
    /// There is another URL in it.
    #[error("has another URL in it; write `--hop` before each")]
    Several,
    /// It does not begin with a kind.
    #[error(
        "has an unknown scheme; write `http://`, `https://`, `socks5://` or one of the kinds {0}, as in `http://USERNAME:PASSWORD@HOST:PORT`"
    )]
    Scheme(String),
    /// The credentials are not followed by `@`.
    #[error(
        "has credentials without an `@` after them; write `KIND://USERNAME:PASSWORD@`, and the address after it"
    )]
    Credentials,
    /// A `%` is not followed by two hexadecimal digits.
    #[error(
        "has a `%` without two hexadecimal digits after it; write `%25` for a `%` in a username or a password"
    )]
    Encoding,
    /// It is the URL of a PAC file.
    #[error(
        "is for a PAC file, which needs a configuration: write a hop `{{ kind: pac, url: \"URL\", hops: {{ \"*\": HOP \
         }} }}`"
    )]
    PacFile,
    /// There is a path.
    #[error(
        "has a path; write `%2F`, `%3F`, `%23` and `%40` for `/`, `?`, `#` and `@` in a username or a password"
    )]
    Path,
    /// A setting after the `?` is not `KEY=VALUE`.
    #[error(
        "has a setting that is not `KEY=VALUE`; write settings as in `?tls=true&plain=connect`"
    )]
    Setting,
    /// A setting is there twice, or is one that another part of the URL sets.
    #[error("sets `{0}` twice; write a list as `{0}=[A,B]`")]
    Repeated(String),
}

impl HopUrl {
    /// Takes over `text`, which is checked later, by [`UrlChain::new`].
    pub fn new(text: &str) -> Self {
        Self(Secret::new(text))
    }
}

impl fmt::Debug for HopUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HopUrl(hidden)")
    }
}

impl UrlChain {
    /// Writes the configuration of a chain `default` through `urls`, in the order of travel.
    ///
    /// # Errors
    /// The first malformed URL. Invalid settings are found when the configuration is loaded.
    pub fn new(urls: &[HopUrl], registry: &Registry) -> Result<Self, InvalidHopUrl> {
        let mut yaml = "hops:\n".to_owned();
        let (mut variables, mut names, mut kinds) =
            (Vec::new(), Vec::<String>::new(), Vec::<&str>::new());
        let mut has_credentials = false;
        for (position, HopUrl(url)) in urls.iter().enumerate() {
            let parts = Parts::read(url.expose(), registry);
            let parts = parts.map_err(|fault| InvalidHopUrl { position, fault })?;
            // The names appear in messages and in the printed file, so the first hop of a kind has the plain
            // name of its kind.
            let earlier = kinds.iter().filter(|kind| **kind == parts.kind).count();
            kinds.push(parts.kind);
            let name = match earlier {
                0 => parts.kind.to_owned(),
                count => format!("{}-{}", parts.kind, count + 1),
            };
            has_credentials |= parts.have_credentials(registry);
            parts.write(&name, registry, &mut yaml, &mut variables);
            names.push(name);
        }
        let _ = writeln!(yaml, "chains:\n  default: [{}]", names.join(", "));
        Ok(Self { yaml, variables, has_credentials })
    }
}

fn ordinal(position: usize) -> String {
    match position {
        0 => "the first URL".to_owned(),
        1 => "the second URL".to_owned(),
        2 => "the third URL".to_owned(),
        other => format!("URL number {}", other + 1),
    }
}

#[cfg(test)]
mod tests {
    use mooltiroute_hops::kinds;

    use super::*;
    use crate::config::mute_kind::Mute;

    fn chain(urls: &[&str]) -> Result<UrlChain, InvalidHopUrl> {
        let urls: Vec<_> = urls.iter().map(|url| HopUrl::new(url)).collect();
        UrlChain::new(&urls, &kinds::builtin())
    }

    #[test]
    fn hops_of_one_kind_are_numbered_also_if_the_kind_ends_with_a_digit() {
        let chain = chain(&["socks5://a:1", "http://b:2", "socks5://c:3", "socks5://d:4"]);
        let yaml = chain.unwrap().yaml;
        assert!(yaml.ends_with("[socks5, http-connect, socks5-2, socks5-3]\n"), "{yaml}");
    }

    #[test]
    fn urls_become_a_file_without_their_credentials() {
        let chain = chain(&[
            "http-connect://CORP%5Cjoe:p%40ss@proxy.example:3128?auth=[ntlm,basic]&nt_hash=hunter2",
            "https://proxy.example:443/",
            "socks5h://[::1]:1080",
            "webshare://joe:hunter2@?session=rotate",
        ]);
        let UrlChain { yaml, variables, has_credentials } = chain.unwrap();
        assert!(has_credentials);
        assert_eq!(
            yaml,
            "hops:
  http-connect:
    kind: http-connect
    address: \"proxy.example:3128\"
    username: \"${HTTP_CONNECT_USERNAME}\"
    password: \"${HTTP_CONNECT_PASSWORD}\"
    auth: [ntlm, basic]
    nt_hash: \"${HTTP_CONNECT_NT_HASH}\"
  http-connect-2:
    kind: http-connect
    address: \"proxy.example:443\"
    tls: true
  socks5:
    kind: socks5
    address: \"[::1]:1080\"
  webshare:
    kind: webshare
    username: \"${WEBSHARE_USERNAME}\"
    password: \"${WEBSHARE_PASSWORD}\"
    session: rotate
chains:
  default: [http-connect, http-connect-2, socks5, webshare]
"
        );
        let of = |name: &str| {
            variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.expose())
        };
        assert_eq!(of("HTTP_CONNECT_USERNAME"), Some("CORP\\joe"));
        assert_eq!(of("HTTP_CONNECT_PASSWORD"), Some("p@ss"));
        assert_eq!(of("HTTP_CONNECT_NT_HASH"), Some("hunter2"));
    }

    #[test]
    fn files_and_plain_urls_are_no_credentials() {
        let has = |url: &str| chain(&["http://a:1", url]).unwrap().has_credentials;
        for url in [
            "socks5://a:1",
            "pac://?file=q.js",
            "pac://?url=http://a/p.pac",
            "http://a:1?auth=[ntlm]",
        ] {
            assert!(!has(url), "{url}");
        }
        for url in [
            "http://joe@a:1?password_file=p",
            "http://joe:file@a:1",
            "http://http%3A%2F%2Fx:@a:1",
            "http://a:1?nt_hash=hunter2",
            "pac://?url=http://a/p.pac%3Ftoken=x",
        ] {
            assert!(has(url), "{url}");
        }
    }

    #[test]
    fn what_is_no_hop_says_what_to_write_and_quotes_nothing() {
        let check = |url: &str, expected: fn(&UrlFault) -> bool| {
            let error = chain(&["http://a:1", url]).unwrap_err();
            assert!(error.position == 1 && expected(&error.fault), "{url}: {error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        };
        check("proxy:3128", |fault| *fault == UrlFault::NoScheme("proxy:3128".into()));
        check("joe:hunter2@proxy:3128", |fault| {
            *fault == UrlFault::NoScheme("USERNAME:PASSWORD@proxy:3128".into())
        });
        check("127.0.0.1:24001:acme:hunter2", |fault| {
            *fault == UrlFault::NoScheme("USERNAME:PASSWORD@127.0.0.1:24001".into())
        });
        check("hunter2", |fault| *fault == UrlFault::NoScheme("HOST:PORT".into()));
        check("socks4a://joe:hunter2@a:1", |fault| *fault == UrlFault::Socks4);
        check("http://a:1,http://joe:hunter2@b:1", |fault| *fault == UrlFault::Several);
        check("hunter2://proxy:3128", |fault| matches!(fault, UrlFault::Scheme(_)));
        check("webshare://joe:hunter2", |fault| *fault == UrlFault::Credentials);
        check("http://joe:%hunter2@a:1", |fault| *fault == UrlFault::Encoding);
        check("http://joe:hunter2/x@a:1", |fault| *fault == UrlFault::Path);
        check("http://joe:hunter2?x@a:1", |fault| *fault == UrlFault::Path);
        check("http://a:1/proxy.pac", |fault| *fault == UrlFault::PacFile);
        check("http://a:1?hunter2", |fault| *fault == UrlFault::Setting);
        check("https://a:1?tls=false", |fault| *fault == UrlFault::Repeated("tls".into()));
    }

    #[test]
    fn a_kind_from_outside_may_have_the_name_of_any_scheme() {
        let urls = [HopUrl::new("SOCKS4A://a:1"), HopUrl::new("socks4://a:1")];
        let registry = kinds::builtin().with::<Mute>();
        let chain = UrlChain::new(&urls[..1], &registry).unwrap();
        assert!(chain.yaml.contains("kind: socks4a\n"), "{}", chain.yaml);
        let error = UrlChain::new(&urls, &registry).unwrap_err();
        assert_eq!((error.position, error.fault), (1, UrlFault::Socks4));
    }

    proptest::proptest! {
        #[test]
        fn any_url_has_an_answer(url in "(http|webshare)://[a:@%/?#&=\\[\\]1-]{0,20}") {
            let _ = chain(&[&url]);
        }
    }
}
