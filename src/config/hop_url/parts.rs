//! The parts of the URL of a hop, and the settings that they mean.

use std::fmt::Write as _;

use mooltiroute_hops::{Registry, Secret, UrlKeys};

use super::UrlFault;
use crate::config::report::{problem::is_word, proxy_url::proxy_address};

/// The parts of a URL.
pub(super) struct Parts<'a> {
    pub(super) kind: &'a str,
    username: Option<String>,
    password: Option<String>,
    address: Option<&'a str>,
    /// The settings after the `?`.
    settings: Vec<(&'a str, String)>,
}

impl<'a> Parts<'a> {
    pub(super) fn read(url: &'a str, registry: &Registry) -> Result<Self, UrlFault> {
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
        // Without an `@`, a text after the colon that is not a port is most likely a password. Such a text must
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

    /// Returns whether one of the values that [`write`](Self::write) hides may be a credential.
    pub(super) fn have_credentials(&self, registry: &Registry) -> bool {
        let kind = registry.kind(self.kind);
        let is_shown = |key: &str| kind.is_some_and(|kind| kind.shown().contains(&key));
        let is_path = |key: &str| key == "file" || key.ends_with("_file");
        // Without `@` and a query, the URL of a PAC file has no place for a secret.
        let is_plain_url = |value: &str| value.contains("://") && !value.contains(['@', '?']);
        let may_be_credential =
            |(key, value): &(&str, String)| !is_shown(key) && !is_path(key) && !is_plain_url(value);
        self.username.is_some()
            || self.password.is_some()
            || self.settings.iter().any(may_be_credential)
    }

    /// Writes these settings as the hop `name`.
    pub(super) fn write(
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
