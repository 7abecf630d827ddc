//! Warns of files that are probably not treated as they were meant.

use std::{
    fs,
    path::{Path, PathBuf},
};

use mooltiroute_hops::KeyPath;

use super::{Source, files::is_read};
use crate::config::report::problem::Problem;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
