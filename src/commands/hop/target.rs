//! Finds the file in which a hop is switched.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::error::HopError;

use crate::config::{
    Problems, Source,
    edit::{SwitchPart, hop_names, switch_part, unreadable},
    report::suggest::nearest,
    source::without_links,
};
use crate::control::{api::ProxyIdentity, client::OtherProxies};

/// The file to edit.
#[derive(Debug)]
pub(super) struct SwitchTarget {
    /// The hop.
    pub name: String,
    /// The path of the file itself, without links.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// The reason why there is no file to edit.
#[derive(Debug, Error)]
pub(super) enum NoTarget {
    /// The built-in configuration has no file.
    #[error("no configuration file was found; {}", no_files(.0))]
    NoFiles(Vec<ProxyIdentity>),
    /// The proxy was started with `--hop`.
    #[error(
        "this proxy has the hops of its command line (`--hop`), and no file in which one could be switched; `mooltiroute check --hop URL > \
         config.yaml` writes such a file, and `mooltiroute -c config.yaml` runs with it{}", OtherProxies(.0)
    )]
    HopsOfCommandLine(Vec<ProxyIdentity>),
    /// Files can't be read.
    #[error("{0}")]
    Unreadable(Problems),
    /// No file mentions the hop.
    #[error("no hop is called `{name}`; {}", instead(suggestion.as_deref(), known))]
    UnknownHop {
        /// The name.
        name: String,
        /// The nearest name that is known.
        suggestion: Option<String>,
        /// All names that are known.
        known: Vec<String>,
    },
    /// The name is that of a member of a pool.
    #[error(
        "{}, and a member has no switch: write a `#` before its line in the list, or `enabled: false` into a member that \
         is written in the configuration",
        hop.as_ref().map_or_else(|| "this is a member of a pool".to_owned(), |hop| format!("`{hop}` is the hop"))
    )]
    Member {
        /// The pool, if the name has it.
        hop: Option<String>,
    },
    /// The path of a file can't be followed.
    #[error("{file}: {cause}")]
    Lost {
        /// The file.
        file: String,
        /// The system's error.
        cause: std::io::Error,
    },
}

impl SwitchTarget {
    /// Finds the file whose value of `enabled` applies: of those that have one, the last. If none has, the switch belongs
    /// beside the kind of the hop.
    ///
    /// # Errors
    /// The reason why there is none.
    pub(super) fn find(source: &Source, name: &str) -> Result<Self, NoTarget> {
        if !matches!(source, Source::Path(_)) {
            return Err(NoTarget::NoFiles(Vec::new()));
        }
        let (texts, problems) = source.read();
        if !problems.0.is_empty() {
            return Err(NoTarget::Unreadable(problems));
        }
        // `max_by_key` takes the last of equals, as the value of a later file is the one in force.
        let parts = texts.iter().map(|text| (switch_part(&text.text, name), text));
        let best = parts.max_by_key(|(part, _)| *part);
        let Some((_, best)) = best.filter(|(part, _)| *part != SwitchPart::Nothing) else {
            // A hop may be there and not be found, since its file can't be read as YAML.
            let unreadable = unreadable(&texts);
            if !unreadable.0.is_empty() {
                return Err(NoTarget::Unreadable(unreadable));
            }
            // The names of these files and not of the loaded configuration, which may be invalid.
            let known: Vec<_> = texts.iter().flat_map(|text| hop_names(&text.text)).collect();
            // The log names members like this. Suggesting the pool would lead to switching all of them.
            if let Some((hop, _)) = name.split_once('.')
                && known.iter().any(|known| known == hop)
            {
                return Err(NoTarget::Member { hop: Some(hop.to_owned()) });
            }
            if is_member(name) {
                return Err(NoTarget::Member { hop: None });
            }
            let suggestion = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
            return Err(NoTarget::UnknownHop { name: name.to_owned(), suggestion, known });
        };
        // The file that a link leads to is replaced, and not the link.
        let path = without_links(Path::new(&*best.name));
        let path = path.map_err(|cause| NoTarget::Lost { file: best.name.to_string(), cause })?;
        Ok(Self { name: name.to_owned(), path, text: best.text.clone() })
    }
}

impl SwitchTarget {
    /// Reads the file again, which another command may have edited since.
    ///
    /// # Errors
    /// It is gone, or another file has the switch now.
    pub(super) fn read_again(self, source: &Source) -> Result<Self, HopError> {
        let now = Self::find(source, &self.name)?;
        match now.path == self.path {
            true => Ok(now),
            false => Err(HopError::Disturbed(self.path.display().to_string())),
        }
    }
}

/// Returns whether `name` is what `check` and `ps` call a member of a pool, without the name of the pool before it.
pub(in crate::commands) fn is_member(name: &str) -> bool {
    let number = name.strip_prefix("line ");
    let number =
        number.or_else(|| name.strip_prefix("members[").and_then(|rest| rest.strip_suffix(']')));
    number.is_some_and(|number| number.parse::<usize>().is_ok())
}

fn no_files(running: &[ProxyIdentity]) -> String {
    match running.is_empty() {
        true => "`mooltiroute init` writes one".to_owned(),
        false => format!("name that of a running proxy with `-c`{}", OtherProxies(running)),
    }
}

fn instead(suggestion: Option<&str>, known: &[String]) -> String {
    match (suggestion, known) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, []) => "these files have none".to_owned(),
        (None, known) if known.len() <= LISTED_MAX => format!("the hops are {}", known.join(", ")),
        (None, _) => "`mooltiroute check` lists the hops".to_owned(),
    }
}

/// A longer list of names is not read.
const LISTED_MAX: usize = 20;
