//! Lists and reads the files at a path.

use std::{
    fs,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use mooltiroute_hops::{Encryption, KeyPath, is_utf16};

use super::Text;
use crate::config::report::{
    file_access::unreadable_configuration,
    problem::{Place, Problem, Problems},
};

/// Reads every file at `path`, in the order in which they are merged.
///
/// # Errors
/// Every file that can't be read, beside those that could.
pub(super) fn read_all(path: &Path) -> (Vec<Text>, Problems) {
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

/// Returns the files at `path`: itself, or in byte order those of a directory that are neither hidden nor a backup.
fn files(path: &Path) -> Result<Vec<PathBuf>, Problems> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()
    });
    let mut paths = entries.map_err(|error| unreadable(path, &error))?;
    // A directory with such a name is not a file, and is reported as that. What it stands in place of may be the routes.
    paths.retain(|path| is_read(path));
    // By bytes, as documented, and not by `Path`, which compares components.
    paths.sort_by(|one, other| {
        one.as_os_str().as_encoded_bytes().cmp(other.as_os_str().as_encoded_bytes())
    });
    match paths.len() {
        0 => Err(about(path, "source", nothing_to_read(path))),
        1..=FILES_MAX => Ok(paths),
        _ => {
            let message = format!("there are over {FILES_MAX} files in this directory");
            Err(too_large(path, &message, "put several of them together into one file"))
        }
    }
}

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

fn read(path: &Path, room: usize) -> Result<String, Problems> {
    // Opening a pipe without a writer would never return.
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            let Problems(found) = about(path, "source", "this is a directory, and not a file");
            let found = found.into_iter().map(|problem| problem.with_help(DIRECTORY_HELP));
            return Err(Problems(found.collect()));
        }
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
        return Err(too_large(path, &message, SIZE_HELP));
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

fn too_large(path: &Path, message: &str, help: &str) -> Problems {
    let message = format!("{}: {message}", path.display());
    Problem::new(&KeyPath::default(), "size", message).with_help(help).into()
}

const DIRECTORY_HELP: &str = "remove it, or give it a name that does not end in `.yaml` or `.yml`. Docker makes such a directory if \
                              the file to mount does not exist on the host";

/// How to say the same with less text.
pub(crate) const SIZE_HELP: &str = "one route takes a list of hosts, and `members_from` reads a list of proxies from a file of its own";

/// All files together.
const BYTES_MAX: usize = 2 << 20;

const FILES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_directory_in_the_place_of_a_file_is_a_problem() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("10.yaml"), "log: {}\n").unwrap();
        fs::create_dir(path("20.yaml")).unwrap();
        fs::create_dir(path("other")).unwrap();
        std::os::unix::fs::symlink("other", path("30.yml")).unwrap();
        let (texts, problems) = read_all(directory.path());
        assert_eq!(texts.len(), 1);
        let said: Vec<_> = problems.0.iter().map(|problem| problem.brief().to_string()).collect();
        let expected = ["20.yaml", "30.yml"]
            .map(|name| format!("{}: this is a directory, and not a file", path(name).display()));
        assert_eq!(said, expected);
    }
}
