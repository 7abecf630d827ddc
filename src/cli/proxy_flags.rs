//! Flags of the commands about a running proxy, its service and its clients.

use std::ffi::OsString;

use clap::{Args, ValueHint};
use clap_complete::engine::ArgValueCompleter;

use super::{ConfigPath, Format, config_names};

/// Flags of `status`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    mooltiroute status\n  \
    mooltiroute status --address 127.0.0.1:3128 --format json")]
pub struct Status {
    /// The proxy.
    #[command(flatten)]
    pub proxy: ProxyChoice,
    /// The format of the output
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: Format,
}

/// Flags of `service`.
#[derive(Debug, Args)]
#[command(
    after_help = "It is a user unit of systemd on Linux, a launch agent on macOS, a scheduled task on Windows."
)]
pub struct Service {
    /// The action
    pub action: ServiceAction,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigPath,
    /// With `install`: print the definition of the service, and change nothing
    #[arg(long)]
    pub print: bool,
}

/// An action of `service`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ServiceAction {
    /// Write the service definition, and start the service now and at each login.
    Install,
    /// Stop the service, and remove its definition.
    Uninstall,
    /// Show whether the service runs.
    Status,
}

/// Flags of `usage`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    mooltiroute usage\n  \
    mooltiroute usage --by target")]
pub struct Usage {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigPath,
    /// Show the bytes of each hop, chain, route, session or target [default: hops and budgets]
    #[arg(long, value_name = "WHAT")]
    pub by: Option<UsageBy>,
    /// The format of the output
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: Format,
}

/// The kinds of things whose bytes are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum UsageBy {
    /// Hops.
    Hop,
    /// Chains.
    Chain,
    /// Routes.
    Route,
    /// Sessions that clients named.
    Session,
    /// Targets.
    Target,
}

/// The running proxy to ask.
#[derive(Debug, Default, Args)]
pub struct ProxyChoice {
    /// The configuration that it was started with.
    #[command(flatten)]
    pub config: ConfigPath,
    /// Ask the proxy that listens at this address, whatever its configuration
    #[arg(long, value_name = "HOST:PORT", value_hint = ValueHint::Hostname)]
    pub address: Option<String>,
    /// Ask the proxy with this process ID, whatever its configuration
    #[arg(long, value_name = "PID", conflicts_with = "address")]
    pub pid: Option<u32>,
}

/// Flags of `ps`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    mooltiroute ps\n  \
    mooltiroute ps --format json | jq '.[] | select(.chain == \"default\") | .target'")]
pub struct Ps {
    /// The proxy.
    #[command(flatten)]
    pub proxy: ProxyChoice,
    /// The format of the output
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: Format,
}

/// Flags of `top`.
#[cfg(feature = "top")]
#[derive(Debug, Args)]
pub struct Top {
    /// The proxy.
    #[command(flatten)]
    pub proxy: ProxyChoice,
}

/// Flags of `kill`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    mooltiroute kill 17 18\n  \
    mooltiroute kill '#17'\n  \
    mooltiroute kill --hop webshare\n  \
    mooltiroute kill --hop 'exits.line 2'\n  \
    mooltiroute kill --older-generations")]
#[command(group(clap::ArgGroup::new("which").required(true).args(["ids", "chain", "hop", "older_generations"])))]
pub struct Kill {
    /// The numbers of the connections, as `ps` shows them; `'#17'` is 17
    #[arg(value_name = "ID", value_delimiter = ',', value_parser = connection_id)]
    pub ids: Vec<u64>,
    /// End all connections of this chain
    #[arg(long, value_name = "CHAIN", add = ArgValueCompleter::new(config_names::chains))]
    pub chain: Option<String>,
    /// End all connections through this hop, or through one of its members, as in `exits.line 2`
    #[arg(long, value_name = "HOP", add = ArgValueCompleter::new(config_names::hops))]
    pub hop: Option<String>,
    /// End all connections that began before the last reload
    #[arg(long)]
    pub older_generations: bool,
    /// The proxy.
    #[command(flatten)]
    pub proxy: ProxyChoice,
}

/// Flags of `reload`.
#[derive(Debug, Args)]
pub struct Reload {
    /// The proxy.
    #[command(flatten)]
    pub proxy: ProxyChoice,
    /// The format of the output
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: Format,
}

/// Flags of `hop`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    mooltiroute hop corporate off\n  \
    mooltiroute hop corporate auto\n  \
    mooltiroute hop corporate off --address 127.0.0.1:3128")]
pub struct Hop {
    /// The hop
    #[arg(add = ArgValueCompleter::new(config_names::hops))]
    pub name: String,
    /// `on` and `off` change the hop's `enabled` in its file; `auto` restores a condition that they replaced
    pub state: HopState,
    /// The proxy, or the configuration whose files are edited.
    #[command(flatten)]
    pub proxy: ProxyChoice,
}

/// The state that a hop is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum HopState {
    /// Chains use it.
    On,
    /// Chains leave it out.
    Off,
    /// The condition that is written in the file decides again.
    Auto,
}

/// Flags of `env`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    eval \"$(mooltiroute env)\"\n  \
    mooltiroute env --shell fish | source\n  \
    mooltiroute env --shell powershell | Out-String | Invoke-Expression\n\n\
Some programs ignore these variables and connect directly: Node.js before 22.21 and 24, Java and OpenSSH. `mooltiroute exec` \
names them.")]
pub struct Env {
    /// The proxy.
    #[command(flatten)]
    pub proxy: ProxyChoice,
    /// The shell to print for [default: from $SHELL]
    #[arg(long, value_name = "SHELL")]
    pub shell: Option<Shell>,
    /// Print the shell commands that unset the variables
    #[arg(long)]
    pub unset: bool,
    /// Put the credentials of `server.auth` into the URLs
    #[arg(long)]
    pub with_credentials: bool,
}

/// A shell whose syntax `env` knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Shell {
    /// POSIX shells, such as bash and zsh.
    Sh,
    /// The fish shell.
    Fish,
    /// PowerShell.
    Powershell,
    /// The Windows command prompt; the lines are for a batch file.
    Cmd,
}

/// Flags of `exec`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    mooltiroute exec -- curl https://example.com/\n  \
    mooltiroute exec --session alice --country us -- python crawl.py")]
pub struct Exec {
    /// The proxy.
    #[command(flatten)]
    pub proxy: ProxyChoice,
    /// Use the exit of this session [default: a new session for each run]
    #[arg(long, value_name = "NAME")]
    pub session: Option<String>,
    /// Use an exit in this country
    #[arg(long, value_name = "CC")]
    pub country: Option<String>,
    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

impl std::fmt::Display for HopState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Auto => "auto",
        })
    }
}

/// Parses the number of a connection, with or without a `#` before it.
fn connection_id(text: &str) -> Result<u64, &'static str> {
    let digits = text.strip_prefix('#').unwrap_or(text);
    digits.parse().map_err(|_| {
        "this is not the number of a connection; `ps` lists them. Write `--hop NAME` for all connections through a hop, and \
         `--chain NAME` for all of a chain"
    })
}
