//! Why the service may not work as the operator intends.

use mooltiroute_hops::Registry;

use super::{Manager, environment_file::EnvironmentFile};
use crate::config::{Environment, Loader, Overrides, Problems, Source};

/// The reasons why the service may not work as the operator intends.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// The problems of the configuration other than missing variables.
    pub(super) invalid: Option<Problems>,
    /// About variables, which may still be set after the installation.
    pub(super) variables: Vec<String>,
}

impl Doubts {
    /// Loads `source` as the service will: with the variables that it has, and none of this shell.
    pub(super) fn about(
        manager: &dyn Manager,
        source: &Source,
        registry: Registry,
        environment: &Environment,
    ) -> Self {
        let mut doubts = Self::default();
        let file = manager.environment_file();
        let environment = match &file {
            None => environment.clone(),
            Some(path) => {
                let shown = path.display();
                let read = EnvironmentFile::read(path).unwrap_or_else(|error| {
                    doubts.variables.push(format!("`{shown}` can't be read: {error}"));
                    EnvironmentFile::default()
                });
                doubts
                    .variables
                    .extend(read.doubts.iter().map(|doubt| format!("`{shown}`: {doubt}")));
                environment.clone().limited_to(&OF_SESSIONS).with_variables(read.variables)
            }
        };
        let loader = Loader::new(source.clone(), Overrides::default(), registry, environment);
        let problems = loader.load().err().unwrap_or_default();
        let (unset, invalid): (Vec<_>, Vec<_>) =
            problems.0.into_iter().partition(|problem| problem.code == "variable");
        doubts.invalid = (!invalid.is_empty()).then_some(Problems(invalid));
        let names = loader.used_variables().into_iter();
        // Also those with a default: the shell of the operator may have another value.
        let is_missing =
            |name: &String| file.is_none() || loader.environment().variable(name).is_none();
        let names: Vec<_> = names.filter(is_missing).map(|name| format!("${{{name}}}")).collect();
        if !names.is_empty() {
            let names = names.join(", ");
            let effect = if unset.is_empty() { DEFAULTS_COUNT } else { CANNOT_START };
            doubts.variables.push(match &file {
                Some(path) => format!(
                    "the configuration uses {names}, which `{}` does not set{effect}; {SET_THEM}",
                    path.display()
                ),
                None => format!("the configuration uses {names}; {VARIABLES_OF_A_SERVICE}"),
            });
        }
        doubts
    }
}

/// The variables that a service manager gives to the services of a user.
const OF_SESSIONS: [&str; 8] =
    ["HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"];

const CANNOT_START: &str = ", so the service can't start";
const DEFAULTS_COUNT: &str = ", so the defaults in the configuration count";
const SET_THEM: &str = "write one `NAME=value` a line there, without `export`, or keep a password in a file and name that with \
                        `password_file`";
const VARIABLES_OF_A_SERVICE: &str = "a service does not have the variables of this shell. Set them where it gets its own, or \
                                      keep a password in a file and name that with `password_file`";
