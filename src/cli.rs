//! The command line, as types.

use std::{convert::Infallible, net::SocketAddr, path::PathBuf};

use clap::{
    Args, CommandFactory as _, Parser, Subcommand, ValueHint,
    builder::{PossibleValuesParser, TypedValueParser},
    error::ErrorKind,
};
use clap_complete::engine::ArgValueCompleter;

use crate::config::{self, Level, Overrides, hop_url::HopUrl};

/// A local proxy that routes each request through a chain of hops.
///
/// Without a command, it runs the proxy, like `mooltiroute run`.
#[derive(Debug, Parser)]
#[command(name = "mooltiroute", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    /// The command to execute.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Flags of `run`, which apply if no command is given.
    #[command(flatten)]
    pub run: Run,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the proxy in the foreground
    #[command(after_help = "Examples:\n  \
        mooltiroute run\n  \
        mooltiroute run -c config.d --listen 127.0.0.1:3128\n  \
        mooltiroute run --no-corporate --log-level debug\n  \
        mooltiroute run --hop http://proxy.corp.example:3128 --hop socks5://127.0.0.1:1080")]
    Run(Run),
    /// Validate the configuration and show what it means
    Check(Check),
    /// Show the route and the hops that a request would take, without connecting
    Explain(Explain),
    /// Make one request through its chain and report each step
    Probe(Probe),
    /// Write a commented configuration to start from; never overwrites a file
    Init(Init),
    /// Print the JSON Schema of the configuration, for editors
    ///
    /// Save it beside the files (`mooltiroute schema > schema.json`). Editors that use yaml-language-server then complete
    /// and check every file that begins with the line `# yaml-language-server: $schema=schema.json`.
    Schema,
    /// Print the script by which a shell completes the command line
    ///
    /// It completes commands, flags and values, with the names of the hops of the configuration. The shell runs this
    /// program for each of them, so the script stays the same when the program or the configuration changes.
    #[command(after_help = "Examples:\n  \
        source <(mooltiroute completions bash)                in ~/.bashrc\n  \
        source <(mooltiroute completions zsh)                 in ~/.zshrc, after compinit\n  \
        mooltiroute completions fish | source                 in ~/.config/fish/config.fish")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages
    #[command(hide = true)]
    Man {
        /// The directory to write to
        #[arg(value_hint = ValueHint::DirPath)]
        directory: PathBuf,
    },
    /// Show the status of the running proxy
    Status(Status),
}

/// Flags of `run`. They override the files, also after a reload.
#[derive(Debug, Default, Args)]
pub struct Run {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigPath,
    /// Listen on this address instead of `server.listen`; may be repeated
    #[arg(long, value_name = "ADDR", value_parser = parse_listen)]
    pub listen: Vec<SocketAddr>,
    /// The hops to switch on or off.
    #[command(flatten)]
    pub switches: Switches,
    /// Log events of this level and above, instead of `log.level` and `RUST_LOG`
    #[arg(long, value_name = "LEVEL", value_parser = levels())]
    pub log_level: Option<Level>,
    /// Write log lines in this format, instead of `log.format`
    #[arg(long, value_name = "FORMAT", value_parser = formats())]
    pub log_format: Option<config::Format>,
}

/// Flags of `check`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    mooltiroute check\n  \
    mooltiroute check -c config.d --format json\n  \
    mooltiroute check --graph\n  \
    mooltiroute check --graph=mermaid > routes.mmd\n  \
    mooltiroute check --hop http://proxy.corp.example:3128 > config.yaml")]
pub struct Check {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigPath,
    /// Draw the routes, the chains and their hops, instead of describing them
    #[arg(long, value_name = "PICTURE", num_args = 0..=1, require_equals = true, default_missing_value = "terminal", conflicts_with = "format")]
    pub graph: Option<Picture>,
    /// The format of the output
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: Format,
}

/// How routes, chains and hops are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Picture {
    /// Text for a terminal.
    #[default]
    Terminal,
    /// A Mermaid flowchart.
    Mermaid,
    /// A graph of Graphviz.
    Dot,
}

/// Flags of `explain`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    mooltiroute explain https://example.com/\n  \
    mooltiroute explain git.corp.example:22 --no-corporate\n  \
    mooltiroute explain https://example.com/ --as session-alice,country-us\n  \
    mooltiroute explain https://example.com/ --graph")]
pub struct Explain {
    /// The URL that a client would request, or `HOST:PORT` for a tunnel
    #[arg(value_hint = ValueHint::Url)]
    pub url: String,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigPath,
    /// The hops to switch on or off.
    #[command(flatten)]
    pub switches: Switches,
    /// Ask as a client that sends this username, such as `session-alice,country-us`
    #[arg(long = "as", value_name = "USERNAME")]
    pub client: Option<String>,
    /// Draw the route, the chain and its hops, instead of describing them
    #[arg(long, value_name = "PICTURE", num_args = 0..=1, require_equals = true, default_missing_value = "terminal", conflicts_with = "format")]
    pub graph: Option<Picture>,
    /// The format of the output
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: Format,
}

/// Flags of `probe`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    mooltiroute probe\n  \
    mooltiroute probe https://example.com/ --as session-alice,country-us\n  \
    mooltiroute probe git.corp.example:22")]
pub struct Probe {
    /// The URL to request, or `HOST:PORT` to open a tunnel and nothing more
    #[arg(default_value = "https://ipv4.webshare.io/", value_hint = ValueHint::Url)]
    pub url: String,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigPath,
    /// The hops to switch on or off.
    #[command(flatten)]
    pub switches: Switches,
    /// Act as a client that sends this username, such as `session-alice,country-us`
    #[arg(long = "as", value_name = "USERNAME")]
    pub client: Option<String>,
    /// Trust the authorities of this PEM file for the target, instead of the system's
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub ca: Option<PathBuf>,
    /// The format of the output
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: Format,
}

/// Flags of `init`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    mooltiroute init\n  \
    mooltiroute init ~/.config/mooltiroute/config.d")]
pub struct Init {
    /// A directory that is empty or does not exist yet
    #[arg(value_name = "DIR", default_value = "config.d", value_hint = ValueHint::DirPath)]
    pub directory: PathBuf,
}

/// The format of a command's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Text for people.
    #[default]
    Human,
    /// JSON for programs.
    Json,
}

/// Flags of `status`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    mooltiroute status\n  \
    mooltiroute status --address 127.0.0.1:3128 --format json")]
pub struct Status {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigPath,
    /// Ask the proxy at this address instead of the configured one
    #[arg(long, value_name = "HOST:PORT", value_hint = ValueHint::Hostname)]
    pub address: Option<String>,
    /// The format of the output
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: Format,
}

/// Flags that switch hops on or off, whatever the files say.
#[derive(Debug, Default, Args)]
pub struct Switches {
    /// Like `--disable corporate`, but no error if there is no such hop
    #[arg(long)]
    pub no_corporate: bool,
    /// Leave this hop out of all chains; may be repeated
    #[arg(long, value_name = "HOP", add = ArgValueCompleter::new(crate::commands::complete::hops))]
    pub disable: Vec<String>,
    /// Enable this hop even if the configuration disables it; may be repeated
    #[arg(long, value_name = "HOP", add = ArgValueCompleter::new(crate::commands::complete::hops))]
    pub enable: Vec<String>,
}

/// The place of the configuration.
#[derive(Debug, Default, Args)]
pub struct ConfigPath {
    /// A directory of YAML files, or one file [default: the first that exists of ./config.d, ./config.yaml, the user's
    /// and the system's mooltiroute/config.d]
    #[arg(short = 'c', long = "config", value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub path: Option<PathBuf>,
    /// A hop, instead of a configuration: `KIND://USERNAME:PASSWORD@HOST:PORT?SETTING=VALUE`; repeated, the hops are
    /// passed in this order. Other users of this machine can see credentials on a command line
    #[arg(long = "hop", value_name = "URL", value_hint = ValueHint::Url, conflicts_with = "path", value_parser = hop_url)]
    pub hops: Vec<HopUrl>,
}

/// Takes over a URL. It is checked later, since an error of clap would quote it.
#[expect(clippy::unnecessary_wraps, reason = "clap wants a result")]
fn hop_url(text: &str) -> Result<HopUrl, Infallible> {
    Ok(HopUrl::new(text))
}

impl Cli {
    /// Returns the command to execute. `-c PATH` may be given before the command as well as after it.
    ///
    /// # Errors
    /// A flag before the command that the command does not have.
    pub fn into_command(self) -> Result<Command, clap::Error> {
        let Self { command, mut run } = self;
        let Some(mut command) = command else { return Ok(Command::Run(run)) };
        if let Some(config) = command.config() {
            let ConfigPath { path, hops } = std::mem::take(&mut run.config);
            config.path = config.path.take().or(path);
            config.hops.splice(0..0, hops);
        }
        if let Command::Run(flags) = &mut command {
            flags.inherit(run);
            return Ok(command);
        }
        match run.given() {
            None => Ok(command),
            Some(flag) => Err(Self::command().error(
                ErrorKind::ArgumentConflict,
                format!("`{flag}` before a command is a flag of `run`; write it after the command, if that has it"),
            )),
        }
    }
}

impl Command {
    /// Returns the configuration flag of commands that read one.
    fn config(&mut self) -> Option<&mut ConfigPath> {
        match self {
            Self::Run(flags) => Some(&mut flags.config),
            Self::Check(flags) => Some(&mut flags.config),
            Self::Explain(flags) => Some(&mut flags.config),
            Self::Probe(flags) => Some(&mut flags.config),
            Self::Status(flags) => Some(&mut flags.config),
            Self::Init(_) | Self::Schema | Self::Completions { .. } | Self::Man { .. } => None,
        }
    }
}

impl Run {
    /// Returns the overrides that these flags ask for.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            listen: self.listen.clone(),
            log_level: self.log_level,
            log_format: self.log_format,
            ..self.switches.overrides()
        }
    }

    /// Adds the flags that were given before the word `run`.
    fn inherit(&mut self, earlier: Self) {
        self.listen.extend(earlier.listen);
        self.log_level = self.log_level.or(earlier.log_level);
        self.log_format = self.log_format.or(earlier.log_format);
        self.switches.no_corporate |= earlier.switches.no_corporate;
        self.switches.disable.extend(earlier.switches.disable);
        self.switches.enable.extend(earlier.switches.enable);
    }

    /// Returns the first flag, besides `-c`, that was given.
    fn given(&self) -> Option<&'static str> {
        let Switches { no_corporate, disable, enable } = &self.switches;
        let flags = [
            ("--listen", !self.listen.is_empty()),
            ("--no-corporate", *no_corporate),
            ("--disable", !disable.is_empty()),
            ("--enable", !enable.is_empty()),
            ("--log-level", self.log_level.is_some()),
            ("--log-format", self.log_format.is_some()),
        ];
        flags.into_iter().find_map(|(flag, is_given)| is_given.then_some(flag))
    }
}

impl Switches {
    /// Returns the overrides that these flags ask for.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            disable: self.disable.clone(),
            enable: self.enable.clone(),
            no_corporate: self.no_corporate,
            ..Overrides::default()
        }
    }
}

/// Parses a listen address, and suggests the whole address if only a part is given.
fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let port = text.trim_start_matches(':');
        if port.parse::<u16>().is_ok() {
            return format!("write the address too, as in `127.0.0.1:{port}`");
        }
        if let Some(port) = text.strip_prefix("localhost:") {
            return format!("write an address instead of a name, as in `127.0.0.1:{port}`");
        }
        "write an address and a port, as in `127.0.0.1:8888` or `[::1]:8888`".to_owned()
    })
}

fn levels() -> impl TypedValueParser<Value = Level> {
    PossibleValuesParser::new(Level::ALL.map(Level::name)).try_map(|name| name.parse())
}

fn formats() -> impl TypedValueParser<Value = config::Format> {
    PossibleValuesParser::new(config::Format::ALL.map(config::Format::name))
        .try_map(|name| name.parse())
}

const EXAMPLES: &str = "Examples:
  mooltiroute                                run the proxy on http://127.0.0.1:8888
  mooltiroute init && mooltiroute check      write a sample configuration and validate it
  mooltiroute probe https://example.com/     test the chain, step by step
  mooltiroute status                         ask the running proxy";
