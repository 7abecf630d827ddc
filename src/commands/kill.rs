//! `mooltiroute kill`: ends connections of the running proxy.

use std::{io::Write as _, process::ExitCode};

use super::{Verdict, complain, running};
use crate::{
    cli,
    config::Environment,
    control::api::{KillOrder, Killed},
};

/// Runs the command.
pub fn run(flags: &cli::Kill, environment: &Environment) -> ExitCode {
    let order = order(flags);
    let killed = running::find(&flags.proxy, environment)
        .and_then(|control| control.post("/v1/kill", &order).map_err(|error| error.to_string()));
    let killed = match killed {
        Ok(Killed { killed }) => killed,
        Err(why) => return complain(&why),
    };
    // A connection that has ended meanwhile is reported, but the command fails only if none was left to end.
    let missing: Vec<_> = flags.ids.iter().filter(|id| !killed.contains(id)).collect();
    for id in missing {
        complain(&format_args!("no open connection has the number {id}"));
    }
    match killed.len() {
        0 if flags.ids.is_empty() => complain(&"no open connection matches"),
        0 => ExitCode::FAILURE,
        count => {
            let noun = if count == 1 { "connection" } else { "connections" };
            let written = writeln!(super::stdout(), "{count} {noun} killed");
            super::status(written.map(|()| Verdict::Valid))
        }
    }
}

/// Returns the order that the flags give. The command line allows exactly one kind.
fn order(flags: &cli::Kill) -> KillOrder {
    match (&flags.chain, &flags.hop) {
        (Some(chain), _) => KillOrder::Chain(chain.clone()),
        (_, Some(hop)) => KillOrder::Hop(hop.clone()),
        _ if flags.older_generations => KillOrder::OlderGenerations {},
        _ => KillOrder::Ids(flags.ids.clone()),
    }
}
