//! The settings of `kind: pac`.

use std::{path::PathBuf, sync::Arc};

use mooltiroute_pac::decode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Pac, PacMember, Source,
    pattern::{EntryPattern, Mapping},
    plan::Rules,
    reader::{POLICY, PacReader},
    script::Script,
};
use crate::{
    BuildContext, Hop, HopConfig, InvalidSetting, InvalidSettings, Key,
    remote::{Attached, Remote, RemoteServer, RemoteUrl},
    tls::{TlsChecks, TlsClient, TlsSettings},
};

/// The settings of a hop that is chosen by a PAC file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PacConfig {
    /// The address of the PAC file, `http://` or `https://`. It is fetched when a request needs it, and again after ten
    /// minutes, after a change of the network and by `mooltiroute reload`.
    url: Option<RemoteUrl>,
    /// A PAC file on this machine, instead of `url`. It is watched.
    file: Option<PathBuf>,
    /// The chain through which `url` is fetched.
    #[serde(default = "direct")]
    via: String,
    /// How the certificate of an `https://` server is checked.
    #[serde(default)]
    tls: TlsSettings,
    /// Which proxies of the file stand for which hops: patterns of `host` or `host:port`, with `*` and `?`, and names of
    /// hops. The first that matches counts. Credentials and address are those of the hop.
    #[serde(default)]
    #[schemars(extend("default" = {}))]
    hops: Mapping,
    /// How to treat a request for a proxy that no pattern matches: `refuse`, or the name of the hop to take.
    #[serde(default)]
    #[schemars(extend("default" = "refuse"))]
    unknown: Option<String>,
    /// How to treat a request for which the file has no list, because it fails or returns something else.
    #[serde(default)]
    otherwise: Otherwise,
}

/// How to treat a request for which a PAC file has no list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Otherwise {
    /// It is refused.
    #[default]
    Refuse,
    /// It goes on without a hop, as in browsers.
    Direct,
}

fn direct() -> String {
    "direct".to_owned()
}

impl HopConfig for PacConfig {
    const KIND: &'static str = "pac";

    fn build(self, context: &BuildContext<'_>) -> Result<Arc<dyn Hop>, InvalidSettings> {
        let (members, rules) = self.members(context)?;
        let services = Arc::<Attached>::default();
        let source = match (&self.url, &self.file) {
            (Some(url), None) => {
                let remote = Arc::new(self.remote(url, context, Arc::clone(&services))?);
                Source::Url { remote, tls: self.tls.clone() }
            }
            (None, Some(file)) => {
                let shown = file.display().to_string();
                Source::File { script: Arc::new(load(file, context)?), shown }
            }
            (Some(_), Some(_)) => {
                let message = "can't be beside `url`; write one of the two";
                return Err(InvalidSetting::new("file", message).into());
            }
            (None, None) => return Err(InvalidSetting::missing("url").into()),
        };
        let hops = || members.iter().filter_map(|member| member.hop.as_ref());
        let takes_preferences = hops().any(|hop| hop.describe().takes_preferences);
        let requires_session = hops().any(|hop| hop.describe().requires_session);
        Ok(Arc::new(Pac {
            source,
            rules,
            members,
            health: Default::default(),
            services,
            takes_preferences,
            requires_session,
        }))
    }
}

impl PacConfig {
    /// Finds the hops that entries stand for, each once.
    fn members(
        &self,
        context: &BuildContext<'_>,
    ) -> Result<(Vec<PacMember>, Rules), InvalidSettings> {
        let (mut members, mut invalid) = (Vec::<PacMember>::new(), Vec::new());
        let mut member = |name: &str, below: &dyn Fn(InvalidSetting) -> InvalidSetting| {
            if let Some(known) = members.iter().position(|member| &*member.name == name) {
                return Some(known);
            }
            match context.hop(name) {
                Ok(Some(hop)) if hop.decider().is_some() => {
                    let message = "is chosen by a PAC file itself; write the name of another hop";
                    invalid.push(below(InvalidSetting::new("", message)));
                    return None;
                }
                Ok(hop) => members.push(PacMember::new(name.into(), hop)),
                Err(wrong) => {
                    invalid.push(below(wrong));
                    return None;
                }
            }
            Some(members.len() - 1)
        };
        let mut patterns = Vec::new();
        let mut invalid_keys = Vec::new();
        for (text, name) in &self.hops.0 {
            let below = |wrong: InvalidSetting| {
                wrong.below(Key::Name(text.clone())).below(Key::Name("hops".into()))
            };
            match EntryPattern::parse(text) {
                Ok(pattern) => {
                    if let Some(index) = member(name, &below) {
                        patterns.push((text.as_str().into(), pattern, index));
                    }
                }
                Err(wrong) => {
                    invalid_keys.push(below(InvalidSetting::key(wrong.to_string())));
                }
            }
        }
        if self.hops.0.is_empty() && self.unknown.is_none() {
            let message = "has no `hops` and no `unknown`, so every request is refused for which the PAC file names a proxy; \
                           write `hops: { \"HOST:PORT\": HOP }`";
            context.warn(InvalidSetting::new("hops", message));
        }
        let unknown = match self.unknown.as_deref() {
            None | Some("refuse") => None,
            Some(name) => member(name, &|wrong| wrong.below(Key::Name("unknown".into()))),
        };
        invalid.extend(invalid_keys);
        if !invalid.is_empty() {
            return Err(invalid.into());
        }
        let via = self.via.as_str().into();
        Ok((members, Rules { patterns, unknown, otherwise: self.otherwise, via }))
    }

    fn remote(
        &self,
        url: &RemoteUrl,
        context: &BuildContext<'_>,
        services: Arc<Attached>,
    ) -> Result<Remote<PacReader>, InvalidSetting> {
        let tls = match (&self.tls, url.is_tls()) {
            (TlsSettings::Off, true) => TlsSettings::On(TlsChecks::default()),
            (TlsSettings::On(_), false) => {
                return Err(InvalidSetting::new("tls", "needs a `url` with TLS, `https://…`"));
            }
            (tls, _) => tls.clone(),
        };
        let tls = TlsClient::new(&tls, url.authority().host(), context)?;
        let (head_bytes_max, hasher) = (context.head_bytes_max(), context.hasher().clone());
        let server = RemoteServer { url: url.clone(), tls, head_bytes_max, services, hasher };
        Ok(Remote::new(PacReader, server, POLICY))
    }
}

/// Loads a script from a file. A broken script is a configuration error, so the last good configuration stays in
/// force.
fn load(file: &std::path::Path, context: &BuildContext<'_>) -> Result<Script, InvalidSetting> {
    let fail = |message: String| InvalidSetting::file("file", message);
    let bytes =
        context.read_binary(file).map_err(|error| fail(format!("can't be read: {error}")))?;
    Script::load(&decode(&bytes, None)).map_err(|error| fail(format!("can't be used: {error}")))
}
