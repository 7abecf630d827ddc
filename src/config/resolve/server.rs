//! Reads the section `server`.

use mooltiroute_hops::{InvalidSetting, Key, KeyPath, credentials};

use crate::config::{
    Auth, Protocol, ServerConfig, raw, report::problem::is_name, resolve::Resolver,
};

impl Resolver<'_> {
    pub(super) fn server(&mut self) -> ServerConfig {
        let raw::RawServer { listen, protocols, workers, auth, via, upgrades } =
            self.section("server");
        // Whether `auth` is written is enough here. If it is invalid, the operator meant to have it, and that
        // problem is reported instead of an open listener.
        let listen = self.listeners(listen.0, auth.is_some());
        let auth = auth.and_then(|auth| self.auth(auth));
        let via = via.filter(|via| via != "none");
        let is_pseudonym = |via: &str| via.is_ascii() && is_name(via);
        if via.as_deref().is_some_and(|via| !is_pseudonym(via)) {
            let path = KeyPath::of(["server", "via"]);
            self.invalid(
                &path,
                "can't be the name in `Via` fields; write `none`, or a name of letters, digits, `-`, `_` and `.`",
            );
        }
        let credentials = self.credentials(&KeyPath::of(["server", "auth"]), true);
        let upgrades = self.upgrades(upgrades);
        self.protocols(&protocols);
        let via = via.map(String::into_boxed_str);
        ServerConfig { listen, protocols, workers, auth, credentials, via, upgrades }
    }

    /// Checks that `server.protocols` names at least one protocol, and none twice.
    fn protocols(&mut self, protocols: &[Protocol]) {
        let path = KeyPath::of(["server", "protocols"]);
        if protocols.is_empty() {
            self.invalid(&path, "is empty; write at least one of `http`, `socks5` and `socks4a`");
        }
        for (index, protocol) in protocols.iter().enumerate() {
            if protocols[..index].contains(protocol) {
                let path = path.clone().then(Key::Index(index));
                self.invalid(&path, format!("`{protocol}` is listed twice"));
            }
        }
    }

    /// Checks the protocols of `server.upgrades`, each a token that may stand in an `Upgrade` field (RFC 9110 §7.8).
    fn upgrades(&mut self, protocols: Vec<String>) -> Vec<Box<str>> {
        for (index, protocol) in protocols.iter().enumerate() {
            let message = if protocol.eq_ignore_ascii_case("h2c") {
                "is HTTP/2, which is never passed on; remove it"
            } else if !is_protocol(protocol) {
                "is not a protocol; write its name, such as `websocket`"
            } else {
                continue;
            };
            let path = KeyPath::of(["server", "upgrades"]).then(Key::Index(index));
            self.invalid(&path, message);
        }
        protocols.into_iter().map(String::into_boxed_str).collect()
    }

    fn auth(&mut self, raw: raw::RawAuth) -> Option<Auth> {
        let raw::RawAuth { username, password, password_file } = raw;
        let (path, context) = (KeyPath::of(["server", "auth"]), self.context());
        let from_file = password_file.as_deref();
        let auth = credentials::password(password, from_file, Some(&username), &context)
            .and_then(|password| password.ok_or(InvalidSetting::missing("password")))
            .and_then(|password| {
                credentials::basic(&username, &password)?;
                // Anybody who reaches the listener could guess it. An empty variable is a problem of its own.
                for (key, value) in [("username", &username), ("password", &password)] {
                    let place = path.clone().then(Key::Name(key.into()));
                    if value.expose().is_empty() && self.tree.variables(&place).is_empty() {
                        return Err(
                            InvalidSetting::new(key, NO_CREDENTIAL).with_help(LEAVE_AUTH_OUT)
                        );
                    }
                }
                Ok(Auth { username, password })
            });
        // A new content of `password_file` is a change, although the YAML stays the same.
        if let Some(files) = context.fingerprint() {
            self.files.push((path.clone(), files));
        }
        for warning in context.warnings() {
            let warning = self.tree.invalid(&path, &warning);
            self.warnings.push(warning);
        }
        auth.map_err(|invalid| self.report(&path, &[invalid])).ok()
    }
}

/// Returns whether `text` is the name of a protocol, with or without a version (RFC 9110 §7.8).
fn is_protocol(text: &str) -> bool {
    let is_token_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_token = |part: &str| !part.is_empty() && part.bytes().all(is_token_byte);
    text.split('/').count() <= 2 && text.split('/').all(is_token)
}

const NO_CREDENTIAL: &str = "is empty, so anyone could guess it";
const LEAVE_AUTH_OUT: &str =
    "write what clients have to send; leave `auth` out if they need no credentials";
