//! The settings of the log.

use std::{fmt, str::FromStr};

/// The log's level and format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least important level that is logged.
    pub level: Level,
    /// The format of a line.
    pub format: LogFormat,
    /// Whether each tunnel and request gets a line when it ends.
    pub access: bool,
}

/// The importance of an event.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing is logged.
    Off,
    /// Failures that need attention.
    Error,
    /// Conditions that may need attention.
    Warn,
    /// Ordinary events.
    Info,
    /// Single steps, to explain a failure.
    Debug,
    /// Everything.
    Trace,
}

/// The format of log lines.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}

impl Level {
    /// All levels, from the quietest to the most verbose.
    pub const ALL: [Self; 6] =
        [Self::Off, Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// Returns the name that operators write.
    pub fn name(self) -> &'static str {
        // `rename_all` has these names in files. Here they are for the command line and for messages.
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl LogFormat {
    /// All formats.
    pub const ALL: [Self; 2] = [Self::Text, Self::Json];

    /// Returns the name that operators write.
    pub fn name(self) -> &'static str {
        // The names that `rename_all` has in files.
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// An error for a name that is not one of the known ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such name")]
pub struct UnknownName;

macro_rules! by_name {
    ($($type:ty),*) => {$(
        impl FromStr for $type {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                // Only the exact name, as in files.
                Self::ALL.into_iter().find(|one| one.name() == text).ok_or(UnknownName)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // Not `write_str`, so that a width in a format applies.
                f.pad(self.name())
            }
        }
    )*};
}

by_name!(Level, LogFormat);
