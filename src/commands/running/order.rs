//! Orders a running proxy to reload, and says what the verdict waits for.

use serde_json::json;

use crate::{
    commands::notice::with_notice,
    control::{
        client::{Control, NoAnswer},
        verdict::ReloadVerdict,
    },
};

/// The reason why there is no verdict.
#[derive(Debug)]
pub(in crate::commands) struct NoVerdict {
    /// Whether the proxy runs, and can't read the files yet.
    pub is_pending: bool,
    /// The reason for people.
    pub why: String,
}

/// Has the proxy load its configuration, and waits for the verdict. After some seconds, says on standard error what it
/// waits for.
pub(in crate::commands) fn reload(control: &Control) -> Result<ReloadVerdict, NoVerdict> {
    let waiting =
        || format!("still waiting for process {}: {}", control.identity.pid, causes(control));
    let verdict = with_notice(waiting, || control.post("/v1/reload", &json!({})));
    verdict.map_err(|error| match &error {
        // The proxy answers other requests while it waits for files.
        NoAnswer::Silent { patience, .. } if control.is_alive() => NoVerdict {
            is_pending: true,
            why: format!(
                "process {} could not read the configuration within {} s: {}. It goes on trying, and `mooltiroute status` \
                 shows the outcome",
                control.identity.pid,
                patience.as_secs(),
                causes(control)
            ),
        },
        _ => NoVerdict { is_pending: false, why: error.to_string() },
    })
}

/// Returns the reasons why a proxy that runs does not read its files.
fn causes(control: &Control) -> String {
    let list = if cfg!(windows) { "dir" } else { "ls" };
    let writer = "a program has one of its files open for writing";
    match &control.identity.config {
        Some(path) => format!(
            "{writer}, or the file system of {path} does not answer (then `{list} {path}` hangs too)"
        ),
        None => format!("{writer}, or their file system does not answer"),
    }
}
