//! Loads the configuration that a command is about.

use std::process::ExitCode;

use mooltiroute_hops::Registry;
use thiserror::Error;

use super::{
    USAGE,
    output::{complain, status, stdout, write_json_problems},
    running,
};
use crate::{
    cli::{ConfigOrHops, Format, RequestFlags},
    config::{
        Environment, Loader, Overrides, Problems, Source,
        hop_url::{InvalidHopUrl, UrlChain},
    },
};

/// Returns the loader of a command that is about one request, as [`loader`] does.
pub(super) fn loader_of(
    request: &RequestFlags,
    format: Format,
    registry: Registry,
    environment: &Environment,
) -> Result<Loader, ExitCode> {
    let loader =
        loader(&request.config, request.switches.overrides(), format, registry, environment)?;
    // The answer would read as if it were about the proxy that runs.
    if let Some(words) = loader.source().nothing_found(environment) {
        complain(&words);
    }
    if !matches!(loader.source(), Source::CommandLine { .. }) {
        running::doubt_source(&request.config.place, loader.source(), environment);
    }
    Ok(loader)
}

/// Returns the loader of a command that only reads the configuration.
///
/// If `path` does not exist, the problem is written in `format`, and the exit status is returned as the error.
pub(super) fn loader(
    config: &ConfigOrHops,
    overrides: Overrides,
    format: Format,
    registry: Registry,
    environment: &Environment,
) -> Result<Loader, ExitCode> {
    find_loader(config, overrides, registry, environment).map_err(|error| match error {
        // A program that asked for JSON gets it also if there is nothing to load.
        NoLoader::NoSource(problems) if format == Format::Json => {
            status(write_json_problems(&problems, &mut stdout()))
        }
        error => error.complain(),
    })
}

/// The reason why there is nothing to load.
#[derive(Debug, Error)]
pub(super) enum NoLoader {
    #[error("{0}")]
    Usage(InvalidHopUrl),
    #[error("{0}")]
    NoSource(Problems),
}

impl NoLoader {
    /// Returns the exit status of a command that can't go on.
    pub(super) fn status(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(USAGE),
            Self::NoSource(_) => ExitCode::FAILURE,
        }
    }

    pub(super) fn complain(&self) -> ExitCode {
        complain(self);
        self.status()
    }
}

/// Returns the loader of the configuration that `config` means.
///
/// # Errors
/// The reason why there is nothing to load.
pub(super) fn find_loader(
    config: &ConfigOrHops,
    overrides: Overrides,
    registry: Registry,
    environment: &Environment,
) -> Result<Loader, NoLoader> {
    // Hops of the command line come first: clap refuses `-c` beside them, and a configuration that is merely
    // found must not add routes to them.
    let (source, environment) = hops_of(config, &registry, environment).map_err(NoLoader::Usage)?;
    let source = source.map_or_else(|| Source::find(config.place.path.clone(), &environment), Ok);
    let source = source.map_err(NoLoader::NoSource)?;
    Ok(Loader::new(source, overrides, registry, environment))
}

/// Returns the configuration that the hops of the command line mean, if it names some, and the environment with their
/// credentials.
fn hops_of(
    ConfigOrHops { hops, .. }: &ConfigOrHops,
    registry: &Registry,
    environment: &Environment,
) -> Result<(Option<Source>, Environment), InvalidHopUrl> {
    if hops.is_empty() {
        return Ok((None, environment.clone()));
    }
    let UrlChain { yaml, variables, has_credentials } = UrlChain::new(hops, registry)?;
    let source = Source::CommandLine { text: yaml.into(), has_credentials };
    Ok((Some(source), environment.clone().with_variables(variables)))
}

/// Returns whether `loader` reads hops with credentials from the command line, which other users of this machine can see.
pub(super) fn shows_credentials(loader: &Loader) -> bool {
    matches!(loader.source(), Source::CommandLine { has_credentials: true, .. })
}
