//! The requests that the control socket understands, and their answers.

mod calls;
mod clients;
mod listing;
mod overview;
mod refused;

use std::{fmt, sync::Arc};

use mooltiroute_hops::thread_pool;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::TcpListener;
use tracing::info;

#[cfg(all(test, feature = "top"))]
pub(crate) use self::overview::OverviewCounts;
#[cfg(feature = "top")]
pub(crate) use self::overview::{ChainOverview, HopOverview};
use self::refused::failed;
pub(crate) use self::{
    calls::{ApiCall, KillOrder},
    clients::ClientFacts,
    listing::{ListedConnection, ListedHop},
    overview::Overview,
    refused::Refused,
};
use super::verdict::{ReloadOrders, ReloadVerdict, ToldProblem, notes_on_rejected};
use crate::{
    config::{Loader, Source, edit::EditedFile},
    state::{listening_sockets::ListeningSockets, shared::Shared, status::StatusDocument},
};

/// Answers requests for one proxy.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    identity: Arc<ProxyIdentity>,
    loader: Arc<Loader>,
    shared: Arc<Shared>,
    orders: ReloadOrders,
    listening: ListeningSockets,
    files: Option<Arc<dyn FilesOnDisk>>,
}

/// Tells what has become of the files in force.
pub(crate) trait FilesOnDisk: fmt::Debug + Send + Sync {
    /// Compares the files with what they had when they were last taken. Reads them.
    fn changes(&self) -> LostSettings;
}

/// The files whose settings a proxy serves, and that have lost them since.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LostSettings {
    /// Files that are gone.
    pub gone: Vec<String>,
    /// Files that have no content.
    #[serde(default)]
    pub emptied: Vec<String>,
    /// Files that have lost their end, or all but comments.
    #[serde(default)]
    pub cut: Vec<String>,
}

/// The answer to a request.
#[derive(Debug, Default)]
pub(crate) struct ControlAnswer {
    /// JSON.
    pub body: Vec<u8>,
    /// The sockets that a process with the answer takes over.
    pub sockets: Vec<Arc<TcpListener>>,
}

/// The addresses of the sockets in an [`ControlAnswer`], in their order.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HandedOver {
    /// The addresses.
    pub listeners: Vec<std::net::SocketAddr>,
}

/// Which proxy answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ProxyIdentity {
    /// The version of the program.
    pub version: String,
    /// The number of the process.
    pub pid: u32,
    /// The absolute path of the configuration, as it was named at the start. `None` for the built-in one.
    pub config: Option<String>,
    /// Whether the configuration is that of `--hop` on the command line.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_hops_of_command_line: bool,
    /// The addresses that it listens on.
    #[serde(default)]
    pub listeners: Vec<std::net::SocketAddr>,
    /// The generation in force.
    #[serde(default)]
    pub generation: u64,
    /// Whether it is draining: it accepts no more clients, and will end.
    #[serde(default)]
    pub draining: bool,
}

/// The answer to a [`KillOrder`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Killed {
    /// The numbers of the connections that end now.
    pub killed: Vec<u64>,
}

/// The answer to a check of an edited file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Checked {
    /// The settings that the edit changes, if both the files as they are and the edited ones are valid.
    pub changes: Option<Vec<String>>,
    /// Everything that would be wrong after the edit.
    pub problems: Vec<ToldProblem>,
    /// Explanations of what the proxy can't see, such as a new value of a variable.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl LostSettings {
    /// Returns whether no file has lost anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }

    /// Returns all files.
    pub(crate) fn all(&self) -> impl Iterator<Item = &String> {
        self.gone.iter().chain(&self.emptied).chain(&self.cut)
    }
}

impl Checked {
    /// Describes an edit that is rejected because of `problems`.
    pub(crate) fn invalid(problems: Vec<ToldProblem>) -> Self {
        Self { problems, ..Self::default() }
    }
}

impl ProxyIdentity {
    /// Identifies this process, whose configuration is `source`.
    fn of_process(source: &Source) -> Self {
        // The path as the proxy was started with, made absolute, since commands may run in another directory.
        let config = match source {
            Source::Path(path) => std::path::absolute(path).ok(),
            Source::Text(_) | Source::CommandLine { .. } | Source::Embedded => None,
        };
        let config = config.map(|path| path.to_string_lossy().into_owned());
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self {
            version,
            pid: std::process::id(),
            config,
            has_hops_of_command_line: matches!(source, Source::CommandLine { .. }),
            listeners: Vec::new(),
            generation: 0,
            draining: false,
        }
    }
}

impl Api {
    /// Answers for the proxy whose sessions share `shared`, and which accepts on `listening`.
    pub(crate) fn new(
        loader: Arc<Loader>,
        shared: Arc<Shared>,
        orders: ReloadOrders,
        listening: ListeningSockets,
    ) -> Self {
        let identity = Arc::new(ProxyIdentity::of_process(loader.source()));
        Self { identity, loader, shared, orders, listening, files: None }
    }

    /// Answers for `files` too.
    pub(crate) fn with_files(self, files: Option<Arc<dyn FilesOnDisk>>) -> Self {
        Self { files, ..self }
    }

    /// Records for `/status` that commands can't reach this proxy, for the reason `error`. `None` clears it. Returns whether
    /// that is news.
    pub(super) fn note_socket_error(&self, error: Option<String>) -> bool {
        self.shared.note_control_socket_error(error)
    }

    /// Executes `call`, and returns the answer as JSON.
    ///
    /// Answers that may be long are made on another thread, so that they delay no traffic.
    ///
    /// # Errors
    /// The reason why there is none.
    pub(crate) async fn answer(self, call: ApiCall) -> Result<ControlAnswer, Refused> {
        let body = match call {
            ApiCall::HandOver => return self.hand_over(),
            ApiCall::Identify => self.identify(),
            ApiCall::Status => {
                // Without requests, the answers that decide conditions may be of any age.
                self.shared.live().current().network().refresh(REFRESH_MAX).await;
                elsewhere(move || self.status()).await
            }
            ApiCall::Connections => elsewhere(move || self.connections()).await,
            ApiCall::Overview => elsewhere(move || json(&Overview::of(&self.shared))).await,
            ApiCall::Clients => {
                elsewhere(move || json(&ClientFacts::of(&self.shared, &self.listening))).await
            }
            ApiCall::Usage => elsewhere(move || self.usage()).await,
            ApiCall::Kill(order) => elsewhere(move || self.kill(&order)).await,
            ApiCall::Reload => self.reload().await,
            ApiCall::Check(edit) => elsewhere(move || self.check(&edit)).await,
            ApiCall::LostSettings => elsewhere(move || json(&self.lost_settings())).await,
            ApiCall::Drain => self.drain(),
        };
        Ok(ControlAnswer { body: body?, ..ControlAnswer::default() })
    }

    /// Hands the listening sockets to the caller. Both processes accept on them until this one drains, so no client
    /// is refused in between, and the caller may still fail.
    fn hand_over(&self) -> Result<ControlAnswer, Refused> {
        if self.shared.shutdown().is_draining() {
            return Err(Refused::Ending);
        }
        let sockets = self.listening.open();
        let listeners = sockets.iter().map(|socket| socket.local_addr()).collect::<Result<_, _>>();
        let body = json(&HandedOver { listeners: listeners.map_err(failed)? })?;
        info!(sockets = sockets.len(), "listening sockets handed over on request");
        Ok(ControlAnswer { body, sockets })
    }

    fn lost_settings(&self) -> LostSettings {
        self.files.as_ref().map_or_else(LostSettings::default, |files| files.changes())
    }

    /// Begins the end of this proxy, as a signal does.
    fn drain(&self) -> Result<Vec<u8>, Refused> {
        self.shared.shutdown().drain();
        json(&json!({}))
    }

    fn identify(&self) -> Result<Vec<u8>, Refused> {
        // These change while the process runs, so they are filled in for each answer.
        let current = self.shared.live().current();
        let identity = ProxyIdentity {
            listeners: current.listening.clone(),
            generation: current.number(),
            draining: self.shared.shutdown().is_draining(),
            ..(*self.identity).clone()
        };
        json(&identity)
    }

    fn status(&self) -> Result<Vec<u8>, Refused> {
        Ok(StatusDocument::of(&self.shared).to_json().into_bytes())
    }

    /// Lists what is open.
    fn connections(&self) -> Result<Vec<u8>, Refused> {
        let rows = self.shared.connections().list();
        let mut listed = Vec::with_capacity(rows.len() * ROW_BYTES);
        listed.push(b'[');
        // One row after the other, so that the list does not exist a second time as values.
        for row in rows {
            if listed.len() > 1 {
                listed.push(b',');
            }
            serde_json::to_writer(&mut listed, &ListedConnection::of(&row)).map_err(failed)?;
        }
        listed.extend(b"]\n");
        Ok(listed)
    }

    /// Returns the counts as they are now. Those in the file are up to ten seconds old.
    fn usage(&self) -> Result<Vec<u8>, Refused> {
        let current = self.shared.live().current();
        let usage = &current.metrics().usage;
        usage.fold();
        json(&usage.record())
    }

    fn kill(&self, order: &KillOrder) -> Result<Vec<u8>, Refused> {
        // Read once, so that all rows are compared with the same generation.
        let current = self.shared.live().current().number();
        let killed = self.shared.connections().kill(|row| order.means(row, current));
        info!(count = killed.len(), "connections killed on request");
        json(&Killed { killed })
    }

    async fn reload(&self) -> Result<Vec<u8>, Refused> {
        let verdict: ReloadVerdict = self.orders.reload().await.ok_or(Refused::Ending)?;
        json(&verdict)
    }

    /// Checks an edit with the variables and the command line of this process, which decide whether it would be taken.
    fn check(&self, edit: &EditedFile) -> Result<Vec<u8>, Refused> {
        json(&match self.loader.check_edit(edit) {
            Ok(changes) => Checked { changes, ..Checked::default() },
            Err(problems) => {
                let problems = ToldProblem::all(&problems);
                Checked { notes: notes_on_rejected(&problems), ..Checked::invalid(problems) }
            }
        })
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Refused> {
    let mut json = serde_json::to_vec(value).map_err(failed)?;
    json.push(b'\n');
    Ok(json)
}

/// Makes an answer on a thread that serves no connections.
async fn elsewhere(
    answer: impl FnOnce() -> Result<Vec<u8>, Refused> + Send + 'static,
) -> Result<Vec<u8>, Refused> {
    thread_pool::run(answer).await.map_err(failed)?
}

/// The usual length of a connection's row.
const ROW_BYTES: usize = 256;

/// How long a status waits for fresh answers about the network. One that takes longer is in the next status.
const REFRESH_MAX: std::time::Duration = std::time::Duration::from_millis(500);
