//! The variables and the directory of a process, which a configuration depends on.

use std::{ffi::OsString, fmt, path::PathBuf, sync::Arc};

use mooltiroute_hops::Secret;

/// The parts of the surrounding process that a configuration depends on.
#[derive(Clone)]
pub struct Environment {
    variables: Arc<Variables>,
    pub(super) directory: PathBuf,
    /// Whether the permissions of files are looked at, to warn of secrets that others may read.
    checks_permissions: bool,
}

type Variables = dyn Fn(&str) -> Option<OsString> + Send + Sync;

impl Environment {
    /// Creates an environment with these variables, and `directory` for relative paths.
    pub fn new(
        variables: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static,
        directory: impl Into<PathBuf>,
    ) -> Self {
        Self {
            variables: Arc::new(variables),
            directory: directory.into(),
            checks_permissions: false,
        }
    }

    /// Returns the environment of this process.
    pub fn of_process() -> Self {
        Self { checks_permissions: true, ..Self::new(|name| std::env::var_os(name), "") }
    }

    /// Returns this environment with more `variables`, which win over others of their names.
    #[must_use]
    pub fn with_variables(self, variables: Vec<(String, Secret)>) -> Self {
        let others = Arc::clone(&self.variables);
        let find = move |name: &str| {
            let own = variables.iter().find(|(known, _)| known == name);
            own.map(|(_, value)| value.expose().into()).or_else(|| others(name))
        };
        Self { variables: Arc::new(find), ..self }
    }

    /// Returns this environment without all variables but those of `names`.
    #[must_use]
    pub(crate) fn limited_to(self, names: &'static [&'static str]) -> Self {
        let all = Arc::clone(&self.variables);
        let find = move |name: &str| names.contains(&name).then(|| all(name)).flatten();
        Self { variables: Arc::new(find), ..self }
    }

    /// Returns this environment with a value for every variable that is not set. It is a number and a text.
    pub(crate) fn with_placeholders(self) -> Self {
        let others = Arc::clone(&self.variables);
        let find = move |name: &str| others(name).or_else(|| Some("1".into()));
        Self { variables: Arc::new(find), ..self }
    }

    /// Returns whether the permissions of files are looked at.
    pub(crate) fn checks_permissions(&self) -> bool {
        self.checks_permissions
    }

    /// Returns the value of a variable.
    pub fn variable(&self, name: &str) -> Option<OsString> {
        (self.variables)(name)
    }

    /// Returns the path in a variable, unless it is relative: that would be another place for each program that reads
    /// the variable. The XDG Base Directory Specification says to ignore it too.
    pub(crate) fn absolute_path(&self, name: &str) -> Option<PathBuf> {
        self.variable(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }

    /// Returns the directory for data that must outlive a process: the supervisor's, or else the user's.
    pub(crate) fn state_directory(&self) -> Option<PathBuf> {
        let set = |name| {
            // A supervisor may name several, with colons between.
            let value = self.variable(name)?.into_string().ok()?;
            let separator = if cfg!(windows) { ';' } else { ':' };
            let path = PathBuf::from(value.split(separator).next()?);
            path.is_absolute().then_some(path)
        };
        let of_user = || {
            set("XDG_STATE_HOME")
                .or_else(|| if cfg!(windows) { set("LOCALAPPDATA") } else { None })
                .or_else(|| Some(set("HOME")?.join(".local/state")))
                .map(|state| state.join("mooltiroute"))
        };
        set("STATE_DIRECTORY").or_else(of_user)
    }

    /// Returns the user's directories for configurations, in the order in which they are looked at.
    pub(crate) fn user_directories(&self) -> Vec<PathBuf> {
        self.user_directories_on(std::env::consts::OS)
    }

    /// Returns the directories of [`user_directories`](Self::user_directories) on another system.
    fn user_directories_on(&self, system: &str) -> Vec<PathBuf> {
        if let Some(directory) = self.absolute_path("XDG_CONFIG_HOME") {
            return vec![directory];
        }
        let (variable, below): (_, &[&str]) = match system {
            "windows" => ("APPDATA", &[""]),
            // Many command-line programs keep to `~/.config` on macOS too.
            "macos" => ("HOME", &["Library/Application Support", ".config"]),
            _ => ("HOME", &[".config"]),
        };
        let Some(root) = self.absolute_path(variable) else { return Vec::new() };
        below.iter().map(|below| root.join(below)).collect()
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("directory", &self.directory).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[cfg(unix)]
    #[test]
    fn macos_looks_in_both_customary_directories() {
        let home = |name: &str| (name == "HOME").then(|| "/Users/ann".into());
        let environment = Environment::new(home, "");
        let found = environment.user_directories_on("macos");
        let expected = ["/Users/ann/Library/Application Support", "/Users/ann/.config"];
        assert_eq!(found, expected.map(PathBuf::from));
        let found = environment.user_directories_on("linux");
        assert_eq!(found, [PathBuf::from("/Users/ann/.config")]);
        let set = |name: &str| (name == "XDG_CONFIG_HOME").then(|| "/elsewhere".into());
        let found = Environment::new(set, "").user_directories_on("macos");
        assert_eq!(found, [PathBuf::from("/elsewhere")]);
    }

    #[test]
    fn the_directory_of_a_service_comes_before_that_of_the_user() {
        // An absolute path has a drive on Windows, and `;` separates several.
        let (root, and) = if cfg!(windows) { ("C:", ';') } else { ("", ':') };
        let of = |values: &[(&str, &str)]| {
            let value =
                |(name, below): &(&str, &str)| ((*name).to_owned(), format!("{root}{below}"));
            let values: Vec<_> = values.iter().map(value).collect();
            let find = move |name: &str| {
                let value = values.iter().find(|(known, _)| *known == name);
                value.map(|(_, value)| value.into())
            };
            Environment::new(find, Path::new("")).state_directory()
        };
        let at = |below: &str| Some(PathBuf::from(format!("{root}{below}")));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("XDG_STATE_HOME", "/home/a/state")]), at("/home/a/state/mooltiroute"));
        assert_eq!(
            of(&[("HOME", "/home/a"), ("XDG_STATE_HOME", "b")]),
            at("/home/a/.local/state/mooltiroute")
        );
        let both = format!("/var/lib/m{and}{root}/var/lib/n");
        assert_eq!(of(&[("STATE_DIRECTORY", &both), ("XDG_STATE_HOME", "/s")]), at("/var/lib/m"));
    }
}
