//! `mooltiroute status`: how is the proxy that runs?

mod ask;
mod table;

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _},
    process::ExitCode,
};

use mooltiroute_hops::Registry;
use serde_json::Value;

use super::complain;
use crate::{
    cli::{self, Format},
    config::{Auth, Environment, Loader, Overrides, Source},
};

/// Where a proxy may listen, and what it may ask for.
#[derive(Debug)]
struct Aim {
    addresses: Vec<SocketAddr>,
    auth: Option<Auth>,
    /// Why the addresses may be the wrong ones.
    doubt: Option<String>,
}

/// Runs the command.
pub fn run(flags: &cli::Status, registry: Registry, environment: &Environment) -> ExitCode {
    let aim = match aim(flags, registry, environment) {
        Ok(aim) => aim,
        Err(why) => return complain(&why),
    };
    match ask_all(&aim) {
        Ok(body) => match show(&body, flags.format, &mut anstream::stdout().lock()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&error),
        },
        Err(why) => complain(&why),
    }
}

/// Finds out whom to ask. What is wrong with the configuration does not matter here: this is for when something is.
fn aim(flags: &cli::Status, registry: Registry, environment: &Environment) -> Result<Aim, String> {
    let loader = super::loader(&flags.config, registry.clone(), environment);
    let (server, doubt) = match &loader {
        Ok(loader) => match loader.load() {
            Ok(config) => (config.server, None),
            Err(_) => {
                let doubt = format!("`mooltiroute check` says that {} is invalid", loader.source());
                (loader.server(), Some(doubt))
            }
        },
        Err(problems) => {
            let source = Source::Embedded;
            let builtin = Loader::new(source, Overrides::default(), registry, environment.clone());
            (builtin.server(), Some(problems.to_string()))
        }
    };
    let listeners: Vec<SocketAddr> =
        server.listen.iter().map(|listen| reachable(*listen)).collect();
    let Some(text) = &flags.address else {
        return Ok(Aim { addresses: listeners, auth: server.auth, doubt });
    };
    let found = text.to_socket_addrs();
    let addresses: Vec<SocketAddr> =
        found.map_err(|error| format!("--address {text}: {error}"))?.collect();
    // The credentials of one proxy are no business of another one.
    let is_ours = |address: &SocketAddr| address.ip().is_loopback() || listeners.contains(address);
    let auth = server.auth.filter(|_| addresses.iter().all(is_ours));
    Ok(Aim { addresses, auth, doubt: None })
}

/// Where a listener on `address` is reached from this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The first answer there is.
fn ask_all(aim: &Aim) -> Result<Value, String> {
    let mut refusals = Vec::new();
    for address in &aim.addresses {
        if address.port() == 0 {
            refusals.push(format!("the system chose the port of {address}"));
            continue;
        }
        match ask::ask(*address, aim.auth.as_ref()) {
            Ok(body) => return Ok(body),
            Err(error) => refusals.push(format!("{address}: {error}")),
        }
    }
    let mut why = format!("no status from a proxy\n  {}", refusals.join("\n  "));
    if let Some(doubt) = &aim.doubt {
        why.push_str(&format!("\nThe address may be another one, as {doubt}."));
    }
    why.push_str(
        "\nIs it running? Its log says where it listens (`listening`); ask there with `mooltiroute status --address HOST:PORT`.",
    );
    Err(why)
}

/// Writes `status`. A writer that is no terminal should take the colours out, as those of anstream do.
fn show(status: &Value, format: Format, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Human => table::write(status, out),
        Format::Json => writeln!(out, "{status:#}"),
    }
}
