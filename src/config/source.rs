//! Finds and reads the files of a configuration.

mod doubtful_files;
mod environment;
mod files;
mod text;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use mooltiroute_hops::KeyPath;

pub use self::environment::Environment;
pub(crate) use self::{
    doubtful_files::{EMPTY_HELP, is_blank},
    files::{SIZE_HELP, is_read, is_read_from, without_links},
    text::{KeptTexts, Text},
};
use crate::config::report::{
    file_access::unreadable_configuration,
    problem::{Problem, Problems},
};

/// The source of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file, or a directory of files.
    Path(PathBuf),
    /// A text, for a program that brings its own. It is not watched.
    Text(Arc<str>),
    /// The configuration that means the same as the hops of the command line.
    CommandLine {
        /// The text, in which variables stand for credentials.
        text: Arc<str>,
        /// Whether it has such variables.
        has_credentials: bool,
    },
    /// The configuration in the program, which is used if there is no other.
    Embedded,
}

impl Source {
    /// Returns the source that `flag` names, or else the first that exists of `$MOOLTIROUTE_CONFIG`, `config.d`,
    /// `config.yaml`, the user's and the system's `mooltiroute/config.d`, or else the embedded one.
    ///
    /// # Errors
    /// The path of `flag` or of the variable does not exist. Another source never replaces one that was named.
    pub fn find(flag: Option<PathBuf>, environment: &Environment) -> Result<Self, Problems> {
        let variable = environment.variable(PATH_VARIABLE).filter(|path| !path.is_empty());
        let named = flag
            .map(|path| (path, "-c"))
            .or_else(|| variable.map(|path| (PathBuf::from(path), "$MOOLTIROUTE_CONFIG")));
        if let Some((path, from)) = named {
            // Only whether it exists is checked here. Each load reads it again.
            let path = environment.directory.join(path);
            return match fs::metadata(&path) {
                Ok(_) => Ok(Self::Path(path)),
                Err(error) => {
                    let shown = path.display();
                    let message = match error.kind() {
                        io::ErrorKind::NotFound => {
                            format!("`{shown}` from {from} does not exist")
                        }
                        _ => format!("`{shown}` from {from} can't be read: {error}"),
                    };
                    let help = unreadable_configuration(&path, &error);
                    let problem = Problem::new(&KeyPath::default(), "source", message);
                    Err(Problem { help, ..problem }.into())
                }
            };
        }
        let mut paths = Self::places(environment).into_iter();
        // A link that leads nowhere counts: it was meant to be the configuration, and reading it reports the
        // problem.
        let found = paths.find(|path| path.symlink_metadata().is_ok());
        Ok(found.map_or(Self::Embedded, Self::Path))
    }

    /// Returns the places in which a configuration is looked for, if none is named.
    fn places(environment: &Environment) -> Vec<PathBuf> {
        let user = environment.user_directories().into_iter();
        let user = user.map(|user| user.join("mooltiroute").join("config.d"));
        let system = cfg!(unix).then(|| PathBuf::from("/etc/mooltiroute/config.d"));
        let local = ["config.d", "config.yaml"].map(|name| environment.directory.join(name));
        local.into_iter().chain(user).chain(system).collect()
    }

    /// Returns a text that lists the places without a configuration, or `None` if there is one.
    pub(crate) fn nothing_found(&self, environment: &Environment) -> Option<String> {
        let warning = self.nothing_found_warning(environment)?;
        let places: Vec<_> = warning.details.iter().map(|place| format!("  {place}")).collect();
        Some(format!(
            "{NOTHING_FOUND}; these places were looked at:\n{}\n`mooltiroute init` writes one to start from, and `-c PATH` \
             names another",
            places.join("\n")
        ))
    }

    /// Returns a warning if there is no configuration. Its details are the places that were looked at.
    pub(crate) fn nothing_found_warning(&self, environment: &Environment) -> Option<Problem> {
        let Self::Embedded = self else { return None };
        let warning = Problem::new(&KeyPath::default(), "no-configuration", NOTHING_FOUND);
        let places = Self::places(environment);
        let details = places.iter().map(|place| place.display().to_string()).collect();
        Some(Problem { details, ..warning.with_help(NOTHING_FOUND_HELP) })
    }

    /// Returns the directory that relative paths in the configuration start from.
    pub fn directory(&self) -> &Path {
        match self {
            Self::Path(path) if path.is_dir() => path,
            Self::Path(path) => path.parent().unwrap_or(Path::new("")),
            Self::Text(_) | Self::CommandLine { .. } | Self::Embedded => Path::new(""),
        }
    }

    /// Returns the path of `file` below the path that the operator wrote, as messages show it. `file` may be absolute and
    /// without links, as the watch has it.
    pub(crate) fn as_written(&self, file: &Path) -> PathBuf {
        let directory = self.directory();
        // The directory of a file in the current one has an empty path.
        let found = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let whole = [found.canonicalize(), std::path::absolute(found)];
        let mut below =
            whole.into_iter().flatten().filter_map(|whole| file.strip_prefix(whole).ok());
        below.next().map_or_else(|| file.to_owned(), |rest| directory.join(rest))
    }

    /// Reads every file, in the order in which they are merged.
    ///
    /// # Errors
    /// Every file that can't be read, beside those that could.
    pub(crate) fn read(&self) -> (Vec<Text>, Problems) {
        let given = |name: &str, text: &str| {
            (vec![Text { name: name.into(), text: text.to_owned() }], Problems::default())
        };
        match self {
            Self::Path(path) => files::read_all(path),
            Self::Text(text) => given("(given)", text),
            Self::CommandLine { text, .. } => given("--hop", text),
            Self::Embedded => given("(built in)", EMBEDDED),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Text(_) => f.write_str("the configuration of the program"),
            Self::CommandLine { .. } => f.write_str("the hops of the command line"),
            Self::Embedded => f.write_str("the built-in configuration"),
        }
    }
}

const PATH_VARIABLE: &str = "MOOLTIROUTE_CONFIG";

/// The configuration that is used if there is no file.
const EMBEDDED: &str = "server: { listen: 127.0.0.1:8888 }\nchains: { default: [] }\n";

pub(crate) const NOTHING_FOUND: &str = "no configuration was found, so every request goes direct";
pub(crate) const NOTHING_FOUND_HELP: &str =
    "name one with `-c PATH`, or write one with `mooltiroute init`";

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_shown_below_the_path_that_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let real = directory.path().canonicalize().unwrap().join("real.d");
        fs::create_dir(&real).unwrap();
        let link = directory.path().join("link.d");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let source = Source::Path(link.clone());
        assert_eq!(source.as_written(&real.join("10.yaml")), link.join("10.yaml"));
        assert_eq!(source.as_written(Path::new("/elsewhere/a")), Path::new("/elsewhere/a"));
    }
}
