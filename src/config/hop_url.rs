//! Hops that the command line names as URLs, and the configuration that means the same.
//!
//! A URL is only another way to write the settings of a kind: its parts become `kind`, the three settings that
//! [`HopConfig::URL`](mooltiroute_hops::HopConfig::URL) names, and one setting for each `KEY=VALUE` after the `?`. So
//! every kind can be written as a URL, also one from outside, and the checks and words of the settings hold here too.

use std::{fmt, fmt::Write as _};

use mooltiroute_hops::{Registry, Secret, UrlKeys};
use thiserror::Error;

use crate::config::report::problem::is_word;

/// A hop as a URL, such as `http-connect://USERNAME:PASSWORD@HOST:PORT?tls=true`. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct HopUrl(Secret);

/// The configuration that means the same as some URLs.
#[derive(Debug)]
pub struct UrlChain {
    /// The file, in which variables stand for everything that could be a secret.
    pub yaml: String,
    /// Those variables, with their values.
    pub variables: Vec<(String, Secret)>,
}

/// A URL that is no hop. The URL is not quoted, since it may hold a credential.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("--hop: the {} {fault}", ordinal(*position))]
pub struct InvalidHopUrl {
    /// The number of the URL, counted from zero.
    pub position: usize,
    /// What is wrong with it.
    pub fault: UrlFault,
}

/// What is wrong with the URL of a hop.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UrlFault {
    /// It does not begin with a kind.
    #[error("is no URL; write `KIND://USERNAME:PASSWORD@HOST:PORT`, with one of these kinds: {0}")]
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
    /// The first URL that is none. Wrong settings are found when the configuration is loaded.
    pub fn new(urls: &[HopUrl], registry: &Registry) -> Result<Self, InvalidHopUrl> {
        let mut yaml = "hops:\n".to_owned();
        let (mut variables, mut names) = (Vec::new(), Vec::<String>::new());
        for (position, HopUrl(url)) in urls.iter().enumerate() {
            let parts = Parts::read(url.expose(), registry);
            let parts = parts.map_err(|fault| InvalidHopUrl { position, fault })?;
            let earlier =
                names.iter().filter(|name| name.trim_end_matches(NUMBER) == parts.kind).count();
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
        let kinds = || UrlFault::Scheme(registry.names().collect::<Vec<_>>().join(", "));
        let (scheme, rest) = url.split_once("://").ok_or_else(kinds)?;
        let (kind, implied) = kind(scheme, registry).ok_or_else(kinds)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        // A credential that is not encoded ends too early, and its end looks like a path or a setting.
        if query.contains('@') {
            return Err(UrlFault::Path);
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '#']) {
            return Err(UrlFault::Path);
        }
        let (credentials, address) = match authority.rsplit_once('@') {
            Some((credentials, address)) => (Some(credentials), address),
            None => (None, authority),
        };
        let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit() || byte == b']');
        if credentials.is_none() && address.rsplit_once(':').is_some_and(|(_, port)| !is_port(port))
        {
            return Err(UrlFault::Credentials);
        }
        let (username, password) =
            match credentials.map(|text| text.split_once(':').unwrap_or((text, ""))) {
                Some((username, password)) => (Some(decode(username)?), Some(decode(password)?)),
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
        let keys = kind.map_or(UrlKeys::USUAL, |kind| kind.url_keys());
        let is_shown = |key: &str| kind.is_some_and(|kind| kind.shown().contains(&key));
        let mut variable = |key: &str, value: String| {
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
        0 => "first URL".to_owned(),
        1 => "second URL".to_owned(),
        2 => "third URL".to_owned(),
        other => format!("URL number {}", other + 1),
    }
}

/// The end of the name of a second hop of one kind.
const NUMBER: [char; 11] = ['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];

#[cfg(test)]
mod tests {
    use mooltiroute_hops::kinds;

    use super::*;

    fn chain(urls: &[&str]) -> Result<UrlChain, InvalidHopUrl> {
        let urls: Vec<_> = urls.iter().map(|url| HopUrl::new(url)).collect();
        UrlChain::new(&urls, &kinds::builtin())
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
        check("proxy:3128", |fault| matches!(fault, UrlFault::Scheme(_)));
        check("hunter2://proxy:3128", |fault| matches!(fault, UrlFault::Scheme(_)));
        check("webshare://joe:hunter2", |fault| *fault == UrlFault::Credentials);
        check("http://joe:%hunter2@a:1", |fault| *fault == UrlFault::Encoding);
        check("http://joe:hunter2/x@a:1", |fault| *fault == UrlFault::Path);
        check("http://joe:hunter2?x@a:1", |fault| *fault == UrlFault::Path);
        check("http://a:1/proxy.pac", |fault| *fault == UrlFault::Path);
        check("http://a:1?hunter2", |fault| *fault == UrlFault::Setting);
        check("https://a:1?tls=false", |fault| *fault == UrlFault::Repeated("tls".into()));
    }

    proptest::proptest! {
        #[test]
        fn any_url_has_an_answer(url in "(http|webshare)://[a:@%/?#&=\\[\\]1-]{0,20}") {
            let _ = chain(&[&url]);
        }
    }
}
