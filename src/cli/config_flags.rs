//! Flags of the commands that read a configuration.

use std::{convert::Infallible, path::PathBuf};

use clap::{
    Args, ValueHint,
    builder::{PossibleValuesParser, TypedValueParser},
};
use clap_complete::engine::ArgValueCompleter;

use super::config_names;
use crate::config::{self, InvalidListenAddress, Level, ListenAddress, Overrides, hop_url::HopUrl};

/// Flags of `run`. They override the files, also after a reload.
#[derive(Debug, Default, Args)]
pub struct Run {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigOrHops,
    /// Listen on this address instead of `server.listen`; may be repeated
    #[arg(long, value_name = "ADDR", value_parser = parse_listen)]
    pub listen: Vec<ListenAddress>,
    /// Take over the sockets of the proxy that listens there, and let it drain; no client is refused
    #[arg(long)]
    pub take_over: bool,
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
    mooltiroute check --disable corporate\n  \
    mooltiroute check --graph=mermaid > routes.mmd\n  \
    mooltiroute check --hop http://proxy.corp.example:3128 > config.yaml")]
pub struct Check {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigOrHops,
    /// The hops to switch on or off.
    #[command(flatten)]
    pub switches: Switches,
    /// Draw the routes, the chains and their hops, instead of describing them
    // `require_equals`, or `explain --graph URL` would take the URL for the name of a picture.
    #[arg(long, value_name = "PICTURE", num_args = 0..=1, require_equals = true, default_missing_value = "terminal", conflicts_with = "format")]
    pub graph: Option<GraphFormat>,
    /// The format of the output
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: Format,
}

/// How routes, chains and hops are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum GraphFormat {
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
    /// The configuration and the client.
    #[command(flatten)]
    pub request: RequestFlags,
    /// Draw the route, the chain and its hops, instead of describing them
    #[arg(long, value_name = "PICTURE", num_args = 0..=1, require_equals = true, default_missing_value = "terminal", conflicts_with = "format")]
    pub graph: Option<GraphFormat>,
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
    /// The configuration and the client.
    #[command(flatten)]
    pub request: RequestFlags,
    /// Trust the authorities of this PEM file for the target, instead of the system's
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub ca: Option<PathBuf>,
    /// The format of the output
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub format: Format,
}

/// The configuration and the client of a request that a command is about.
#[derive(Debug, Args)]
pub struct RequestFlags {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigOrHops,
    /// The hops to switch on or off.
    #[command(flatten)]
    pub switches: Switches,
    /// Act as a client that sends this username, such as `session-alice,country-us`
    #[arg(long = "as", value_name = "USERNAME")]
    pub client: Option<String>,
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

/// Flags that switch hops on or off, whatever the files say.
#[derive(Debug, Default, Args)]
pub struct Switches {
    /// Like `--disable corporate`, but no error if there is no such hop
    #[arg(long)]
    pub no_corporate: bool,
    /// Leave this hop out of all chains; may be repeated
    #[arg(long, value_name = "HOP", add = ArgValueCompleter::new(config_names::hops))]
    pub disable: Vec<String>,
    /// Enable this hop even if the configuration disables it; may be repeated
    #[arg(long, value_name = "HOP", add = ArgValueCompleter::new(config_names::hops))]
    pub enable: Vec<String>,
}

/// The place of the configuration, or hops to use instead of one.
#[derive(Debug, Default, Args)]
pub struct ConfigOrHops {
    /// The place of the configuration.
    #[command(flatten)]
    pub place: ConfigPath,
    /// A hop, instead of a configuration: `KIND://USERNAME:PASSWORD@HOST:PORT?SETTING=VALUE`; repeat the flag for a
    /// chain, in the order of travel. Other users of this machine can see credentials on a command line
    #[arg(long = "hop", value_name = "URL", value_hint = ValueHint::Url, conflicts_with = "path", value_parser = hop_url)]
    pub hops: Vec<HopUrl>,
}

/// The place of the configuration.
#[derive(Debug, Default, Args)]
pub struct ConfigPath {
    /// A directory of YAML files, or one file [default: $MOOLTIROUTE_CONFIG, or the first that exists of ./config.d,
    /// ./config.yaml, the user's and the system's mooltiroute/config.d]
    #[arg(short = 'c', long = "config", value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub path: Option<PathBuf>,
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
    pub(super) fn inherit(&mut self, earlier: Self) {
        // Taken apart by name, here and below, so that the compiler asks about a new flag.
        let Self { config, listen, take_over, switches, log_level, log_format } = earlier;
        // The caller has moved the path, as it does for every command.
        let ConfigOrHops { place: ConfigPath { path: _ }, hops } = config;
        let Switches { no_corporate, disable, enable } = switches;
        // Flags that may be repeated keep the order of the command line. For a flag with one value the later one wins, as
        // in most programs.
        self.config.hops.splice(0..0, hops);
        self.listen.splice(0..0, listen);
        self.take_over |= take_over;
        self.log_level = self.log_level.or(log_level);
        self.log_format = self.log_format.or(log_format);
        self.switches.no_corporate |= no_corporate;
        self.switches.disable.splice(0..0, disable);
        self.switches.enable.splice(0..0, enable);
    }

    /// Returns the first flag, besides `-c`, that was given, and the commands that accept it.
    pub(super) fn given(&self) -> Option<(&'static str, &'static str)> {
        let Self { config, listen, take_over, switches, log_level, log_format } = self;
        let ConfigOrHops { place: ConfigPath { path: _ }, hops } = config;
        let Switches { no_corporate, disable, enable } = switches;
        let flags = [
            ("--hop", READERS, !hops.is_empty()),
            ("--listen", "`run`", !listen.is_empty()),
            ("--take-over", "`run`", *take_over),
            ("--no-corporate", READERS, *no_corporate),
            ("--disable", READERS, !disable.is_empty()),
            ("--enable", READERS, !enable.is_empty()),
            ("--log-level", "`run`", log_level.is_some()),
            ("--log-format", "`run`", log_format.is_some()),
        ];
        flags
            .into_iter()
            .find_map(|(flag, commands, is_given)| is_given.then_some((flag, commands)))
    }
}

/// The commands that read a configuration and can change it.
const READERS: &str = "`run`, `check`, `explain` or `probe`";

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

/// Accepts any text. `UrlChain::new` checks it later, since an error of clap would quote it.
#[expect(clippy::unnecessary_wraps, reason = "clap wants a result")]
fn hop_url(text: &str) -> Result<HopUrl, Infallible> {
    Ok(HopUrl::new(text))
}

/// Parses a listen address, and suggests the whole address if only a part is given.
fn parse_listen(text: &str) -> Result<ListenAddress, String> {
    text.parse().map_err(|InvalidListenAddress| {
        // People write the port alone, as other programs accept it.
        if let Some(port) = config::bare_port(text) {
            return format!("write the address too, as in `127.0.0.1:{port}`");
        }
        if config::has_too_large_port(text) {
            return "the port is too large; ports go up to 65535".to_owned();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser as _;

    #[test]
    fn a_flag_before_the_word_run_has_the_effect_of_one_after_it() {
        let plain = command(&["run"]).unwrap();
        for flag in flags_of_run() {
            let words: Vec<&str> = flag.iter().map(String::as_str).collect();
            let before = command(&[&words, &["run"][..]].concat()).unwrap();
            assert_eq!(before, command(&[&["run"], &words[..]].concat()).unwrap(), "{flag:?}");
            assert_eq!(before, command(&words).unwrap(), "{flag:?} without a command");
            assert_ne!(before, plain, "{flag:?} changes nothing");
        }
    }

    #[test]
    fn a_flag_of_run_before_another_command_is_an_error_that_names_it() {
        for flag in flags_of_run().filter(|flag| flag[0] != "--config") {
            for other in ["check", "status", "schema"] {
                let words: Vec<&str> = flag.iter().map(String::as_str).chain([other]).collect();
                let error = command(&words).unwrap_err().to_string();
                let expected = format!("`{}` is written after its command", flag[0]);
                assert!(error.contains(&expected), "{words:?}: {error}");
            }
        }
    }

    #[test]
    fn flags_before_and_after_the_word_run_are_used_in_their_order() {
        for flag in ["--listen", "--hop", "--disable", "--enable"] {
            let (first, second) = ("127.0.0.1:1", "127.0.0.1:2");
            let around = command(&[flag, first, "run", flag, second]).unwrap();
            let after = command(&["run", flag, first, flag, second]).unwrap();
            assert_eq!(around, after, "{flag}");
        }
        let later = command(&["--log-level", "error", "run", "--log-level", "debug"]).unwrap();
        assert_eq!(later, command(&["run", "--log-level", "debug"]).unwrap());
    }

    /// Returns every flag of `run` that clap knows, each with a value that it accepts.
    fn flags_of_run() -> impl Iterator<Item = Vec<String>> {
        let declared = Run::augment_args(clap::Command::new("run"));
        let flags: Vec<Vec<String>> = declared
            .get_arguments()
            .map(|flag| {
                let name = format!("--{}", flag.get_long().unwrap());
                let values = flag.get_possible_values();
                // Any text is accepted as a path, a hop and a name, so an address fits them all.
                let value = values.first().map_or("127.0.0.1:3128", |value| value.get_name());
                let value = flag.get_action().takes_values().then(|| value.to_owned());
                [name].into_iter().chain(value).collect()
            })
            .collect();
        assert!(flags.contains(&vec!["--take-over".to_owned()]), "{flags:?}");
        flags.into_iter()
    }

    /// Returns what the program does with these words after its name.
    fn command(words: &[&str]) -> Result<String, clap::Error> {
        let cli = Cli::try_parse_from([&["mooltiroute"], words].concat())?;
        let command: Command = cli.into_command()?;
        Ok(format!("{command:?}"))
    }
}
