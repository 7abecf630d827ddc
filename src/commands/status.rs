//! `mooltiroute status`: shows the status of the running proxy.

mod ask;
pub(super) mod cells;
pub(super) mod table;

use std::{net::SocketAddr, process::ExitCode};

use mooltiroute_hops::{KeyPath, Registry, kinds};
use serde_json::Value;

use super::{
    Verdict,
    running::{self, SoughtProxy},
};
use crate::{
    cli::{self, ProxyChoice},
    config::{
        Auth, Environment, ListenAddress, Listener, Loader, Overrides, ServerConfig, Source,
        reachable,
    },
};

/// The addresses at which the proxy may listen, and the credentials that it may ask for.
#[derive(Debug)]
struct ProxyAccess {
    addresses: Vec<SocketAddr>,
    /// The listeners with TLS, which this command does not speak.
    over_tls: Vec<ListenAddress>,
    auth: Option<Auth>,
    /// The reason why the addresses may be wrong.
    doubt: Option<String>,
}

impl ProxyAccess {
    /// Returns the addresses of the listeners of `server`.
    fn of(server: ServerConfig, doubt: Option<String>) -> Self {
        // A listener with TLS can't be asked, but it is named if no other answers.
        let (over_tls, plain): (Vec<Listener>, Vec<Listener>) =
            server.listen.into_iter().partition(|listener| listener.tls.is_some());
        let sockets = plain.iter().flat_map(|listener| listener.address.sockets());
        let addresses = sockets.map(reachable).collect();
        let over_tls = over_tls.iter().map(|listener| listener.address).collect();
        Self { addresses, over_tls, auth: server.auth, doubt }
    }
}

/// Runs the command.
pub fn run(flags: &cli::Status, registry: Registry, environment: &Environment) -> ExitCode {
    let over_tcp =
        || access(&flags.proxy, registry, environment).and_then(|access| ask_all(&access));
    let status = through_socket(&flags.proxy, environment).and_then(|told| match told {
        StatusAnswer::Status(status) => Ok(status),
        // It may be another proxy that is silent.
        StatusAnswer::Silence(words) => over_tcp().map_err(|why| format!("{words}\n{why}")),
        // The control socket of another user's proxy is closed to us, so that one is asked over TCP.
        StatusAnswer::Nothing => {
            let asked = over_tcp();
            if asked.is_err() && flags.proxy.address.is_none() {
                running::doubt_choice(&flags.proxy.config, environment);
            }
            asked
        }
    });
    running::answer(status, flags.format, table::write, |_| Verdict::Valid)
}

/// The outcome of asking through the control socket.
#[derive(Debug)]
enum StatusAnswer {
    Status(Value),
    /// A proxy does not answer. The words say which one.
    Silence(String),
    Nothing,
}

/// Asks through the control socket, and returns `Nothing` if no proxy of this user has the configuration or the address that
/// `choice` names. This finds the right proxy even if the files are invalid by now, and works even if clients need TLS or
/// credentials.
///
/// # Errors
/// Several proxies run with the configuration, or none is the named process.
fn through_socket(choice: &ProxyChoice, environment: &Environment) -> Result<StatusAnswer, String> {
    let found = running::look(choice, environment);
    // A proxy of another user may listen at an address.
    let found = if choice.address.is_some() { found.or(Ok(SoughtProxy::Nothing)) } else { found };
    let control = match found? {
        SoughtProxy::Answering(control) => control,
        SoughtProxy::Silent(words) => return Ok(StatusAnswer::Silence(words)),
        SoughtProxy::Nothing => return Ok(StatusAnswer::Nothing),
    };
    Ok(match control.get("/v1/status") {
        Ok(status) => {
            running::introduce(&control);
            StatusAnswer::Status(status)
        }
        Err(_) => StatusAnswer::Nothing,
    })
}

/// Asks the proxy that `server` configures for its status.
///
/// # Errors
/// The reason why there is no answer, for people.
pub(super) fn of_server(server: ServerConfig) -> Result<Value, String> {
    ask_all(&ProxyAccess::of(server, None))
}

/// Asks the proxy that `choice` means for its status, over TCP. Returns `None` if it does not answer.
pub(super) fn over_tcp(choice: &ProxyChoice, environment: &Environment) -> Option<Value> {
    // The kinds of hops don't matter for the addresses of the listeners.
    let access = access(choice, kinds::builtin(), environment).ok()?;
    ask_all(&access).ok()
}

/// Returns the number of the process whose proxy listens on `address`, if one says so without credentials.
pub(super) fn process_at(address: SocketAddr) -> Option<u64> {
    ask::ask(reachable(address), None).ok()?["pid"].as_u64()
}

/// Returns whether the proxy at `address` answers, and rejects the credentials of `auth`.
pub(super) fn rejects(address: SocketAddr, auth: &Auth) -> bool {
    matches!(ask::ask(address, Some(auth)), Err(ask::NoStatus::Unauthorized))
}

/// Finds the proxy to ask. An invalid configuration is no obstacle, since this command is most needed then.
fn access(
    choice: &ProxyChoice,
    registry: Registry,
    environment: &Environment,
) -> Result<ProxyAccess, String> {
    let source = Source::find(choice.config.path.clone(), environment);
    let loader =
        |source| Loader::new(source, Overrides::default(), registry.clone(), environment.clone());
    // The default address would be that of another proxy, so it is used only if the files leave it out.
    let (server, doubt) = match source.map(loader) {
        Ok(loader) => match loader.load() {
            Ok(config) => (config.server, None),
            // The problems are left to `check`. What can be read of the addresses is enough to try.
            Err(_) => {
                let doubt = format!("`mooltiroute check` says that {} is invalid", loader.source());
                let mut server = loader.server();
                if !loader.names(&KeyPath::of(["server"])).iter().any(|key| key == "listen") {
                    server.listen.clear();
                }
                (server, Some(doubt))
            }
        },
        Err(problems) => {
            let server = ServerConfig { listen: Vec::new(), ..loader(Source::Embedded).server() };
            (server, Some(problems.to_string()))
        }
    };
    let configured = ProxyAccess::of(server, doubt);
    let Some(text) = &choice.address else { return Ok(configured) };
    let addresses = running::addresses(text)?;
    // Credentials of one proxy are never sent to another one.
    let is_ours =
        |address: &SocketAddr| address.ip().is_loopback() || configured.addresses.contains(address);
    let auth = configured.auth.filter(|_| addresses.iter().all(is_ours));
    Ok(ProxyAccess { addresses, over_tls: Vec::new(), auth, doubt: None })
}

/// Asks one address after the other, and returns the first answer.
fn ask_all(access: &ProxyAccess) -> Result<Value, String> {
    let (mut refusals, mut is_full) = (Vec::new(), false);
    for address in &access.addresses {
        // The configuration does not say which port the system has chosen.
        if address.port() == 0 {
            refusals.push(format!("the system chose the port of {address}"));
            continue;
        }
        match ask::ask(*address, access.auth.as_ref()) {
            Ok(body) => return Ok(body),
            Err(error) => {
                is_full |= matches!(error, ask::NoStatus::Full);
                refusals.push(format!("{address}: {error}"));
            }
        }
    }
    for address in &access.over_tls {
        refusals.push(format!(
            "{address}: this command does not speak TLS; add a listener on `localhost` without `tls`, or use `curl \
             https://{address}/status`"
        ));
    }
    let mut why = "no status from a proxy".to_owned();
    for refusal in &refusals {
        why.push_str(&format!("\n  {refusal}"));
    }
    if refusals.is_empty() {
        why.push_str("\n  no address is known at which it listens");
    }
    if let Some(doubt) = &access.doubt {
        why.push_str(&format!("\nThe address may be another one, as {doubt}."));
    }
    if is_full {
        why.push_str(FULL);
        return Err(why);
    }
    why.push_str(
        "\nIs it running? Its log says where it listens (`listening`); ask there with `mooltiroute status --address HOST:PORT`.",
    );
    Err(why)
}

/// Advice for the case that a proxy without a control socket has no room for one more connection.
const FULL: &str = "\nIt is running. Wait until connections end, or raise `limits.connections`. With a control socket, commands need none \
                    of these connections: the log says why there is none (`no control socket`).";
