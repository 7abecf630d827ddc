//! Finds the file in which a hop is switched.

use std::path::PathBuf;

use thiserror::Error;

use crate::config::{
    Problems, Source,
    edit::{Mention, hop_names, mentions},
    report::suggest::nearest,
};

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
    #[error("there is no configuration file; `mooltiroute init` writes one")]
    NoFiles,
    /// Files can't be read.
    #[error("{0}")]
    Unreadable(Problems),
    /// No file mentions the hop.
    #[error("no hop is called `{name}`{}", suggestion.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default())]
    UnknownHop {
        /// The name.
        name: String,
        /// The nearest name that is known.
        suggestion: Option<String>,
    },
    /// The name is that of a member of a pool.
    #[error(
        "`{hop}` is the hop, and a member of it has no switch: write a `#` before its line in the list, or \
         `enabled: false` into the member"
    )]
    Member {
        /// The pool.
        hop: String,
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
            return Err(NoTarget::NoFiles);
        }
        let (texts, problems) = source.read();
        if !problems.0.is_empty() {
            return Err(NoTarget::Unreadable(problems));
        }
        // `max_by_key` takes the last of equals, as the value of a later file is the one in force.
        let mentions = texts.iter().map(|text| (mentions(&text.text, name), text));
        let best = mentions.max_by_key(|(mention, _)| *mention);
        let Some((_, best)) = best.filter(|(mention, _)| *mention != Mention::Nothing) else {
            // The names of these files and not of the loaded configuration, which may be invalid.
            let known: Vec<_> = texts.iter().flat_map(|text| hop_names(&text.text)).collect();
            // The log names members like this. Suggesting the pool would lead to switching all of them.
            if let Some((hop, _)) = name.split_once('.')
                && known.iter().any(|known| known == hop)
            {
                return Err(NoTarget::Member { hop: hop.to_owned() });
            }
            let suggestion = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
            return Err(NoTarget::UnknownHop { name: name.to_owned(), suggestion });
        };
        // The file that a link leads to is replaced, and not the link.
        let path = std::fs::canonicalize(&*best.name);
        let path = path.map_err(|cause| NoTarget::Lost { file: best.name.to_string(), cause })?;
        Ok(Self { name: name.to_owned(), path, text: best.text.clone() })
    }
}
