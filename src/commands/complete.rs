//! Completes a command line while it is typed, with the names of hops from the configuration.
//!
//! The shell's script contains no candidates. It runs this program with [`VARIABLE`] set, and the program prints the
//! candidates and exits. So they always match the program and the configuration.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use clap::CommandFactory as _;
use clap_complete::{CompleteEnv, Shell, engine::CompletionCandidate, env::Shells};
use mooltiroute_hops::{KeyPath, Registry};

use crate::{
    cli::Cli,
    config::{Environment, Loader, Overrides, Source},
};

/// Answers a shell that asks for candidates, and ends the program then. Returns if no shell asks.
pub fn answer_shell() {
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).complete();
}

/// Returns the script that makes `shell` ask this program.
///
/// # Errors
/// The shell is not supported.
pub(super) fn script(shell: Shell) -> std::io::Result<Vec<u8>> {
    let mut script = Vec::new();
    let name = shell.to_string();
    let shells = Shells::builtins();
    let completer = shells.completer(&name).ok_or(std::io::ErrorKind::Unsupported)?;
    completer.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)?;
    Ok(script)
}

/// Returns the hops that begin with `typed`, of the configuration that the command line names so far.
pub(crate) fn hops(typed: &OsStr) -> Vec<CompletionCandidate> {
    let environment = Environment::of_process();
    let Ok(source) = Source::find(named_path(std::env::args_os()), &environment) else {
        return Vec::new();
    };
    // No kind is needed to know the names, so this works for a program with kinds of its own too.
    let loader = Loader::new(source, Overrides::default(), Registry::default(), environment);
    let typed = typed.to_string_lossy();
    let names = loader.names(&KeyPath::of(["hops"])).into_iter();
    names.filter(|name| name.starts_with(&*typed)).map(CompletionCandidate::new).collect()
}

/// Returns the value of `-c` or `--config` among `words`.
fn named_path(words: impl Iterator<Item = OsString>) -> Option<PathBuf> {
    // The script passes the line that is being completed after a `--`.
    let mut words = words.skip_while(|word| word != "--");
    while let Some(word) = words.next() {
        if word == "-c" || word == "--config" {
            return words.next().map(PathBuf::from);
        }
        let joined = word.to_str().and_then(|word| word.strip_prefix("--config="));
        if let Some(path) = joined {
            return Some(path.into());
        }
    }
    None
}

const PROGRAM: &str = "mooltiroute";
/// The environment variable that makes the program print candidates.
const VARIABLE: &str = "MOOLTIROUTE_COMPLETE";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_the_one_that_the_command_line_names() {
        let named = |words: &str| named_path(words.split(' ').map(OsString::from));
        assert_eq!(named("p -- p run -c a"), Some("a".into()));
        assert_eq!(named("p -- p run --config=a --enable"), Some("a".into()));
        assert_eq!(named("p -- p run --enable"), None);
        assert_eq!(named("p -- p run -c"), None);
    }
}
