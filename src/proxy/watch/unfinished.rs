//! Files that are still being written.

use std::{fmt, path::PathBuf};

use tracing::warn;

use super::writers::{UNSEEN, Writer, WriterProcess};

/// The reason why the files can't be read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unfinished {
    /// A process has one of them open for writing.
    Writer(Writer),
    /// A process has opened it for writing, and no event says that it was closed.
    Unclosed(PathBuf),
    /// It has lost its content, and has no new content yet.
    Emptied(PathBuf),
}

impl Unfinished {
    /// Logs the reason why an edit is not in force yet.
    pub(super) fn warn(&self) {
        match self {
            Self::Writer(Writer { file, process: Some(WriterProcess { pid, name }) }) => {
                let (file, process) = (file.display(), name);
                warn!(%file, pid, process, "{WAITING}");
            }
            Self::Writer(Writer { file, process: None }) => {
                warn!(file = %file.display(), process = UNSEEN, "{WAITING}");
            }
            Self::Unclosed(file) => {
                let file = file.display();
                warn!(%file, "this file was opened for writing, and its writer has not closed it; it is read now");
            }
            Self::Emptied(file) => {
                warn!(file = %file.display(), "this file stays empty");
            }
        }
    }
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Writer(Writer { file, process }) => {
                write!(f, "{} is open for writing by ", file.display())?;
                match process {
                    Some(WriterProcess { pid, name }) => write!(f, "{name} (process {pid})")?,
                    None => f.write_str(UNSEEN)?,
                }
                f.write_str(", and is read when that process closes it")
            }
            Self::Unclosed(file) => {
                write!(f, "{} was opened for writing, and is not closed yet", file.display())
            }
            Self::Emptied(file) => write!(f, "{} is empty", file.display()),
        }
    }
}

const WAITING: &str = "waiting for the process that has this file open for writing; the current configuration stays in use";
