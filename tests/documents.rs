//! What the documents name is there, and what is there is named.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must stop")]

use std::{
    fs,
    path::{Path, PathBuf},
};

#[test]
fn every_dependency_has_its_reason() {
    let document = read("ARCHITECTURE.md");
    let manifests = [read("Cargo.toml"), read("hops/Cargo.toml")];
    let mut names: Vec<&str> =
        manifests.iter().flat_map(|manifest| dependencies(manifest)).collect();
    names.sort_unstable();
    names.dedup();
    assert!(names.contains(&"tokio") && names.contains(&"tempfile"), "{names:?}");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let mut rows: Vec<&str> = rows.collect();
    rows.sort_unstable();
    assert_eq!(rows, names);
}

#[test]
fn one_place_is_exempt_from_the_ban_on_unsafe() {
    let sources = files(&root().join("src"), 9);
    let exempt =
        sources.iter().filter(|path| fs::read_to_string(path).unwrap().contains("unsafe_code"));
    assert_eq!(exempt.collect::<Vec<_>>(), [&root().join("src").join("system").join("memory.rs")]);
    assert!(read("hops/src/lib.rs").contains("\n#![forbid(unsafe_code)]\n"));
}

#[test]
fn links_lead_to_files() {
    let mut count = 0;
    for name in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"] {
        let document = read(name);
        for link in document.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !link.contains("://") && !link.starts_with('#') {
                assert!(root().join(link).exists(), "{name}: {link}");
                count += 1;
            }
        }
    }
    assert!(count > 4, "{count}");
}

/// The names in all tables of dependencies, without the one that is part of this repository.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let tables = manifest.split("\n[").filter(|table| {
        let head = table.split(']').next().unwrap_or_default();
        head.ends_with("dependencies") && !head.starts_with("workspace")
            || head.starts_with("target.") && table.contains("dependencies]")
    });
    let lines = tables.flat_map(|table| table.lines().skip(1));
    lines
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#') && *name != "mooltiroute-hops")
}

/// The sources in `folder`, and those in its folders as far down as `depth`.
fn files(folder: &Path, depth: usize) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, mut paths): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    if depth > 0 {
        paths.extend(folders.iter().flat_map(|folder| files(folder, depth - 1)));
    }
    paths
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap().replace("\r\n", "\n")
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
