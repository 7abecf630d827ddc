//! Members from a list of proxies.

use std::{fmt, path::PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_yaml::{Mapping, Value};

use super::{
    PoolMember,
    list::{InvalidLine, ListScheme, ListedProxy, parse_line},
};
use crate::{
    BuildContext, InvalidSetting, InvalidSettings, Key, Settings, preferences::stable_number,
};

/// A list of proxies, one a line: `host:port`, `host:port:user:password`, `user:password@host:port` or a URL. Blank
/// lines and lines that begin with `#` are skipped.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MembersFrom {
    /// The file of the list. A change of it is a reload, as for every file that a setting names.
    file: PathBuf,
    /// The protocol of lines that are no URL.
    #[serde(default)]
    scheme: ListScheme,
}

impl MembersFrom {
    /// Returns the name of the list, as it was written.
    pub(super) fn name(&self) -> String {
        self.file.display().to_string()
    }

    /// Reads the list and builds its members. Lines that can't be read are left out, and a warning counts them.
    ///
    /// # Errors
    /// The list can't be read, has no usable line, or too many.
    pub(super) fn members(
        &self,
        context: &BuildContext<'_>,
    ) -> Result<Vec<PoolMember>, InvalidSettings> {
        let text =
            context.read(&self.file).map_err(|error| invalid(format!("can't be read: {error}")))?;
        let text = text.expose();
        let lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines().zip(1..);
        let (mut members, mut bad) = (Vec::new(), Vec::new());
        let mut doubtful = None;
        for (line, number) in lines {
            let Some(parsed) = parse_line(line) else { continue };
            let doubt = parsed.as_ref().ok().and_then(ListedProxy::doubt);
            doubtful = doubtful.or_else(|| doubt.map(|doubt| (number, doubt)));
            let built = parsed.map_err(BadLine::Invalid).and_then(|proxy| {
                let name = format!("line {number}").into();
                let identity = proxy.identity();
                let hop = context.build(&proxy.settings(self.scheme)).map_err(BadLine::Hop)?;
                Ok(PoolMember::new(hop, name, identity))
            });
            match built {
                Ok(member) => members.push(member),
                Err(error) => bad.push((number, error)),
            }
            if members.len() > LISTED_MAX {
                return Err(invalid(format!("has over {LISTED_MAX} proxies")).into());
            }
        }
        let count = members.len() + bad.len();
        if members.is_empty() {
            let message = match count {
                0 => "has no proxy in it".to_owned(),
                _ => format!("has no usable line: {}", first_few(&bad)),
            };
            return Err(invalid(message).into());
        }
        if let Some((number, doubt)) = doubtful {
            context.warn(invalid(format!("probably has a mistake in line {number}: {doubt}")));
        }
        if !bad.is_empty() {
            let few = first_few(&bad);
            let left_out = bad.len();
            let message = format!(
                "has {left_out} of {count} lines that can't be used, and are left out: {few}"
            );
            context.warn(invalid(message));
        }
        Ok(members)
    }
}

/// Why a line gives no member.
enum BadLine {
    Invalid(InvalidLine),
    /// The hop that it describes can't be built.
    Hop(Vec<InvalidSetting>),
}

impl ListedProxy {
    /// Returns a number that stays with the proxy, wherever in the list it is.
    fn identity(&self) -> u64 {
        let user = self.login.as_ref().map_or("", |(user, _)| user.expose());
        stable_number(&format!("{} {user}", self.address))
    }

    /// Returns the settings of a hop that reaches this proxy.
    fn settings(&self, default: ListScheme) -> Settings {
        let scheme = self.scheme.unwrap_or(default);
        let kind = if scheme == ListScheme::Socks5 { "socks5" } else { "http-connect" };
        let mut settings = Mapping::new();
        let mut set = |key: &str, value: Value| settings.insert(key.into(), value);
        set("kind", kind.into());
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

/// Describes the first bad lines by number, without anything of their text. Neighbours with one reason are described
/// together.
fn first_few(bad: &[(usize, BadLine)]) -> String {
    let mut groups: Vec<(usize, usize, String)> = Vec::new();
    let mut described = 0;
    for (number, why) in bad {
        let why = why.to_string();
        let is_full = groups.len() == SHOWN_MAX;
        match groups.last_mut() {
            Some((_, last, same)) if *same == why && *last + 1 == *number => *last = *number,
            _ if is_full => break,
            _ => groups.push((*number, *number, why)),
        }
        described += 1;
    }
    let shown = groups.iter().map(|(first, last, why)| match first == last {
        true => format!("line {first}: {why}"),
        false => format!("lines {first} to {last}: {why}"),
    });
    let shown: Vec<String> = shown.collect();
    match bad.len() - described {
        0 => shown.join("; "),
        more => format!("{}; and {more} more", shown.join("; ")),
    }
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(why) => why.fmt(f),
            Self::Hop(why) => {
                let why: Vec<String> = why.iter().map(ToString::to_string).collect();
                f.write_str(&why.join(", "))
            }
        }
    }
}

fn invalid(message: String) -> InvalidSetting {
    InvalidSetting::file("file", message).below(Key::Name("members_from".into()))
}

/// The groups of bad lines that are described.
const SHOWN_MAX: usize = 10;
/// The proxies that a list may have.
const LISTED_MAX: usize = 50_000;
