//! A proxy of another user or without its control socket, and files of other users: what this command can't do with them, and who can.

use std::{
    io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::error::RejectedEdit;
use crate::{
    cli::ProxyChoice,
    commands::{running::owner, status},
    config::{Environment, Source},
    control::verdict::ToldProblem,
};

/// A proxy whose control socket is closed to this user, or gone. It answers over TCP, and reads the edited file by itself.
#[derive(Debug)]
pub(super) struct ForeignProxy<'a> {
    choice: &'a ProxyChoice,
    environment: &'a Environment,
    pid: u64,
    generation: u64,
    /// Words that name it.
    place: String,
}

impl<'a> ForeignProxy<'a> {
    /// Finds the proxy that answers at the addresses of the configuration and was started with `source`.
    pub(super) fn find(
        choice: &'a ProxyChoice,
        source: &Source,
        environment: &'a Environment,
    ) -> Option<Self> {
        let Source::Path(path) = source else { return None };
        let told = status::over_tcp(choice, environment)?;
        // Its path may begin in another directory, so only the last part is compared.
        let theirs = Path::new(told["config"].as_str()?).file_name()?;
        if path.canonicalize().ok()?.file_name()? != theirs {
            return None;
        }
        let pid = told["pid"].as_u64()?;
        let listener = told["listeners"][0].as_str().unwrap_or_default();
        let why = match owner::of_process(pid) {
            Some(user) => format!("which belongs to `{user}`"),
            None if owner::is_this_user(pid) => {
                "whose control socket this command does not find".to_owned()
            }
            None => "which belongs to another user, or whose control socket is gone".to_owned(),
        };
        let place = format!("process {pid} on {listener}, {why}");
        let generation = told["generation"].as_u64()?;
        Some(Self { choice, environment, pid, generation, place })
    }

    /// Waits until the proxy has read the edit.
    ///
    /// # Errors
    /// The proxy rejects the edit.
    pub(super) fn takes_edit(&self) -> Result<String, RejectedEdit> {
        let Self { place, .. } = self;
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            thread::sleep(PAUSE);
            let Some(told) = self.status() else { break };
            if let generation @ 1.. = told["generation"].as_u64().unwrap_or_default()
                && generation > self.generation
            {
                return Ok(format!("generation {generation} is in force in {place}"));
            }
            if let Some(problems) = told["rejected"]["problems"].as_array() {
                let line = |problem: &Value| {
                    ToldProblem::line(problem.as_str().unwrap_or_default().to_owned())
                };
                let notes = told["rejected"]["notes"].as_array();
                let notes = notes.into_iter().flatten().filter_map(Value::as_str);
                return Err(RejectedEdit {
                    problems: problems.iter().map(line).collect(),
                    notes: notes.map(str::to_owned).collect(),
                });
            }
        }
        Ok(format!("{place}, has not applied it within {} s: its log says why", PATIENCE.as_secs()))
    }

    /// Returns words that name the proxy.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Returns its status, unless it has ended.
    pub(super) fn status(&self) -> Option<Value> {
        status::over_tcp(self.choice, self.environment).filter(|told| told["pid"] == self.pid)
    }
}

/// Returns the right that is missing to replace `file`, as the end of a message.
pub(super) fn advice_on_rights(file: &str, cause: &io::Error) -> String {
    if cause.kind() != io::ErrorKind::PermissionDenied {
        return String::new();
    }
    let path = Path::new(file);
    // The system has two errors for two kinds of rights.
    match (cause.raw_os_error(), path.parent()) {
        (Some(EPERM), _) => match owner::of_path(path) {
            Some(user) => format!(
                ". The file belongs to `{user}`, and a new one in its place would belong to you: run this command as `{user}`, \
                 or edit the file by hand"
            ),
            None => String::new(),
        },
        (_, Some(directory)) => {
            let user = owner::of_path(directory).map(|user| format!(", which belongs to `{user}`"));
            format!(
                ". The command writes a new file beside it, so the right to write the file itself is not enough: it needs that of \
                 `{}`{}. Run it as a user who has it, or edit the file by hand",
                directory.display(),
                user.unwrap_or_default()
            )
        }
        _ => String::new(),
    }
}

/// "Operation not permitted": only the owner of a file may do this.
const EPERM: i32 = 1;
/// How long a proxy may take to read an edit by itself. It waits for half a second after the last write.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(50);
