//! `mooltiroute check`: validates the configuration and says what it means.

mod schemes;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use mooltiroute_hops::{Readiness, Registry, Unready};
use serde_json::json;

use self::schemes::Schemes;
use super::{
    Verdict, describe,
    graph::Graph,
    json::{ShownChain, ShownCredential, ShownHop, ShownProblem, ShownRoute},
    write_problems,
};
use crate::{
    cli::{Check, Format},
    config::{Config, Environment, Listener, Loader, NamedHop, Source},
    network::Network,
    state::saved_lists::SavedLists,
};

/// Runs the command.
pub fn run(flags: &Check, registry: Registry, environment: &Environment) -> ExitCode {
    match super::loader(
        &flags.config,
        flags.switches.overrides(),
        flags.format,
        registry,
        environment,
    ) {
        Ok(loader) => super::status(answer(&loader, flags, environment)),
        Err(status) => status,
    }
}

/// Writes the picture that `flags` ask for, or what the configuration means.
fn answer(loader: &Loader, flags: &Check, environment: &Environment) -> io::Result<Verdict> {
    let Some(picture) = flags.graph else {
        return match loader.source() {
            // The file is written without a description, so that `check --hop URL > config.yaml` makes a
            // configuration of it.
            Source::CommandLine { text, .. } if flags.format == Format::Human => {
                write_file(loader, text)
            }
            source => {
                let mut out = super::answer(flags.format);
                let nothing = source.nothing_found(environment);
                if let Some(words) = nothing.filter(|_| flags.format == Format::Human) {
                    writeln!(out, "warning: {words}\n")?;
                }
                check(loader, flags.format, &mut out)
            }
        };
    };
    // The picture may go into a file.
    if let Some(words) = loader.source().nothing_found(environment) {
        super::complain(&words);
    }
    match loader.load() {
        Ok(config) => {
            Graph::of_config(&config).write(picture, &mut super::stdout())?;
            Ok(Verdict::Valid)
        }
        Err(problems) => {
            write_problems(loader, &problems, flags.format, &mut super::answer(flags.format))
        }
    }
}

/// Writes the file that means the same as the hops of the command line, or every problem of these hops.
fn write_file(loader: &Loader, text: &str) -> io::Result<Verdict> {
    let config = match loader.load() {
        Ok(config) => config,
        Err(problems) => {
            let out = &mut super::answer(Format::Human);
            return write_problems(loader, &problems, Format::Human, out);
        }
    };
    for warning in &config.warnings {
        super::complain(&warning.brief());
    }
    if super::shows_credentials(loader) {
        // On standard error, since standard output may go into the file.
        let _ = writeln!(anstream::stderr(), "mooltiroute: {}", super::VISIBLE_TO_OTHERS);
    }
    write!(super::stdout(), "{text}")?;
    Ok(Verdict::Valid)
}

/// Loads the configuration, and writes what it means or every problem.
///
/// The text has ANSI colours. `out` should strip them if it is not a terminal, as the writers of anstream do.
///
/// # Errors
/// Writing to `out` failed.
pub fn check(loader: &Loader, format: Format, out: &mut dyn Write) -> io::Result<Verdict> {
    let mut config = match loader.load() {
        Ok(config) => config,
        Err(problems) => return write_problems(loader, &problems, format, out),
    };
    let schemes = Schemes::look_up(&config);
    schemes.warn(&mut config, loader);
    match format {
        Format::Human => {
            writeln!(out, "{}: valid", loader.source())?;
            let lists = SavedLists::find(loader.source(), loader.environment());
            describe(&config, &schemes, &loader.network, &lists, out)?;
        }
        Format::Json => {
            // For people, these words are above everything else.
            config.warnings.extend(loader.source().nothing_found_warning(loader.environment()));
            // A field of its own: `listeners` holds plain texts, as programs have read it since before TLS.
            let listeners = config.server.listen.iter().filter(|listener| listener.tls.is_some());
            let tls_listeners: Vec<_> =
                listeners.map(|listener| listener.address.to_string()).collect();
            let meaning = json!({
                "valid": true,
                "listeners": config.server.listen.iter().map(|listener| listener.address.to_string()).collect::<Vec<_>>(),
                "tls_listeners": tls_listeners,
                "authenticated": config.server.auth.is_some(),
                "credentials": config.server.credentials.iter().map(ShownCredential::from).collect::<Vec<_>>(),
                "hops": schemes.of_each(&config).map(|(hop, schemes)| ShownHop::new(hop, schemes, &loader.network)).collect::<Vec<_>>(),
                "chains": config.chains.iter().map(|chain| ShownChain::new(chain, &config)).collect::<Vec<_>>(),
                "routes": config.routes.iter().map(|route| ShownRoute::new(route, &config)).collect::<Vec<_>>(),
                "replaced": config.replaced.iter().map(ShownProblem::from).collect::<Vec<_>>(),
                "warnings": config.warnings.iter().map(ShownProblem::from).collect::<Vec<_>>(),
            });
            writeln!(out, "{meaning:#}")?;
        }
    }
    Ok(Verdict::Valid)
}

/// Describes what a valid configuration does.
fn describe(
    config: &Config,
    schemes: &Schemes,
    network: &Network,
    lists: &SavedLists,
    out: &mut dyn Write,
) -> io::Result<()> {
    describe_listeners(config, out)?;
    if !config.hops.is_empty() {
        writeln!(out, "\nhops")?;
    }
    for (hop, schemes) in schemes.of_each(config) {
        describe_hop(hop, out)?;
        describe_state(hop, schemes, network, lists, out)?;
    }
    writeln!(out, "\nchains")?;
    for chain in &config.chains {
        writeln!(out, "  {}: {}", chain.name, describe::path(chain, config))?;
    }
    writeln!(out, "\nroutes (the first match applies)")?;
    for (index, route) in config.routes.iter().enumerate() {
        writeln!(out, "  {}", describe::route(index, route, config))?;
    }
    if !config.replaced.is_empty() {
        writeln!(out, "\nvalues that a later file replaces")?;
    }
    for replaced in &config.replaced {
        writeln!(out, "  {}", replaced.brief())?;
    }
    if !config.warnings.is_empty() {
        writeln!(out, "\nwarnings")?;
    }
    for warning in &config.warnings {
        writeln!(out, "{warning}")?;
    }
    Ok(())
}

/// Describes the addresses that clients connect to, and what clients need there.
fn describe_listeners(config: &Config, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\nlisteners")?;
    let credentials = describe::credentials(&config.server.credentials);
    for Listener { address, tls } in &config.server.listen {
        let scheme = if tls.is_some() { "https://" } else { "" };
        let checks_clients = tls.as_ref().is_some_and(|tls| tls.checks_clients());
        let clients = match (checks_clients, config.server.auth.is_some()) {
            (true, true) => {
                "clients need a certificate of `client_ca` and the credentials of `server.auth`"
            }
            (true, false) => "clients need a certificate of `client_ca`",
            (false, true) => "clients need the credentials of `server.auth`",
            // It is on loopback. Any other is a problem of the configuration.
            (false, false) => "for every program on this machine",
        };
        writeln!(out, "  {scheme}{address}, {clients}{credentials}")?;
    }
    if config.server.auth.is_some() && config.hops.iter().any(takes_preferences) {
        let line =
            "a client that names a session writes it after its username: `USER+session-NAME`";
        writeln!(out, "  {line}")?;
    }
    Ok(())
}

/// Describes the settings of a hop.
fn describe_hop(hop: &NamedHop, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "  {}: {}", hop.name, hop.kind)?;
    match &hop.hop {
        Some(built) => {
            if let Some(address) = built.describe().address {
                write!(out, ", {address}")?;
            }
            // `members` below lists the names, so the count would be redundant.
            if !hop.settings.iter().any(|setting| setting.key == "members") {
                write!(out, "{}", describe::member_count(&**built))?;
            }
        }
        // Only a disabled hop can be valid without having been built.
        None => write!(out, ", with variables that are not set")?,
    }
    for setting in &*hop.settings {
        write!(out, ", {} {}", setting.key, setting.value)?;
        if setting.picks_again() {
            write!(out, " {}", describe::PICKED_FOR)?;
        } else if setting.picks_by_session() {
            write!(
                out,
                " (by the session of a client, from a username such as `session-NAME`, or by the target's host if it names none)"
            )?;
        }
    }
    write!(out, "{}", describe::credentials(&hop.credentials))?;
    writeln!(out, "{}", if hop.is_enabled { "" } else { ", switched off" })?;
    if hop.is_enabled && hop.has_all_members_off {
        writeln!(out, "    {}", describe::MEMBERS_OFF)?;
    }
    for words in describe::sessions(hop, None) {
        writeln!(out, "    {words}")?;
    }
    Ok(())
}

/// Describes what is known of a hop now: its condition, members, document and credentials.
fn describe_state(
    hop: &NamedHop,
    schemes: &[Readiness],
    network: &Network,
    lists: &SavedLists,
    out: &mut dyn Write,
) -> io::Result<()> {
    describe::condition(hop, network, "    ", out)?;
    for member in hop.hop.iter().flat_map(|built| describe::members(&**built)) {
        writeln!(out, "    {member}")?;
    }
    describe::document(hop, lists, "    ", out)?;
    for Readiness { scheme, credentials } in schemes {
        match credentials {
            Ok(words) => writeln!(out, "    {}: {words}", scheme.name())?,
            Err(Unready { reason, .. }) => {
                writeln!(out, "    {}: not now, {reason}", scheme.name())?;
            }
        }
    }
    Ok(())
}

/// Returns whether clients may choose the session of `hop`.
fn takes_preferences(hop: &NamedHop) -> bool {
    let built = hop.hop.as_ref().filter(|_| hop.is_enabled);
    built.is_some_and(|built| built.describe().takes_preferences)
}
