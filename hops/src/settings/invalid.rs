//! Problems with settings.

use std::{fmt, io};

use super::{Key, KeyPath};
use crate::encryption::EncryptedFile;

/// One problem with settings. Its text never contains a value from them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSetting {
    pub(super) path: KeyPath,
    pub(super) fault: Fault,
    details: Vec<String>,
    help: Option<String>,
}

/// Everything that is wrong with settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSettings(Vec<InvalidSetting>);

/// The problem with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// No setting has this name.
    UnknownKey {
        /// The names that exist.
        known: &'static [&'static str],
    },
    /// A setting that has no default is not there.
    MissingKey(&'static str),
    /// The value is of another type.
    WrongType {
        /// The expected value, with its article.
        expected: String,
        /// The kind of value that was found, with its article.
        found: &'static str,
    },
    /// The value is not one of the few names that are allowed.
    UnknownValue {
        /// The names that exist.
        known: &'static [&'static str],
    },
    /// It names a hop that does not exist or can't be used.
    UnknownHop,
    /// All hops that it names are switched off.
    SwitchedOff,
    /// The file that it names can't be used, as a clause about the file. The clause does not contain the name: people often
    /// write a password instead of the path of its file, so the program decides whether the name may be shown.
    File(String),
    /// The key itself can't be used, as a clause about it.
    Key(String),
    /// Anything else, as a clause about the setting.
    Other(String),
}

impl InvalidSetting {
    /// Creates a problem of the setting `key`. `message` is a clause that says what to do, and does not repeat the
    /// value.
    pub fn new(key: &str, message: impl Into<String>) -> Self {
        let path = if key.is_empty() {
            KeyPath::default()
        } else {
            KeyPath(vec![Key::Name(key.to_owned())])
        };
        Self { path, ..Self::without_path(Fault::Other(message.into())) }
    }

    /// Creates a problem of the file that the setting `key` names. `message` is a clause about the file, such as "is
    /// empty", and holds neither its name nor anything of its content.
    pub fn file(key: &str, message: impl Into<String>) -> Self {
        Self { path: KeyPath::of([key]), ..Self::without_path(Fault::File(message.into())) }
    }

    /// Creates the problem of a file that can't be read, because of `error`. The setting `key` names it.
    pub(crate) fn unreadable_file(key: &str, error: &io::Error) -> Self {
        match EncryptedFile::behind(error) {
            Some(encryption) => {
                Self::file(key, encryption.to_string()).with_help(encryption.help())
            }
            None => Self::file(key, format!("can't be read: {error}")),
        }
    }

    /// Creates a problem of a key, in a mapping whose keys are values. The path leads to the key. `message` is a clause about
    /// the key, and does not repeat it.
    pub fn key(message: impl Into<String>) -> Self {
        Self::without_path(Fault::Key(message.into()))
    }

    /// Creates the problem of a name that belongs to no usable hop.
    pub fn unknown_hop() -> Self {
        Self::without_path(Fault::UnknownHop)
    }

    /// Creates the problem that all hops at `key` are switched off.
    pub fn switched_off(key: &str) -> Self {
        let help = "switch one of them on, or switch this hop off too, to go without it";
        Self { path: KeyPath::of([key]), ..Self::without_path(Fault::SwitchedOff) }.with_help(help)
    }

    /// Creates the problem that the setting `key` is missing.
    pub fn missing(key: &'static str) -> Self {
        Self::without_path(Fault::MissingKey(key))
    }

    /// Returns the place of the setting, below the settings that were read.
    pub fn path(&self) -> &KeyPath {
        &self.path
    }

    /// Returns the problem.
    pub fn fault(&self) -> &Fault {
        &self.fault
    }

    /// Adds a remedy. The text must contain nothing that could be a secret. Without a remedy, the program gives advice that
    /// depends on the value of the setting.
    #[must_use]
    pub fn with_help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// Adds examples of the problem, such as the first bad lines of a file. Each is a clause without a value of the settings,
    /// and is shown on a line of its own.
    #[must_use]
    pub fn with_details(self, details: Vec<String>) -> Self {
        Self { details, ..self }
    }

    /// Returns the examples of the problem.
    pub fn details(&self) -> &[String] {
        &self.details
    }

    /// Returns the remedy, if the kind of hop knows one.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Moves the problem below `key`, for settings that are nested there.
    #[must_use]
    pub fn below(mut self, key: Key) -> Self {
        self.path.0.insert(0, key);
        self
    }

    /// Moves the problem to the setting `key`.
    #[must_use]
    pub(crate) fn at(self, key: &str) -> Self {
        Self { path: KeyPath::of([key]), ..self }
    }

    pub(super) fn without_path(fault: Fault) -> Self {
        Self { path: KeyPath::default(), fault, details: Vec::new(), help: None }
    }
}

impl From<InvalidSetting> for InvalidSettings {
    fn from(invalid: InvalidSetting) -> Self {
        Self(vec![invalid])
    }
}

impl From<Vec<InvalidSetting>> for InvalidSettings {
    fn from(invalid: Vec<InvalidSetting>) -> Self {
        Self(invalid)
    }
}

impl From<InvalidSettings> for Vec<InvalidSetting> {
    fn from(InvalidSettings(invalid): InvalidSettings) -> Self {
        invalid
    }
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fault {
            // No arm repeats a value or an unknown key, since either may be a misplaced password. The program, which knows
            // what may be shown, makes suggestions.
            Fault::UnknownKey { known: [] } => f.write_str("no key is expected here"),
            Fault::UnknownKey { known } => {
                f.write_str("no such setting; known are ")?;
                write_names(f, known)
            }
            Fault::MissingKey(key) => write!(f, "the setting `{key}` is missing"),
            Fault::WrongType { expected, found } => write!(f, "expected {expected}, found {found}"),
            Fault::UnknownValue { known } => {
                f.write_str("no such value; known are ")?;
                write_names(f, known)
            }
            Fault::UnknownHop => f.write_str("names no hop that can be used"),
            Fault::SwitchedOff => f.write_str("all of them are switched off"),
            Fault::File(message) => write!(f, "the file {message}"),
            Fault::Key(message) | Fault::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for InvalidSetting {}

fn write_names(f: &mut fmt::Formatter<'_>, names: &[&str]) -> fmt::Result {
    for (position, name) in names.iter().enumerate() {
        write!(f, "{}`{name}`", if position == 0 { "" } else { ", " })?;
    }
    Ok(())
}
