//! Names files of settings, and says what to write if a setting names no file.
//!
//! People write other things in place of a path: the password in place of its file, a pasted key, the URL of a list with
//! a token in it. So a path is shown only if it is one beyond doubt.

use std::{
    fs::File,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use mooltiroute_hops::{Key, KeyPath};
use serde_yaml::Value;

use crate::config::{
    credentials::Credential,
    report::{file_access::unreadable_secret, problem::is_word},
    yaml::tree::{Part, Tree},
};

impl Tree {
    /// Returns the words for the file that the setting at `path` names: its path if that may be shown.
    pub(in crate::config::yaml::tree) fn file_in_words(&self, path: &KeyPath) -> String {
        match (self.shown_file(path), self.variables(path)) {
            (Some(shown), _) => format!("`{shown}`"),
            (None, []) => "the file".to_owned(),
            (None, names) => format!("the file that `${{{}}}` names", names.join("}` and `${")),
        }
    }

    /// Returns advice on a file setting at `path` that can't be read: what to write instead, or the path that was tried.
    pub(super) fn file_instead(&self, path: &KeyPath) -> Option<String> {
        let text = self.value(path).and_then(Value::as_str)?;
        let key = path.last_name()?;
        if text.contains('\n') || text.contains("-----BEGIN") {
            return Some(format!("`{key}` is the path of a file; save this text as a file"));
        }
        if text.contains("://") {
            return Some(match key {
                "file" => "write `url:` in place of `file:`".to_owned(),
                _ => format!("`{key}` is the path of a file; download it, and write its path"),
            });
        }
        let directory = self.directory_of(path);
        if directory.as_ref().is_some_and(|directory| directory.join(text).is_dir()) {
            let system = match key {
                "ca" => "; without `ca`, the system's authorities are trusted, as with `tls: true`",
                _ => "",
            };
            return Some(format!("`{key}` is the path of one file{system}"));
        }
        if text.contains(['*', '?']) && key != "ca" {
            return Some(format!(
                "`{key}` is the path of one file, without `*` and `?`; put the lines of all files into one"
            ));
        }
        if text.starts_with('~') {
            return Some("`~` is not expanded; write the whole path".to_owned());
        }
        let variables = self.variables(path);
        if variables.is_empty() && text.starts_with('$') {
            let name: String = text[1..]
                .chars()
                .take_while(|one| one.is_ascii_alphanumeric() || *one == '_')
                .collect();
            let rest = &text[1 + name.len()..];
            // Of a variable without braces, only a well-known name and a path behind it may be shown.
            let is_shown = name == "HOME" && is_clearly_path(rest) && is_path(rest);
            let rest = if is_shown { rest } else { "…" };
            let name = if is_shown { &*name } else { "NAME" };
            return Some(format!("a variable is written in braces: `\"${{{name}}}{rest}\"`"));
        }
        // A file that exists was meant, so nothing is said about paths.
        if let Some(whole) = self.directory_of(path).map(|directory| directory.join(text)) {
            match whole.metadata() {
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    return unreadable_secret(&whole, &error);
                }
                // Opening a pipe without a writer would never return.
                Ok(metadata) if metadata.is_file() => {
                    return File::open(&whole)
                        .err()
                        .and_then(|error| unreadable_secret(&whole, &error));
                }
                _ => {}
            }
        }
        // A path that may be shown explains itself, unless it is looked for in another directory than expected.
        let Some(shown) = self.shown_file(path) else {
            return match key.strip_suffix("_file") {
                Some(setting) => {
                    let variable = variables.first().map_or("PASSWORD", String::as_str);
                    Some(format!(
                        "`{key}` is the path of a file, as seen from the directory of the configuration; for the {setting} itself write `{setting}: \"${{{variable}}}\"`"
                    ))
                }
                None => Some(format!("`{key}` is the path of a file, which the proxy may read")),
            };
        };
        let whole = directory?.join(shown);
        let is_missing = Path::new(shown).is_relative() && !whole.exists();
        is_missing.then(|| {
            let whole = whole.display();
            format!("a path starts at the directory of the configuration; this one is `{whole}`")
        })
    }

    /// Returns the directory of the configuration file that has the setting at `path`.
    fn directory_of(&self, path: &KeyPath) -> Option<PathBuf> {
        let place = self.place(path, Part::Value)?;
        Some(Path::new(&*place.file).parent()?.to_owned())
    }

    /// Returns the path of a file that is written at `path`, if it may be shown.
    pub(in crate::config) fn shown_file(&self, path: &KeyPath) -> Option<&str> {
        let text = self.value(path)?.as_str()?;
        let mut names = path.keys().iter().filter_map(Key::name);
        let is_credential = names.any(|name| name.ends_with("_file") || name == "keytab");
        // A text after a credential in the same line may be the end of it. Below a key such as `tls` or `kerberos` it is
        // the end of nothing, if it is a path and not just any word.
        let is_nested = path.keys().len() > NESTED_FROM;
        let is_word_enough = !is_credential && !self.hides(path);
        let is_shown = match is_clearly_path(text) {
            true => is_nested || !self.hides(path) || self.has_no_credential(path),
            false => is_word_enough,
        };
        (is_shown && is_path(text) && !self.is_from_elsewhere(path)).then_some(text)
    }

    /// Returns the text at `path` in a hop that has no credential, if it is a plain word.
    pub(in crate::config) fn word_without_credential(&self, path: &KeyPath) -> Option<&str> {
        let text = self.value(path)?.as_str()?;
        let is_hop = path.keys().first().and_then(Key::name) == Some("hops");
        let is_shown = is_hop && is_word(text) && !self.is_from_elsewhere(path);
        (is_shown && self.has_no_credential(path)).then_some(text)
    }

    /// Returns whether the hop of the setting at `path` has no credential, which the setting could be the end of.
    fn has_no_credential(&self, path: &KeyPath) -> bool {
        let [section, hop, ..] = path.keys() else { return false };
        let hop = KeyPath::from(vec![section.clone(), hop.clone()]);
        let names = self.names(&hop).unwrap_or_default();
        !names.iter().any(|name| Credential::is_named_so(name))
    }
}

/// Returns whether `text` can be a path. A URL, a login and a text of several lines can hold a secret.
fn is_path(text: &str) -> bool {
    let is_short = text.chars().nth(PATH_CHARS_MAX).is_none();
    is_short && !text.contains("://") && !text.contains('@') && !text.chars().any(char::is_control)
}

/// Returns whether `text` is a path and no password: it has the letters of file names, and a directory or an extension.
pub(super) fn is_clearly_path(text: &str) -> bool {
    let is_valid = |one: char| one.is_alphanumeric() || "-_./\\:~ ".contains(one);
    let extension = text.rsplit_once('.').map_or("", |(_, extension)| extension);
    let has_extension = (2..=EXTENSION_CHARS_MAX).contains(&extension.len())
        && extension.bytes().all(|byte| byte.is_ascii_alphabetic());
    text.chars().all(is_valid) && (text.contains(['/', '\\']) || has_extension)
}

/// The number of keys that lead to a setting of a hop, as in `hops.NAME.file`. One with more is below another setting.
const NESTED_FROM: usize = 3;

/// Longer than any path that a person writes.
const PATH_CHARS_MAX: usize = 256;
/// As in `.keytab`, and some more.
const EXTENSION_CHARS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_without_a_directory_and_an_extension_may_be_a_password() {
        for path in ["/run/secrets/pw", "./pw", "secrets/pw", "C:\\pw.txt", "pw.txt", "http.keytab"]
        {
            assert!(is_path(path) && is_clearly_path(path), "{path}");
        }
        for other in ["hunter2", "hunter.2", "hunter2!/x", "a+b/c==", "x.1a", ".", ""] {
            assert!(!is_clearly_path(other), "{other}");
        }
        for other in ["https://a.test/hunter2", "u:p@h/x", "a\nb", &"x".repeat(300)] {
            assert!(!is_path(other), "{other}");
        }
    }
}
