//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Level, Overrides};

/// A local proxy that routes each request through a chain of hops.
///
/// Without a command it runs the proxy, as `mooltiroute run` does.
#[derive(Debug, Parser)]
#[command(
    name = "mooltiroute",
    version,
    args_conflicts_with_subcommands = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to run the proxy, where no command is given.
    #[command(flatten)]
    pub run: Run,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the proxy in the foreground
    Run(Run),
    /// Validate the configuration and show what it means
    Check(Check),
    /// Show which route and hops a request would take, without opening a connection
    Explain(Explain),
    /// Make one request through its chain and show the time and result of each step
    Probe(Probe),
    /// Write a commented configuration to start from, without overwriting anything
    Init(Init),
    /// Print the JSON Schema of the configuration, for editors
    ///
    /// Save it beside the files, as in `mooltiroute schema > schema.json`. Editors with yaml-language-server then
    /// complete and check each file that begins with the line `# yaml-language-server: $schema=schema.json`.
    Schema,
    /// Print completions for a shell
    Completions {
        /// The shell to complete in
        shell: clap_complete::Shell,
    },
    /// Write the manual pages
    #[command(hide = true)]
    Man {
        /// The directory to write to
        directory: PathBuf,
    },
    /// Show the status of the running proxy
    Status(Status),
}

/// Flags of `run`. They win over the files, after each reload too.
#[derive(Debug, Args)]
pub struct Run {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigPath,
    /// Listen on this address instead of `server.listen`; may be repeated
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<SocketAddr>,
    /// Which hops are in force.
    #[command(flatten)]
    pub switches: Switches,
    /// Log this level and above, instead of `log.level` and `RUST_LOG`
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<Level>,
    /// Log in this format instead of `log.format`
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<config::Format>,
}

/// Flags of `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigPath,
    /// The format of the output
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: Format,
}

/// Flags of `explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// The URL that a client would request, such as `https://example.com/`, or `HOST:PORT` for a tunnel
    pub url: String,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigPath,
    /// The format of the output
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: Format,
}

/// Flags of `probe`.
#[derive(Debug, Args)]
pub struct Probe {
    /// The URL to request, `https://HOST/` or `http://HOST/`, or `HOST:PORT` for the tunnel alone
    #[arg(default_value = "https://ipv4.webshare.io/")]
    pub url: String,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigPath,
    /// Which hops are in force.
    #[command(flatten)]
    pub switches: Switches,
    /// Act as a client with this username, such as `session-alice,country-us`
    #[arg(long = "as", value_name = "USERNAME")]
    pub client: Option<String>,
    /// Trust the authorities in this PEM file for the target, instead of the system's
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The format of the output
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: Format,
}

/// Flags of `init`.
#[derive(Debug, Args)]
pub struct Init {
    /// A directory that is empty or does not exist
    #[arg(value_name = "DIR", default_value = "config.d")]
    pub directory: PathBuf,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Human,
    /// For programs.
    Json,
}

/// Flags of `status`.
#[derive(Debug, Args)]
pub struct Status {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigPath,
    /// Ask the proxy at this address instead of the one in the configuration
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<String>,
    /// The format of the output
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: Format,
}

/// Which hops are in force, whatever the files say.
#[derive(Debug, Args)]
pub struct Switches {
    /// Disable the hop `corporate`, if there is one
    #[arg(long)]
    pub no_corporate: bool,
    /// Disable this hop even if the configuration enables it; may be repeated
    #[arg(long, value_name = "HOP")]
    pub disable: Vec<String>,
    /// Enable this hop even if the configuration disables it; may be repeated
    #[arg(long, value_name = "HOP")]
    pub enable: Vec<String>,
}

/// Where the configuration is.
#[derive(Debug, Args)]
pub struct ConfigPath {
    /// A directory of YAML files, or one file
    #[arg(short = 'c', long = "config", value_name = "PATH")]
    pub path: Option<PathBuf>,
}

impl Run {
    /// What these flags put in place of what the files say.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            listen: self.listen.clone(),
            log_level: self.log_level,
            log_format: self.log_format,
            ..self.switches.overrides()
        }
    }
}

impl Switches {
    /// What these flags put in place of what the files say.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            disable: self.disable.clone(),
            enable: self.enable.clone(),
            no_corporate: self.no_corporate,
            ..Overrides::default()
        }
    }
}
