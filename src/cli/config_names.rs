//! Completes the names of hops and chains, from the configuration that the command line names.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use clap_complete::engine::CompletionCandidate;
use mooltiroute_hops::{KeyPath, Registry};

use crate::config::{Environment, Loader, Overrides, Source};

/// Returns the hops that begin with `typed`, of the configuration that the command line names so far.
pub(super) fn hops(typed: &OsStr) -> Vec<CompletionCandidate> {
    names_of("hops", typed)
}

/// Returns the chains that begin with `typed`, of the configuration that the command line names so far.
pub(super) fn chains(typed: &OsStr) -> Vec<CompletionCandidate> {
    names_of("chains", typed)
}

fn names_of(section: &str, typed: &OsStr) -> Vec<CompletionCandidate> {
    let environment = Environment::of_process();
    let Ok(source) = Source::find(named_path(std::env::args_os()), &environment) else {
        return Vec::new();
    };
    // No kind is needed to know the names, so this works for a program with kinds of its own too.
    let loader = Loader::new(source, Overrides::default(), Registry::default(), environment);
    let typed = typed.to_string_lossy();
    let names = loader.names(&KeyPath::of([section])).into_iter();
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
