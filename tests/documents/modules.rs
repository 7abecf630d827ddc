//! The tree of modules: no file is left out of it, and the map in `src/lib.rs` names all of its first level.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::{files, root, style::CRATES};

#[test]
fn every_source_file_is_a_module() {
    for folder in CRATES {
        let folder = root().join(folder);
        let all = files(&folder, usize::MAX).into_iter();
        let all: BTreeSet<PathBuf> =
            all.filter(|path| path.extension() == Some("rs".as_ref())).collect();
        let mut reached = BTreeSet::new();
        let mut next: Vec<PathBuf> = ["lib.rs", "main.rs"].map(|name| folder.join(name)).into();
        while let Some(path) = next.pop() {
            if path.exists() {
                next.extend(modules_of(&path));
                reached.insert(path);
            }
        }
        assert!(reached.len() > 1, "{folder:?}: no module was found");
        let unreached: Vec<_> = all.difference(&reached).collect();
        assert!(unreached.is_empty(), "remove these, or write `mod` for them: {unreached:#?}");
    }
}

#[test]
fn the_map_of_the_crate_names_every_module() {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap().replace("\r\n", "\n");
    let map = text.lines().filter(|line| line.starts_with("//! - ["));
    let named = map.flat_map(|line| {
        let names = line.split("]: ").next().unwrap().split("[`").skip(1);
        names.map(|name| name.split('`').next().unwrap())
    });
    let named: BTreeSet<&str> = named.collect();
    let declared: BTreeSet<&str> = text.lines().filter_map(declared_module).collect();
    assert!(declared.contains("proxy"), "{declared:?}");
    assert_eq!(named, declared, "src/lib.rs: the list of modules");
}

/// Returns the files in which the modules that the file at `path` declares can be, on any system.
fn modules_of(path: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(path).unwrap();
    let parent = path.parent().unwrap();
    let is_root = ["lib.rs", "main.rs"].iter().any(|name| path.ends_with(name));
    let folder = if is_root { parent.to_owned() } else { path.with_extension("") };
    let declared =
        text.lines().filter_map(declared_module).map(|name| folder.join(format!("{name}.rs")));
    let elsewhere = text.lines().filter(|line| line.starts_with("#[cfg_attr("));
    let elsewhere = elsewhere.filter_map(|line| line.split_once("path = \"")?.1.split('"').next());
    declared.chain(elsewhere.map(|name| parent.join(name))).collect()
}

/// Returns the name of the module that a line declares to be in another file.
fn declared_module(line: &str) -> Option<&str> {
    let declaration = line.strip_suffix(';')?;
    let (visibility, name) = declaration.split_once("mod ")?;
    (visibility.is_empty() || visibility.starts_with("pub")).then_some(name)
}
