//! Hops that the command line names as URLs, and the configuration that means the same.
//!
//! A URL is only another way to write the settings of a kind: its parts become `kind`, the three settings that
//! [`HopConfig::URL`](mooltiroute_hops::HopConfig::URL) names, and one setting for each `KEY=VALUE` after the `?`. So
//! every kind can be written as a URL, also one from outside, and the checks and words of the settings hold here too.

mod problems;

use std::{fmt, fmt::Write as _};

use mooltiroute_hops::{Registry, Secret, UrlKeys};
use thiserror::Error;

pub(crate) use self::problems::{in_terms_of_urls, url_in_words};
use crate::config::report::{problem::is_word, proxy_url::proxy_address};

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
    #[error(
        "is one of SOCKS4, which no hop speaks; write `socks5://` if the proxy speaks that too"
    )]
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
        "is that of a PAC file, which needs a configuration: write a hop `{{ kind: pac, url: \"URL\", hops: {{ \"*\": HOP }} }}`"
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

/// The parts of a URL.
struct Parts<'a> {
    kind: &'a str,
    username: Option<String>,
    password: Option<String>,
    address: Option<&'a str>,
    /// The settings after the `?`.
    settings: Vec<(&'a str, String)>,
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
            parts.write(&name, registry, &mut yaml, &mut variables);
            names.push(name);
        }
        let _ = writeln!(yaml, "chains:\n  default: [{}]", names.join(", "));
        Ok(Self { yaml, variables })
    }
}

impl<'a> Parts<'a> {
    fn read(url: &'a str, registry: &Registry) -> Result<Self, UrlFault> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| without_scheme(url))?;
        let unknown = || match &*scheme.to_ascii_lowercase() {
            "socks4" | "socks4a" => UrlFault::Socks4,
            _ => UrlFault::Scheme(registry.names().collect::<Vec<_>>().join(", ")),
        };
        let (kind, implied) = kind(scheme, registry).ok_or_else(unknown)?;
        if [",http", ",socks", " http", " socks"].iter().any(|begin| rest.contains(begin))
            && rest.contains("://")
        {
            return Err(UrlFault::Several);
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        // A credential with a `?` or a `/` that is not encoded ends there, and the rest of it looks like
        // settings or a path. That must not become an address to connect to.
        if query.contains('@') {
            return Err(UrlFault::Path);
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '#']) {
            let is_pac = [".pac", "wpad.dat"].iter().any(|end| authority.ends_with(end));
            return Err(if is_pac { UrlFault::PacFile } else { UrlFault::Path });
        }
        // The last `@` separates, so that an `@` in a password may stay as it is.
        let (credentials, address) = match authority.rsplit_once('@') {
            Some((credentials, address)) => (Some(credentials), address),
            None => (None, authority),
        };
        // Without an `@`, a text after the colon that is no port is most likely a password. Such a text must
        // not be written out as an address. The bracket is that of an IPv6 address without a port.
        let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit() || byte == b']');
        if credentials.is_none() && address.rsplit_once(':').is_some_and(|(_, port)| !is_port(port))
        {
            return Err(UrlFault::Credentials);
        }
        let (username, password) = match credentials.map(|text| text.split_once(':').ok_or(text)) {
            Some(Ok((username, password))) => (Some(decode(username)?), Some(decode(password)?)),
            // The password may be a setting after the `?`, such as `password_file`.
            Some(Err(username)) => (Some(decode(username)?), None),
            None => (None, None),
        };
        let mut parts = Self {
            kind,
            username,
            password,
            address: Some(address).filter(|address| !address.is_empty()),
            settings: implied.iter().map(|(key, value)| (*key, (*value).to_owned())).collect(),
        };
        for setting in query.split('&').filter(|setting| !setting.is_empty()) {
            let (key, value) = setting.split_once('=').ok_or(UrlFault::Setting)?;
            if !is_word(key) || key == "kind" {
                return Err(UrlFault::Setting);
            }
            if parts.settings.iter().any(|(known, _)| *known == key) {
                return Err(UrlFault::Repeated(key.to_owned()));
            }
            parts.settings.push((key, decode(value)?));
        }
        Ok(parts)
    }

    /// Writes these settings as the hop `name`.
    fn write(
        self,
        name: &str,
        registry: &Registry,
        yaml: &mut String,
        variables: &mut Vec<(String, Secret)>,
    ) {
        let kind = registry.kind(self.kind);
        // The text is printed by `check --hop`. So a value is written out only if its kind declares it as
        // harmless, and every other value becomes a variable.
        let keys = kind.map_or(UrlKeys::USUAL, |kind| kind.url_keys());
        let is_shown = |key: &str| kind.is_some_and(|kind| kind.shown().contains(&key));
        let mut variable = |key: &str, value: String| {
            // Neither `-` nor `.` may be in the name of a variable.
            let variable = format!("{name}_{key}").to_ascii_uppercase().replace(['-', '.'], "_");
            variables.push((variable.clone(), Secret::new(value)));
            format!("\"${{{variable}}}\"")
        };
        let _ = writeln!(yaml, "  {name}:\n    kind: {}", self.kind);
        if let Some(address) = self.address {
            let _ = writeln!(yaml, "    {}: {}", keys.address, scalar(address));
        }
        for (key, value) in [(keys.username, self.username), (keys.password, self.password)] {
            if let Some(value) = value {
                let _ = writeln!(yaml, "    {key}: {}", variable(key, value));
            }
        }
        for (key, value) in self.settings {
            // A list has to be YAML. A variable can't stand for one, since its value is always one text.
            let items = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            let written = match items {
                Some(items) if is_shown(key) => {
                    let items = items.split(',').filter(|item| !item.trim().is_empty());
                    let items: Vec<_> = items.map(|item| scalar(item.trim())).collect();
                    format!("[{}]", items.join(", "))
                }
                _ if is_shown(key) => scalar(&value),
                _ => variable(key, value),
            };
            let _ = writeln!(yaml, "    {key}: {written}");
        }
    }
}

/// Returns the kind that `scheme` names, with the settings that the scheme implies.
///
/// The schemes of curl and of `http_proxy` are understood too, since they are the first that people try.
fn kind(
    scheme: &str,
    registry: &Registry,
) -> Option<(&'static str, &'static [(&'static str, &'static str)])> {
    let of_name = |name: &str| registry.names().find(|known| *known == name);
    let scheme = scheme.to_ascii_lowercase();
    // A kind wins over an alias, so that a program with a kind of its own called `http` can use it.
    if let Some(kind) = of_name(&scheme) {
        return Some((kind, &[]));
    }
    let (name, implied): (_, &[_]) = match &*scheme {
        "http" => ("http-connect", &[]),
        "https" => ("http-connect", &[("tls", "true")]),
        "socks" | "socks5h" => ("socks5", &[]),
        _ => return None,
    };
    of_name(name).map(|kind| (kind, implied))
}

/// Returns the fault of a URL without a scheme, with the address to write behind one.
fn without_scheme(url: &str) -> UrlFault {
    // Providers write `HOST:PORT:USERNAME:PASSWORD`.
    let listed = || {
        let (host, rest) = url.split_once(':')?;
        let (port, login) = rest.split_once(':')?;
        let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let is_listed =
            login.contains(':') && is_port && (host.contains('.') || host == "localhost");
        is_listed.then(|| proxy_address(&format!("{host}:{port}"))).flatten()
    };
    let listed = if url.contains('@') { None } else { listed() };
    let credentials = if url.contains('@') || listed.is_some() { "USERNAME:PASSWORD@" } else { "" };
    let address = listed.or_else(|| proxy_address(url)).unwrap_or_else(|| "HOST:PORT".to_owned());
    UrlFault::NoScheme(format!("{credentials}{address}"))
}

/// Replaces `%XX` by the byte that it stands for.
fn decode(text: &str) -> Result<String, UrlFault> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(UrlFault::Encoding) };
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| UrlFault::Encoding)?);
    }
    String::from_utf8(bytes).map_err(|_| UrlFault::Encoding)
}

/// Writes `text` as YAML that reads as `text`: bare if it is a plain word or number, in quotes otherwise.
fn scalar(text: &str) -> String {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match is_plain {
        true => text.to_owned(),
        // A text of JSON is one of YAML too.
        false => serde_json::Value::from(text.replace("${", "$${")).to_string(),
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
        let UrlChain { yaml, variables } = chain.unwrap();
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
