//! The command line, as types.

mod advice;

use std::{convert::Infallible, path::PathBuf};

use clap::{
    Args, CommandFactory as _, Parser, Subcommand, ValueHint,
    builder::{PossibleValuesParser, TypedValueParser},
    error::ErrorKind,
};
use clap_complete::engine::ArgValueCompleter;

use crate::config::{self, InvalidListenAddress, Level, ListenAddress, Overrides, hop_url::HopUrl};

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
    /// Print a shell's completion script
    ///
    /// It completes commands, flags, values and the names of the configured hops. The shell runs this
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
    /// List the open connections of the running proxy
    Ps(Ps),
    /// Show the open connections of the running proxy, live in the terminal
    #[cfg(feature = "top")]
    Top(Top),
    /// End connections of the running proxy
    Kill(Kill),
    /// Have the running proxy reload its configuration, and wait for the verdict
    Reload(Reload),
    /// Switch a hop on or off by editing its file
    Hop(Hop),
    /// Print the lines that point a shell at the proxy
    Env(Env),
    /// Run a command whose requests go through the proxy
    Exec(Exec),
    /// Start the proxy when you log in, or stop doing so; needs no administrator rights
    Service(Service),
    /// Show the bytes that hops, chains, routes, sessions and targets have used
    Usage(Usage),
}

/// Flags of `run`. They override the files, also after a reload.
#[derive(Debug, Default, Args)]
pub struct Run {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigOrHops,
    /// Listen on this address instead of `server.listen`; may be repeated
    #[arg(long, value_name = "ADDR", value_parser = parse_listen)]
    pub listen: Vec<ListenAddress>,
    /// The hops to switch on or off.
    #[command(flatten)]
    pub switches: Switches,
    /// Log events of this level and above, instead of `log.level` and `RUST_LOG`
    #[arg(long, value_name = "LEVEL", value_parser = levels())]
    pub log_level: Option<Level>,
    /// Write log lines in this format, instead of `log.format`
    #[arg(long, value_name = "FORMAT", value_parser = formats())]
    pub log_format: Option<config::LogFormat>,
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
    pub config: ConfigOrHops,
    /// Draw the routes, the chains and their hops, instead of describing them
    // `require_equals`, or `explain --graph URL` would take the URL for the name of a picture.
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
    pub config: ConfigOrHops,
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
    pub config: ConfigOrHops,
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

/// Flags of `service`.
#[derive(Debug, Args)]
#[command(
    after_help = "It is a user unit of systemd on Linux, a launch agent on macOS, a scheduled task on Windows."
)]
pub struct Service {
    /// What to do
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
    /// Write the definition of the service, and start it now and with each session.
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
    /// The kind of things to show the bytes of [default: hops and budgets]
    #[arg(long, value_name = "WHAT")]
    pub by: Option<UsageBy>,
    /// The format of the output
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: Format,
}

/// The sorts of things whose bytes are counted.
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

/// The running proxy to ask, through its control socket.
#[derive(Debug, Default, Args)]
pub struct ProxyChoice {
    /// The configuration that it was started with.
    #[command(flatten)]
    pub config: ConfigPath,
    /// Ask the proxy that listens at this address, whatever its configuration
    #[arg(long, value_name = "HOST:PORT", value_hint = ValueHint::Hostname)]
    pub address: Option<String>,
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
    mooltiroute kill --hop webshare\n  \
    mooltiroute kill --older-generations")]
#[command(group(clap::ArgGroup::new("which").required(true).args(["ids", "chain", "hop", "older_generations"])))]
pub struct Kill {
    /// The numbers of the connections, as `ps` shows them
    #[arg(value_name = "ID", value_delimiter = ',', value_parser = connection_id)]
    pub ids: Vec<u64>,
    /// End all connections of this chain
    #[arg(long, value_name = "CHAIN")]
    pub chain: Option<String>,
    /// End all connections through this hop
    #[arg(long, value_name = "HOP")]
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
    mooltiroute hop corporate auto")]
pub struct Hop {
    /// The hop
    pub name: String,
    /// `on` and `off` change the hop's `enabled` in its file; `auto` restores a condition that they replaced
    pub state: HopState,
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigPath,
}

/// The state that a hop is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum HopState {
    /// Chains use it.
    On,
    /// Chains leave it out.
    Off,
    /// The condition that was written in the file decides.
    Auto,
}

/// Flags of `env`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    eval \"$(mooltiroute env)\"\n  \
    mooltiroute env --shell fish | source\n  \
    mooltiroute env --shell powershell | Out-String | Invoke-Expression")]
pub struct Env {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigPath,
    /// The shell that reads the lines [default: the one that $SHELL names]
    #[arg(long, value_name = "SHELL")]
    pub shell: Option<Shell>,
    /// Print the lines that remove the variables again
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
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigPath,
    /// Use the exit of this session [default: a new session for each run]
    #[arg(long, value_name = "NAME")]
    pub session: Option<String>,
    /// Use an exit in this country
    #[arg(long, value_name = "CC")]
    pub country: Option<String>,
    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<std::ffi::OsString>,
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

/// The place of the configuration, or hops to use instead of one.
#[derive(Debug, Default, Args)]
pub struct ConfigOrHops {
    /// The place of the configuration.
    #[command(flatten)]
    pub place: ConfigPath,
    /// A hop, instead of a configuration: `KIND://USERNAME:PASSWORD@HOST:PORT?SETTING=VALUE`; repeated, the hops are
    /// passed in this order. Other users of this machine can see credentials on a command line
    #[arg(long = "hop", value_name = "URL", value_hint = ValueHint::Url, conflicts_with = "path", value_parser = hop_url)]
    pub hops: Vec<HopUrl>,
}

/// The place of the configuration.
#[derive(Debug, Default, Args)]
pub struct ConfigPath {
    /// A directory of YAML files, or one file [default: the first that exists of ./config.d, ./config.yaml, the user's
    /// and the system's mooltiroute/config.d]
    #[arg(short = 'c', long = "config", value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub path: Option<PathBuf>,
}

/// Parses the number of a connection, with or without the `#` that some programs write before one.
fn connection_id(text: &str) -> Result<u64, &'static str> {
    let digits = text.strip_prefix('#').unwrap_or(text);
    digits.parse().map_err(|_| {
        "`ps` shows the numbers, each connection has one; write `--hop NAME` for all through a hop, `--chain NAME` for \
         all of a chain"
    })
}

/// Accepts any text. `UrlChain::new` checks it later, since an error of clap would quote it.
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
        // Flags before a command are parsed as those of `run`, since `mooltiroute` alone is `mooltiroute
        // run`. `-c` is the one that people write there, and every command that reads a configuration has it.
        let Some(mut command) = command else { return Ok(Command::Run(run)) };
        if let (Some(path), Some(config)) = (run.config.place.path.take(), command.config()) {
            config.path.get_or_insert(path);
        }
        if let Command::Run(flags) = &mut command {
            flags.inherit(run);
            return Ok(command);
        }
        if let Command::Service(Service { action, print: true, .. }) = &command
            && *action != ServiceAction::Install
        {
            let message = "`--print` goes with `install`; nothing is changed";
            return Err(Self::command().error(ErrorKind::ArgumentConflict, message));
        }
        // Any other flag would have no effect, so it is refused.
        match run.given() {
            None => Ok(command),
            Some(flag) => Err(Self::command().error(
                ErrorKind::ArgumentConflict,
                format!("`{flag}` before a command is a flag of `run`; write it after a command that accepts it"),
            )),
        }
    }
}

impl Command {
    /// Returns the configuration flag of commands that read one.
    fn config(&mut self) -> Option<&mut ConfigPath> {
        match self {
            // Every command is named, so that the compiler asks about a new one.
            Self::Run(flags) => Some(&mut flags.config.place),
            Self::Check(flags) => Some(&mut flags.config.place),
            Self::Explain(flags) => Some(&mut flags.config.place),
            Self::Probe(flags) => Some(&mut flags.config.place),
            Self::Status(flags) => Some(&mut flags.config),
            Self::Ps(flags) => Some(&mut flags.proxy.config),
            #[cfg(feature = "top")]
            Self::Top(flags) => Some(&mut flags.proxy.config),
            Self::Hop(flags) => Some(&mut flags.config),
            Self::Kill(flags) => Some(&mut flags.proxy.config),
            Self::Reload(flags) => Some(&mut flags.proxy.config),
            Self::Env(flags) => Some(&mut flags.config),
            Self::Exec(flags) => Some(&mut flags.config),
            Self::Usage(flags) => Some(&mut flags.config),
            Self::Service(flags) => Some(&mut flags.config),
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
        // Hops are passed in the order of the command line. Of single values the later one wins, as in most
        // programs.
        self.config.hops.splice(0..0, earlier.config.hops);
        self.listen.extend(earlier.listen);
        self.log_level = self.log_level.or(earlier.log_level);
        self.log_format = self.log_format.or(earlier.log_format);
        self.switches.no_corporate |= earlier.switches.no_corporate;
        self.switches.disable.extend(earlier.switches.disable);
        self.switches.enable.extend(earlier.switches.enable);
    }

    /// Returns the first flag, besides `-c`, that was given.
    fn given(&self) -> Option<&'static str> {
        // Taken apart by name, so that the compiler asks about a new switch.
        let Switches { no_corporate, disable, enable } = &self.switches;
        let flags = [
            ("--hop", !self.config.hops.is_empty()),
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

impl std::fmt::Display for HopState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Auto => "auto",
        })
    }
}

/// Parses a listen address, and suggests the whole address if only a part is given.
fn parse_listen(text: &str) -> Result<ListenAddress, String> {
    text.parse().map_err(|InvalidListenAddress| {
        // People write the port alone, as other programs accept it.
        let port = text.trim_start_matches(':');
        if port.parse::<u16>().is_ok() {
            return format!("write the address too, as in `127.0.0.1:{port}`");
        }
        "write an address and a port, as in `127.0.0.1:8888`, `[::1]:8888` or `localhost:8888`"
            .to_owned()
    })
}

fn levels() -> impl TypedValueParser<Value = Level> {
    // By the list of names, so that errors and shell completion can show it.
    PossibleValuesParser::new(Level::ALL.map(Level::name)).try_map(|name| name.parse())
}

fn formats() -> impl TypedValueParser<Value = config::LogFormat> {
    PossibleValuesParser::new(config::LogFormat::ALL.map(config::LogFormat::name))
        .try_map(|name| name.parse())
}

const EXAMPLES: &str = "Examples:
  mooltiroute                                run the proxy on http://127.0.0.1:8888
  mooltiroute init && mooltiroute check      write a sample configuration and validate it
  mooltiroute probe https://example.com/     test the chain, step by step
  mooltiroute status                         ask the running proxy";
