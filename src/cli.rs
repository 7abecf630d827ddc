//! The command line, as types.

mod advice;
mod config_flags;
mod config_names;
mod proxy_flags;

use std::{ffi::OsString, path::PathBuf};

use clap::{
    Args as _, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueHint,
    error::ErrorKind,
};

#[cfg(feature = "top")]
pub use self::proxy_flags::Top;
pub use self::{
    config_flags::{
        Check, ConfigOrHops, ConfigPath, Explain, Format, GraphFormat, Init, Probe, RequestFlags,
        Run, Switches,
    },
    proxy_flags::{
        Env, Exec, Hop, HopState, Kill, ProxyChoice, Ps, Reload, Service, ServiceAction, Shell,
        Status, Usage, UsageBy,
    },
};

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
    /// It completes commands, flags, values and the names of the configured hops and chains. The shell runs this
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
    /// Reload the running proxy's configuration, and wait for the result
    Reload(Reload),
    /// Switch a hop on or off by editing its file
    Hop(Hop),
    /// Print the shell commands that set the proxy variables
    Env(Env),
    /// Run a command with the proxy variables set
    Exec(Exec),
    /// Start the proxy at each login, or remove that service; needs no administrator rights
    Service(Service),
    /// Show the bytes used by hop, chain, route, session or target
    Usage(Usage),
}

impl Cli {
    /// Parses the arguments of a process that runs the proxy: no command, or `run`. Returns `None` for all others, and if
    /// they are wrong or ask for help.
    ///
    /// Describing all commands to the parser takes a fifth of the time in which the proxy starts. Here only one is
    /// described.
    fn of_run(arguments: &[OsString]) -> Option<Self> {
        let (name, rest) = arguments.split_first()?;
        let flags = match rest {
            [first, flags @ ..] if first == "run" => flags,
            [first, ..] if !first.as_encoded_bytes().starts_with(b"-") => return None,
            flags => flags,
        };
        let command = Run::augment_args(clap::Command::new("mooltiroute"));
        let command = command.disable_help_flag(true).disable_version_flag(true);
        let matches = command.try_get_matches_from(std::iter::once(name).chain(flags)).ok()?;
        Some(Self { command: None, run: Run::from_arg_matches(&matches).ok()? })
    }

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
            let message = "`--print` goes with `install`; nothing was changed";
            return Err(Self::command().error(ErrorKind::ArgumentConflict, message));
        }
        // Any other flag would have no effect, so it is refused.
        match run.given() {
            None => Ok(command),
            Some((flag, commands)) => Err(Self::command().error(
                ErrorKind::ArgumentConflict,
                format!("`{flag}` is written after its command, which can be {commands}"),
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
            Self::Explain(flags) => Some(&mut flags.request.config.place),
            Self::Probe(flags) => Some(&mut flags.request.config.place),
            Self::Status(flags) => Some(&mut flags.proxy.config),
            Self::Ps(flags) => Some(&mut flags.proxy.config),
            #[cfg(feature = "top")]
            Self::Top(flags) => Some(&mut flags.proxy.config),
            Self::Hop(flags) => Some(&mut flags.proxy.config),
            Self::Kill(flags) => Some(&mut flags.proxy.config),
            Self::Reload(flags) => Some(&mut flags.proxy.config),
            Self::Env(flags) => Some(&mut flags.proxy.config),
            Self::Exec(flags) => Some(&mut flags.proxy.config),
            Self::Usage(flags) => Some(&mut flags.config),
            Self::Service(flags) => Some(&mut flags.config),
            Self::Init(_) | Self::Schema | Self::Completions { .. } | Self::Man { .. } => None,
        }
    }
}

const EXAMPLES: &str = "Examples:
  mooltiroute                                run the proxy on http://127.0.0.1:8888
  mooltiroute init && mooltiroute check      write a sample configuration and validate it
  mooltiroute probe https://example.com/     test the chain, step by step
  mooltiroute status                         ask the running proxy";

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn flags_of_run_mean_alone_what_they_mean_among_all_commands() {
        for line in [
            "mooltiroute",
            "mooltiroute run",
            "mooltiroute -c a.yaml",
            "mooltiroute run -c run --no-corporate --take-over --log-format json",
            "mooltiroute --hop http://proxy:3128 --hop socks5://proxy:1080 --listen 127.0.0.1:1",
            "mooltiroute run --disable a,b --enable c --log-level debug --listen=[::1]:0",
        ] {
            let alone = Cli::of_run(&words(line)).unwrap().into_command().unwrap();
            let full = Cli::parse_from(words(line)).into_command().unwrap();
            assert_eq!(format!("{alone:?}"), format!("{full:?}"), "{line}");
        }
    }

    #[test]
    fn all_other_lines_are_left_to_the_full_parser() {
        for line in [
            "",
            "mooltiroute check",
            "mooltiroute -c a.yaml run",
            "mooltiroute -c a.yaml status",
            "mooltiroute --help",
            "mooltiroute run --version",
            "mooltiroute run check",
            "mooltiroute --log-level",
            "mooltiroute run --port 1",
        ] {
            assert!(Cli::of_run(&words(line)).is_none(), "{line}");
        }
    }
}
