//! The reasons why a service could not be changed.

use std::{io, path::PathBuf};

use thiserror::Error;

/// The reason why a service could not be changed.
#[derive(Debug, Error)]
pub(super) enum ServiceError {
    #[error("the directory of the user's services is not known: set {0}")]
    NoDirectory(&'static str),
    #[error("the name of the user is not known: set {0}")]
    NoUser(&'static str),
    #[error("`{}` was not written by this command; remove it first", .0.display())]
    Foreign(PathBuf),
    #[error("`{}` can't be read: {cause}", path.display())]
    Read { path: PathBuf, cause: io::Error },
    #[error("`{}` can't be written: {cause}", path.display())]
    Write { path: PathBuf, cause: io::Error },
    #[error("`{}` can't be removed: {cause}", path.display())]
    Remove { path: PathBuf, cause: io::Error },
    #[error("the path of this program is not known: {0}")]
    Executable(io::Error),
    #[error("the service of an earlier installation does not end; try again later")]
    Running,
    #[error("`{command}` can't be run: {cause}")]
    Run { command: String, cause: io::Error },
    #[error("`{command}` failed: {said}")]
    Failed { command: String, said: String },
    #[error("the service manager of this user can't be reached ({said}). {NO_SESSION}")]
    Unreachable { said: String },
    #[error(
        "{cause}. The definition `{}` was written, and is not in force: run `mooltiroute service install` again after that, or \
         `mooltiroute service uninstall` to remove it", path.display()
    )]
    Waiting { path: PathBuf, cause: Box<Self> },
    #[error(
        "{cause}. `{}` is removed, so the service does not start at the next login; whether it runs now is not known", path.display()
    )]
    NotStopped { path: PathBuf, cause: Box<Self> },
    #[error(
        "{cause}. The service is not started; its definition is `{}`. Mend that and run `mooltiroute service install` \
         again, or start `mooltiroute run` in another way", path.display()
    )]
    Start { path: PathBuf, cause: Box<Self> },
}

/// Says how a user gets a service manager. `su` and `sudo` start none, and in many containers there is none at all.
const NO_SESSION: &str = "Log in as this user instead of using `su` or `sudo`, or let an administrator run `loginctl \
                          enable-linger USER`. Without systemd, start `mooltiroute run` with another supervisor. With the \
                          Debian or RPM package, `systemctl enable --now mooltiroute` runs it for the whole machine";
