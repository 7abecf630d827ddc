//! Recognises a file that is only one of several of a configuration.

use super::Loader;
use crate::config::{Problem, Problems, Source, source::is_read};

impl Loader {
    /// Advises to load the whole directory, if the other files there define what the only file of this source lacks.
    ///
    /// People check one file of a `config.d` after an edit, and it names hops and chains of the others. If the whole directory
    /// has a problem of its own, the file may as well stand beside files of another program, and nothing is said.
    pub(super) fn advise_whole(&self, problems: Problems) -> Problems {
        let Some((whole, shown)) = self.whole() else { return problems };
        let Problems(left) = whole.load().err().unwrap_or_default();
        let has = |all: &[Problem], one: &Problem| all.iter().any(|other| is_same(one, other));
        if left.iter().any(|one| !has(&problems.0, one)) {
            return problems;
        }
        let mut help = Some(format!(
            "other files of this directory define what this one lacks: `mooltiroute check -c {shown}` checks all of them \
             together, as the proxy reads them with `-c {shown}`"
        ));
        // The first problem has the advice, and the others of its kind have none that would be wrong.
        let advised = |problem: Problem| match has(&left, &problem) {
            true => problem,
            false => Problem { help: help.take(), is_suggestion: false, ..problem },
        };
        Problems(problems.0.into_iter().map(advised).collect())
    }

    /// Returns a loader of all files in the directory of the only file of this source, and that directory. Returns `None` if it is
    /// not a file that would be read there.
    fn whole(&self) -> Option<(Self, String)> {
        let Source::Path(file) = &self.source else { return None };
        if file.is_dir() || !is_read(file) {
            return None;
        }
        let directory = match self.source.directory() {
            here if here.as_os_str().is_empty() => ".".into(),
            directory => directory.to_owned(),
        };
        let shown = directory.display().to_string();
        Some((Self { source: Source::Path(directory), ..self.clone() }, shown))
    }
}

/// Returns whether both are about the same place of the same file, whose directory may be written in another way.
fn is_same(one: &Problem, other: &Problem) -> bool {
    let place = |problem: &Problem| {
        let place = problem.place.as_ref()?;
        let name = place.file.rsplit(['/', '\\']).next().map(str::to_owned);
        Some((name, place.line, place.column))
    };
    (one.code, &one.path, place(one)) == (other.code, &other.path, place(other))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use mooltiroute_hops::kinds;

    use super::*;
    use crate::config::{Environment, Overrides};

    /// Returns what is said about the file `10.yaml`, which has the text `one`, beside another one with the text `other`.
    fn said(one: &str, other: &str) -> (String, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("10.yaml"), one).unwrap();
        fs::write(path("20.yaml"), other).unwrap();
        let environment = Environment::new(|_| None, "");
        let source = Source::Path(path("10.yaml"));
        let loader = Loader::new(source, Overrides::default(), kinds::builtin(), environment);
        let said = loader.load().unwrap_err().to_string();
        (said, format!("`mooltiroute check -c {}` checks all", directory.path().display()))
    }

    #[test]
    fn a_file_that_lacks_what_its_siblings_define_is_called_a_part() {
        let hops = "hops: { a: { kind: http-connect, address: \"a.test:1\" }, \
                    b: { kind: http-connect, address: \"b.test:1\" } }\n";
        for (one, other) in [
            ("chains: { default: [a, b] }\n", hops),
            (hops, "chains: { default: [a, b] }\n"),
            (
                "hops: { a: { enabled: false } }\n",
                &*format!("{hops}chains: {{ default: [a, b] }}\n"),
            ),
            (
                "chains: { default: [] }\nroutes: [{ chain: other }, { chain: default }]\n",
                "chains: { other: [] }\n",
            ),
        ] {
            let (said, command) = said(one, other);
            assert_eq!(said.matches(&command).count(), 1, "{one}: {said}");
            assert!(!said.contains("did you mean"), "{said}");
        }
    }

    #[test]
    fn a_mistake_of_its_own_and_files_of_another_program_get_no_such_advice() {
        let hops = "hops: { a: { kind: http-connect, address: \"a.test:1\" } }\n";
        for (one, other) in [
            ("chains: { default: [c] }\n", hops),
            ("chains: { default: [a] }\n", "services: { a: { image: x } }\n"),
            ("chains: { default: [a] }\n", "hops: { a: { kind: \n"),
            ("chains: { default: [a] }\n", "hops: { a: { kind: nothing } }\n"),
        ] {
            let (said, _) = said(one, other);
            assert!(!said.contains("checks all"), "{one}: {said}");
        }
    }
}
