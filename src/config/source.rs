//! Finds and reads the files of a configuration.

use std::{
    ffi::OsString,
    fmt, fs,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use mooltiroute_hops::{Encryption, KeyPath, Secret, is_utf16};
use zeroize::Zeroize as _;

use crate::config::{
    report::{
        file_access::unreadable_configuration,
        problem::{Place, Problem, Problems},
    },
    yaml::interpolate,
};

/// The source of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file, or a directory of files.
    Path(PathBuf),
    /// A text, for a program that brings its own. It is not watched.
    Text(Arc<str>),
    /// The configuration that means the same as the hops of the command line.
    CommandLine {
        /// The text, in which variables stand for credentials.
        text: Arc<str>,
        /// Whether it has such variables.
        has_credentials: bool,
    },
    /// The configuration in the program, which is used if there is no other.
    Embedded,
}

/// The parts of the surrounding process that a configuration depends on.
#[derive(Clone)]
pub struct Environment {
    variables: Arc<Variables>,
    directory: PathBuf,
    /// Whether the permissions of files are looked at, to warn of secrets that others may read.
    checks_permissions: bool,
}

type Variables = dyn Fn(&str) -> Option<OsString> + Send + Sync;

/// A file that was read.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) name: Arc<str>,
    pub(crate) text: String,
}

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

/// Texts that are kept, and wiped when they are dropped: they may hold secrets.
pub(crate) struct KeptTexts(Vec<Text>);

impl KeptTexts {
    /// Returns a copy of them.
    pub(crate) fn copy(&self) -> Vec<Text> {
        self.0.clone()
    }
}

impl Drop for KeptTexts {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|text| text.text.zeroize());
    }
}

impl fmt::Debug for KeptTexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|text| &text.name)).finish()
    }
}

impl From<Vec<Text>> for KeptTexts {
    fn from(texts: Vec<Text>) -> Self {
        Self(texts)
    }
}

impl Source {
    /// Returns the source that `flag` names, or else the first that exists of `$MOOLTIROUTE_CONFIG`, `config.d`,
    /// `config.yaml`, the user's and the system's `mooltiroute/config.d`, or else the embedded one.
    ///
    /// # Errors
    /// The path of `flag` or of the variable does not exist. Another source never replaces one that was named.
    pub fn find(flag: Option<PathBuf>, environment: &Environment) -> Result<Self, Problems> {
        let variable = environment.variable(PATH_VARIABLE).filter(|path| !path.is_empty());
        let named = flag
            .map(|path| (path, "-c"))
            .or_else(|| variable.map(|path| (PathBuf::from(path), "$MOOLTIROUTE_CONFIG")));
        if let Some((path, from)) = named {
            // Only whether it exists is checked here. Each load reads it again.
            let path = environment.directory.join(path);
            return match fs::metadata(&path) {
                Ok(_) => Ok(Self::Path(path)),
                Err(error) => {
                    let shown = path.display();
                    let message = match error.kind() {
                        io::ErrorKind::NotFound => {
                            format!("`{shown}` from {from} does not exist")
                        }
                        _ => format!("`{shown}` from {from} can't be read: {error}"),
                    };
                    let help = unreadable_configuration(&path, &error);
                    let problem = Problem::new(&KeyPath::default(), "source", message);
                    Err(Problem { help, ..problem }.into())
                }
            };
        }
        let mut paths = Self::places(environment).into_iter();
        // A link that leads nowhere counts: it was meant to be the configuration, and reading it reports the
        // problem.
        let found = paths.find(|path| path.symlink_metadata().is_ok());
        Ok(found.map_or(Self::Embedded, Self::Path))
    }

    /// Returns the places in which a configuration is looked for, if none is named.
    fn places(environment: &Environment) -> Vec<PathBuf> {
        let user = environment.user_directories().into_iter();
        let user = user.map(|user| user.join("mooltiroute").join("config.d"));
        let system = cfg!(unix).then(|| PathBuf::from("/etc/mooltiroute/config.d"));
        let local = ["config.d", "config.yaml"].map(|name| environment.directory.join(name));
        local.into_iter().chain(user).chain(system).collect()
    }

    /// Returns a text that lists the places without a configuration, or `None` if there is one.
    pub(crate) fn nothing_found(&self, environment: &Environment) -> Option<String> {
        let Self::Embedded = self else { return None };
        let places: Vec<_> = Self::places(environment)
            .iter()
            .map(|place| format!("  {}", place.display()))
            .collect();
        Some(format!(
            "no configuration was found, so every request goes direct; these places were looked at:\n{}\n`mooltiroute init` \
             writes one to start from, and `-c PATH` names another",
            places.join("\n")
        ))
    }

    /// Returns the directory that relative paths in the configuration start from.
    pub fn directory(&self) -> &Path {
        match self {
            Self::Path(path) if path.is_dir() => path,
            Self::Path(path) => path.parent().unwrap_or(Path::new("")),
            Self::Text(_) | Self::CommandLine { .. } | Self::Embedded => Path::new(""),
        }
    }

    /// Returns the path of `file` below the path that the operator wrote, as messages show it. `file` may be absolute and
    /// without links, as the watch has it.
    pub(crate) fn as_written(&self, file: &Path) -> PathBuf {
        let directory = self.directory();
        // The directory of a file in the current one has an empty path.
        let found = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let whole = [found.canonicalize(), std::path::absolute(found)];
        let mut below =
            whole.into_iter().flatten().filter_map(|whole| file.strip_prefix(whole).ok());
        below.next().map_or_else(|| file.to_owned(), |rest| directory.join(rest))
    }

    /// Returns the names of the variables that the files use, each once, as far as they can be read.
    pub(crate) fn variables(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for text in self.read().0 {
            let lines = text.text.lines().filter(|line| !line.trim_start().starts_with('#'));
            for name in lines.flat_map(interpolate::names) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    }

    /// Reads every file, in the order in which they are merged.
    ///
    /// # Errors
    /// Every file that can't be read, beside those that could.
    pub(crate) fn read(&self) -> (Vec<Text>, Problems) {
        let given = |name: &str, text: &str| {
            (vec![Text { name: name.into(), text: text.to_owned() }], Problems::default())
        };
        let path = match self {
            Self::Path(path) => path,
            Self::Text(text) => return given("(given)", text),
            Self::CommandLine { text, .. } => return given("--hop", text),
            Self::Embedded => return given("(built in)", EMBEDDED),
        };
        let paths = match files(path) {
            Ok(paths) => paths,
            Err(problems) => return (Vec::new(), problems),
        };
        // A file that can't be read does not keep the others from being read, so that all problems are
        // reported at once.
        let (mut texts, mut problems) = (Vec::new(), Problems::default());
        let mut room = BYTES_MAX;
        for path in paths {
            match read(&path, room) {
                Ok(text) => {
                    room -= text.len().min(room);
                    texts.push(Text { name: path.display().to_string().into(), text });
                }
                Err(faults) => problems.0.extend(faults.0),
            }
        }
        (texts, problems)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Text(_) => f.write_str("the configuration of the program"),
            Self::CommandLine { .. } => f.write_str("the hops of the command line"),
            Self::Embedded => f.write_str("the built-in configuration"),
        }
    }
}

/// Returns the files at `path`: itself, or in byte order those of a directory that are neither hidden nor a backup.
fn files(path: &Path) -> Result<Vec<PathBuf>, Problems> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()
    });
    let mut paths = entries.map_err(|error| unreadable(path, &error))?;
    paths.retain(|path| is_read(path) && !path.is_dir());
    // By bytes, as documented, and not by `Path`, which compares components.
    paths.sort_by(|one, other| {
        one.as_os_str().as_encoded_bytes().cmp(other.as_os_str().as_encoded_bytes())
    });
    match paths.len() {
        0 => Err(about(path, "source", nothing_to_read(path))),
        1..=FILES_MAX => Ok(paths),
        _ => {
            Err(about(path, "size", format!("there are over {FILES_MAX} files in this directory")))
        }
    }
}

impl Source {
    /// Warns of files of the configuration that are probably not treated as they were meant: those that are empty, those in
    /// its directory that are not read and are none of `named`, the files that settings name, and copies, which are read.
    pub(crate) fn doubtful_files(&self, named: &[PathBuf]) -> Vec<Problem> {
        let Self::Path(directory) = self else { return Vec::new() };
        let names = |paths: Vec<PathBuf>| -> Vec<String> {
            let name = |path: &PathBuf| Some(path.file_name()?.to_str()?.to_owned());
            let mut names: Vec<_> = paths.iter().filter_map(name).collect();
            names.sort();
            names
        };
        let warning = |place: &Path, what: String, help: &str| {
            let message = format!("{}: {what}", place.display());
            Problem::new(&KeyPath::default(), "source", message).with_help(help)
        };
        if !directory.is_dir() {
            let is_empty = is_blank(directory);
            return is_empty
                .then(|| warning(directory, EMPTY.into(), EMPTY_HELP))
                .into_iter()
                .collect();
        }
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let (read, others): (Vec<_>, Vec<_>) = entries
            .map(|entry| entry.path())
            .filter(|path| path.is_file())
            .partition(|path| is_read(path));
        let is_named = |path: &PathBuf| {
            named.contains(path)
                || path.canonicalize().is_ok_and(|whole| {
                    named.iter().any(|one| one.canonicalize().is_ok_and(|one| one == whole))
                })
        };
        let unread = names(others.into_iter().filter(|path| !is_named(path)).collect());
        let unread: Vec<_> = unread.into_iter().filter(|name| seems_meant(name)).collect();
        let mut empty: Vec<_> = read.iter().filter(|path| is_blank(path)).collect();
        empty.sort();
        let mut warnings: Vec<_> =
            empty.into_iter().map(|file| warning(file, EMPTY.into(), EMPTY_HELP)).collect();
        let copies: Vec<_> = names(read).into_iter().filter(|name| is_copy(name)).collect();
        let listed = |what: &str, names: &[String]| format!("{what}: `{}`", names.join("`, `"));
        if !unread.is_empty() {
            warnings.push(warning(directory, listed(UNREAD, &unread), UNREAD_HELP));
        }
        if !copies.is_empty() {
            warnings.push(warning(directory, listed(COPY, &copies), COPY_HELP));
        }
        warnings
    }
}

/// Returns whether the file has no content. `echo > FILE` empties it too, and leaves a line end.
pub(crate) fn is_blank(path: &Path) -> bool {
    let Ok(found) = fs::metadata(path) else { return false };
    let is_tiny = found.is_file() && found.len() <= BLANK_BYTES_MAX;
    is_tiny && fs::read(path).is_ok_and(|bytes| bytes.trim_ascii().is_empty())
}

/// Returns whether a file that is not read seems to be a part of the configuration. Backups, secrets and certificates have
/// other endings. The schema is one that `mooltiroute init` writes beside the files.
fn seems_meant(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let ends = [".json", ".toml", ".conf", ".cfg", ".config", ".ini", ".env", ".txt"];
    lower != "schema.json"
        && ends
            .iter()
            .any(|end| lower.ends_with(end) && (lower.len() > end.len() || *end == ".env"))
}

/// Returns whether a file has the name that programs give to a copy.
fn is_copy(name: &str) -> bool {
    let lower = name.to_lowercase();
    let stem = lower.rsplit_once('.').map_or(&*lower, |(stem, _)| stem);
    let ends = [" copy", "-copy", "_copy", " kopie", "(copy)", "(kopie)"];
    let is_numbered = stem.strip_suffix(')').and_then(|rest| rest.rsplit_once('(')).is_some_and(
        |(before, number)| {
            !before.is_empty()
                && !number.is_empty()
                && number.bytes().all(|byte| byte.is_ascii_digit())
        },
    );
    stem.starts_with("copy of ") || is_numbered || ends.iter().any(|end| stem.ends_with(end))
}

/// Files above this are not looked into.
const BLANK_BYTES_MAX: u64 = 16;

/// Advice on an empty file.
pub(crate) const EMPTY_HELP: &str =
    "write it again or remove it. To keep a file without settings, put a comment in it";
const EMPTY: &str = "this file is empty. A running proxy that has read settings from it keeps them, and rejects the edit";
const UNREAD: &str = "only `*.yaml` and `*.yml` are read from a directory, and not";
const UNREAD_HELP: &str = "rename a part of the configuration to `NAME.yaml`; keep other files elsewhere, and set variables where \
                           the program is started";
const COPY: &str = "this seems to be a copy of a file, and is read as well";
const COPY_HELP: &str = "remove the copy, or rename it to end with `.bak`; of two values of a key, the one of the last file by name counts";

/// Says that no file in the directory `path` is read, and names one that was probably meant.
fn nothing_to_read(path: &Path) -> String {
    let nothing = "there is no `*.yaml` or `*.yml` file in this directory";
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let names = entries.filter(|entry| entry.path().is_file()).map(|entry| entry.file_name());
    let mut names: Vec<_> = names.filter_map(|name| name.into_string().ok()).collect();
    names.sort();
    // A file of secrets or a backup has another ending on purpose.
    let is_config = |name: &&String| {
        let lower = name.to_ascii_lowercase();
        [".conf", ".cfg", ".config", ".json", ".yaml.txt", ".yml.txt"]
            .iter()
            .any(|end| lower.ends_with(end))
    };
    match names.iter().find(is_config) {
        Some(name) => format!(
            "{nothing}, and no other file is read; if `{name}` is a configuration in YAML, rename it, and otherwise see \
             what `mooltiroute check -c {}` says",
            path.join(name).display()
        ),
        None => format!("{nothing}; `mooltiroute init DIR` writes one to start from"),
    }
}

/// Returns the absolute path of `path` without links, in the form that people write.
///
/// # Errors
/// There is no such file.
pub(crate) fn without_links(path: &Path) -> io::Result<PathBuf> {
    path.canonicalize().map(|path| if cfg!(windows) { without_marker(path) } else { path })
}

/// Takes the `\\?\` off a path of Windows that begins with a drive. The system puts it before paths without links, and many
/// programs don't accept it.
fn without_marker(path: PathBuf) -> PathBuf {
    let plain = path.to_str().and_then(|text| text.strip_prefix(r"\\?\"));
    match plain {
        Some(plain) if plain.as_bytes().get(1) == Some(&b':') => plain.into(),
        _ => path,
    }
}

/// Returns whether the configuration at `path` has `file`, whose path comes from [`without_links`].
pub(crate) fn is_read_from(path: &Path, file: &Path) -> bool {
    let leads_there = |read: &PathBuf| without_links(read).is_ok_and(|read| read == file);
    files(path).is_ok_and(|files| files.iter().any(leads_there))
}

/// Returns whether a file of this name in a directory of configuration is read: not if it is hidden, a backup or no
/// YAML.
pub(crate) fn is_read(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_yaml = name.ends_with(".yaml") || name.ends_with(".yml");
    is_yaml && !name.starts_with(['.', '#', '~'])
}

fn read(path: &Path, room: usize) -> Result<String, Problems> {
    // Opening a pipe without a writer would never return.
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => {
            return Err(about(path, "source", "this is a pipe or a device, and not a file"));
        }
        Ok(_) => {}
        Err(error) => return Err(unreadable(path, &error)),
    }
    let mut bytes = Vec::new();
    // One byte more than there is room for tells a file that is too large from one that just fits.
    let mut file =
        File::open(path).map_err(|error| unreadable(path, &error))?.take(room as u64 + 1);
    file.read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    if bytes.len() > room {
        let message = format!("the configuration is over {} MiB with this file", BYTES_MAX >> 20);
        return Err(about(path, "size", message));
    }
    // The mark would be reported as a byte that is not UTF-8, which helps less.
    if is_utf16(&bytes) {
        let file = path.display().to_string().into();
        let problem =
            Problem::new(&KeyPath::default(), "encoding", "this is UTF-16; save it as UTF-8");
        return Err(Problem { place: Some(Place { file, line: 1, column: 1 }), ..problem }.into());
    }
    if let Some(encryption) = Encryption::of(&bytes) {
        let file = path.display().to_string().into();
        let problem =
            Problem::new(&KeyPath::default(), "encrypted", format!("this file {encryption}"));
        let place = Some(Place { file, line: 1, column: 1 });
        return Err(Problem { place, ..problem }.with_help(encryption.help()).into());
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.split(|byte| *byte == b'\n').count();
        let before = valid.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let column = String::from_utf8_lossy(before).chars().count() + 1;
        let file = path.display().to_string().into();
        let message = "a byte here is not valid UTF-8; save the file as UTF-8";
        let problem = Problem::new(&KeyPath::default(), "encoding", message);
        Problem { place: Some(Place { file, line, column }), ..problem }.into()
    })
}

fn unreadable(path: &Path, error: &io::Error) -> Problems {
    let mut problems = about(path, "source", format!("can't be read: {error}"));
    if let Some(help) = unreadable_configuration(path, error) {
        problems.0.iter_mut().for_each(|problem| problem.help = Some(help.clone()));
    }
    problems
}

fn about(path: &Path, code: &'static str, message: impl Into<String>) -> Problems {
    let message = format!("{}: {}", path.display(), message.into());
    Problem::new(&KeyPath::default(), code, message).into()
}

const PATH_VARIABLE: &str = "MOOLTIROUTE_CONFIG";

/// The configuration that is used if there is no file.
const EMBEDDED: &str = "server: { listen: 127.0.0.1:8888 }\nchains: { default: [] }\n";

/// All files together.
const BYTES_MAX: usize = 2 << 20;
const FILES_MAX: usize = 256;

#[cfg(test)]
mod tests {
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
    fn a_path_of_windows_is_shown_as_people_write_it() {
        for (path, shown) in [
            (r"\\?\C:\a\b.yaml", r"C:\a\b.yaml"),
            (r"\\?\UNC\server\share\b.yaml", r"\\?\UNC\server\share\b.yaml"),
            (r"C:\a", r"C:\a"),
            (r"\\?\", r"\\?\"),
        ] {
            assert_eq!(without_marker(path.into()), Path::new(shown));
        }
        let directory = tempfile::tempdir().unwrap();
        let found = without_links(directory.path()).unwrap();
        assert!(found.is_absolute() && !found.to_str().unwrap().contains('?'), "{found:?}");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_is_shown_below_the_path_that_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let real = directory.path().canonicalize().unwrap().join("real.d");
        fs::create_dir(&real).unwrap();
        let link = directory.path().join("link.d");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let source = Source::Path(link.clone());
        assert_eq!(source.as_written(&real.join("10.yaml")), link.join("10.yaml"));
        assert_eq!(source.as_written(Path::new("/elsewhere/a")), Path::new("/elsewhere/a"));
    }

    #[test]
    fn copies_and_files_that_are_not_read_are_told_by_their_names() {
        for name in
            ["00 - Copy.yaml", "a (1).yaml", "a copy.yml", "Copy of a.yaml", "a - Kopie.yaml"]
        {
            assert!(is_copy(name), "{name}");
        }
        for name in ["00.yaml", "copy.yaml", "a(b).yaml", "(1).yaml", "photocopy.yaml"] {
            assert!(!is_copy(name), "{name}");
        }
        for name in ["a.json", "A.TXT", ".env", "prod.env", "a.yaml.txt"] {
            assert!(seems_meant(name), "{name}");
        }
        for name in ["a.yaml.bak", "a.pem", "password", ".gitignore", ".json", "schema.json"] {
            assert!(!seems_meant(name), "{name}");
        }
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
