//! Rules of style that a program can check.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use super::{files, root};

#[test]
fn a_type_has_a_name_of_its_own_in_its_crate() {
    for folder in CRATES {
        let mut places = BTreeMap::<String, BTreeSet<String>>::new();
        for (path, text) in sources_of(folder) {
            // An implementation for another system has the same names, since one of the two is built.
            let module =
                ALTERNATIVES.iter().fold(path, |path, (one, other)| path.replace(one, other));
            for name in text.lines().filter_map(declared_type) {
                places.entry(name.to_owned()).or_default().insert(module.clone());
            }
        }
        assert!(places.len() > 10, "{folder}: the types were not found");
        places.retain(|_, modules| modules.len() > 1);
        assert!(places.is_empty(), "{folder}: rename all but one of each: {places:#?}");
    }
}

#[test]
fn no_summary_begins_with_words_that_say_nothing() {
    for (path, text) in CRATES.into_iter().flat_map(sources_of) {
        let mut before = "";
        for (index, line) in text.lines().map(str::trim).enumerate() {
            let is_doc = line.starts_with("///") || line.starts_with("//!");
            let words = line.trim_start_matches(['/', '!']).trim();
            let is_first = is_doc && !before.starts_with("//");
            let is_empty = ["What ", "The same "].iter().any(|empty| words.starts_with(empty));
            assert!(
                !is_first || !is_empty,
                "{path}:{}: begin with another word: {words}",
                index + 1
            );
            before = line;
        }
    }
}

/// Returns the name of the type that a line at the level of a module declares.
fn declared_type(line: &str) -> Option<&str> {
    let declaration = line.strip_prefix("pub ").unwrap_or(line);
    let declaration = match declaration.strip_prefix("pub(") {
        Some(limited) => limited.split_once(") ")?.1,
        None => declaration,
    };
    let words = ["struct ", "enum ", "trait ", "type ", "union "];
    let name = words.iter().find_map(|word| declaration.strip_prefix(word))?;
    name.split(|end: char| !end.is_alphanumeric() && end != '_').next()
}

/// Returns the paths and the texts of a crate's modules, without their tests.
fn sources_of(folder: &str) -> Vec<(String, String)> {
    let is_source = |path: &str| path.ends_with(".rs") && !path.ends_with("tests.rs");
    let paths = files(&root().join(folder), usize::MAX).into_iter();
    let paths = paths.map(|path| path.to_str().unwrap().replace('\\', "/"));
    let sources = paths.filter(|path| is_source(path)).map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
        (path, text)
    });
    sources.collect()
}

/// The folders with the sources of the crates.
pub(super) const CRATES: [&str; 4] = ["src", "hops/src", "pac/src", "sso/src"];

/// Files of which each system builds one.
const ALTERNATIVES: [(&str, &str); 4] = [
    ("/endpoint_windows.rs", "/endpoint.rs"),
    ("/no_splice.rs", "/splice.rs"),
    ("/no_processes.rs", "/processes.rs"),
    ("/sspi.rs", "/gss.rs"),
];
