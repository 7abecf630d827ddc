//! The reasons why a hop was not switched.

use thiserror::Error;

use super::{foreign, origins::OriginsError, target::NoTarget};
use crate::{
    config::{Problems, edit::Uneditable},
    control::{client::NoAnswer, verdict::ToldProblem},
};

/// The reason why a hop was not switched.
#[derive(Debug, Error)]
pub(super) enum HopError {
    #[error("{0}")]
    NoTarget(#[from] NoTarget),
    #[error("{}: {reason}; edit it by hand", file)]
    Uneditable { file: String, reason: Uneditable },
    #[error(
        "`-c` names the files to edit, and so do `--address` and `--pid` of their proxy; leave one of them out"
    )]
    TwoNames,
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    NoSource(Problems),
    #[error("{0}")]
    NoAnswer(#[from] NoAnswer),
    #[error("{}\n\nrejected; nothing was changed{}", .0.texts(), .0.notes())]
    Invalid(RejectedEdit),
    #[error("the edit would change {} as well, and was not made; edit the file by hand", .0.join(", "))]
    ChangesMore(Vec<String>),
    #[error(
        "`auto` has nothing to restore: neither `on` nor `off` of this user has replaced a condition of {0}. What another \
         user has replaced, only that user can restore"
    )]
    NoOrigin(String),
    #[error(
        "`auto` has nothing to restore in this file. What a switch replaced belongs to another one, which may have had this \
         content before it was renamed:{}\nWrite that by hand", lines(.0)
    )]
    OriginElsewhere(Vec<(String, String)>),
    #[error(
        "`{file}` and the files beside it belong to `{user}`, and this user may not read all that they name. Run this command as \
         `{user}`, as in `sudo -u {user} mooltiroute hop …`; nothing was changed"
    )]
    ForeignFiles { file: String, user: String },
    #[error("{0}")]
    Origins(#[from] OriginsError),
    #[error(
        "{file} can't be written: {cause}; nothing was changed{}",
        foreign::advice_on_rights(file, cause)
    )]
    Write { file: String, cause: std::io::Error },
    #[error("{0} was changed by another program meanwhile, and was left alone; try again")]
    Disturbed(String),
    #[error(
        "another `mooltiroute hop` of this user has been editing for {0} s; nothing was changed. Try again when that has ended, or \
         end it"
    )]
    Busy(u64),
    #[error("{}\n\nthe running proxy rejected the edit, and it was undone{}", .0.texts(), .0.notes())]
    Undone(RejectedEdit),
    #[error(
        "{}\n\nthe running proxy rejected the files with this edit. Another program has saved {file} since, so the edit was not \
         undone: check what that file has as the `enabled` of this hop, and correct the problem above{}",
        .rejected.texts(), .rejected.notes()
    )]
    Overtaken { rejected: RejectedEdit, file: String },
    #[error(
        "{}\n\nthe running proxy rejected the edit, and it could not be undone: {cause}{}",
        .rejected.texts(), .rejected.notes()
    )]
    NotUndone { rejected: RejectedEdit, cause: std::io::Error },
}

/// The reasons why an edit was rejected.
#[derive(Debug)]
pub(super) struct RejectedEdit {
    pub(super) problems: Vec<ToldProblem>,
    /// Explanations of what the proxy can't see, such as a new value of a variable.
    pub(super) notes: Vec<String>,
}

impl RejectedEdit {
    fn texts(&self) -> String {
        self.problems.iter().map(|problem| problem.text.as_str()).collect::<Vec<_>>().join("\n")
    }

    fn notes(&self) -> String {
        self.notes.iter().map(|note| format!("\nnote: {note}")).collect()
    }
}

fn lines(lost: &[(String, String)]) -> String {
    lost.iter().map(|(file, value)| format!("\n  {value}, in {file}")).collect()
}
