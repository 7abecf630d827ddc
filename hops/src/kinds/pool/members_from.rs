//! Members from a list of proxies.

use std::{
    cell::Cell,
    hash::{BuildHasher as _, RandomState},
    path::{Path, PathBuf},
    sync::Arc,
};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_yaml::{Mapping, Value};

use super::{
    ListFile, Members, Pick, PoolMember,
    every::Every,
    list::{ListScheme, ListedProxy},
    listing::{Doubt, Listing, UnusableList},
    remote_list::RemoteList,
};
use crate::{
    BuildContext, Hop, InvalidSetting, InvalidSettings, Key, KeyPath, Kind, Settings,
    kinds::{http_connect::HttpConnectConfig, socks5::Socks5Config},
    preferences::stable_number,
    remote::RemoteUrl,
    tls::{TlsChecks, TlsClient},
};

/// A list of proxies, one a line: `host:port`, `host:port:user:password`, `user:password@host:port` or a URL. Blank
/// lines and lines that begin with `#` are skipped.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("oneOf" = [{ "required": ["file"] }, { "required": ["url"] }]))]
#[serde(deny_unknown_fields)]
pub(super) struct MembersFrom {
    /// The file of the list. A change of it is a reload, as for every file that a setting names.
    file: Option<PathBuf>,
    /// The address of the list, `http://` or `https://`, instead of `file`. It is fetched when a request needs it, and
    /// the last good list stays in use. The log and the status show only its server, since the path may hold a token.
    url: Option<RemoteUrl>,
    /// How long a list at a `url` is used before it is asked for again. A `file` is watched, and needs no such time.
    #[serde(default)]
    #[schemars(with = "Every", extend("default" = "10m"))]
    every: Option<Every>,
    /// The chain through which `url` is fetched.
    #[schemars(extend("default" = "direct"))]
    via: Option<String>,
    /// A PEM file with the only authorities to trust for an `https://` server, instead of the system's.
    ca: Option<PathBuf>,
    /// The protocol of lines that are not URLs.
    #[serde(default)]
    scheme: ListScheme,
}

impl MembersFrom {
    /// Returns the members, or the list that has them.
    ///
    /// # Errors
    /// The settings contradict each other, or the file can't be used.
    pub(super) fn members(
        &self,
        pick: Pick,
        context: &BuildContext<'_>,
    ) -> Result<Members, InvalidSettings> {
        let invalid =
            |key: &str, message: &str| Err(below(InvalidSetting::new(key, message)).into());
        match (&self.file, &self.url) {
            (Some(_), None) if self.via.is_some() || self.ca.is_some() => {
                let key = if self.via.is_some() { "via" } else { "ca" };
                invalid(key, "is for a list at a `url`; remove it beside `file`")
            }
            (Some(file), None) => {
                if self.every.is_some() {
                    let message = "has no effect: it is for a list at a `url`. A `file` is watched, and read again as soon as it changes";
                    let help = "remove `every`";
                    context.warn(below(InvalidSetting::new("every", message).with_help(help)));
                }
                let (members, doubt) = self.of_file(file, context)?;
                let list = ListFile::new(file.display().to_string(), doubt);
                Ok(Members::known(members, pick, Some(list)))
            }
            (None, Some(url)) => Ok(Members::Listed(Arc::new(self.remote(url, pick, context)?))),
            (Some(_), Some(_)) => invalid("url", "can't be beside `file`; write one of the two"),
            (None, None) => {
                let message = "names no list; write `file: FILE` or `url: URL` below it";
                Err(InvalidSetting::new("members_from", message).into())
            }
        }
    }

    /// Reads the list in `file`, and returns a warning about doubtful lines too. Lines that can't be used are left out, and a warning
    /// counts them.
    fn of_file(
        &self,
        file: &Path,
        context: &BuildContext<'_>,
    ) -> Result<(Vec<PoolMember>, Option<String>), InvalidSetting> {
        let invalid = |message: String| below(InvalidSetting::file("file", message));
        let text = context
            .read(file)
            .map_err(|error| below(InvalidSetting::unreadable_file("file", &error)))?;
        let has_logins = Cell::new(false);
        let member = |proxy: &ListedProxy, name: Arc<str>| {
            has_logins.set(has_logins.get() || proxy.login.is_some());
            let hop = proxy.build(self.scheme, context)?;
            let fingerprint = proxy.fingerprint(self.scheme, context.hasher());
            Ok(PoolMember::new(hop, name, proxy.identity()).listed(fingerprint))
        };
        let listing = Listing::read(text.expose(), self.scheme, member).map_err(|unusable| {
            let help = unusable.help();
            let invalid = match unusable {
                UnusableList::NoUsableLine(lines) => {
                    invalid("has no usable line".to_owned()).with_details(lines)
                }
                other => invalid(other.to_string()),
            };
            match help {
                Some(help) => invalid.with_help(help),
                None => invalid,
            }
        })?;
        if has_logins.get() {
            context.note_secret(KeyPath::of(["members_from", "file"]), file);
        }
        let doubts = listing.doubts();
        let in_words = Doubt::all_in_words(&doubts);
        for Doubt { about, lines } in doubts {
            context.warn(invalid(about).with_details(lines));
        }
        Ok((listing.members, in_words))
    }

    fn remote(
        &self,
        url: &RemoteUrl,
        pick: Pick,
        context: &BuildContext<'_>,
    ) -> Result<RemoteList, InvalidSetting> {
        if !url.is_tls() {
            if self.ca.is_some() {
                let message = "is for a `url` that begins with `https://`; remove it";
                return Err(below(InvalidSetting::new("ca", message)));
            }
            return Ok(RemoteList::new(url.clone(), None, pick, self, context));
        }
        let checks = TlsChecks { ca: self.ca.clone(), server_name: None };
        let made = TlsClient::with_checks(&checks, url.authority().host(), context);
        // Elsewhere all of these are below `tls`. Here `ca` is beside the `url`, which says the rest.
        let made = made.map_err(|error| {
            let key = if error.path().last_name() == Some("ca") { "ca" } else { "url" };
            below(error.at(key))
        })?;
        made.warning.map(below).into_iter().for_each(|warning| context.warn(warning));
        let tls = Some(made.client);
        Ok(RemoteList::new(url.clone(), tls, pick, self, context))
    }

    pub(super) fn every(&self) -> Every {
        self.every.unwrap_or_default()
    }

    pub(super) fn via(&self) -> &str {
        self.via.as_deref().unwrap_or("direct")
    }

    pub(super) fn scheme(&self) -> ListScheme {
        self.scheme
    }
}

impl ListedProxy {
    /// Returns a number that stays with the proxy, wherever in the list it is.
    pub(super) fn identity(&self) -> u64 {
        let user = self.login.as_ref().map_or("", |(user, _)| user.expose());
        stable_number(&format!("{} {user}", self.address))
    }

    /// Returns a hash of everything that the line says. It has a key, since a login is a part of it.
    pub(super) fn fingerprint(&self, default: ListScheme, hasher: &RandomState) -> u64 {
        let login = self.login.as_ref().map(|(user, password)| (user.expose(), password.expose()));
        hasher.hash_one((self.scheme.unwrap_or(default), &self.address, login))
    }

    /// Builds the hop that reaches this proxy.
    ///
    /// # Errors
    /// The login can't be sent in the protocol of the proxy.
    pub(super) fn build(
        &self,
        default: ListScheme,
        context: &BuildContext<'_>,
    ) -> Result<Arc<dyn Hop>, Vec<InvalidSetting>> {
        let scheme = self.scheme.unwrap_or(default);
        let kind = match scheme {
            ListScheme::Socks5 => Kind::of::<Socks5Config>(),
            ListScheme::Http | ListScheme::Https => Kind::of::<HttpConnectConfig>(),
        };
        kind.build(&self.settings(scheme), context)
    }

    fn settings(&self, scheme: ListScheme) -> Settings {
        let mut settings = Mapping::new();
        let mut set = |key: &str, value: Value| settings.insert(key.into(), value);
        set("address", self.address.to_string().into());
        if scheme == ListScheme::Https {
            set("tls", true.into());
        }
        if let Some((user, password)) = &self.login {
            set("username", user.expose().into());
            set("password", password.expose().into());
        }
        // A mapping with plain keys is always one of settings.
        Settings::deserialize(Value::Mapping(settings)).unwrap_or_default()
    }
}

fn below(invalid: InvalidSetting) -> InvalidSetting {
    invalid.below(Key::Name("members_from".into()))
}
